//! The training loop: epochs, batches, metrics, evaluations, states. What is learnt is a [`Task`]'s.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use klang_text::Score;
use tch::{Kind, Tensor};

use crate::data::{AudioCache, BadAudio, EpochPlan, Item, LoadedBatch, Loader, LoaderSettings, OnBadAudio};
use crate::device::{Compute, peak_mib};
use crate::error::{Error, Result};
use crate::event::{Event, Observer, Oddities, Regulariser, UpdateReport};
use crate::model::AudioSpec;
use crate::recipe::Recipe;
use crate::run::{DataLine, MadeBy, MetricsLine, Progress, RunFolder, read_metrics, write_report};
use crate::sites::SiteRate;

/// Whether a run folder is new or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A new run.
    Fresh,
    /// The run in the folder, from its last saved state.
    Resume,
}

/// What a training ends with.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Updates done.
    pub updates: u64,
    /// The best evaluation, smaller being better: dev's WER and CER, or CER and WER where the best is chosen by that; in
    /// pretraining, the loss on dev.
    pub best: Option<[f64; 2]>,
    /// The best checkpoint's scores by test name.
    pub tests: Vec<(String, Score)>,
    /// Wall-clock seconds, over all resumes.
    pub seconds: f64,
    /// Processor seconds of this process, on all cores together; none where the system does not tell.
    pub processor_seconds: Option<f64>,
}

/// What is learnt, and how that is judged.
pub trait Task {
    /// What an evaluation gives.
    type Evaluation;

    /// Utterances to learn from.
    fn items(&self) -> &[std::sync::Arc<Item>];

    /// Parts into which batches are cut.
    fn parts(&self) -> usize;

    /// What computes it.
    fn made_by(&self) -> MadeBy;

    /// Demands weights without a NaN or infinity, after `update` updates.
    ///
    /// # Errors
    /// The first that is not finite, by its name; libtorch's own.
    fn check_weights(&self, update: u64) -> Result<()>;

    /// Applies one update, the one after `done` updates.
    ///
    /// # Errors
    /// A loss or gradient that is not finite; [`Error::StoppedEarly`] where a stop is wanted and the update is not over soon.
    /// Nothing has been applied then.
    fn update(&mut self, done: u64, batches: Vec<LoadedBatch>, observer: &mut dyn Observer) -> Result<UpdateReport>;

    /// The line of metrics over some updates, in their order; not empty.
    fn line(&mut self, reports: &[UpdateReport], seconds: f64) -> MetricsLine;

    /// KL-Norm's rates in the last update; empty without KL-Norm.
    fn rates(&self) -> &[SiteRate];

    /// Judges the model.
    ///
    /// # Errors
    /// Audio that cannot be read, or libtorch's own.
    fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<Self::Evaluation>;

    /// What an evaluation comes to; the smaller is the better, and the second number decides between equal first ones.
    fn result(&self, evaluation: &Self::Evaluation) -> [f64; 2];

    /// Keeps what shows how the best model so far fared, beside that model, which was saved just before.
    ///
    /// # Errors
    /// Audio that cannot be read, a failing file system, or libtorch's own.
    fn keep_best(&self, _evaluation: &Self::Evaluation) -> Result<()> {
        Ok(())
    }

    /// Says and records an evaluation.
    ///
    /// # Errors
    /// A failing file system.
    fn tell(&mut self, evaluation: Self::Evaluation, told: Told, observer: &mut dyn Observer) -> Result<()>;

    /// Writes the model as a folder.
    ///
    /// # Errors
    /// A failing file system; the old folder then still stands.
    fn save_model(&self, folder: &Path) -> Result<()>;

    /// Writes what a resume needs.
    ///
    /// # Errors
    /// A failing file system; the old state then still stands.
    fn save_state(&self, progress: &Progress) -> Result<()>;
}

/// When an evaluation was.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Updates done.
    pub update: u64,
    /// Whether it is the best so far.
    pub best: bool,
    /// Wall-clock seconds of the training so far, over all resumes.
    pub seconds: f64,
}

/// A training under way.
pub struct Training<'a> {
    /// What decides it.
    pub recipe: &'a Recipe,
    /// Where it is recorded.
    pub run: &'a RunFolder,
    /// How audio is read.
    pub loading: LoaderSettings,
    /// How far it is.
    pub progress: Progress,
    /// Utterances of which a share may be lost to bad audio.
    listed: usize,
    clock: Instant,
    /// Updates done before this process.
    begun: u64,
    oddities: Oddities,
}

