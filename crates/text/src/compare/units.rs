//! What is drawn: utterances, or speakers with all theirs, each a row of counts of every run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Ci95Unit, Counts, Error};

/// What one system, in each of its runs, made of one utterance.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UtteranceRuns {
    /// Who speaks, if known.
    pub speaker: Option<String>,
    /// The errors of each run (seed), in words or in characters, the runs in the same order for every utterance.
    pub runs: Vec<Counts>,
}

/// Rows of numbers, one for each unit: the reference's length, then the errors of each run of each system.
pub(super) struct Rows<const SYSTEMS: usize> {
    /// Row by row.
    pub(super) numbers: Vec<u64>,
    pub(super) units: usize,
    /// How many runs each system has: at least one.
    pub(super) runs: [usize; SYSTEMS],
}

impl<const SYSTEMS: usize> Rows<SYSTEMS> {
    /// Of `systems`, each with its results of the same utterances in the same order. `None` if one of them has no run.
    pub(super) fn of(systems: [&[UtteranceRuns]; SYSTEMS], unit: Ci95Unit) -> Result<Option<Self>, Error> {
        let first = systems.first().copied().unwrap_or_default();
        for system in systems {
            check(first, system)?;
        }
        let runs = systems.map(|system| system.first().map_or(0, |utterance| utterance.runs.len()));
        if runs.contains(&0) {
            return Ok(None);
        }
        let row = |index: usize| {
            let length = first[index].runs[0].reference_length;
            std::iter::once(length).chain(systems.iter().flat_map(move |s| s[index].runs.iter().map(Counts::errors)))
        };
        Ok(Some(match unit {
            Ci95Unit::Utterances => {
                Self { numbers: (0..first.len()).flat_map(row).collect(), units: first.len(), runs }
            }
            Ci95Unit::Speakers => {
                let width = width(runs);
                let mut speakers: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
                for (index, utterance) in first.iter().enumerate() {
                    let Some(speaker) = &utterance.speaker else {
                        let what = "where speakers are drawn, each utterance needs one; given and needed are";
                        return Err(uncomparable(index, what, "none", "one"));
                    };
                    let sums = speakers.entry(speaker).or_insert_with(|| vec![0; width]);
                    for (sum, number) in sums.iter_mut().zip(row(index)) {
                        *sum += number;
                    }
                }
                Self { units: speakers.len(), numbers: speakers.into_values().flatten().collect(), runs }
            }
        }))
    }

    /// How many numbers a row has.
    pub(super) fn width(&self) -> usize {
        width(self.runs)
    }
}

fn width<const SYSTEMS: usize>(runs: [usize; SYSTEMS]) -> usize {
    1 + runs.iter().sum::<usize>()
}

/// That `system` has the same utterances as `first`, and the same runs in each: results that were paired wrongly would still
/// have a difference.
fn check(first: &[UtteranceRuns], system: &[UtteranceRuns]) -> Result<(), Error> {
    check_number(first.len(), system.len())?;
    for (index, (one, other)) in first.iter().zip(system).enumerate() {
        if one.speaker != other.speaker {
            let name = |speaker: &Option<String>| speaker.clone().unwrap_or_else(|| "none".to_owned());
            let what = "both systems must name the same speaker, but they name";
            return Err(uncomparable(index, what, name(&one.speaker), name(&other.speaker)));
        }
        let (here, before) = (other.runs.len(), system[0].runs.len());
        if here != before {
            let what =
                "a system must have the same runs in every utterance, but here and in the first their numbers are";
            return Err(uncomparable(index, what, here, before));
        }
        let expected = one.runs.first().map(|counts| counts.reference_length);
        let other = other.runs.iter().map(|counts| counts.reference_length).find(|length| Some(*length) != expected);
        if let (Some(expected), Some(other)) = (expected, other) {
            let what = "all runs must be scored against the same reference, but its lengths are";
            return Err(uncomparable(index, what, expected, other));
        }
    }
    Ok(())
}

/// That two systems have as many utterances.
pub(super) fn check_number(first: usize, second: usize) -> Result<(), Error> {
    if first == second {
        return Ok(());
    }
    let what = "both systems must have the same utterances, but their numbers are";
    Err(uncomparable(first.min(second), what, first, second))
}

/// The error of the utterance at `index`, where the first of two is one way and the second another.
pub(super) fn uncomparable(index: usize, what: &'static str, first: impl ToString, second: impl ToString) -> Error {
    Error::Uncomparable { number: index + 1, what, first: first.to_string(), second: second.to_string() }
}
