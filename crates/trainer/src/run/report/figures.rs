//! The charts of a run.

use klang_ctc::Reduction;

use super::Contents;
use super::axis::Unit;
use super::gap::gap;
use super::html::rate;
use super::plot::{Curve, Plot};
use crate::event::PretrainingMeasures;
use crate::pretrain::{HeldOut, Probed};
use crate::run::MetricsLine;

/// All charts that there is something to draw for.
pub(super) fn figures(contents: &Contents) -> String {
    let lines = &contents.lines;
    let updates = lines.iter().map(MetricsLine::update).filter(|&update| update != u64::MAX);
    let last = updates.max().unwrap_or(0);
    let plots = [losses(contents), vec![gap(contents), error_rates(lines)], of_pretraining(lines), of_training(lines)];
    let figures: String = plots.iter().flatten().map(|plot| plot.figure(last)).collect();
    if figures.is_empty() { figures } else { format!("<h2>Curves</h2>\n<div class=figures>\n{figures}</div>\n") }
}

/// Training and dev loss, in one chart if they are of one unit.
fn losses(contents: &Contents) -> Vec<Plot> {
    let mut training = curve(&contents.lines, "training", |line| match line {
        MetricsLine::Train { update, loss, .. } => Some((*update, *loss)),
        _ => None,
    });
    let initial = contents.lines.iter().find_map(|line| match line {
        MetricsLine::Train { initial_loss, .. } => *initial_loss,
        _ => None,
    });
    training.points.splice(0..0, initial.map(|loss| (0, loss)));
    let mut dev = curve(&contents.lines, "dev", |line| match line {
        MetricsLine::Dev { update, behaviour, .. } => Some((*update, behaviour.loss)),
        _ => None,
    });
    dev.dots = true;
    let plot = |title, note: &str, curves| Plot { title, note: note.into(), unit: Unit::Magnitude, curves, mark: None };
    let apart = |unit| {
        vec![plot("Training loss", unit, vec![training.clone()]), plot("Dev loss", "nats per label", vec![dev.clone()])]
    };
    match contents.recipe.as_ref().map(|recipe| recipe.train.loss_reduction) {
        Some(Reduction::Label) => vec![plot("Loss", "CTC, nats per label", vec![training, dev])],
        Some(Reduction::Utterance) => apart("nats per utterance: not comparable with dev’s"),
        Some(Reduction::Sum) => apart("nats, summed: not comparable with dev’s"),
        None => apart("nats"),
    }
}

/// WER with its interval, and CER, on dev.
fn error_rates(lines: &[MetricsLine]) -> Plot {
    let mut wer = curve(lines, "WER and its 95 % interval", |line| match line {
        MetricsLine::Dev { update, score, .. } => score.wer.map(|wer| (*update, wer)),
        _ => None,
    });
    let mut cer = curve(lines, "CER", |line| match line {
        MetricsLine::Dev { update, score, .. } => score.cer.map(|cer| (*update, cer)),
        _ => None,
    });
    wer.band.extend(lines.iter().filter_map(|line| match line {
        MetricsLine::Dev { update, score, .. } => score.wer_ci95.map(|[low, high]| (*update, low, high)),
        _ => None,
    }));
    [wer.dots, cer.dots] = [true, true];
    let mark = lines.iter().rev().find_map(|line| match line {
        MetricsLine::Dev { update, best: true, score, .. } => {
            score.wer.map(|wer| (*update, wer, format!("best {}", rate(Some(wer)))))
        }
        _ => None,
    });
    Plot { title: "Dev error rates", note: String::new(), unit: Unit::Percent, curves: vec![wer, cer], mark }
}

