//! A chart's axes: which values they span, where their ticks are, and what these say.

/// What f64 arithmetic on axes can bear; anything beyond is not drawn.
const LARGEST: f64 = 1e30;

/// What the vertical axis measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A number, from 0.
    Number,
    /// A number whose smallest and largest lie far apart: logarithmic if all are positive.
    Magnitude,
    /// A share, shown in per cent, from 0.
    Percent,
    /// A number on either side of 0, which is on the axis.
    Difference,
}

/// Whether a value is finite and within what f64 arithmetic on an axis can bear.
pub(crate) fn drawable(value: &f64) -> bool {
    value.abs() <= LARGEST
}

/// A scale of the chart.
pub(crate) struct Axis {
    low: f64,
    high: f64,
    /// Whether equal ratios, not equal differences, are equally far apart.
    pub(crate) logarithmic: bool,
    /// Where low and high lie in the view box.
    ends: [f64; 2],
    /// Values with their labels.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// 0 to `last` updates.
    pub(crate) fn updates(last: u64, ends: [f64; 2]) -> Axis {
        let high = last.max(1) as f64;
        let step = round_up(high / 6.0).max(1.0);
        let ticks = (0..=(high / step + 1e-9) as u32).map(|count| f64::from(count) * step);
        Axis { low: 0.0, high, logarithmic: false, ends, ticks: ticks.map(|tick| (tick, number(tick, step))).collect() }
    }

    /// Wide enough for `values`, which are drawable.
    pub(crate) fn values(values: &[f64], unit: Unit, ends: [f64; 2]) -> Axis {
        let highest = values.iter().copied().fold(f64::MIN, f64::max);
        let lowest = values.iter().copied().fold(f64::MAX, f64::min);
        if unit == Unit::Magnitude && lowest >= 1.0 / LARGEST && highest > 10.0 * lowest {
            return Axis::magnitudes(lowest, highest, ends);
        }
        let [low, high] = match unit {
            Unit::Difference => [lowest.min(0.0), highest.max(0.0)],
            _ => [0.0, highest],
        };
        let high = if high - low < 1.0 / LARGEST { low + 1.0 } else { high };
        let step = round_up((high - low) / 5.0);
        let first = (low / step + 1e-9).floor() as i32;
        let last = ((high / step - 1e-9).ceil() as i32).max(first + 1);
        let label = |tick: f64| match unit {
            Unit::Percent => format!("{} %", number(tick * 100.0, step * 100.0)),
            Unit::Difference => number(tick, step).replace('-', "−"),
            _ => number(tick, step),
        };
        let ticks = (first..=last).map(|count| f64::from(count) * step);
        Axis {
            low: f64::from(first) * step,
            high: f64::from(last) * step,
            logarithmic: false,
            ends,
            ticks: ticks.map(|tick| (tick, label(tick))).collect(),
        }
    }

    /// From 1, 2 or 5 times a power of ten to another.
    fn magnitudes(lowest: f64, highest: f64, ends: [f64; 2]) -> Axis {
        let decades = lowest.log10().floor() as i32..=highest.log10().ceil() as i32;
        let marks: Vec<(f64, f64)> =
            decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| (digit, digit * 10f64.powi(decade)))).collect();
        let low = marks.iter().rev().find(|mark| mark.1 <= lowest).map_or(lowest, |mark| mark.1);
        let high = marks.iter().find(|mark| mark.1 >= highest).map_or(highest, |mark| mark.1);
        let mut ticks: Vec<_> = marks.into_iter().filter(|mark| (low..=high).contains(&mark.1)).collect();
        if ticks.len() > 8 {
            ticks.retain(|tick| tick.0 == 1.0);
        }
        let every = ticks.len().div_ceil(8).max(1);
        let ticks = ticks.into_iter().step_by(every).map(|(_, tick)| (tick, number(tick, tick))).collect();
        Axis { low, high, logarithmic: true, ends, ticks }
    }

    /// A little more than `lowest` to `highest`, which are drawable, whether 0 is among them or not.
    pub(crate) fn around(lowest: f64, highest: f64, ends: [f64; 2]) -> Axis {
        let least = (lowest.abs().max(highest.abs()) * 1e-3).max(1.0 / LARGEST);
        let step = round_up((highest - lowest).max(least) / 5.0);
        // A value on a tick has the next one beyond it, so that no mark is cut at the frame.
        let [first, last] = [(lowest / step - 0.25).floor(), (highest / step + 0.25).ceil()];
        let first = if lowest > 0.0 { first.max(0.0) } else { first };
        let ticks = (0..=(last - first) as u32).map(|count| (first + f64::from(count)) * step);
        let label = |tick: f64| match tick {
            _ if tick < 0.0 => format!("−{}", number(-tick, step)),
            _ => number(tick, step),
        };
        let ticks = ticks.map(|tick| (tick, label(tick))).collect();
        Axis { low: first * step, high: last * step, logarithmic: false, ends, ticks }
    }

    /// Ticks where whoever draws wants them; `low` lies below `high`, and both above 0 where the axis is logarithmic.
    pub(crate) fn ticked([low, high]: [f64; 2], logarithmic: bool, ends: [f64; 2], ticks: Vec<(f64, String)>) -> Axis {
        Axis { low, high, logarithmic, ends, ticks }
    }

    /// Where a value lies in the view box; one beyond the axis, at its end.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.log10() } else { value };
        let value = value.clamp(self.low, self.high);
        let share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low));
        self.ends[0] + share * (self.ends[1] - self.ends[0])
    }
}

/// The next 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powi(value.log10().floor() as i32);
    [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power).find(|&step| step >= value).unwrap_or(10.0 * power)
}

/// A tick's number, as exact as the step between ticks asks.
fn number(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    match step {
        _ if value == 0.0 => "0".into(),
        _ if !(1e-3..1e6).contains(&step) => format!("{value:.1e}").replace(".0e", "e"),
        _ if step >= 1000.0 => format!("{:.0}k", value / 1000.0),
        _ => format!("{value:.decimals$}"),
    }
}
