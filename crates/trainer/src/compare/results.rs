//! What an experiment came to: everything that its reports show, and `report.json` itself.

use std::collections::BTreeMap;

use klang_text::{Ci95Unit, DrawRuns};
use serde::{Deserialize, Serialize};

use crate::evaluate::number_or_null;
use crate::recipe::ChooseBy;

/// An experiment's results. Rates are fractions: 0.123 is 12.3 %.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The experiment's name: its file's, without extension.
    pub name: String,
    /// What it is about, in its author's words; may be empty.
    pub about: String,
    /// klang's version.
    pub klang: String,
    /// The command that makes it.
    pub command: String,
    /// On what it was computed, as the runs say; more than one where runs differ.
    pub compute: Vec<String>,
    /// SHA-256 of each manifest, by the path that the recipe names it by.
    pub fingerprints: BTreeMap<String, String>,
    /// The arm that all others are compared with.
    pub control: String,
    /// The arms, in the experiment's order; the control is among them.
    pub arms: Vec<Arm>,
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
    /// Amounts of training data, smallest first.
    pub budgets: Vec<Budget>,
    /// What was held out in each fold; empty without folds.
    pub folds: Vec<String>,
    /// What intervals are over.
    pub ci95_unit: Ci95Unit,
    /// Whether they are over seeds, too.
    pub draw_runs: DrawRuns,
    /// Runs that are missing, and why; what they would have been part of is computed from the others.
    pub missing: Vec<Missing>,
    /// Error rates, by budget, test and arm, in these orders.
    pub scores: Vec<Scored>,
    /// Learning curves, by budget and arm, in these orders.
    pub curves: Vec<Learning>,
    /// KL-Norm's rates at the end, of the arms that have any.
    pub rates: Vec<ArmRates>,
    /// What the arms cost, in the arms' order.
    pub costs: Vec<Cost>,
    /// What each arm's search tried; empty without a search.
    pub searches: Vec<Search>,
}

/// An arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Its name.
    pub name: String,
    /// How its recipe differs from the base, as `KEY=VALUE`.
    pub set: Vec<String>,
}

/// An amount of training data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Its name: `10 min`, `1 h`, `all`.
    pub name: String,
    /// At most so many minutes; none for all there is.
    pub minutes: Option<f64>,
    /// Minutes that a run learnt from, mean over runs.
    pub learnt: f64,
}

/// A run that is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    /// Its name: its folder's.
    pub run: String,
    /// Why.
    pub why: String,
}

/// A mean over runs (and, with folds, over all held-out utterances together) with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The rate.
    pub rate: f64,
    /// Low and high; none where there are fewer than two units.
    pub ci95: Option<[f64; 2]>,
}

/// A paired difference to the control: negative is better than it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// This arm's rate less the control's.
    pub difference: f64,
    /// Its 95 % interval.
    pub ci95: [f64; 2],
    /// Two-sided p by the paired bootstrap.
    pub p: f64,
    /// The same, corrected over this budget's and test's arms by Holm's method.
    pub p_holm: f64,
}

/// One arm's error rates on one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The budget's name.
    pub budget: String,
    /// The test's name.
    pub test: String,
    /// The arm's name.
    pub arm: String,
    /// Seeds that count.
    pub seeds: Vec<u64>,
    /// Utterances scored.
    pub utterances: u64,
    /// Word error rate.
    pub wer: Interval,
    /// Character error rate.
    pub cer: Interval,
    /// Reference words that were replaced or left out, a reference word: WER is these and those inserted. Of alignments with as
    /// few errors the one counts that [`klang_text::Counts`] are of.
    pub missed: Interval,
    /// Words that no reference word accounts for, a reference word.
    pub inserted: Interval,
    /// WER against the control's; none for the control, or where nothing can be compared.
    pub wer_difference: Option<Difference>,
    /// The same of CER.
    pub cer_difference: Option<Difference>,
    /// The same of the words missed.
    pub missed_difference: Option<Difference>,
    /// The same of the words inserted.
    pub inserted_difference: Option<Difference>,
    /// p of NIST's matched-pairs test on words, run by run (a seed's, or a seed's and fold's where folds share a test); none
    /// where it is not defined.
    pub mapsswe: Vec<Option<f64>>,
    /// WER by seed, in the order of `seeds`.
    pub by_seed: Vec<f64>,
    /// WER by fold, mean over seeds; empty without folds.
    pub by_fold: BTreeMap<String, f64>,
}

