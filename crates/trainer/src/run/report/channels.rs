//! KL-Norm's rate channel by channel: a picture of sites by channels.

use std::collections::BTreeMap;

use super::html::{count, escape};
use super::raster::Raster;
use crate::run::MetricsLine;
use crate::sites::SWITCHED_OFF;

/// Width of the view box, and where in it the channels begin and end.
const WIDTH: f64 = 1180.0;
const FRAME: [f64; 2] = [120.0, 1030.0];
/// Right ends of the columns behind the channels.
const COLUMNS: [f64; 2] = [1085.0, 1165.0];
/// Height of the legend and of the columns' heads.
const TOP: f64 = 56.0;
/// Equal steps of the rate that are told apart.
const STEPS: u8 = 14;
/// The level of a switched-off channel; a step's is the number behind it.
const OFF: u8 = 1;
/// Cells beyond which neighbouring channels share one.
const CELLS: usize = 1 << 16;
/// The share of channels that the steps span; of a few wild ones only the last step is seen.
const SPANNED: f64 = 0.99;

/// The last rates: blocks in their order, then the encoder's own norm; empty where there are none.
pub(super) fn channels(lines: &[MetricsLine]) -> String {
    let Some((update, last)) = lines.iter().rev().find_map(|line| match line {
        MetricsLine::Rates { update, sites } => Some((*update, sites)),
        _ => None,
    }) else {
        return String::new();
    };
    // A block that was dropped in the last update has its place all the same.
    let names = lines.iter().flat_map(|line| match line {
        MetricsLine::Rates { sites, .. } => Some(sites.keys()).into_iter().flatten(),
        _ => None.into_iter().flatten(),
    });
    let sites: BTreeMap<(u64, &str), &[f32]> =
        names.map(|name| (place(name), last.get(name).map_or(&[][..], Vec::as_slice))).collect();
    let mut finite: Vec<f32> = last.values().flatten().copied().filter(|nats| nats.is_finite()).collect();
    if finite.is_empty() {
        return String::new();
    }
    let off = finite.iter().filter(|&&nats| nats < SWITCHED_OFF).count();
    let at = (finite.len() as f64 * SPANNED).ceil() as usize;
    let (all, (_, highest, _)) = (finite.len(), finite.select_nth_unstable_by(at - 1, f32::total_cmp));
    let scale = Scale { top: two_digits(f64::from(*highest)) };

    let width = sites.values().map(|channels| channels.len()).max().unwrap_or(0);
    let shared = (width * sites.len()).div_ceil(CELLS).max(1);
    let columns = width.div_ceil(shared);
    let rows: Vec<Vec<u8>> = sites.values().map(|channels| scale.row(channels, shared)).collect();
    let [high, size] = if rows.len() > 26 { [10.0, 9.0] } else { [18.0, 11.0] };
    let [left, right] = FRAME;
    let bottom = TOP + high * rows.len() as f64;
    let mut svg = scale.legend();
    svg += &format!(
        "<text class=end text-anchor=end x={} y={y}>mean, nats</text><text class=end text-anchor=end x={} y={y}>off</text>\n",
        COLUMNS[0],
        COLUMNS[1],
        y = TOP - 6.0
    );
    svg += &format!(
        "<rect class=empty fill=#f5f7f9 x={left} y={TOP} width={} height={:.1} />\n<g class=raster fill=none stroke=#2362b5 shape-rendering=crispEdges transform=\"translate({left} {TOP}) scale({:.5} {high})\">\n{}</g>\n<g font-size={size}>\n",
        right - left,
        bottom - TOP,
        (right - left) / columns.max(1) as f64,
        Raster { rows: &rows }.paths(paint)
    );
    for (number, (&(_, name), channels)) in sites.iter().enumerate() {
        let y = TOP + high * (number as f64 + 0.5) + 0.36 * size;
        let (mean, off) = summary(channels);
        svg += &format!(
            "<text class=end text-anchor=end x={:.1} y={y:.1}>{}</text><text class=end text-anchor=end x={} y={y:.1}>{mean}</text><text class=end text-anchor=end x={} y={y:.1}>{off}</text>\n",
            left - 8.0,
            escape(name),
            COLUMNS[0],
            COLUMNS[1]
        );
    }
    svg += &format!(
        "</g>\n<text x={left} y={y:.1}>channel 0</text><text class=end text-anchor=end x={right} y={y:.1}>{}</text>\n",
        count(width.saturating_sub(1) as u64),
        y = bottom + 16.0
    );
    let together = match shared {
        1 => String::new(),
        shared => format!(" A cell is the mean of {shared} neighbouring channels."),
    };
    format!(
        "<h2>KL-Norm’s rate by site and channel</h2>\n<figure><figcaption>Nats of each channel in update {}. {} of {} channels are switched off: below {SWITCHED_OFF} nats a channel says next to nothing of its input.{together}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {:.1}\" font-size=11 role=img aria-label=\"KL-Norm’s rate by site and channel\">\n{svg}</svg></figure>\n",
        count(update),
        count(off as u64),
        count(all as u64),
        bottom + 26.0
    )
}

