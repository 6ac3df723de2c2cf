//! KL-Norm's rate channel by channel: a picture of sites by channels.

use std::collections::BTreeMap;

use super::canvas::{Anchor, INK, SOFT, Svg};
use super::raster::path;
use crate::run::report::count;
use crate::sites::SWITCHED_OFF;

const WIDTH: f64 = 960.0;
/// Where the channels lie; names are left of them, means and counts right.
const ENDS: [f64; 2] = [120.0, 800.0];
const COLUMNS: [f64; 2] = [866.0, 950.0];
/// The first row's upper edge.
const TOP: f64 = 56.0;
/// A level each for switched-off channels and for steps of equal ratio above them.
const LEVELS: u8 = 16;
/// A channel that there is not.
const NONE: u8 = LEVELS;
/// Switched off: no colour of the scale.
const OFF: &str = "#e3e3e3";
/// Cells beyond which neighbouring channels share one.
const CELLS: usize = 1 << 16;
/// Matplotlib's viridis, in equal steps: lighter is higher for any eye.
const VIRIDIS: [[u8; 3]; 6] =
    [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]];

/// Sites down in the order of their blocks, channels across; none where no channel has a rate. A site without channels did not
/// run, and keeps its row.
pub(crate) fn picture(label: &str, sites: &BTreeMap<String, Vec<f32>>) -> Option<Svg> {
    let mut named: Vec<(&str, &[f32])> = sites.iter().map(|(name, channels)| (name.as_str(), &channels[..])).collect();
    named.sort_by_key(|&(name, _)| (block(name), name));
    let wide = named.iter().map(|(_, channels)| channels.len()).max().filter(|&wide| wide > 0)?;
    let finite = || named.iter().flat_map(|(_, channels)| *channels).copied().filter(|nats| nats.is_finite());
    finite().next()?;
    let highest = finite().fold(2.0 * SWITCHED_OFF, f32::max);
    let shared = (wide * named.len()).div_ceil(CELLS).max(1);
    let columns = wide.div_ceil(shared);
    let rows: Vec<Vec<u8>> = named.iter().map(|(_, channels)| row(channels, shared, columns, highest)).collect();

    let step = if named.len() > 26 { 11.0 } else { 16.0 };
    let bottom = TOP + step * named.len() as f64;
    let mut svg = Svg::new(WIDTH, bottom + 24.0, label.into());
    legend(&mut svg, highest);
    svg.text([COLUMNS[0], TOP - 6.0], Anchor::End, SOFT, "mean, nats");
    svg.text([COLUMNS[1], TOP - 6.0], Anchor::End, SOFT, "switched off");
    let [across, length] = [(ENDS[1] - ENDS[0]) / columns as f64, ENDS[1] - ENDS[0]];
    // The commonest level is a rectangle behind all others.
    let common = (0..=NONE).max_by_key(|level| rows.iter().flatten().filter(|cell| *cell == level).count());
    let common = common.unwrap_or(NONE);
    svg.push(&format!(
        "<rect x=\"{}\" y=\"{TOP}\" width=\"{length}\" height=\"{:.1}\" fill=\"{}\"/>\n\
         <g transform=\"translate({} {TOP}) scale({across:.5} {step})\" shape-rendering=\"crispEdges\">\n",
        ENDS[0],
        bottom - TOP,
        colour(common),
        ENDS[0]
    ));
    for level in (0..=NONE).filter(|&level| level != common) {
        let path = path(&rows, level);
        if !path.is_empty() {
            svg.push(&format!("<path d=\"{path}\" stroke=\"{}\"/>\n", colour(level)));
        }
    }
    svg.push("</g>\n");
    for (number, (name, channels)) in named.iter().enumerate() {
        let y = TOP + step * (number as f64 + 0.5) + 4.0;
        svg.fitted([ENDS[0] - 8.0, y], Anchor::End, INK, name, ENDS[0] - 12.0);
        for (column, text) in COLUMNS.into_iter().zip(summary(channels)) {
            svg.text([column, y], Anchor::End, INK, &text);
        }
    }
    svg.text([ENDS[0], bottom + 15.0], Anchor::Start, SOFT, "channel 0");
    svg.text([ENDS[1], bottom + 15.0], Anchor::End, SOFT, &count(wide as u64 - 1));
    if shared > 1 {
        let note = format!("a cell is the mean of {shared} neighbouring channels");
        svg.text([(ENDS[0] + ENDS[1]) / 2.0, bottom + 15.0], Anchor::Middle, SOFT, &note);
    }
    Some(svg)
}

/// Blocks by number; behind them what has none, as the encoder's own norm.
fn block(name: &str) -> u64 {
    name.split_once('.').and_then(|(block, _)| block.parse().ok()).unwrap_or(u64::MAX)
}

/// The mean rate, and how many channels are switched off; dashes for a site that did not run.
fn summary(channels: &[f32]) -> [String; 2] {
    let finite: Vec<f64> = channels.iter().filter(|nats| nats.is_finite()).map(|&nats| f64::from(nats)).collect();
    if finite.is_empty() {
        return ["–".into(), "–".into()];
    }
    let off = channels.iter().filter(|&&nats| nats < SWITCHED_OFF).count();
    let mean = finite.iter().sum::<f64>() / finite.len() as f64;
    [format!("{mean:.3}"), format!("{} of {}", count(off as u64), count(finite.len() as u64))]
}