/// Learning curves of an arm, means over its runs at each evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learning {
    /// The budget's name.
    pub budget: String,
    /// The arm's name.
    pub arm: String,
    /// In the updates' order.
    pub points: Vec<LearningPoint>,
}

/// One evaluation, mean over runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningPoint {
    /// Updates done.
    pub update: u64,
    /// Training loss since the evaluation before, nats a label, with masks, dropout, noise and augmentation; none where the
    /// recipe reduces it otherwise.
    pub train_loss: Option<f64>,
    /// Dev's loss, nats a label; NaN, which JSON says as null, where it was not finite.
    #[serde(deserialize_with = "number_or_null")]
    pub dev_loss: f64,
    /// Dev's WER.
    pub dev_wer: f64,
    /// Dev's CER.
    pub dev_cer: f64,
}

/// KL-Norm's rates of one run at its last evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmRates {
    /// The budget's name.
    pub budget: String,
    /// The arm's name.
    pub arm: String,
    /// The run that they are of.
    pub run: String,
    /// Nats of each channel, by site.
    pub sites: BTreeMap<String, Vec<f32>>,
}

/// What an arm costs, means over its runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The arm's name.
    pub arm: String,
    /// Parameters while it learns.
    pub parameters: u64,
    /// Of these, those that learn.
    pub trainable: u64,
    /// Processor seconds an update, evaluations and the scoring of tests included; none where the system does not tell.
    pub processor_seconds: Option<f64>,
    /// Largest memory of a run, MiB; none where the system does not tell.
    pub peak_mib: Option<f64>,
}

/// What an arm's search tried at one budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The budget's name.
    pub budget: String,
    /// The arm's name.
    pub arm: String,
    /// Which of dev's rates decides first.
    pub decided_by: ChooseBy,
    /// What was tried.
    pub tries: Vec<Try>,
    /// The one chosen, by its place among them; none where all of them failed.
    pub chosen: Option<usize>,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// `KEY=VALUE`.
    pub set: Vec<String>,
    /// Dev's WER and CER, in the order in which they decide; none where it failed.
    pub dev: Option<[f64; 2]>,
}

impl Results {
    /// The error rates as a table for a terminal: a line for each budget, test and arm.
    pub fn table(&self) -> String {
        let percent = |rate: f64| format!("{:.2}", 100.0 * rate);
        let between = |[low, high]: [f64; 2]| format!("{} to {}", percent(low), percent(high));
        let head = ["budget", "test", "arm", "seeds", "WER %", "95 %", "CER %", "WER − control", "95 %", "p (Holm)"];
        let mut rows = vec![head.map(String::from).to_vec()];
        for scored in &self.scores {
            let difference = scored.wer_difference;
            rows.push(vec![
                scored.budget.clone(),
                scored.test.clone(),
                scored.arm.clone(),
                scored.seeds.len().to_string(),
                percent(scored.wer.rate),
                scored.wer.ci95.map_or_else(String::new, between),
                percent(scored.cer.rate),
                difference.map_or_else(String::new, |difference| format!("{:+.2}", 100.0 * difference.difference)),
                difference.map_or_else(String::new, |difference| between(difference.ci95)),
                difference.map_or_else(String::new, |difference| format!("{:.4}", difference.p_holm)),
            ]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate();
            // Words to the left, numbers to the right.
            let cells = cells.map(|(column, (cell, &width))| match column {
                0..3 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
        };
        rows.iter().map(line).collect()
    }
}
