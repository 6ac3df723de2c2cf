//! The training loop.

use std::path::Path;
use std::time::Instant;

use klang_text::Score;
use klang_wav2vec2::checkpoint::Own;
use tch::Tensor;

use crate::data::{AudioCache, EpochPlan, LoadedBatch, Loader, LoaderSettings};
use crate::device::{Compute, processor_seconds};
use crate::error::Result;
use crate::evaluate::{Evaluation, evaluate};
use crate::event::{Event, Observer, Oddities, UpdateReport};
use crate::model::{Recogniser, find_model, freeze};
use crate::optimiser::{AdamW, AdamWConfig};
use crate::prepare::Preparation;
use crate::recipe::Recipe;
use crate::run::{MetricsLine, Progress, RunFolder, SavedState, write_report};
use crate::step::{KeptFeatures, Rate, Replicas, Step, StepOutcome, why_not_kept};

/// What a training ends with.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Updates done.
    pub updates: u64,
    /// Best dev WER and CER.
    pub best: Option<[f64; 2]>,
    /// The best checkpoint's scores by test name.
    pub tests: Vec<(String, Score)>,
    /// Wall-clock seconds, over all resumes.
    pub seconds: f64,
    /// Processor seconds of this process, on all cores together; none where the system does not tell.
    pub processor_seconds: Option<f64>,
}

/// Whether a run folder is new or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// A new run.
    Fresh,
    /// The run in the folder, from its last saved state.
    Resume,
}

/// Trains as `recipe` says, in the run folder `folder`.
///
/// # Errors
/// Anything wrong with recipe, data or machine; the last saved state stays whole.
pub fn train(recipe: &Recipe, folder: &Path, begin: Begin, observer: &mut dyn Observer) -> Result<Outcome> {
    let mut recipe = recipe.clone();
    let run = match begin {
        Begin::Fresh => None,
        Begin::Resume => {
            // The commit that a hub's model was at when the run began is the one to go on from.
            if let Some(pinned) = RunFolder::around(folder).and_then(|run| run.pinned(&recipe.model.init)) {
                recipe.model.init = pinned;
            }
            Some(RunFolder::resume(folder, &recipe)?)
        }
    };
    let recipe = &mut recipe;
    let compute = Compute::decide(recipe.device, recipe.precision, recipe.threads)?;
    observer.event(Event::Note(&format!("computing on {compute}")));
    let prepared = Preparation::new(recipe, observer)?;
    if let Some(pinned) = prepared.pinned() {
        recipe.model.init = pinned.into();
    }
    let recipe = &*recipe;
    prepared.notes.iter().for_each(|note| observer.event(Event::Note(note)));
    let (model, notes) = prepared.model(compute, recipe.seed)?;
    notes.iter().for_each(|note| observer.event(Event::Note(note)));
    let learnt = prepared.tune(recipe).learnt(&model);
    freeze(&model, &learnt)?;
    let train = &recipe.train;
    let config = AdamWConfig { betas: train.betas, epsilon: train.epsilon, weight_decay: train.weight_decay };
    let mut optimiser = AdamW::new(learnt, config);
    let progress = match &run {
        Some(run) => SavedState::restore(run, &model, &mut optimiser)?.unwrap_or_default(),
        None => Progress::default(),
    };
    // Behind the restored weights: it is by them that features are kept.
    let replicas = Replicas::start(recipe, &model, optimiser.parameters())?;
    // The folder is made only now: a recipe that fails leaves none behind.
    let run = match run {
        Some(run) => run,
        None => RunFolder::create(folder, recipe)?,
    };
    let trainer = Trainer {
        recipe,
        prepared: &prepared,
        model: &model,
        run: &run,
        replicas,
        optimiser,
        loading: LoaderSettings {
            audio: model.spec.audio,
            workers: recipe.data.workers,
            cache: AudioCache::new(recipe.data.cache_mib),
        },
        progress,
        clock: Instant::now(),
        log: Log::default(),
        oddities: Oddities::default(),
        left_out: 0,
    };
    trainer.run(begin, observer)
}

struct Trainer<'a> {
    recipe: &'a Recipe,
    prepared: &'a Preparation,
    model: &'a Recogniser,
    run: &'a RunFolder,
    replicas: Replicas<'a>,
    optimiser: AdamW,
    loading: LoaderSettings,
    progress: Progress,
    clock: Instant,
    log: Log,
    oddities: Oddities,
    left_out: usize,
}

/// Utterances left out of an update that are named; their number is said at the end.
const NAMED: usize = 3;