/// Blocks by number; behind them what has none, as the encoder's own norm.
fn place(name: &str) -> (u64, &str) {
    let block = name.split_once('.').and_then(|(block, _)| block.parse().ok());
    (block.unwrap_or(u64::MAX), name)
}

/// The mean rate, and how many channels are switched off; dashes for a site that did not run.
fn summary(channels: &[f32]) -> (String, String) {
    let finite: Vec<f64> = channels.iter().filter(|nats| nats.is_finite()).map(|&nats| f64::from(nats)).collect();
    if finite.is_empty() {
        return ("–".into(), "–".into());
    }
    let off = channels.iter().filter(|&&nats| nats < SWITCHED_OFF).count();
    (format!("{:.3}", finite.iter().sum::<f64>() / finite.len() as f64), count(off as u64))
}

/// Which rate has which level.
struct Scale {
    /// Where the last step ends, in nats; above 0.
    top: f64,
}

impl Scale {
    /// The levels of a row of cells, each of the mean of `shared` channels.
    fn row(&self, channels: &[f32], shared: usize) -> Vec<u8> {
        let mean = |cell: &[f32]| cell.iter().map(|&nats| f64::from(nats)).sum::<f64>() / cell.len() as f64;
        channels.chunks(shared).map(|cell| self.level(mean(cell))).collect()
    }

    fn level(&self, nats: f64) -> u8 {
        match nats {
            _ if !nats.is_finite() => 0,
            _ if nats < f64::from(SWITCHED_OFF) => OFF,
            // The cast holds what lies below 0 or beyond a byte at its ends.
            _ => OFF + 1 + ((nats / self.top * f64::from(STEPS)) as u8).min(STEPS - 1),
        }
    }

    fn legend(&self) -> String {
        let [left, wide, high] = [FRAME[0], 26.0, 12.0];
        let mut svg = format!(
            "<text class=end text-anchor=end x={:.1} y=20>switched off</text>\n<g class=raster fill=none stroke=#2362b5 shape-rendering=crispEdges>\n",
            left - 8.0
        );
        for level in OFF..=OFF + STEPS {
            let gap = if level == OFF { 0.0 } else { 60.0 };
            let x = left + wide * f64::from(level - OFF) + gap;
            svg += &format!("<path {} stroke-width={high} d=\"M{x:.1} 16h{wide}\" />\n", paint(level));
        }
        let start = left + wide + 60.0;
        svg += "</g>\n";
        svg += &format!("<text class=end text-anchor=end x={:.1} y=20>0</text>", start - 6.0);
        svg + &format!(
            "<text x={:.1} y=20>{} nats and more</text>\n",
            start + wide * f64::from(STEPS) + 6.0,
            short(self.top)
        )
    }
}

/// How a level is drawn: a hue of its own for what is switched off, else the darker the higher.
fn paint(level: u8) -> String {
    match level {
        OFF => "class=off stroke=#c8590f".into(),
        level => format!("stroke-opacity={:.2}", f64::from(level - OFF) / f64::from(STEPS)),
    }
}

/// The next number of two digits that is not below; what is not above 0 is 1.
fn two_digits(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let unit = 10f64.powf(value.log10().floor() - 1.0);
    (value / unit - 1e-9).ceil() * unit
}

