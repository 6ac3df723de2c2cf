//! KL-Norm's last rates in a run.

use std::collections::BTreeMap;

use super::html::count;
use crate::drawing::picture;
use crate::run::MetricsLine;
use crate::sites::SWITCHED_OFF;

/// The last rates by site and channel; empty where there are none.
pub(super) fn channels(lines: &[MetricsLine]) -> String {
    let all = lines.iter().filter_map(|line| match line {
        MetricsLine::Rates { update, sites } => Some((*update, sites)),
        _ => None,
    });
    let Some((update, last)) = all.clone().next_back() else { return String::new() };
    // A block that was dropped in the last update has its place all the same.
    let mut sites: BTreeMap<String, Vec<f32>> =
        all.flat_map(|(_, sites)| sites.keys()).map(|name| (name.clone(), Vec::new())).collect();
    sites.extend(last.clone());
    let Some(picture) = picture("KL-Norm’s rate by site and channel", &sites) else { return String::new() };
    let rates = || sites.values().flatten().filter(|nats| nats.is_finite());
    let off = rates().filter(|&&nats| nats < SWITCHED_OFF).count();
    format!(
        "<h2>KL-Norm’s rate by site and channel</h2>\n<figure><figcaption>Nats of each channel in update {}. {} of {} channels are switched off (grey): below {SWITCHED_OFF} nats a channel says next to nothing of its input.</figcaption>\n{}</figure>\n",
        count(update),
        count(off as u64),
        count(rates().count() as u64),
        picture.inline()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(update: u64, sites: &[(&str, &[f32])]) -> MetricsLine {
        let sites = sites.iter().map(|&(name, channels)| (name.into(), channels.into())).collect();
        MetricsLine::Rates { update, sites }
    }

    #[test]
    fn only_the_last_rates_are_drawn_and_a_dropped_block_keeps_its_row() {
        let before = rates(20, &[("0.attention", &[0.1, 0.2]), ("1.attention", &[0.3, 0.4])]);
        let page = channels(&[before, rates(40, &[("1.attention", &[0.0099, 0.9])])]);
        assert!(page.contains("update 40. 1 of 2 channels are switched off"), "{page}");
        assert!(page.contains(">0.455<") && page.contains(">0.attention<") && page.contains(">–<"), "{page}");
    }

    #[test]
    fn names_are_text_and_without_numbers_there_is_no_picture() {
        let page = channels(&[rates(20, &[("<script>&", &[0.1])])]);
        assert!(page.contains("&lt;script&gt;&amp;") && !page.contains("<script"), "{page}");
        for lines in [vec![], vec![rates(20, &[])], vec![rates(20, &[("encoder", &[f32::NAN])])]] {
            assert_eq!(channels(&lines), "");
        }
    }
}