impl Trainer<'_> {
    fn run(mut self, begin: Begin, observer: &mut dyn Observer) -> Result<Outcome> {
        if begin == Begin::Resume {
            observer.event(Event::Note(&format!("resuming after update {}", self.progress.update)));
            let now = self.replicas.count();
            if let Some(then) = self.progress.parts.filter(|&then| then != now) {
                observer.event(Event::Warning(&format!(
                    "this run was begun with batches cut among {then} threads, and now they are among {now}: masks and noise fall otherwise; with {then} threads it would be the same run"
                )));
            }
        }
        self.announce(observer)?;
        let updates = self.recipe.train.updates;
        observer.event(Event::Start { done: self.progress.update, updates });
        while self.progress.update < updates && !self.progress.finished {
            self.epoch(observer)?;
        }
        if self.left_out > 0 {
            let count = self.left_out;
            observer.event(Event::Note(&format!(
                "{count} times an utterance was left out of an update because its labels did not fit"
            )));
        }
        self.sum_up_features(observer)?;
        let tests = self.score_tests(observer)?;
        write_report(self.run)?;
        Ok(Outcome {
            updates: self.progress.update,
            best: self.progress.best,
            tests,
            seconds: self.seconds(),
            processor_seconds: processor_seconds(),
        })
    }

    /// One epoch, or what is left of it.
    fn epoch(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Recipe { seed, data, train, .. } = self.recipe;
        let epoch = self.progress.epoch;
        let mut plans = EpochPlan {
            items: &self.prepared.train.items,
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
            let loaded = batches.by_ref().take(train.accumulate).collect::<Result<Vec<LoadedBatch>>>()?;
            let waited = waited.elapsed().as_secs_f64();
            if loaded.is_empty() {
                break;
            }
            loaded.iter().for_each(|batch| self.oddities.say(&batch.warnings, observer));
            let step = Step { replicas: &self.replicas, update: self.progress.update };
            let used = loaded.len() as u64;
            let StepOutcome { report, rates, left_out } = step.run(loaded, &mut self.optimiser)?;
            for (id, why) in left_out {
                self.left_out += 1;
                if self.left_out <= NAMED {
                    observer.event(Event::Warning(&format!("{id}: {why}")));
                }
            }
            self.warn_of_features(observer);
            let report = UpdateReport { epoch, waited_seconds: waited, seconds: report.seconds + waited, ..report };
            self.progress.update += 1;
            self.progress.batches += used;
            observer.event(Event::Update(&report));
            self.log.add(report, rates);
            // A state is saved at evaluations: what comes after must average the same updates in a resumed run.
            let saves =
                self.progress.update.is_multiple_of(train.evaluate_every) || self.progress.update == train.updates;
            if self.progress.update.is_multiple_of(train.log_every) || saves {
                let seconds = self.seconds();
                self.log.flush(self.run, seconds)?;
            }
            if saves {
                self.evaluate(observer)?;
            }
        }
        if self.progress.update < train.updates && !self.progress.finished {
            self.progress.epoch += 1;
            self.progress.batches = 0;
        }
        Ok(())
    }

    /// Scores dev, keeps the best model, saves the state.
    fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Evaluation { score, behaviour, .. } = self.score(&self.prepared.dev, observer)?;
        // Equal WER, as on the plateau where all of it is wrong, is decided by CER.
        let result = [score.wer.unwrap_or(f64::INFINITY), score.cer.unwrap_or(f64::INFINITY)];
        let best = self.progress.best.is_none_or(|best| result < best);
        if best {
            self.model.save(&self.run.best(), Own::Keep)?;
            self.progress.best = Some(result);
            self.progress.since_best = 0;
        } else {
            self.progress.since_best += 1;
        }
        self.model.save(&self.run.last(), Own::Keep)?;
        let update = self.progress.update;
        observer.event(Event::Evaluated { update, score: &score, best });
        if behaviour.non_empty == 0.0 {
            observer.event(Event::Warning(&format!(
                "every hypothesis on dev is empty: {:.1} % of frames are blank, loss {:.2} nats a label. Early on this is usual; if it lasts, raise train.flat_start_updates, lower train.batch_seconds, or train longer",
                behaviour.blank * 100.0,
                behaviour.loss
            )));
        }
        let seconds = self.seconds();
        MetricsLine::Dev { update, best, behaviour, score, seconds }.append(&self.run.metrics())?;
        if self.recipe.train.patience.is_some_and(|patience| self.progress.since_best >= patience) {
            observer.event(Event::Note(&format!(
                "no better dev WER in {} evaluations: stopping",
                self.progress.since_best
            )));
            self.progress.finished = true;
        }
        self.progress.finished |= update == self.recipe.train.updates;
        let parts = Some(self.replicas.count());
        SavedState::write(self.run, self.model, &self.optimiser, &Progress { seconds, parts, ..self.progress })?;
        write_report(self.run)
    }

    fn score(&self, data: &crate::data::Dataset, observer: &mut dyn Observer) -> Result<Evaluation> {
        evaluate(self.model, data, &self.loading, self.recipe.train.batch_seconds, observer)
    }

    /// Scores the best checkpoint on every test set.
    fn score_tests(&self, observer: &mut dyn Observer) -> Result<Vec<(String, Score)>> {
        let mut scores = Vec::new();
        if self.prepared.tests.is_empty() {
            return Ok(scores);
        }
        let best = Recogniser::open(&find_model(&self.run.best(), None, observer)?, self.model.compute)?;
        for test in &self.prepared.tests {
            let Evaluation { score, behaviour, .. } =
                evaluate(&best, test, &self.loading, self.recipe.train.batch_seconds, observer)?;
            MetricsLine::Test { name: test.name.clone(), behaviour, score: score.clone() }
                .append(&self.run.metrics())?;
            scores.push((test.name.clone(), score));
        }
        Ok(scores)
    }

    fn warn_of_features(&self, observer: &mut dyn Observer) {
        self.replicas.take_warnings().iter().for_each(|warning| observer.event(Event::Warning(warning)));
    }

    /// Says what features on disk were good for.
    fn sum_up_features(&self, observer: &mut dyn Observer) -> Result<()> {
        let Some(KeptFeatures { file, at_hand, computed, written }) = self.replicas.kept_features() else {
            return Ok(());
        };
        observer.event(Event::Note(&format!(
            "features: {at_hand} utterances at hand in {file}, {computed} computed, {written} of them written to it"
        )));
        let update = self.progress.update;
        MetricsLine::Features { update, file, at_hand, computed, written }.append(&self.run.metrics())
    }

    fn announce(&self, observer: &mut dyn Observer) -> Result<()> {
        if self.recipe.model.freeze.feature_encoder == Some(true) && !self.prepared.is_pretrained() {
            observer.event(Event::Note(
                "model.freeze.feature_encoder: the convolutions start from random weights, and learn all the same",
            ));
        }
        if self.recipe.data.feature_cache_dir.is_some()
            && let Some(why) = why_not_kept(self.recipe, self.model, self.optimiser.parameters())
        {
            observer.event(Event::Note(&format!("data.feature_cache_dir: no features are kept, since {why}")));
        }
        self.warn_of_features(observer);
        let count =
            |parameters: &[(String, Tensor)]| parameters.iter().map(|(_, tensor)| tensor.numel() as u64).sum::<u64>();
        let parameters = count(&self.model.parameters());
        let trainable = count(self.optimiser.parameters());
        observer.event(Event::Note(&format!(
            "{:.2} million parameters, {:.2} million of them learn",
            parameters as f64 / 1e6,
            trainable as f64 / 1e6
        )));
        let line = MetricsLine::Run {
            klang: env!("CARGO_PKG_VERSION").into(),
            compute: self.model.compute.to_string(),
            update: self.progress.update,
            parameters,
            trainable,
            start: self.prepared.start_name().into(),
            data: self.prepared.data(),
        };
        line.append(&self.run.metrics())
    }

    fn seconds(&self) -> f64 {
        self.progress.seconds + self.clock.elapsed().as_secs_f64()
    }
}

