//! A line chart in SVG, coloured by the page's style sheet.

use super::axis::{Axis, Unit, drawable};
use super::html::{escape, share};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 260.0;
/// Left, top, right, bottom of the drawing within the view box.
const FRAME: [f64; 4] = [52.0, 12.0, 544.0, 222.0];
/// Points of a curve beyond which only the lowest and highest of each run are drawn.
const POINTS: usize = 1000;

/// A curve over updates.
#[derive(Clone, Default)]
pub(super) struct Curve {
    /// Its name in the legend.
    pub(super) name: String,
    /// (updates, value); a value that is not finite is passed over.
    pub(super) points: Vec<(u64, f64)>,
    /// (updates, low, high) of an interval shaded behind the curve.
    pub(super) band: Vec<(u64, f64, f64)>,
    /// Whether each point is a dot that says its value.
    pub(super) dots: bool,
}

/// A chart.
pub(super) struct Plot {
    pub(super) title: &'static str,
    /// What is measured, behind the title.
    pub(super) note: String,
    pub(super) unit: Unit,
    pub(super) curves: Vec<Curve>,
    /// A point to point out, with what to say of it.
    pub(super) mark: Option<(u64, f64, String)>,
}

impl Plot {
    /// The chart as a figure over updates 0 to `last`; empty when there is nothing to draw.
    pub(super) fn figure(&self, last: u64) -> String {
        let values: Vec<f64> = self.curves.iter().flat_map(Curve::drawable).map(|(_, value)| value).collect();
        if values.is_empty() {
            return String::new();
        }
        let bands = self.curves.iter().flat_map(|curve| &curve.band).map(|&(_, _, high)| high).filter(drawable);
        let [left, top, right, bottom] = FRAME;
        let x = Axis::updates(last, [left, right]);
        let y = Axis::values(&values.iter().copied().chain(bands).collect::<Vec<_>>(), self.unit, [bottom, top]);

        let mut svg = String::new();
        for &(tick, ref label) in &y.ticks {
            let place = y.place(tick);
            svg += &format!(
                "<line class=grid x1={left} x2={right} y1={place:.1} y2={place:.1} /><text class=end x={:.1} y={:.1}>{label}</text>\n",
                left - 6.0,
                place + 4.0
            );
        }
        for &(tick, ref label) in &x.ticks {
            let place = x.place(tick);
            svg += &format!(
                "<line class=axis x1={place:.1} x2={place:.1} y1={bottom} y2={:.1} /><text class=middle x={place:.1} y={:.1}>{label}</text>\n",
                bottom + 4.0,
                bottom + 18.0
            );
        }
        svg += &format!(
            "<line class=axis x1={left} x2={right} y1={bottom} y2={bottom} /><text class=end x={right} y={:.1}>updates</text>\n",
            bottom + 33.0
        );
        if self.unit == Unit::Difference {
            let zero = y.place(0.0);
            svg += &format!("<line class=axis x1={left} x2={right} y1={zero:.1} y2={zero:.1} />\n");
        }
        for (index, curve) in self.curves.iter().enumerate() {
            svg += &curve.shape(index, self.unit, &x, &y);
        }
        if let Some((update, value, text)) = self.mark.as_ref().filter(|mark| drawable(&mark.1)) {
            let [px, py] = [x.place(*update as f64), y.place(*value)];
            let (class, shift) = if px > (left + right) / 2.0 { ("end", -8.0) } else { ("start", 8.0) };
            let below = if py < top + 24.0 { 18.0 } else { -9.0 };
            svg += &format!(
                "<circle class=mark cx={px:.1} cy={py:.1} r=5 /><text class=\"label {class}\" x={:.1} y={:.1}>{}</text>\n",
                px + shift,
                py + below,
                escape(text)
            );
        }
        let keys: String = (self.curves.iter().enumerate())
            .filter(|(_, curve)| self.curves.len() > 1 && curve.drawable().next().is_some())
            .map(|(index, curve)| format!(" <span class=key><i class=c{index}></i>{}</span>", escape(&curve.name)))
            .collect();
        let logarithmic = if y.logarithmic { ", logarithmic" } else { "" };
        format!(
            "<figure><figcaption><b>{}</b> <small>{}{logarithmic}</small>{keys}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"{}\">\n{svg}</svg></figure>\n",
            escape(self.title),
            escape(&self.note),
            escape(self.title)
        )
    }
}

