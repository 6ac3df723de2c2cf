//! Learning curves: losses, the gap between them, and dev's error rates, for each budget.

use super::block::{Block, Figure, section, slug};
use super::chart::{Chart, ENDS, Point, Series, Span};
use super::look::look;
use crate::compare::{LearningPoint, Results};
use crate::run::report::Axis;

/// What is drawn of a point.
type Pick = fn(&LearningPoint) -> Option<f64>;

/// A chart's name, title, axis and value; whether it shows the values' surroundings only, and 0 among them.
const CHARTS: [(&str, &str, &str, Pick, Span); 5] = [
    ("dev-loss", "Loss on dev", "nats a label", |point| Some(point.dev_loss), Span::Whole),
    ("train-loss", "Loss in training", "nats a label", |point| point.train_loss, Span::Whole),
    (
        "gap",
        "Gap: loss on dev less loss in training",
        "nats a label",
        |point| Some(point.dev_loss - point.train_loss?),
        Span::Near { zero: true },
    ),
    ("dev-wer", "WER on dev", "%", |point| Some(point.dev_wer * 100.0), Span::Near { zero: false }),
    ("dev-cer", "CER on dev", "%", |point| Some(point.dev_cer * 100.0), Span::Near { zero: false }),
];

/// The section.
pub(super) fn learning(results: &Results) -> Vec<Block> {
    let budgets = results.budgets.iter().filter_map(|budget| {
        let figures: Vec<Figure> =
            CHARTS.into_iter().filter_map(|chart| figure(results, &budget.name, chart)).collect();
        let summary = format!("Learning curves, {}", budget.name);
        (!figures.is_empty()).then(|| Block::Folded(summary, vec![Block::Figures(figures)]))
    });
    let budgets: Vec<Block> = budgets.collect();
    let note = "Means over runs. Loss in training is measured with masks, dropout, noise and augmentation, and while the \
                weights change; dev’s is measured without any of these. The gap is therefore not over-fitting alone: \
                compare it between arms and along updates, not with zero.";
    let note = (!budgets.is_empty()).then(|| Block::Text(note.into()));
    section("Learning curves", note.into_iter().chain(budgets).collect())
}

fn figure(
    results: &Results,
    budget: &str,
    (name, title, y, pick, span): (&str, &str, &'static str, Pick, Span),
) -> Option<Figure> {
    let curves = results.curves.iter().filter(|learning| learning.budget == budget);
    let last = curves.clone().flat_map(|learning| &learning.points).map(|point| point.update).max()?;
    let series = curves.map(|learning| {
        let point = |point: &LearningPoint| Some(Point { x: point.update as f64, y: pick(point)?, ci95: None });
        Series {
            name: &learning.arm,
            look: look(results, &learning.arm),
            points: learning.points.iter().filter_map(point).collect(),
        }
    });
    let chart = Chart {
        label: format!("{title}, {budget}"),
        y,
        span,
        x: Axis::updates(last, ENDS),
        along: "updates",
        dodge: 0.0,
        series: series.collect(),
    };
    Some(Figure { name: slug(&[name, budget]), title: title.into(), caption: String::new(), svg: chart.draw()? })
}
