//! A part from trial to last round: settings are tried, then contenders take turns.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

use super::contender::{Contender, Precision, Program, Setting};
use super::part::{Job, Part};
use super::runner::{self, Measurement, PeerJob};
use super::statistics::order;
use super::workshop::Workshop;

/// Times that a setting is tried; the better one counts.
const TRIES: usize = 2;

/// A setting that was tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// Which.
    pub setting: Setting,
    /// Seconds of the work alone on the part's trial set, where it worked.
    pub seconds: Option<f64>,
    /// Why it did not.
    pub error: Option<String>,
}

/// Texts of a contender beside klang's in fp32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Agreement {
    /// Files whose texts are equal.
    pub equal: usize,
    /// Files.
    pub of: usize,
    /// Whether all of them have to be.
    pub required: bool,
}

/// What came of a contender in a part.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// Whether it is klang in some form.
    pub is_klang: bool,
    /// Its command; a peer's job is described in benches/peers/protocol.py.
    pub command: String,
    /// Variables of its environment.
    pub environment: Vec<(&'static str, &'static str)>,
    /// The setting it ran with.
    pub setting: Option<Setting>,
    /// What that was chosen from.
    pub trials: Vec<Trial>,
    /// The rounds that count.
    pub runs: Vec<Measurement>,
    /// Its texts beside klang's.
    pub agreement: Option<Agreement>,
    /// Versions that it named.
    pub versions: BTreeMap<String, String>,
    /// What ended its part in this.
    pub error: Option<String>,
}

/// Runs a part. A contender that fails takes no further part; the others go on.
pub fn run(workshop: &Workshop, part: &Part, rounds: usize) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = part.contenders.iter().map(|contender| enter(workshop, part, contender)).collect();
    let warm_up = usize::from(part.warm_up_round);
    for round in 0..warm_up + rounds {
        let counts = round >= warm_up;
        for index in order(round, outcomes.len()) {
            let (contender, outcome) = (&part.contenders[index], &mut outcomes[index]);
            if outcome.error.is_some() {
                continue;
            }
            match runner::run_once(workshop, part, contender, outcome.setting.as_ref()) {
                Ok((measurement, versions)) => {
                    let label = if counts { format!("round {}", round - warm_up + 1) } else { "warm-up".into() };
                    let seconds = measurement.counted(part.clock, outcome.is_klang);
                    eprintln!("{}, {label}: {} {seconds:.2} s", part.name.name(), outcome.name);
                    outcome.versions = versions;
                    if counts {
                        outcome.runs.push(measurement);
                    }
                }
                Err(error) => {
                    let error = workshop.said(&error);
                    eprintln!("{}: {} failed: {error}", part.name.name(), outcome.name);
                    outcome.error = Some(error);
                }
            }
        }
    }
    compare_texts(part, &mut outcomes);
    outcomes
}

/// A contender before its first round, with its setting chosen.
fn enter(workshop: &Workshop, part: &Part, contender: &Contender) -> Outcome {
    let trials = match &contender.program {
        Program::Peer { script, settings } if settings.len() > 1 => {
            settings.iter().map(|&setting| attempt(workshop, part, contender, script, setting)).collect()
        }
        _ => Vec::new(),
    };
    let setting = match &contender.program {
        Program::Peer { settings, .. } => fastest(&trials).or(settings.first().copied().filter(|_| trials.is_empty())),
        _ => None,
    };
    if let (Some(setting), false) = (setting, trials.is_empty()) {
        eprintln!("{}: {} runs as {setting}", part.name.name(), contender.name);
    }
    let (command, unknown) = match runner::shown(workshop, part, contender) {
        Ok(command) => (command, None),
        Err(error) => (String::new(), Some(workshop.said(&error))),
    };
    let failed = trials.iter().filter_map(|trial| trial.error.clone()).next();
    let needs_setting = matches!(contender.program, Program::Peer { .. });
    let unsettled = (needs_setting && setting.is_none()).then(|| failed.unwrap_or_else(|| "no setting".into()));
    Outcome {
        name: contender.name,
        is_klang: contender.is_klang(),
        command,
        environment: contender.environment.clone(),
        setting,
        trials,
        runs: Vec::new(),
        agreement: None,
        versions: BTreeMap::new(),
        error: unknown.or(unsettled),
    }
}