impl Curve {
    fn drawable(&self) -> impl Iterator<Item = (u64, f64)> {
        self.points.iter().copied().filter(|(_, value)| drawable(value))
    }

    fn shape(&self, index: usize, unit: Unit, x: &Axis, y: &Axis) -> String {
        let place = |(update, value): (u64, f64)| format!("{:.1},{:.1}", x.place(update as f64), y.place(value));
        let join = |points: Vec<String>| points.join(" ");
        let mut shape = String::new();
        let band: Vec<_> = self.band.iter().filter(|(_, low, high)| drawable(low) && drawable(high)).collect();
        if band.len() > 1 {
            let low = band.iter().map(|&&(update, low, _)| place((update, low)));
            let high = band.iter().rev().map(|&&(update, _, high)| place((update, high)));
            shape += &format!("<polygon class=c{index} points=\"{}\" />\n", join(low.chain(high).collect()));
        }
        let points = thin(self.drawable().collect());
        shape +=
            &format!("<polyline class=c{index} points=\"{}\" />\n", join(points.iter().copied().map(place).collect()));
        if self.dots || points.len() == 1 {
            for &(update, value) in &points {
                let said = if unit == Unit::Percent { share(value) } else { format!("{value:.4}") };
                shape += &format!(
                    "<circle class=c{index} cx={:.1} cy={:.1} r=2.5><title>{}, update {update}: {said}</title></circle>\n",
                    x.place(update as f64),
                    y.place(value),
                    escape(&self.name)
                );
            }
        }
        shape
    }
}

