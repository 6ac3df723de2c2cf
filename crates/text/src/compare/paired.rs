//! The difference of two systems' error rates by the paired bootstrap (Bisani and Ney, "Bootstrap estimates for confidence
//! intervals in ASR performance evaluation", ICASSP 2004): each draw of units is one for both systems and all their runs, so
//! that what is hard for both cancels out.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::units::{Rows, UtteranceRuns, uncomparable};
use crate::bootstrap::{Resampling, key, middle95, rate};
use crate::{Ci95Unit, Error};

/// Whether a system's runs (seeds) are drawn along with the units.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum DrawRuns {
    /// No: how the mean of *these* runs would vary over other utterances or speakers.
    #[default]
    Fixed,
    /// Yes, with replacement, each system's for itself: how the mean of as many runs would vary over other units and other
    /// seeds. It is too narrow for few runs (their variance comes out (runs − 1) / runs of what it is), and one run says
    /// nothing of another.
    Apart,
    /// Likewise, but the same runs for both systems, where the first run of the one and the first of the other share a seed,
    /// or a start, or a sample of data, and so on: what a run does to both cancels out.
    Together,
}

/// How to compare.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct CompareOptions {
    /// Bootstrap draws. The least p is 2 / (1 + draws). Default: 10,000.
    pub resamples: u32,
    /// The seed of the draws. Default: 0.
    pub seed: u64,
    /// What is drawn. Default: utterances.
    pub ci95_unit: Ci95Unit,
    /// Whether runs are drawn too. Default: fixed.
    pub draw_runs: DrawRuns,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self { resamples: 10_000, seed: 0, ci95_unit: Ci95Unit::default(), draw_runs: DrawRuns::default() }
    }
}

/// A system against a control. Rates are fractions: 0.123 is 12.3 %.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The control's error rate, ≥ 0: the mean over its runs of the corpus-level rate.
    pub control: f64,
    /// The system's, likewise.
    pub system: f64,
    /// System − control: negative where the system is better.
    pub difference: f64,
    /// 95 % bootstrap interval of the difference, `[low, high]`; of what, [`Ci95Unit`] and [`DrawRuns`] say.
    pub difference_ci95: [f64; 2],
    /// Two-sided p of no difference, above 0 and at most 1: twice the share of draws on the rarer side of 0, a draw of exactly
    /// 0 on both, and one more draw on that side than there were, since none of finitely many does not make p 0 (Davison and
    /// Hinkley, "Bootstrap Methods and their Application", 1997, chapter 4).
    pub p: f64,
    /// Utterances or speakers.
    pub units: u64,
    /// Draws in which both rates are defined: those that count.
    pub draws: u32,
    /// What was drawn.
    pub ci95_unit: Ci95Unit,
    /// Whether runs were, too.
    pub draw_runs: DrawRuns,
}

/// One system's error rate, as a fraction.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct MeanRate {
    /// The mean over the runs of the corpus-level rate, ≥ 0.
    pub rate: f64,
    /// Its 95 % bootstrap interval, `[low, high]`; of what, [`Ci95Unit`] and [`DrawRuns`] say.
    pub ci95: [f64; 2],
    /// Utterances or speakers.
    pub units: u64,
    /// Draws in which the rate is defined: those that count.
    pub draws: u32,
    /// What was drawn.
    pub ci95_unit: Ci95Unit,
    /// Whether runs were, too.
    pub draw_runs: DrawRuns,
}