fn attempt(workshop: &Workshop, part: &Part, contender: &Contender, script: &str, setting: Setting) -> Trial {
    let (model, trial) = match part.job {
        Job::Transcribe { model, trial, .. } => (model, trial),
        Job::Train { trial, .. } => ("base", trial),
        Job::Start => ("base", "trial"),
    };
    let tried = workshop.set(trial).and_then(|utterances| -> Result<f64> {
        let job = PeerJob { model, utterances, warm_up: &[], repetitions: TRIES };
        let (answer, _) = runner::run_peer(workshop, contender, script, &setting, &job)?;
        answer.seconds.into_iter().min_by(f64::total_cmp).context("the answer holds no seconds")
    });
    match tried {
        Ok(seconds) => {
            eprintln!("{}, trial: {} as {setting} {seconds:.2} s", part.name.name(), contender.name);
            Trial { setting, seconds: Some(seconds), error: None }
        }
        Err(error) => {
            let error = workshop.said(&error);
            eprintln!("{}, trial: {} as {setting} failed: {error}", part.name.name(), contender.name);
            Trial { setting, seconds: None, error: Some(error) }
        }
    }
}

fn fastest(trials: &[Trial]) -> Option<Setting> {
    let timed = trials.iter().filter_map(|trial| Some((trial.seconds?, trial.setting)));
    timed.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, setting)| setting)
}

/// Whether a contender computes what fp32 computes, of whole files alone.
fn is_exact(part: &Part, contender: &Contender, outcome: &Outcome) -> bool {
    let exact = match &contender.program {
        Program::Klang { precision, .. } => *precision == Precision::Fp32,
        Program::Peer { .. } => outcome.setting.is_some_and(|setting| setting.is_exact()),
        Program::Python(_) => false,
    };
    exact && matches!(part.job, Job::Transcribe { .. })
}

/// Compares every contender's texts with those of the first klang in fp32.
fn compare_texts(part: &Part, outcomes: &mut [Outcome]) {
    let exact: Vec<bool> =
        part.contenders.iter().zip(&*outcomes).map(|(contender, outcome)| is_exact(part, contender, outcome)).collect();
    let reference = outcomes.iter().zip(&exact).find(|(outcome, exact)| outcome.is_klang && **exact);
    let Some(reference) = reference.and_then(|(outcome, _)| outcome.runs.last()) else { return };
    let reference = reference.texts.clone();
    for (outcome, &required) in outcomes.iter_mut().zip(&exact) {
        let Some(run) = outcome.runs.last() else { continue };
        let agreement = agreement(&run.texts, &reference, required);
        if required && agreement.equal < agreement.of && outcome.error.is_none() {
            let Agreement { equal, of, .. } = agreement;
            outcome.error = Some(format!("{equal} of {of} texts equal klang's in fp32; all should"));
        }
        outcome.agreement = Some(agreement);
    }
}

fn agreement(texts: &[String], reference: &[String], required: bool) -> Agreement {
    let equal = texts.iter().zip(reference).filter(|(text, reference)| text == reference).count();
    Agreement { equal, of: reference.len(), required }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::contender::Order;

    fn trial(batch: usize, seconds: Option<f64>) -> Trial {
        let setting = Setting { precision: Precision::Fp32, batch: Some(batch), order: Order::Given, chunk_seconds: 0 };
        Trial { setting, seconds, error: None }
    }

    #[test]
    fn the_fastest_setting_that_worked_is_chosen() {
        let trials = [trial(1, Some(4.0)), trial(2, None), trial(8, Some(3.0))];
        assert_eq!(fastest(&trials).unwrap().batch, Some(8));
        assert_eq!(fastest(&trials[1..2]), None);
    }

    #[test]
    fn texts_that_are_missing_are_not_equal() {
        let texts = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<String>>();
        let found = agreement(&texts(&["a", "x"]), &texts(&["a", "b", "c"]), true);
        assert_eq!(found, Agreement { equal: 1, of: 3, required: true });
    }
}
