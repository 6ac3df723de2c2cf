//! From an experiment's run folders to its results.

use std::collections::{BTreeMap, BTreeSet};

use klang_ctc::Reduction;

use super::plan::{Job, Plan};
use super::results::{Arm, ArmRates, Budget, Cost, Learning, LearningPoint, Missing, Results, Search};
use super::run::{Digests, Ended, Runner, manifests};
use super::scores::{Outcome, scores};
use crate::error::Result;
use crate::hypotheses::read_hypotheses;
use crate::run::{Evaluated, MetricsLine, RunFolder, evaluated, read_metrics};

/// What results are made of.
#[derive(Debug)]
pub struct Collected<'a> {
    /// The experiment.
    pub plan: &'a Plan,
    /// Its name.
    pub name: String,
    /// The command that makes it.
    pub command: String,
    /// Its runs.
    pub jobs: &'a [Job],
    /// What became of each.
    pub ended: &'a [Ended],
    /// Where they lie.
    pub runner: &'a Runner,
    /// What was searched.
    pub searches: Vec<Search>,
    /// Of the files that were read for it so far.
    pub digests: Digests,
}

/// A run that is done.
struct Run<'a> {
    job: &'a Job,
    lines: Vec<MetricsLine>,
}

impl Collected<'_> {
    /// The results.
    ///
    /// # Errors
    /// A run's files that cannot be read.
    pub fn results(self) -> Result<Results> {
        let Collected { plan, name, command, jobs, ended, runner, searches, mut digests } = self;
        let experiment = &plan.experiment;
        let (mut runs, mut missing, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        for (job, end) in jobs.iter().zip(ended) {
            if let Ended::Broke(why) = end {
                missing.push(Missing { run: job.name.clone(), why: why.clone() });
                continue;
            }
            let folder = RunFolder::at(&runner.run_folder(job));
            runs.push(Run { job, lines: read_metrics(&folder.metrics())? });
            for test in job.recipe.data.test.keys() {
                let pairs = read_hypotheses(&folder.test_hypotheses(test))?;
                outcomes.push(Outcome {
                    arm: job.arm,
                    budget: job.budget,
                    fold: job.fold.clone(),
                    seed: job.seed,
                    test: test.clone(),
                    pairs,
                });
            }
        }
        let arms: Vec<Arm> =
            (experiment.arms.iter()).map(|arm| Arm { name: arm.name.clone(), set: plan.set_of(arm) }).collect();
        let compute: BTreeSet<String> = runs
            .iter()
            .flat_map(|run| &run.lines)
            .filter_map(|line| match line {
                MetricsLine::Run { compute, .. } => Some(compute.clone()),
                _ => None,
            })
            .collect();
        let paths: BTreeSet<_> = jobs.iter().flat_map(|job| manifests(&job.recipe)).collect();
        let mut fingerprint =
            |path: &std::path::PathBuf| Ok((path.display().to_string(), digests.of(path)?.to_string()));
        Ok(Results {
            name,
            about: experiment.about.clone(),
            klang: env!("CARGO_PKG_VERSION").into(),
            command,
            compute: compute.into_iter().collect(),
            fingerprints: paths.iter().map(&mut fingerprint).collect::<Result<_>>()?,
            control: experiment.arms[experiment.control()].name.clone(),
            seeds: experiment.seeds.clone(),
            budgets: budgets(plan, &runs),
            folds: plan.folds.clone(),
            ci95_unit: experiment.statistics.over,
            draw_runs: experiment.statistics.seeds,
            scores: scores(plan, &outcomes)?,
            curves: curves(plan, &runs),
            rates: rates(plan, &runs),
            costs: (0..arms.len()).filter_map(|arm| cost(&arms[arm].name, arm, &runs)).collect(),
            arms,
            missing,
            searches,
        })
    }
}

fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.into_iter().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn budgets(plan: &Plan, runs: &[Run]) -> Vec<Budget> {
    let learnt = |budget: usize| {
        let of = runs.iter().filter(|run| run.job.budget == budget).filter_map(|run| {
            run.lines.iter().find_map(|line| match line {
                MetricsLine::Run { data, .. } => data.first().map(|train| train.seconds / 60.0),
                _ => None,
            })
        });
        mean(of).unwrap_or(0.0)
    };
    let budgets = plan.experiment.budgets.iter().enumerate();
    budgets
        .map(|(place, budget)| Budget { name: budget.name(), minutes: budget.minutes(), learnt: learnt(place) })
        .collect()
}