impl<'a> Training<'a> {
    /// A training that has come as far as `progress` says; a share of `listed` utterances may be lost to bad audio.
    ///
    /// # Errors
    /// Metrics that cannot be read.
    pub fn new(
        recipe: &'a Recipe,
        run: &'a RunFolder,
        audio: AudioSpec,
        listed: usize,
        progress: Progress,
    ) -> Result<Training<'a>> {
        let cache = AudioCache::new(recipe.data.cache_mib);
        let bad_audio = match recipe.data.on_bad_audio {
            OnBadAudio::Error => BadAudio::refused(),
            OnBadAudio::Skip => {
                let before = if run.metrics().exists() { read_metrics(&run.metrics())? } else { Vec::new() };
                BadAudio::skipped(recipe.data.bad_audio_limit, run.metrics(), &before)
            }
        };
        Ok(Training {
            recipe,
            run,
            loading: LoaderSettings { audio, workers: recipe.data.workers, cache, bad_audio },
            begun: progress.update,
            progress,
            listed,
            clock: Instant::now(),
            oddities: Oddities::default(),
        })
    }

    /// Says where a resumed run goes on, and what may make it another run than it was.
    pub fn greet(&self, begin: Begin, made_by: &MadeBy, observer: &mut dyn Observer) {
        if begin == Begin::Fresh {
            return;
        }
        observer.event(Event::Note(&format!("resuming after update {}", self.progress.update)));
        let differences = self.progress.made_by.iter().flat_map(|before| made_by.differences(before));
        let differences = differences.collect::<Vec<_>>().join("; ");
        if !differences.is_empty() {
            observer.event(Event::Warning(&format!(
                "this run was computed otherwise before, and its numbers may differ from here on: {differences}"
            )));
        }
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// Whatever the task's are; the last saved state stays whole. [`Error::Stopped`] where the observer wants a stop, once a
    /// state is saved from which a resumed run goes on as if it had never been stopped.
    pub fn run<T: Task>(&mut self, task: &mut T, observer: &mut dyn Observer) -> Result<()> {
        let updates = self.recipe.train.updates;
        observer.event(Event::Start { done: self.progress.update, updates });
        if self.progress.evaluates {
            self.evaluate(task, observer)?;
        }
        while self.progress.update < updates && !self.progress.finished {
            self.epoch(task, observer)?;
        }
        Ok(())
    }

    /// One epoch, or what is left of it.
    fn epoch<T: Task>(&mut self, task: &mut T, observer: &mut dyn Observer) -> Result<()> {
        let Recipe { seed, data, train, .. } = self.recipe;
        let epoch = self.progress.epoch;
        let mut plans = EpochPlan {
            items: task.items(),
            augment: &data.augment,
            seconds: train.batch_seconds,
            seed: *seed,
            epoch,
            short_first: epoch < train.short_first_epochs,
            // Joining waits for the first whole epoch behind the flat start: what an epoch holds must not depend on how
            // far a resumed run had come in it.
            join: self.progress.update - self.progress.batches.div_ceil(train.accumulate as u64)
                >= train.flat_start_updates,
        }
        .batches();
        // An accumulated update never spans two epochs: the last one of an epoch may be of fewer batches.
        let mut batches =
            Loader::start(plans.split_off(plans.len().min(self.progress.batches as usize)), &self.loading);
        while self.progress.update < train.updates && !self.progress.finished {
            let waited = Instant::now();
            let mut loaded = batches.by_ref().take(train.accumulate).collect::<Result<Vec<LoadedBatch>>>()?;
            let waited = waited.elapsed().as_secs_f64();
            if loaded.is_empty() {
                break;
            }
            self.loading.bad_audio.at(self.progress.update + 1);
            for batch in &mut loaded {
                self.oddities.say(&batch.warnings, observer);
                self.loading.bad_audio.note("train", self.listed, &batch.skipped, observer)?;
                batch.drop_unread();
            }
            let used = loaded.len() as u64;
            let parts = task.parts();
            let report = task.update(self.progress.update, loaded, observer);
            warn_of_parts(self.progress.update + 1, parts, task.parts(), observer);
            if let Err(Error::StoppedEarly) = report {
                let update = self.progress.update + 1;
                observer.event(Event::Note(&format!("update {update} takes too long to wait for, and is given up")));
                return self.stop(task, false);
            }
            self.progress.update += 1;
            self.progress.batches += used;
            if let Some(report) = self.applied(report, observer)? {
                let report = UpdateReport { epoch, waited_seconds: waited, seconds: report.seconds + waited, ..report };
                observer.event(Event::Update(&report));
                self.progress.reports.push(report);
            }
            // A state is saved at evaluations: what comes after must average the same updates in a resumed run.
            let saves =
                self.progress.update.is_multiple_of(train.evaluate_every) || self.progress.update == train.updates;
            let due = self.progress.update.is_multiple_of(train.log_every) || saves;
            if due && !self.progress.reports.is_empty() {
                let reports = std::mem::take(&mut self.progress.reports);
                task.line(&reports, self.seconds()).append(&self.run.metrics())?;
            }
            if saves {
                self.evaluate(task, observer)?;
            } else if observer.stops() {
                return self.stop(task, false);
            }
        }
        if self.progress.update < train.updates && !self.progress.finished {
            self.progress.epoch += 1;
            self.progress.batches = 0;
        }
        Ok(())
    }

    /// Judges the model, keeps the best one, saves the state.
    fn evaluate<T: Task>(&mut self, task: &mut T, observer: &mut dyn Observer) -> Result<()> {
        self.loading.bad_audio.at(self.progress.update);
        task.check_weights(self.progress.update)?;
        // Before what may be stopped: the rates are of the update just done.
        if let Some(rates) = MetricsLine::rates(self.progress.update, task.rates()) {
            rates.append(&self.run.metrics())?;
        }
        let evaluation = match task.evaluate(observer) {
            Err(Error::StoppedEarly) => return self.stop(task, true),
            evaluation => evaluation?,
        };
        self.progress.evaluates = false;
        let result = task.result(&evaluation);
        let best = self.progress.best.is_none_or(|best| result < best);
        if best {
            task.save_model(&self.run.best())?;
            task.keep_best(&evaluation)?;
            self.progress.best = Some(result);
            self.progress.since_best = 0;
        } else {
            self.progress.since_best += 1;
        }
        task.save_model(&self.run.last())?;
        let update = self.progress.update;
        let seconds = self.seconds();
        task.tell(evaluation, Told { update, best, seconds }, observer)?;
        if self.recipe.train.patience.is_some_and(|patience| self.progress.since_best >= patience) {
            observer.event(Event::Note(&format!(
                "nothing better on dev in {} evaluations: stopping",
                self.progress.since_best
            )));
            self.progress.finished = true;
        }
        self.progress.finished |= update == self.recipe.train.updates;
        let (made_by, parts) = (Some(task.made_by()), task.parts());
        task.save_state(&Progress { seconds, made_by, parts, ..self.progress.clone() })?;
        write_report(self.run)
    }

    /// An update's report; none for one that was passed over because its numbers were not finite, if that may be.
    fn applied(&mut self, report: Result<UpdateReport>, observer: &mut dyn Observer) -> Result<Option<UpdateReport>> {
        let allowed = self.recipe.train.skip_not_finite;
        match report {
            Ok(report) => Ok(Some(report)),
            Err(Error::NonFinite { update, what, value, ids }) if self.progress.not_finite < allowed => {
                self.progress.not_finite += 1;
                observer.event(Event::Warning(&format!(
                    "update {update}: {what} is {value}; passed over, {} of {allowed} (train.skip_not_finite). Utterances of its batch: {}",
                    self.progress.not_finite,
                    ids.join(", ")
                )));
                let line = MetricsLine::NotFinite { update, what: what.into(), value: value.to_string(), ids };
                line.append(&self.run.metrics())?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Saves a state to go on from, and ends with [`Error::Stopped`].
    fn stop<T: Task>(&mut self, task: &mut T, evaluates: bool) -> Result<()> {
        task.check_weights(self.progress.update)?;
        let (seconds, made_by, parts) = (self.seconds(), Some(task.made_by()), task.parts());
        task.save_state(&Progress { seconds, made_by, parts, evaluates, ..self.progress.clone() })?;
        Err(Error::Stopped { path: self.run.path().into(), update: self.progress.update })
    }

    /// Records what this process took.
    ///
    /// # Errors
    /// A failing file system.
    pub fn end(&self, processor_seconds: Option<f64>) -> Result<()> {
        let updates = self.progress.update - self.begun;
        let line = MetricsLine::End { update: self.progress.update, updates, processor_seconds, peak_mib: peak_mib() };
        line.append(&self.run.metrics())
    }

    /// Wall-clock seconds so far, over all resumes.
    pub fn seconds(&self) -> f64 {
        self.progress.seconds + self.clock.elapsed().as_secs_f64()
    }
}

/// Says that memory did not suffice, and what became of it.
fn warn_of_parts(update: u64, before: usize, now: usize, observer: &mut dyn Observer) {
    if now > before {
        observer.event(Event::Warning(&format!(
            "update {update}: out of memory; from here on each batch is computed in {now} parts instead of {before}, which is slower, and draws masks and noise part by part. A lower train.batch_seconds fits at once"
        )));
    }
}

/// Demands parameters without a NaN or infinity, after `update` updates.
///
/// # Errors
/// The first that is not finite, by its name; libtorch's own.
pub fn check_finite(parameters: &[(String, Tensor)], update: u64) -> Result<()> {
    for (name, tensor) in parameters {
        // A sum is finite only where every term is; one that overflows is looked at term by term.
        let sum = tensor.f_detach()?.f_sum(Kind::Double)?.f_double_value(&[])?;
        if !sum.is_finite() && tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
            return Err(Error::WeightsNotFinite { update, name: name.clone() });
        }
    }
    Ok(())
}

/// What a run is, for its first line of metrics.
pub struct Start<'a> {
    /// Every parameter and buffer of the model.
    pub parameters: Vec<(String, Tensor)>,
    /// Those that learn.
    pub learnt: &'a [(String, Tensor)],
    /// How it computes.
    pub compute: Compute,
    /// What the model starts from, as a person would call it.
    pub name: &'a str,
    /// The data sets in numbers, training's first.
    pub data: Vec<DataLine>,
}

impl Start<'_> {
    /// Says and records it, as the start of a run or, after `update` updates, of its continuation.
    ///
    /// # Errors
    /// A failing file system.
    pub fn announce(self, run: &RunFolder, update: u64, observer: &mut dyn Observer) -> Result<()> {
        let count =
            |parameters: &[(String, Tensor)]| parameters.iter().map(|(_, tensor)| tensor.numel() as u64).sum::<u64>();
        let (parameters, trainable) = (count(&self.parameters), count(self.learnt));
        observer.event(Event::Note(&format!(
            "{:.2} million parameters, {:.2} million of them learn",
            parameters as f64 / 1e6,
            trainable as f64 / 1e6
        )));
        let line = MetricsLine::Run {
            klang: env!("CARGO_PKG_VERSION").into(),
            compute: self.compute.to_string(),
            update,
            parameters,
            trainable,
            start: self.name.into(),
            data: self.data,
        };
        line.append(&run.metrics())
    }
}

