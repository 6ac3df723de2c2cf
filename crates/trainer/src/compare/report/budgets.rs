//! WER against the amount of training data: a chart for each test; of one budget, the arms below one another.

use super::block::{Block, Figure, section, side_by_side, slug};
use super::chart::{Chart, ENDS, Point, Series, Span};
use super::look::look;
use super::numbers::with_interval;
use super::rows::{Panel, Row};
use super::{scores, test_names};
use crate::compare::{Budget, Results};
use crate::run::report::{Axis, count};

/// How much room the arms of a budget share.
const DODGED: f64 = 40.0;

/// The section.
pub(super) fn budgets(results: &Results) -> Vec<Block> {
    let figures = test_names(results).into_iter().filter_map(|test| match &results.budgets[..] {
        [budget] => dots(results, &budget.name, test),
        _ => lines(results, test),
    });
    let figures = side_by_side(figures.collect());
    let (title, note) = match results.budgets.len() {
        2.. => ("WER against budget", "WER with its 95 % interval; arms of one budget are moved apart to be seen."),
        _ => ("WER", "WER with its 95 % interval."),
    };
    let note = figures.is_some().then(|| Block::Text(note.into()));
    section(title, note.into_iter().chain(figures).collect())
}

fn dots(results: &Results, budget: &str, test: &str) -> Option<Figure> {
    let rows = scores(results, budget, test).map(|scored| Row {
        name: &scored.arm,
        look: look(results, &scored.arm),
        value: scored.wer.rate * 100.0,
        ci95: scored.wer.ci95.map(|ends| ends.map(|end| end * 100.0)),
        filled: true,
        thick: false,
        cells: vec![with_interval(&scored.wer)],
    });
    let panel = Panel {
        label: format!("WER on {test} at {budget}"),
        axis: "WER, %".into(),
        right: 490.0,
        sides: None,
        columns: &[("WER (95 %)", 652.0)],
        rows: rows.collect(),
    };
    Some(Figure {
        name: slug(&["wer", test]),
        title: format!("{test}, {budget}"),
        caption: String::new(),
        svg: panel.draw()?,
    })
}

fn lines(results: &Results, test: &str) -> Option<Figure> {
    // Budgets of which nobody knows how much they are, or that are the same, are as far apart as any others.
    let amounts: Vec<f64> = results.budgets.iter().map(|budget| budget.learnt).collect();
    let known = amounts.first().is_some_and(|&first| first > 0.0) && amounts.is_sorted_by(|one, next| one < next);
    let place = |number: usize| if known { amounts[number] } else { number as f64 };
    let series = results.arms.iter().map(|arm| Series {
        name: &arm.name,
        look: look(results, &arm.name),
        points: (results.budgets.iter().enumerate())
            .flat_map(|(number, budget)| {
                scores(results, &budget.name, test).filter(|scored| scored.arm == arm.name).map(move |scored| Point {
                    x: place(number),
                    y: scored.wer.rate * 100.0,
                    ci95: scored.wer.ci95.map(|ends| ends.map(|end| end * 100.0)),
                })
            })
            .collect(),
    });
    let chart = Chart {
        label: format!("WER on {test} against minutes learnt from"),
        y: "WER, %",
        span: Span::Near { zero: false },
        x: axis(&results.budgets, known, place),
        along: if known { "minutes learnt from, logarithmic" } else { "budget" },
        dodge: (DODGED / results.arms.len().max(1) as f64).min(8.0),
        series: series.collect(),
    };
    Some(Figure { name: slug(&["wer", test]), title: test.into(), caption: String::new(), svg: chart.draw()? })
}

/// A tick a budget, unless its name would run into the one before.
fn axis(budgets: &[Budget], logarithmic: bool, place: impl Fn(usize) -> f64) -> Axis {
    let [first, last] = [place(0), place(budgets.len().saturating_sub(1))];
    // Room for what is moved apart at either end.
    let ends = if logarithmic {
        let margin = (last / first).powf(0.08);
        [first / margin, last * margin]
    } else {
        [first - 0.3, last + 0.3]
    };
    let bare = Axis::ticked(ends, logarithmic, ENDS, Vec::new());
    let mut ticks: Vec<(f64, String)> = Vec::new();
    for (number, budget) in budgets.iter().enumerate() {
        let at = place(number);
        if ticks.last().is_none_or(|(before, _)| bare.place(at) - bare.place(*before) > 80.0) {
            ticks.push((at, if logarithmic { named(budget) } else { budget.name.clone() }));
        }
    }
    Axis::ticked(ends, logarithmic, ENDS, ticks)
}

/// A budget's name with what was learnt from, where that is not the name's.
fn named(budget: &Budget) -> String {
    let minutes = match budget.learnt {
        10.0.. => count(budget.learnt.round() as u64),
        learnt => format!("{learnt:.1}"),
    };
    let same = budget.name == format!("{minutes} min");
    if same { budget.name.clone() } else { format!("{} ({minutes})", budget.name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_name_what_was_learnt_from_and_do_not_run_into_one_another() {
        let budget = |name: &str, learnt| Budget { name: name.into(), minutes: None, learnt };
        let budgets = [budget("10 min", 9.7), budget("11 min", 11.0), budget("all", 1234.4)];
        let axis = axis(&budgets, true, |number| budgets[number].learnt);
        let labels: Vec<&str> = axis.ticks.iter().map(|(_, label)| label.as_str()).collect();
        assert_eq!(labels, ["10 min (9.7)", "all (1\u{202f}234)"]);
        assert_eq!(named(&budgets[1]), "11 min");
        // On a logarithmic axis with 8 % of its length beyond either end: 0.08 / 1.16 of 486 units, from 58.
        assert!((axis.place(9.7) - (58.0 + 486.0 * 0.08 / 1.16)).abs() < 0.01);
    }
}