/// The levels of a site's cells, each of the mean of `shared` channels.
fn row(channels: &[f32], shared: usize, columns: usize, highest: f32) -> Vec<u8> {
    let mean = |cell: &[f32]| cell.iter().sum::<f32>() / cell.len() as f32;
    let level = |nats: f32| match nats {
        _ if nats.is_nan() => NONE,
        _ if nats < SWITCHED_OFF => 0,
        _ => {
            let share = (nats / SWITCHED_OFF).ln() / (highest / SWITCHED_OFF).ln();
            // The cast holds what lies beyond a byte at its ends.
            1 + ((share * f32::from(LEVELS - 1)) as u8).min(LEVELS - 2)
        }
    };
    let mut levels: Vec<u8> = channels.chunks(shared).map(|cell| level(mean(cell))).collect();
    levels.resize(columns, NONE);
    levels
}

/// A level's colour.
fn colour(level: u8) -> String {
    let place = match level {
        0 => return OFF.into(),
        NONE.. => return "#fff".into(),
        _ => f32::from(level - 1) / f32::from(LEVELS - 2) * (VIRIDIS.len() - 1) as f32,
    };
    let low = (place as usize).min(VIRIDIS.len() - 2);
    let mix = |channel: usize| {
        let [from, to] = [f32::from(VIRIDIS[low][channel]), f32::from(VIRIDIS[low + 1][channel])];
        (from + (to - from) * (place - low as f32)).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

fn legend(svg: &mut Svg, highest: f32) {
    const WIDE: f64 = 22.0;
    let box_of = |svg: &mut Svg, x: f64, level: u8| {
        svg.push(&format!(
            "<rect x=\"{x:.1}\" y=\"8\" width=\"{WIDE}\" height=\"12\" fill=\"{}\" shape-rendering=\"crispEdges\"/>\n",
            colour(level)
        ));
    };
    box_of(svg, ENDS[0], 0);
    svg.text([ENDS[0] + WIDE + 6.0, 18.0], Anchor::Start, SOFT, "switched off");
    let start = ENDS[0] + 130.0;
    for level in 1..LEVELS {
        box_of(svg, start + WIDE * f64::from(level - 1), level);
    }
    let length = WIDE * f64::from(LEVELS - 1);
    let middle = (highest * SWITCHED_OFF).sqrt();
    for (share, nats) in [(0.0, SWITCHED_OFF), (0.5, middle), (1.0, highest)] {
        svg.text([start + length * share, 33.0], Anchor::Middle, SOFT, &format!("{nats:.2}"));
    }
    svg.text([start + length + 20.0, 18.0], Anchor::Start, SOFT, "nats, logarithmic");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites_of(rows: &[(&str, &[f32])]) -> BTreeMap<String, Vec<f32>> {
        rows.iter().map(|&(name, channels)| (name.into(), channels.into())).collect()
    }

    #[test]
    fn a_channel_s_level_is_its_share_of_the_way_in_ratios() {
        // From 0.01 to 10 nats are three decades; one of them is a third of fifteen steps.
        assert_eq!(row(&[0.0, 0.00999, 0.011, 0.11, 9.9, 10.0], 1, 7, 10.0), [0, 0, 1, 6, 15, 15, NONE]);
        assert_eq!(row(&[0.0, 0.22, 9.0, 11.0, 0.0], 2, 3, 10.0), [6, 15, 0], "means of 0.11, 10 and 0");
        assert_eq!(row(&[f32::NAN, f32::INFINITY], 1, 2, 10.0), [NONE, 15]);
        assert_eq!([colour(0), colour(1), colour(15), colour(NONE)], ["#e3e3e3", "#440154", "#fde725", "#fff"]);
    }

    #[test]
    fn sites_stand_in_the_order_of_blocks_with_their_means_and_counts() {
        let sites = sites_of(&[("encoder", &[1.0]), ("10.attention", &[0.005, 0.495]), ("2.attention", &[0.2, 0.4])]);
        let file = picture("rates", &sites).unwrap().file();
        let place = |text: &str| file.find(text).unwrap_or_else(|| panic!("{text}: {file}"));
        assert!(place(">2.attention<") < place(">10.attention<") && place(">10.attention<") < place(">encoder<"));
        assert!(place(">0.250<") < place(">1 of 2<") && place(">0.300<") < place(">0 of 2<"), "{file}");
        for nothing in [BTreeMap::new(), sites_of(&[("encoder", &[f32::NAN]), ("0.attention", &[])])] {
            assert!(picture("rates", &nothing).is_none());
        }
    }

    #[test]
    fn what_is_no_number_is_neither_on_nor_off_and_a_dropped_block_keeps_its_row() {
        // 0.01 itself is not below; the mean of the four numbers is 0.6 / 4.
        let channels = [0.0, 0.0099, 0.01, 0.5801, f32::NAN];
        let file = picture("rates", &sites_of(&[("0.attention", &channels), ("1.attention", &[])])).unwrap().file();
        assert!(file.contains(">0.150<") && file.contains(">2 of 4<"), "{file}");
        assert!(file.contains(">1.attention<") && file.matches(">–<").count() == 2, "{file}");
    }

    #[test]
    fn a_large_model_s_picture_stays_small() {
        // 96 sites of 1,920 channels, no two neighbours alike.
        let channels: Vec<f32> = (0..1920).map(|channel| (channel * 7919 % 1009) as f32 / 300.0).collect();
        let sites = (0..96).map(|site| (format!("{}.{}", site / 2, site % 2), channels.clone())).collect();
        let file = picture("rates", &sites).unwrap().file();
        assert!(file.len() < 800_000, "{}", file.len());
        assert!(file.contains("the mean of 3 neighbouring channels"), "{}", &file[..600]);
    }
}
