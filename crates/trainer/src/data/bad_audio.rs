//! Audio that goes bad while a run reads it: it costs its utterance, up to a limit, and never in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::event::{Event, Observer};
use crate::run::MetricsLine;

/// What becomes of audio that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadAudio {
    /// The run ends.
    #[default]
    Error,
    /// The run goes on without the utterance.
    Skip,
}

/// An utterance that a loader went on without.
#[derive(Clone, Debug, PartialEq)]
pub struct SkippedAudio {
    /// The utterance.
    pub id: String,
    /// Why, naming the file.
    pub why: String,
}

/// The utterances that a run goes on without: each named once, recorded, and counted against the limit.
///
/// What is skipped follows from the files alone, not from when they are read: the same bad files give the same batches,
/// and a resumed run is the uninterrupted one.
#[derive(Debug)]
pub struct BadAudio {
    /// None where bad audio ends the work.
    skipping: Option<Skipping>,
}

#[derive(Debug)]
struct Skipping {
    /// Share of a data set's utterances.
    limit: f64,
    /// Where they are recorded.
    metrics: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    update: u64,
    /// Ids by data set.
    skipped: BTreeMap<String, BTreeSet<String>>,
}

impl BadAudio {
    /// Audio that cannot be read is an error.
    pub fn refused() -> Arc<BadAudio> {
        Arc::new(BadAudio { skipping: None })
    }

    /// Audio that cannot be read is skipped, in at most this share of a data set's utterances, and recorded in `metrics`;
    /// `before` are the lines of what the run did already.
    pub(crate) fn skipped(limit: f64, metrics: PathBuf, before: &[MetricsLine]) -> Arc<BadAudio> {
        let mut state = State::default();
        for line in before {
            if let MetricsLine::Skipped { set, id, .. } = line {
                state.skipped.entry(set.clone()).or_default().insert(id.clone());
            }
        }
        Arc::new(BadAudio { skipping: Some(Skipping { limit, metrics, state: Mutex::new(state) }) })
    }

    /// Whether a loader is to go on.
    pub(crate) fn is_skipped(&self) -> bool {
        self.skipping.is_some()
    }

    /// Says which update what is skipped from now on is missing from: the one under way, or the last one before an
    /// evaluation.
    pub(crate) fn at(&self, update: u64) {
        if let Some(skipping) = &self.skipping {
            skipping.state().update = update;
        }
    }

    /// Takes note of what a batch of the data set `set`, which has `utterances`, lacks.
    ///
    /// # Errors
    /// More than the limit allows, or a failing file system.
    pub(crate) fn note(
        &self,
        set: &str,
        utterances: usize,
        skipped: &[SkippedAudio],
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let Some(skipping) = self.skipping.as_ref().filter(|_| !skipped.is_empty()) else { return Ok(()) };
        let mut state = skipping.state();
        let update = state.update;
        let known = state.skipped.entry(set.to_owned()).or_default();
        let allowed = allowed(skipping.limit, utterances);
        for SkippedAudio { id, why } in skipped {
            if !known.insert(id.clone()) {
                continue;
            }
            observer.event(Event::Warning(&format!("{set}: {id} is skipped: {why}")));
            let count = known.len();
            let line = MetricsLine::Skipped { update, set: set.into(), id: id.clone(), why: why.clone(), count };
            line.append(&skipping.metrics)?;
            if count > allowed {
                let (set, limit) = (set.into(), skipping.limit);
                return Err(Error::TooMuchBadAudio { set, count, utterances, allowed, limit, why: why.clone() });
            }
        }
        Ok(())
    }
}

/// How many of so many utterances a share allows to be lost: rounded up, so that a small corpus may lose one.
pub(crate) fn allowed(limit: f64, utterances: usize) -> usize {
    (limit * utterances as f64).ceil() as usize
}

impl Skipping {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::read_metrics;

    struct Heard(Vec<String>);

    impl Observer for Heard {
        fn event(&mut self, event: Event) {
            if let Event::Warning(text) = event {
                self.0.push(text.into());
            }
        }
    }

    fn bad(id: &str) -> SkippedAudio {
        SkippedAudio { id: id.into(), why: format!("{id}.wav: is empty") }
    }

    #[test]
    fn each_is_named_and_recorded_once_over_epochs_and_resumes_and_the_limit_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = folder.path().join("metrics.jsonl");
        let mut heard = Heard(Vec::new());
        let run = BadAudio::skipped(0.01, metrics.clone(), &[]);
        run.at(3);
        // Of 150, 1 % are 2: the share is rounded up, so that one may always be lost.
        for _ in 0..3 {
            run.note("train", 150, &[bad("a")], &mut heard).unwrap();
        }
        run.note("dev", 10, &[bad("a")], &mut heard).unwrap();
        assert_eq!(heard.0, ["train: a is skipped: a.wav: is empty", "dev: a is skipped: a.wav: is empty"]);
        let lines = read_metrics(&metrics).unwrap();
        assert!(matches!(&lines[..], [MetricsLine::Skipped { update: 3, count: 1, .. }, MetricsLine::Skipped { .. }]));
        let resumed = BadAudio::skipped(0.01, metrics.clone(), &lines);
        resumed.note("train", 150, &[bad("a"), bad("b")], &mut heard).unwrap();
        assert_eq!(heard.0.len(), 3);
        let message = resumed.note("train", 150, &[bad("c")], &mut heard).unwrap_err().to_string();
        for part in ["3 of 150", "at most 2", "data.bad_audio_limit", "c.wav: is empty"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