/// The lowest and highest point of each run of neighbours, so that no spike is lost.
fn thin(points: Vec<(u64, f64)>) -> Vec<(u64, f64)> {
    let run = (2 * points.len()).div_ceil(POINTS);
    if run <= 2 {
        return points;
    }
    let mut kept = Vec::new();
    for run in points.chunks(run) {
        let by_value = |a: &&(u64, f64), b: &&(u64, f64)| a.1.total_cmp(&b.1);
        let mut ends: Vec<_> = run.iter().min_by(by_value).into_iter().chain(run.iter().max_by(by_value)).collect();
        ends.sort_by_key(|point| point.0);
        ends.dedup();
        kept.extend(ends);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(unit: Unit, points: Vec<(u64, f64)>) -> Plot {
        let mark = points.first().map(|&(update, value)| (update, value, "best".to_string()));
        let curve = Curve { name: "training".into(), points, dots: true, ..Curve::default() };
        Plot { title: "Loss", note: "nats".into(), unit, curves: vec![curve], mark }
    }

    /// The numbers of every `name=` or `name="…"` in the page.
    fn numbers(page: &str, name: &str) -> Vec<f64> {
        let attribute = format!(" {name}=");
        let text = page.split(&attribute).skip(1).map(|piece| match piece.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap(),
            None => piece.split([' ', '>']).next().unwrap(),
        });
        text.flat_map(|text| text.split([' ', ',']).filter(|part| !part.is_empty()))
            .map(|part| part.parse().unwrap_or_else(|_| panic!("{name}: {part}")))
            .collect()
    }

    fn check_within_the_view_box(page: &str, context: &str) {
        for name in ["x", "x1", "x2", "cx"] {
            assert!(numbers(page, name).iter().all(|x| (0.0..=WIDTH).contains(x)), "{context}: {name}");
        }
        for name in ["y", "y1", "y2", "cy"] {
            assert!(numbers(page, name).iter().all(|y| (0.0..=HEIGHT).contains(y)), "{context}: {name}");
        }
        for pair in numbers(page, "points").chunks(2) {
            assert!((FRAME[0]..=FRAME[2]).contains(&pair[0]), "{context}: {pair:?}");
            assert!((FRAME[1]..=FRAME[3]).contains(&pair[1]), "{context}: {pair:?}");
        }
    }

    #[test]
    fn every_point_lies_within_the_view_box() {
        let values = [0.0, 1e-40, 1e-9, 3e-4, 0.07, 0.999, 1.0, 1.0001, 7.3, 99.0, 12345.0, 8e7, 9e29, -0.5];
        for unit in [Unit::Number, Unit::Magnitude, Unit::Percent, Unit::Difference] {
            for low in values {
                for high in values {
                    let page = plot(unit, vec![(0, low), (7, high), (200, low)]).figure(200);
                    assert_eq!(numbers(&page, "points").len(), 6);
                    check_within_the_view_box(&page, &format!("{unit:?} {low} {high}"));
                    let ticks = page.matches("class=grid").count();
                    assert!((2..=9).contains(&ticks), "{unit:?} {low} {high}: {ticks} ticks");
                }
            }
        }
    }

    #[test]
    fn points_are_where_their_values_put_them() {
        // 0 to 200 updates over 492 units from 52; 0 to 4 over 210 units up from 222.
        let page = plot(Unit::Number, vec![(0, 4.0), (100, 1.0), (200, 0.0)]).figure(200);
        assert_eq!(numbers(&page, "points"), [52.0, 12.0, 298.0, 169.5, 544.0, 222.0]);
        // 10 to 0.1 on a logarithmic scale: 1 is halfway.
        let page = plot(Unit::Magnitude, vec![(0, 10.0), (100, 1.0), (200, 0.1)]).figure(200);
        assert_eq!(numbers(&page, "points"), [52.0, 12.0, 298.0, 117.0, 544.0, 222.0]);
        assert!(page.contains("logarithmic"));
        // −1 to 0.5 in steps of 0.5, 70 units each: 0 is 140 units above the lowest.
        let page = plot(Unit::Difference, vec![(0, -1.0), (100, 0.5), (200, 0.0)]).figure(200);
        assert_eq!(numbers(&page, "points"), [52.0, 222.0, 298.0, 12.0, 544.0, 82.0]);
        assert!(page.contains(">−1.0<") && page.contains("y1=82.0 y2=82.0 />\n<polyline"), "{page}");
        // Differences of one sign still have 0 on their axis.
        let page = plot(Unit::Difference, vec![(0, -4.0), (200, -1.0)]).figure(200);
        assert_eq!(numbers(&page, "points"), [52.0, 222.0, 544.0, 64.5]);
    }

    #[test]
    fn values_that_are_not_finite_are_passed_over() {
        let wild = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX];
        let mut points = vec![(1, 0.5)];
        points.extend(wild.map(|value| (2, value)));
        points.push((3, 0.25));
        let mut plot = plot(Unit::Percent, points);
        plot.curves[0].band = vec![(1, 0.4, 0.6), (2, f64::NAN, 0.7), (3, 0.2, 0.3)];
        plot.mark = Some((2, f64::NAN, "best".into()));
        let page = plot.figure(3);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
        assert_eq!(page.matches("<circle").count(), 2);
        check_within_the_view_box(&page, "wild");

        plot.curves[0].points = wild.map(|value| (2, value)).into();
        assert_eq!(plot.figure(3), "", "nothing to draw");
    }

    #[test]
    fn a_single_point_and_no_updates_are_drawn() {
        let page = plot(Unit::Number, vec![(0, 2.0)]).figure(0);
        assert_eq!(page.matches("<circle class=c0").count(), 1);
        check_within_the_view_box(&page, "single");
    }

    #[test]
    fn thinning_keeps_spikes_and_order() {
        let mut points: Vec<(u64, f64)> = (0..40_000).map(|update| (update, 1.0 + update as f64 * 1e-6)).collect();
        points[12_345].1 = 50.0;
        points[23_456].1 = -3.0;
        let thinned = thin(points);
        assert!(thinned.len() <= POINTS + 2, "{}", thinned.len());
        assert!(thinned.contains(&(12_345, 50.0)) && thinned.contains(&(23_456, -3.0)));
        assert!(thinned.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