/// Means over an arm's runs of the evaluations that all of them have.
fn curves(plan: &Plan, runs: &[Run]) -> Vec<Learning> {
    let mut curves = Vec::new();
    for (budget, amount) in plan.experiment.budgets.iter().enumerate() {
        for (arm, plan) in plan.experiment.arms.iter().enumerate() {
            let of: Vec<BTreeMap<u64, LearningPoint>> =
                runs.iter().filter(|run| (run.job.arm, run.job.budget) == (arm, budget)).map(points).collect();
            let Some((first, others)) = of.split_first() else { continue };
            let shared = first.keys().filter(|update| others.iter().all(|run| run.contains_key(update)));
            let points = shared.map(|update| {
                let each = || of.iter().map(|run| run[update]);
                let of = |value: fn(LearningPoint) -> f64| mean(each().map(value)).unwrap_or(f64::NAN);
                let train: Option<Vec<f64>> = each().map(|point| point.train_loss).collect();
                LearningPoint {
                    update: *update,
                    train_loss: train.and_then(mean),
                    dev_loss: of(|point| point.dev_loss),
                    dev_wer: of(|point| point.dev_wer),
                    dev_cer: of(|point| point.dev_cer),
                }
            });
            curves.push(Learning { budget: amount.name(), arm: plan.name.clone(), points: points.collect() });
        }
    }
    curves
}

/// A run's evaluations by update.
fn points(run: &Run) -> BTreeMap<u64, LearningPoint> {
    let comparable = run.job.recipe.train.loss_reduction == Reduction::Label;
    let point = |evaluated: Evaluated| {
        let Evaluated { update, train_loss, behaviour, score } = evaluated;
        let (dev_wer, dev_cer) = (score.wer.unwrap_or(f64::NAN), score.cer.unwrap_or(f64::NAN));
        let train_loss = train_loss.filter(|_| comparable);
        (update, LearningPoint { update, train_loss, dev_loss: behaviour.loss, dev_wer, dev_cer })
    };
    evaluated(&run.lines).into_iter().map(point).collect()
}

/// The last rates of each arm's first run at each budget.
fn rates(plan: &Plan, runs: &[Run]) -> Vec<ArmRates> {
    let mut rates = Vec::new();
    for (budget, amount) in plan.experiment.budgets.iter().enumerate() {
        for (arm, plan) in plan.experiment.arms.iter().enumerate() {
            let first = runs.iter().find(|run| (run.job.arm, run.job.budget) == (arm, budget));
            let last = first.and_then(|run| {
                let sites = run.lines.iter().rev().find_map(|line| match line {
                    MetricsLine::Rates { sites, .. } => Some(sites.clone()),
                    _ => None,
                });
                Some((run.job.name.clone(), sites?))
            });
            rates.extend(last.map(|(run, sites)| ArmRates {
                budget: amount.name(),
                arm: plan.name.clone(),
                run,
                sites,
            }));
        }
    }
    rates
}

fn cost(name: &str, arm: usize, runs: &[Run]) -> Option<Cost> {
    let lines = || runs.iter().filter(|run| run.job.arm == arm).flat_map(|run| &run.lines);
    let (parameters, trainable) = lines().find_map(|line| match line {
        MetricsLine::Run { parameters, trainable, .. } => Some((*parameters, *trainable)),
        _ => None,
    })?;
    let seconds = lines().filter_map(|line| match line {
        MetricsLine::End { updates, processor_seconds, .. } if *updates > 0 => {
            processor_seconds.map(|seconds| seconds / *updates as f64)
        }
        _ => None,
    });
    let peak = lines().filter_map(|line| match line {
        MetricsLine::End { updates, peak_mib, .. } if *updates > 0 => *peak_mib,
        _ => None,
    });
    Some(Cost { arm: name.into(), parameters, trainable, processor_seconds: mean(seconds), peak_mib: mean(peak) })
}