/// What only pretraining has.
fn of_pretraining(lines: &[MetricsLine]) -> Vec<Plot> {
    let training = |name: &str, value: fn(&PretrainingMeasures) -> Option<f64>| {
        curve(lines, name, move |line| match line {
            MetricsLine::Pretrain { update, measures, .. } => value(measures).map(|value| (*update, value)),
            _ => None,
        })
    };
    let held_out = |name: &str, value: fn(&HeldOut) -> Option<f64>| {
        let mut curve = curve(lines, name, move |line| match line {
            MetricsLine::HeldOut { update, held_out, .. } => value(held_out).map(|value| (*update, value)),
            _ => None,
        });
        curve.dots = true;
        curve
    };
    let probe = |name: &str, value: fn(&Probed) -> Option<f64>| {
        let mut curve = curve(lines, name, move |line| match line {
            MetricsLine::HeldOut { update, probe: Some(probe), .. } => value(probe).map(|value| (*update, value)),
            _ => None,
        });
        curve.dots = true;
        curve
    };
    let plot = |title, note: &str, unit, curves| Plot { title, note: note.into(), unit, curves, mark: None };
    vec![
        plot(
            "Prediction of masked frames",
            "nats a masked frame",
            Unit::Number,
            vec![
                training("training", |measures| Some(measures.prediction)),
                held_out("held-out speech", |held_out| Some(held_out.loss)),
            ],
        ),
        plot(
            "Masked frames told",
            "share of masked frames",
            Unit::Percent,
            vec![
                training("training", |measures| Some(measures.accuracy)),
                held_out("held-out speech", |held_out| Some(held_out.accuracy)),
            ],
        ),
        plot(
            "Probe",
            "CER of a linear head on the encoder as it is",
            Unit::Percent,
            vec![probe("CER", |probe| probe.score.cer)],
        ),
        plot("Probe’s loss", "nats per label", Unit::Number, vec![probe("loss", |probe| Some(probe.loss))]),
        plot(
            "Codes in use",
            "perplexity within what a thread computes of an update",
            Unit::Number,
            vec![
                training("asked for", |measures| Some(measures.perplexity)),
                training("predicted", |measures| measures.predicted_perplexity),
            ],
        ),
        plot(
            "Spread of hidden states",
            "1 less the mean cosine; 0 is collapse",
            Unit::Number,
            vec![held_out("held-out speech", |held_out| Some(held_out.spread))],
        ),
        plot(
            "Features",
            "mean square, before its weight",
            Unit::Magnitude,
            vec![training("penalty", |measures| measures.penalty)],
        ),
        plot(
            "Temperature",
            "of the choice of codes",
            Unit::Number,
            vec![training("temperature", |measures| measures.temperature)],
        ),
    ]
}

/// What both kinds of training tell.
fn of_training(lines: &[MetricsLine]) -> Vec<Plot> {
    let learning_rate = curve(lines, "learning rate", |line| match line {
        MetricsLine::Train { update, learning_rate, .. } | MetricsLine::Pretrain { update, learning_rate, .. } => {
            Some((*update, *learning_rate))
        }
        _ => None,
    });
    let gradient_norm = curve(lines, "gradient norm", |line| match line {
        MetricsLine::Train { update, gradient_norm, .. } | MetricsLine::Pretrain { update, gradient_norm, .. } => {
            Some((*update, *gradient_norm))
        }
        _ => None,
    });
    let blank = curve(lines, "blank", |line| match line {
        MetricsLine::Train { update, blank, .. } => Some((*update, *blank)),
        _ => None,
    });
    let mut dev_blank = curve(lines, "blank on dev", |line| match line {
        MetricsLine::Dev { update, behaviour, .. } => Some((*update, behaviour.blank)),
        _ => None,
    });
    dev_blank.dots = true;
    let masked = curve(lines, "masked", |line| match line {
        MetricsLine::Train { update, masked, .. } | MetricsLine::Pretrain { update, masked, .. } => {
            Some((*update, *masked))
        }
        _ => None,
    });
    let mean = curve(lines, "mean", |line| match line {
        MetricsLine::Train { update, rate, .. } | MetricsLine::Pretrain { update, rate, .. } => {
            rate.map(|rate| (*update, rate))
        }
        _ => None,
    });
    let site = |name, pick: fn(f64, f64) -> f64| {
        curve(lines, name, move |line| match line {
            MetricsLine::Train { update, rates, .. } | MetricsLine::Pretrain { update, rates, .. } => {
                rates.values().copied().reduce(pick).map(|rate| (*update, rate))
            }
            _ => None,
        })
    };
    let weight = curve(lines, "λ", |line| match line {
        MetricsLine::Train { update, rate_weight, .. } | MetricsLine::Pretrain { update, rate_weight, .. } => {
            rate_weight.map(|weight| (*update, weight))
        }
        _ => None,
    });
    let plot = |title, note: &str, unit, curves| Plot { title, note: note.into(), unit, curves, mark: None };
    let rates = vec![mean, site("highest", f64::max), site("lowest", f64::min)];
    vec![
        plot("Learning rate", "", Unit::Number, vec![learning_rate]),
        plot("Frames", "share of real frames", Unit::Percent, vec![blank, dev_blank, masked]),
        plot("Gradient norm", "before clipping", Unit::Magnitude, vec![gradient_norm]),
        plot("KL-Norm’s rate", "nats per channel, over sites", Unit::Number, rates),
        plot("λ", "weight of KL-Norm’s rate in the loss", Unit::Number, vec![weight]),
    ]
}

fn curve(lines: &[MetricsLine], name: &str, point: impl Fn(&MetricsLine) -> Option<(u64, f64)>) -> Curve {
    Curve { name: name.into(), points: lines.iter().filter_map(point).collect(), ..Curve::default() }
}
