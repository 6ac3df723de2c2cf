//! Paired differences to the control: a forest plot for each test and budget, and as a table those of what is beside WER.

use super::block::{Block, Figure, Table, plain, section, side_by_side, slug};
use super::look::look;
use super::numbers::{ends, p_value, points, starred};
use super::rows::{Panel, Row};
use super::{panels, scores};
use crate::compare::Results;

/// The section.
pub(super) fn forest(results: &Results) -> Vec<Block> {
    let panels = panels(results);
    let figures = panels.iter().filter_map(|&(budget, test)| figure(results, budget, test)).collect();
    let figures = side_by_side(figures);
    let note = figures.is_some().then(|| {
        Block::Text(
            "Paired differences in WER with 95 % intervals, which are of no correction: thick where they exclude zero. A \
             filled marker and a star say that p < 0.05 after Holm’s correction over the arms of a test and budget."
                .into(),
        )
    });
    let beside = others(results).map(|table| {
        let note = "The same of CER, and of what WER is made of: reference words that were missed (replaced or left out) and \
                    words that were inserted, by one of the alignments with the fewest errors.";
        [Block::Text(note.into()), table]
    });
    let blocks = note.into_iter().chain(figures).chain(beside.into_iter().flatten()).collect();
    section("Differences to the control", blocks)
}

fn figure(results: &Results, budget: &str, test: &str) -> Option<Figure> {
    let rows = scores(results, budget, test).filter_map(|scored| {
        let difference = scored.wer_difference?;
        Some(Row {
            name: &scored.arm,
            look: look(results, &scored.arm),
            value: difference.difference * 100.0,
            ci95: Some(difference.ci95.map(|end| end * 100.0)),
            filled: difference.significant(),
            thick: difference.excludes_zero(),
            cells: vec![
                points(difference.difference),
                ends(difference.ci95),
                p_value(difference.p),
                starred(&difference),
            ],
        })
    });
    let title = format!("{test}, {budget}");
    let panel = Panel {
        label: format!("WER less that of {}: {title}", results.control),
        axis: format!("WER less that of {}, points", results.control),
        right: 364.0,
        sides: Some(["better", "worse"]),
        columns: &[("points", 412.0), ("95 %", 528.0), ("p", 582.0), ("p, Holm", 652.0)],
        rows: rows.collect(),
    };
    Some(Figure { name: slug(&["difference", test, budget]), title, caption: String::new(), svg: panel.draw()? })
}

/// Differences in CER, and in what WER is made of.
fn others(results: &Results) -> Option<Block> {
    let panels = panels(results);
    let rows = panels.iter().flat_map(|&(budget, test)| {
        scores(results, budget, test).filter_map(move |scored| {
            let names = [test, budget, &scored.arm].map(String::from);
            let all = [scored.cer_difference?, scored.missed_difference?, scored.inserted_difference?];
            let numbers = all.map(|of| [format!("{} ({})", points(of.difference), ends(of.ci95)), starred(&of)]);
            Some(plain([&names[..], &numbers.concat()].concat()))
        })
    });
    let head = [
        "test",
        "budget",
        "arm",
        "CER, points (95 %)",
        "p, Holm",
        "words missed, points (95 %)",
        "p, Holm",
        "words inserted, points (95 %)",
        "p, Holm",
    ];
    Table::block(&head, rows.collect())
}