/// A number of two digits, without what its arithmetic left behind them.
fn short(value: f64) -> String {
    let decimals = (1.0 - value.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(update: u64, sites: &[(&str, &[f32])]) -> MetricsLine {
        let sites = sites.iter().map(|&(name, channels)| (name.into(), channels.into())).collect();
        MetricsLine::Rates { update, sites }
    }

    #[test]
    fn sites_stand_in_the_order_of_blocks_and_the_encoder_is_last() {
        let names = ["10.attention", "9.feedforward", "encoder", "0.feedforward", "0.attention", "9.attention"];
        let sites: Vec<(&str, &[f32])> = names.iter().map(|&name| (name, &[0.5][..])).collect();
        let page = channels(&[rates(20, &sites)]);
        let mut places: Vec<(usize, &str)> =
            names.iter().map(|name| (page.find(&format!(">{name}<")).unwrap(), *name)).collect();
        places.sort_unstable();
        let order: Vec<&str> = places.into_iter().map(|(_, name)| name).collect();
        assert_eq!(order, ["0.attention", "0.feedforward", "9.attention", "9.feedforward", "10.attention", "encoder"]);
    }

    #[test]
    fn channels_below_the_threshold_are_counted_as_switched_off() {
        // 0.01 itself is not below; what is no number is neither on nor off.
        let page =
            channels(&[rates(20, &[("0.attention", &[0.0, 0.0099, 0.01, 0.5801, f32::NAN]), ("encoder", &[1.0])])]);
        assert!(page.contains("update 20. 2 of 5 channels are switched off: below 0.01 nats"), "{page}");
        // The mean of the four numbers is 0.6 / 4.
        assert!(page.contains(">0.150</text><text class=end text-anchor=end x=1165 y=69.0>2<"), "{page}");
        assert!(page.contains(">1.000</text><text class=end text-anchor=end x=1165 y=87.0>0<"), "{page}");
        assert!(page.contains("<path class=off stroke=#c8590f d=\"M0 0.5h2\" />"), "{page}");
    }

    #[test]
    fn a_channel_s_step_is_a_share_of_the_highest_rate() {
        // Fourteen steps of 0.2 nats, levels 2 to 15; 1 is switched off.
        let scale = Scale { top: 2.8 };
        let levels = [f64::NAN, -0.1, 0.0, 0.009, 0.01, 0.19, 0.21, 2.79, 2.8, 1e9].map(|nats| scale.level(nats));
        assert_eq!(levels, [0, 1, 1, 1, 2, 2, 3, 15, 15, 15]);
        assert_eq!(scale.row(&[0.0, 0.6, 2.0, 1.0, 0.3], 2), [3, 9, 3], "means of 0.3, 1.5 and 0.3");
        let tops = [0.0, -1.0, 0.0123, 3.0, 3.01, 99.5, 1234.0].map(|value| short(two_digits(value)));
        assert_eq!(tops, ["1.0", "1.0", "0.013", "3.0", "3.1", "100", "1300"]);
    }

    #[test]
    fn only_the_last_rates_are_drawn_and_a_dropped_block_keeps_its_row() {
        let before = rates(20, &[("0.attention", &[0.1, 0.2]), ("1.attention", &[0.3, 0.4])]);
        let page = channels(&[before, rates(40, &[("1.attention", &[0.7, 0.9])])]);
        assert!(page.contains("update 40. 0 of 2 channels") && page.contains(">0.800<"), "{page}");
        assert!(page.contains(">0.attention<") && page.contains(">–<"), "{page}");
    }

    #[test]
    fn names_are_text_and_without_numbers_there_is_no_picture() {
        let page = channels(&[rates(20, &[("<script>&", &[0.1])])]);
        assert!(page.contains("&lt;script&gt;&amp;") && !page.contains("<script"), "{page}");
        for lines in [vec![], vec![rates(20, &[])], vec![rates(20, &[("encoder", &[f32::NAN])])]] {
            assert_eq!(channels(&lines), "");
        }
    }

    #[test]
    fn a_large_model_s_picture_stays_small() {
        // 96 sites of 1,920 channels, no two neighbours alike.
        let values: Vec<f32> = (0..1920).map(|channel| (channel * 7919 % 1009) as f32 / 300.0).collect();
        let names: Vec<String> = (0..96).map(|number| format!("{}.{}", number / 2, number % 2)).collect();
        let sites: Vec<(&str, &[f32])> = names.iter().map(|name| (name.as_str(), &values[..])).collect();
        let page = channels(&[rates(20, &sites)]);
        assert!(page.len() < 600_000, "{}", page.len());
        assert!(page.contains("the mean of 3 neighbouring channels"), "{}", &page[..600]);
    }
}
