//! Error rates in figures: a table for each test and budget, then the same by seed and by fold.

use super::block::{Block, Row, Table, plain, section};
use super::numbers::{SIGNIFICANT, ends, median, p_value, points, starred, with_interval};
use super::{panels, scores};
use crate::compare::{Results, Scored};
use crate::run::report::{count, rate};

/// What there is nothing to say in.
const DASH: &str = "–";

/// The section.
pub(super) fn tables(results: &Results) -> Vec<Block> {
    let blocks = panels(results).into_iter().flat_map(|(budget, test)| {
        let title = Block::Heading(3, format!("{test}, {budget}"));
        [Some(title), rates(results, budget, test), parts(results, budget, test)].into_iter().flatten()
    });
    section("Error rates", blocks.collect())
}

fn rates(results: &Results, budget: &str, test: &str) -> Option<Block> {
    let rows = scores(results, budget, test).map(|scored| {
        let control = scored.arm == results.control;
        let name = if control { format!("{} (control)", scored.arm) } else { scored.arm.clone() };
        let difference = match &scored.wer_difference {
            Some(of) => [points(of.difference), ends(of.ci95), p_value(of.p), starred(of)],
            None => [DASH; 4].map(String::from),
        };
        let Scored { wer, cer, missed, inserted, .. } = scored;
        let measured = [wer, missed, inserted, cer].map(with_interval);
        let cells =
            [&[name, count(scored.utterances)][..], &measured[..], &difference[..], &[mapsswe(scored)]].concat();
        Row { cells, strong: control }
    });
    let head = [
        "arm",
        "utterances",
        "WER (95 %)",
        "words missed",
        "words inserted",
        "CER (95 %)",
        "WER’s difference, points",
        "95 %",
        "p",
        "p, Holm",
        "p, MAPSSWE",
    ];
    Table::block(&head, rows.collect())
}

/// The median over runs, and in how many of them it is small.
fn mapsswe(scored: &Scored) -> String {
    let known: Vec<f64> = scored.mapsswe.iter().flatten().copied().collect();
    let small = known.iter().filter(|&&p| p < SIGNIFICANT).count();
    let seeds = known.len();
    match median(known) {
        Some(p) => format!("{} (< {SIGNIFICANT} in {small} of {seeds})", p_value(p)),
        None => DASH.into(),
    }
}

/// WER by seed and by fold; none where there is but one of all of them.
fn parts(results: &Results, budget: &str, test: &str) -> Option<Block> {
    if results.seeds.len() < 2 && results.folds.len() < 2 {
        return None;
    }
    let shown = |value: Option<&f64>| value.map_or(DASH.into(), |&value| rate(Some(value)));
    let rows = scores(results, budget, test).map(|scored| {
        let seeds = results.seeds.iter().map(|seed| {
            let place = scored.seeds.iter().position(|other| other == seed);
            shown(place.and_then(|place| scored.by_seed.get(place)))
        });
        let folds = results.folds.iter().map(|fold| shown(scored.by_fold.get(fold)));
        plain(std::iter::once(scored.arm.clone()).chain(seeds).chain(folds).collect())
    });
    let seeds = results.seeds.iter().map(|seed| format!("WER, seed {seed}"));
    let folds = results.folds.iter().map(|fold| format!("WER, held out: {fold}"));
    let head = std::iter::once("arm".to_string()).chain(seeds).chain(folds).collect();
    let rows: Vec<Row> = rows.collect();
    let by = match (results.seeds.len(), results.folds.len()) {
        (_, 0) => "seed",
        (..=1, _) => "fold",
        _ => "seed and by fold",
    };
    let summary = format!("{test}, {budget}: WER by {by}");
    (!rows.is_empty()).then(|| Block::Folded(summary, vec![Block::Table(Table { head, rows })]))
}