/// Updates since the last line of metrics.
#[derive(Default)]
struct Log {
    reports: Vec<UpdateReport>,
    rates: Vec<Rate>,
    begun: bool,
}

impl Log {
    fn add(&mut self, report: UpdateReport, rates: Vec<Rate>) {
        self.reports.push(report);
        self.rates = rates;
    }

    fn flush(&mut self, run: &RunFolder, seconds: f64) -> Result<()> {
        let reports = std::mem::take(&mut self.reports);
        let Some(last) = reports.last() else { return Ok(()) };
        let count = reports.len() as f64;
        let mean = |value: fn(&UpdateReport) -> f64| reports.iter().map(value).sum::<f64>() / count;
        let time = mean(|report| report.seconds).max(1e-9);
        let name = |rate: &Rate| {
            let site = format!("{:?}", rate.site).to_lowercase();
            rate.layer.map_or(site.clone(), |layer| format!("{layer}.{site}"))
        };
        let first = reports[0].update == 1 && !self.begun;
        self.begun = true;
        let line = MetricsLine::Train {
            update: last.update,
            epoch: last.epoch,
            loss: mean(|report| report.loss),
            initial_loss: first.then_some(reports[0].loss),
            rate: last.rate.map(|_| mean(|report| report.rate.unwrap_or(0.0))),
            rate_weight: last.rate_weight,
            rates: self.rates.iter().map(|rate| (name(rate), rate.nats)).collect(),
            learning_rate: last.learning_rate,
            gradient_norm: mean(|report| report.gradient_norm),
            masked: mean(|report| report.masked),
            blank: mean(|report| report.blank),
            audio_seconds_per_second: mean(|report| report.audio_seconds) / time,
            padding: mean(|report| report.padding),
            waiting: mean(|report| report.waited_seconds) / time,
            seconds,
        };
        line.append(&run.metrics())
    }
}