/// Means of some updates, in the form that both kinds of training log them.
pub struct Means<'a> {
    reports: &'a [UpdateReport],
}

impl<'a> Means<'a> {
    /// Over these updates.
    pub fn of(reports: &'a [UpdateReport]) -> Means<'a> {
        Means { reports }
    }

    /// The mean of a number.
    pub fn mean(&self, value: impl Fn(&UpdateReport) -> f64) -> f64 {
        self.reports.iter().map(value).sum::<f64>() / self.reports.len().max(1) as f64
    }

    /// The mean of each regulariser's part.
    pub fn regularisers(&self) -> BTreeMap<Regulariser, f64> {
        let kinds = self.last().regularisers.into_keys();
        kinds.map(|kind| (kind, self.mean(|report| report.regularisers.get(&kind).copied().unwrap_or(0.0)))).collect()
    }

    /// The last update.
    pub fn last(&self) -> UpdateReport {
        self.reports.last().cloned().unwrap_or_default()
    }

    /// Speed, padding and waiting.
    pub fn speed(&self) -> Speed {
        let time = self.mean(|report| report.seconds).max(1e-9);
        Speed {
            audio_seconds_per_second: self.mean(|report| report.audio_seconds) / time,
            padding: self.mean(|report| report.padding),
            waiting: self.mean(|report| report.waited_seconds) / time,
        }
    }
}

/// How fast updates were.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Seconds of audio a second.
    pub audio_seconds_per_second: f64,
    /// Share of the batches that is padding.
    pub padding: f64,
    /// Share of the time spent waiting for audio.
    pub waiting: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_that_is_not_finite_is_found_and_a_sum_that_overflows_is_none() {
        let named = |values: &[f64]| vec![("w".to_string(), Tensor::from_slice(values))];
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = check_finite(&named(&[1.0, wrong, 2.0]), 7).unwrap_err().to_string();
            assert!(error.contains("update 7: w "), "{error}");
        }
        check_finite(&named(&[f64::MAX, f64::MAX]), 7).unwrap();
        check_finite(&[("steps".to_string(), Tensor::from_slice(&[1i64, 2]))], 7).unwrap();
    }
}