/// Compares `system` with `control`: results of the same utterances in the same order.
///
/// Neither the order of the utterances nor any other call changes the result. `None` where there is nothing to compare: fewer
/// than two units, no run, no draw, or no defined rate.
///
/// Time O(draws × units × runs), memory O(draws + units × runs).
///
/// # Errors
/// [`Error::Uncomparable`] if the utterances are not the same by number, speaker and length of the reference, if a run lacks
/// one, if speakers are drawn and an utterance has none, or if runs are drawn together and the systems have not as many.
pub fn compare(
    control: &[UtteranceRuns],
    system: &[UtteranceRuns],
    options: &CompareOptions,
) -> Result<Option<Comparison>, Error> {
    let Some(rows) = Rows::of([control, system], options.ci95_unit)? else { return Ok(None) };
    if options.draw_runs == DrawRuns::Together && rows.runs[0] != rows.runs[1] {
        let what = "to draw runs together, both systems must have as many, but they have";
        return Err(uncomparable(0, what, rows.runs[0], rows.runs[1]));
    }
    Ok(summarise(rows, options))
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // at most as many draws as there were to be: a u32
fn summarise(rows: Rows<2>, options: &CompareOptions) -> Option<Comparison> {
    let (units, [control, system]) = (rows.units as u64, observed(&rows)?);
    let differences: Vec<f64> =
        resampled(rows, options)?.into_iter().map(|[control, system]| system - control).collect();
    // Both rates are whole numbers over one denominator, or its multiples, and rounded once: equal rates differ by exactly 0.
    let share = |count: usize| (1 + count) as f64 / (1 + differences.len()) as f64;
    let at_most = share(differences.iter().filter(|difference| **difference <= 0.0).count());
    let at_least = share(differences.iter().filter(|difference| **difference >= 0.0).count());
    Some(Comparison {
        control,
        system,
        difference: system - control,
        p: (2.0 * at_most.min(at_least)).min(1.0),
        units,
        draws: differences.len() as u32,
        difference_ci95: middle95(differences)?,
        ci95_unit: options.ci95_unit,
        draw_runs: options.draw_runs,
    })
}

/// The mean rate of one system's runs, and its interval: that of a bar in a figure. Whether two systems differ is not to be
/// seen from two such intervals; [`compare`] says it.
///
/// Runs are drawn unless they are [`DrawRuns::Fixed`]. With one run it is the rate and the interval of
/// [`interval95`](crate::interval95) under the same seed. `None` as for [`compare`], and errors likewise.
///
/// # Errors
/// [`Error::Uncomparable`] if a run lacks an utterance or was scored against another reference, or if speakers are drawn and an
/// utterance has none.
pub fn mean_rate(utterances: &[UtteranceRuns], options: &CompareOptions) -> Result<Option<MeanRate>, Error> {
    let Some(rows) = Rows::of([utterances], options.ci95_unit)? else { return Ok(None) };
    Ok(interval(rows, options))
}

#[allow(clippy::cast_possible_truncation)] // likewise
fn interval(rows: Rows<1>, options: &CompareOptions) -> Option<MeanRate> {
    let (units, [rate]) = (rows.units as u64, observed(&rows)?);
    let rates: Vec<f64> = resampled(rows, options)?.into_iter().flatten().collect();
    let (draws, ci95) = (rates.len() as u32, middle95(rates)?);
    Some(MeanRate { rate, ci95, units, draws, ci95_unit: options.ci95_unit, draw_runs: options.draw_runs })
}

/// Each system's mean rate over all its runs and all units as they are.
fn observed<const SYSTEMS: usize>(rows: &Rows<SYSTEMS>) -> Option<[f64; SYSTEMS]> {
    let width = rows.width();
    let mut sums = vec![0; width];
    for row in rows.numbers.chunks_exact(width) {
        for (sum, number) in sums.iter_mut().zip(row) {
            *sum += number;
        }
    }
    mean_rates(&sums, rows.runs, |_, errors| errors.iter().sum())
}

/// The same of each draw in which all rates are defined. `None` with fewer than two units: one says nothing of its spread.
fn resampled<const SYSTEMS: usize>(rows: Rows<SYSTEMS>, options: &CompareOptions) -> Option<Vec<[f64; SYSTEMS]>> {
    if rows.units < 2 {
        return None;
    }
    let (width, runs) = (rows.width(), rows.runs);
    let mut resampling = Resampling::new(rows.numbers, width, key(options.seed, ""));
    // Runs have a generator of their own, so that the units drawn are the same whether runs are drawn or not.
    let mut rng = ChaCha8Rng::from_seed(key(options.seed, "runs"));
    let mut drawn: Vec<usize> = Vec::new();
    let draw = |_| {
        mean_rates(resampling.draw(), runs, |system, errors| {
            if options.draw_runs == DrawRuns::Fixed {
                return errors.iter().sum();
            }
            if options.draw_runs == DrawRuns::Apart || system == 0 {
                drawn.clear();
                drawn.extend(errors.iter().map(|_| rng.random_range(0..errors.len())));
            }
            drawn.iter().map(|run| errors[*run]).sum()
        })
    };
    Some((0..options.resamples).filter_map(draw).collect())
}

/// Each system's mean rate from the sums of a row's numbers. `total` adds the errors of a system's runs, as many as it has.
fn mean_rates<const SYSTEMS: usize>(
    sums: &[u64],
    runs: [usize; SYSTEMS],
    mut total: impl FnMut(usize, &[u64]) -> u64,
) -> Option<[f64; SYSTEMS]> {
    let (length, mut rest) = sums.split_first()?;
    let mut rates = [0.0; SYSTEMS];
    for (system, mean) in rates.iter_mut().enumerate() {
        let (errors, others) = rest.split_at(runs[system]);
        rest = others;
        let errors = total(system, errors);
        // All runs have one reference; without a word in it, errors count as if it had one (see `Counts::rate`).
        *mean = rate((*length).max(u64::from(errors > 0)) * runs[system] as u64, errors)?;
    }
    Some(rates)
}
