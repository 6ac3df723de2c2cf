//! What the arms cost, and how their settings were chosen.

use super::block::{Block, Row, Table, plain, section};
use super::numbers::many;
use crate::compare::{Cost, Results, Search};
use crate::recipe::ChooseBy;
use crate::run::report::{count, rate};

/// Parameters, time and memory, against the control's.
pub(super) fn costs(results: &Results) -> Vec<Block> {
    let control = results.costs.iter().find(|cost| cost.arm == results.control);
    let rows = results.costs.iter().map(|cost| {
        let ratio = |of: fn(&Cost) -> Option<f64>| match (of(cost), control.and_then(of)) {
            (Some(one), Some(control)) if control > 0.0 => format!(" (×{:.2})", one / control),
            _ => String::new(),
        };
        let seconds = cost.processor_seconds.map_or("–".into(), |seconds| {
            let decimals = if seconds < 1.0 { 3 } else { 2 };
            format!("{seconds:.decimals$}{}", ratio(|cost| cost.processor_seconds))
        });
        let mib = cost
            .peak_mib
            .map_or("–".into(), |mib| format!("{}{}", count(mib.round() as u64), ratio(|cost| cost.peak_mib)));
        let cells =
            vec![cost.arm.clone(), count(cost.parameters), more(cost, control), count(cost.trainable), seconds, mib];
        Row { cells, strong: cost.arm == results.control }
    });
    let head =
        ["arm", "parameters", "more than the control", "of these learn", "processor seconds an update", "peak MiB"];
    section("Costs", Table::block(&head, rows.collect()).into_iter().collect())
}

/// How many more parameters than the control, in per cent.
fn more(cost: &Cost, control: Option<&Cost>) -> String {
    match control.filter(|control| control.parameters > 0) {
        Some(control) => {
            let share = cost.parameters as f64 / control.parameters as f64 - 1.0;
            match format!("{:.3}\u{a0}%", share.abs() * 100.0) {
                same if cost.parameters == control.parameters => same.replace("0.000", "0"),
                more if share > 0.0 => format!("+{more}"),
                less => format!("−{less}"),
            }
        }
        None => "–".into(),
    }
}

/// What each arm's search tried and chose.
pub(super) fn searches(results: &Results) -> Vec<Block> {
    let folded = results.searches.iter().filter_map(|search| {
        let summary = format!("{}, {}: {}", search.arm, search.budget, many(search.tries.len(), "candidate"));
        Some(Block::Folded(summary, vec![tries(search)?]))
    });
    section("Search", folded.collect())
}

fn tries(search: &Search) -> Option<Block> {
    let rows = search.tries.iter().enumerate().map(|(place, attempt)| {
        let chosen = search.chosen == Some(place);
        let rates = match attempt.dev {
            Some(rates) => rates.map(|value| rate(Some(value))),
            None => ["failed", "–"].map(String::from),
        };
        let cells = [&[settings(&attempt.set)], &rates[..], &[if chosen { "chosen".into() } else { String::new() }]];
        Row { cells: cells.concat(), strong: chosen }
    });
    let head = match search.decided_by {
        ChooseBy::Wer => ["settings", "WER on dev, which decides", "CER on dev", ""],
        ChooseBy::Cer => ["settings", "CER on dev, which decides", "WER on dev", ""],
    };
    Table::block(&head, rows.collect())
}

/// `KEY=VALUE` one after another.
pub(super) fn settings(set: &[String]) -> String {
    if set.is_empty() { "the base recipe as it is".into() } else { set.join("; ") }
}

/// Each arm's settings.
pub(super) fn arms(results: &Results) -> Option<Block> {
    let rows = results.arms.iter().map(|arm| plain(vec![arm.name.clone(), settings(&arm.set)]));
    Table::block(&["arm", "settings"], rows.collect())
}
