//! Fine-tuning: a CTC head and the encoder below it, judged by WER.

use std::path::Path;
use std::sync::Arc;

use klang_text::Score;
use klang_wav2vec2::checkpoint::Own;

use crate::data::{Item, LoadedBatch, LoaderSettings};
use crate::decode::DECODING;
use crate::device::{Compute, processor_seconds};
use crate::emissions::{emission_paths, write_paths};
use crate::error::{Error, Result};
use crate::evaluate::{Behaviour, EvaluateOptions, Evaluation, evaluate, non_empty};
use crate::event::{Event, Measures, Observer, UpdateReport};
use crate::files;
use crate::hypotheses::{beside_search, write_hypotheses};
use crate::model::{Recogniser, find_model, freeze};
use crate::optimiser::AdamW;
use crate::prepare::{FreshModel, Preparation};
use crate::recipe::Recipe;
use crate::regularise::Anchored;
use crate::replicas::Replicas;
use crate::run::{MadeBy, MetricsLine, Progress, RunFolder, SavedState, write_report};
use crate::sites::SiteRate;
use crate::step::{CtcLearner, KeptFeatures, Step, StepOutcome, why_not_kept};
use crate::training::{Begin, Means, Outcome, Speed, Start, Task, Told, Training, check_finite};

/// Trains as `recipe` says, in the run folder `folder`.
///
/// # Errors
/// Anything wrong with recipe, data or machine; the last saved state stays whole.
pub fn train(recipe: &Recipe, folder: &Path, begin: Begin, observer: &mut dyn Observer) -> Result<Outcome> {
    let mut recipe = recipe.clone();
    let run = RunFolder::begun(folder, &mut recipe, begin)?;
    let recipe = &mut recipe;
    let compute = Compute::decide(recipe.device, recipe.precision, recipe.threads)?;
    observer.event(Event::Note(&format!("computing on {compute}")));
    let prepared = Preparation::new(recipe, observer)?;
    if let Some(pinned) = prepared.pinned() {
        recipe.model.init = pinned.into();
    }
    let recipe = &*recipe;
    prepared.notes.iter().for_each(|note| observer.event(Event::Note(note)));
    let FreshModel { model, fresh, notes } = prepared.model(compute, recipe.seed)?;
    notes.iter().for_each(|note| observer.event(Event::Note(note)));
    let learnt = prepared.tune(recipe).learnt(&model);
    freeze(&model, &learnt)?;
    let anchored = Anchored::new(recipe, &learnt, &fresh)?;
    let mut optimiser = AdamW::new(learnt, recipe.train.adamw()).scaled(|name| recipe.model.norm.rate_scale(name));
    let progress = match &run {
        Some(run) => SavedState::restore(run, &model.parameters(), &mut optimiser)?.unwrap_or_default(),
        None => Progress::default(),
    };
    // Behind the restored weights: it is by them that features are kept.
    let replicas = CtcLearner::replicas(recipe, &model, optimiser.parameters())?;
    if progress.parts > 0 {
        replicas.cut_into(progress.parts);
    }
    // The folder is made only now: a recipe that fails leaves none behind.
    let run = match run {
        Some(run) => run,
        None => RunFolder::create(folder, recipe)?,
    };
    let mut training = Training::new(recipe, &run, model.spec.audio, prepared.listed, progress)?;
    let mut task = FineTuning {
        recipe,
        prepared: &prepared,
        model: &model,
        run: &run,
        replicas,
        anchored,
        optimiser,
        loading: training.loading.clone(),
        rates: Vec::new(),
        begun: false,
        left_out: 0,
    };
    training.greet(begin, &task.made_by(), observer);
    task.announce(training.progress.update, observer)?;
    training.loading.bad_audio.note("train", prepared.listed, &prepared.unreadable, observer)?;
    training.run(&mut task, observer)?;
    if task.left_out > 0 {
        let count = task.left_out;
        observer.event(Event::Note(&format!(
            "{count} times an utterance was left out of an update because its labels did not fit"
        )));
    }
    task.sum_up_features(training.progress.update, observer)?;
    task.keep_decoding()?;
    // What scoring the tests takes is no cost of training.
    let learning = processor_seconds();
    let tests = task.score_tests(observer).map_err(|error| match error {
        Error::StoppedEarly => Error::Stopped { path: run.path().into(), update: training.progress.update },
        error => error,
    })?;
    training.end(learning)?;
    write_report(&run)?;
    Ok(Outcome {
        updates: training.progress.update,
        best: training.progress.best,
        tests,
        seconds: training.seconds(),
        processor_seconds: processor_seconds(),
    })
}

struct FineTuning<'a> {
    recipe: &'a Recipe,
    prepared: &'a Preparation,
    model: &'a Recogniser,
    run: &'a RunFolder,
    replicas: Replicas<CtcLearner>,
    anchored: Option<Anchored>,
    optimiser: AdamW,
    loading: LoaderSettings,
    /// Of the last update.
    rates: Vec<SiteRate>,
    /// Whether a line of metrics was written.
    begun: bool,
    left_out: usize,
}

/// Utterances left out of an update that are named; their number is said at the end.
const NAMED: usize = 3;

impl Task for FineTuning<'_> {
    type Evaluation = Evaluation;

    fn items(&self) -> &[Arc<Item>] {
        &self.prepared.train.items
    }

    fn parts(&self) -> usize {
        self.replicas.parts()
    }

    fn made_by(&self) -> MadeBy {
        MadeBy::here(&self.model.compute)
    }

    fn check_weights(&self, update: u64) -> Result<()> {
        check_finite(&self.model.parameters(), update)
    }

    fn update(&mut self, done: u64, batches: Vec<LoadedBatch>, observer: &mut dyn Observer) -> Result<UpdateReport> {
        let step = Step { replicas: &self.replicas, update: done, anchored: self.anchored.as_ref() };
        let StepOutcome { report, rates, left_out } = step.run(batches, &mut self.optimiser, &|| observer.stops())?;
        for (id, why) in left_out {
            self.left_out += 1;
            if self.left_out <= NAMED {
                observer.event(Event::Warning(&format!("{id}: {why}")));
            }
        }
        self.warn_of_features(observer);
        self.rates = rates;
        Ok(report)
    }

    fn line(&mut self, reports: &[UpdateReport], seconds: f64) -> MetricsLine {
        let means = Means::of(reports);
        let (last, Speed { audio_seconds_per_second, padding, waiting }) = (means.last(), means.speed());
        let first = reports.first().filter(|first| first.update == 1 && !self.begun);
        self.begun = true;
        MetricsLine::Train {
            update: last.update,
            epoch: last.epoch,
            loss: means.mean(|report| report.loss),
            initial_loss: first.map(|first| first.loss),
            rate: last.rate.map(|_| means.mean(|report| report.rate.unwrap_or(0.0))),
            rate_weight: last.rate_weight,
            rates: self.rates.iter().map(|rate| (rate.name(), rate.nats())).collect(),
            regularisers: means.regularisers(),
            learning_rate: last.learning_rate,
            gradient_norm: means.mean(|report| report.gradient_norm),
            masked: means.mean(|report| report.masked),
            blank: means.mean(|report| match report.measures {
                Measures::Ctc { blank } => blank,
                Measures::Pretraining(_) => 0.0,
            }),
            audio_seconds_per_second,
            padding,
            waiting,
            seconds,
        }
    }

    fn rates(&self) -> &[SiteRate] {
        &self.rates
    }

    fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<Evaluation> {
        self.score(&self.prepared.dev, observer)
    }

    fn result(&self, evaluation: &Evaluation) -> [f64; 2] {
        let Score { wer, cer, .. } = evaluation.score;
        self.recipe.train.choose_by.order([wer, cer].map(|rate| rate.unwrap_or(f64::MAX)))
    }

    fn keep_best(&self, evaluation: &Evaluation) -> Result<()> {
        write_hypotheses(&self.run.hypotheses(), &evaluation.pairs)?;
        let paths = emission_paths(self.model, &self.prepared.dev, &evaluation.pairs, &self.loading)?;
        write_paths(&self.run.emissions(), &paths)
    }

    fn tell(&mut self, evaluation: Evaluation, told: Told, observer: &mut dyn Observer) -> Result<()> {
        let Told { update, best, seconds } = told;
        let Evaluation { score, behaviour, .. } = evaluation;
        observer.event(Event::Evaluated { update, score: &score, best });
        if behaviour.non_empty == 0.0 {
            observer.event(Event::Warning(&format!(
                "every hypothesis on dev is empty: {:.1} % of frames are blank, loss {:.2} nats a label. Early on this is usual; if it lasts, raise train.flat_start_updates, lower train.batch_seconds, or train longer",
                behaviour.blank * 100.0,
                behaviour.loss
            )));
        }
        MetricsLine::Dev { update, best, behaviour, score, seconds }.append(&self.run.metrics())
    }

    fn save_model(&self, folder: &Path) -> Result<()> {
        self.model.save(folder, Own::Keep)
    }

    fn save_state(&self, progress: &Progress) -> Result<()> {
        SavedState::write(self.run, &self.model.parameters(), &self.optimiser, progress)
    }
}

impl FineTuning<'_> {
    fn score(&self, data: &crate::data::Dataset, observer: &mut dyn Observer) -> Result<Evaluation> {
        let options = EvaluateOptions { batch_seconds: self.recipe.train.batch_seconds, decoder: None };
        evaluate(self.model, data, &self.loading, &options, observer)
    }

    /// Keeps with the best checkpoint how the recipe reads it, unless that was tuned since.
    fn keep_decoding(&self) -> Result<()> {
        match &self.prepared.decoder {
            Some(decoder) if !self.run.best().join(DECODING).exists() => decoder.settings().write(&self.run.best()),
            _ => Ok(()),
        }
    }

    /// Scores the best checkpoint on every test set; where the recipe searches, greedily too, which is reported first.
    fn score_tests(&self, observer: &mut dyn Observer) -> Result<Vec<(String, Score)>> {
        let mut scores = Vec::new();
        if self.prepared.tests.is_empty() {
            return Ok(scores);
        }
        files::make_folder(&self.run.tests())?;
        let best = Recogniser::open(&find_model(&self.run.best(), None, observer)?, self.model.compute)?;
        for test in &self.prepared.tests {
            let decoder = self.prepared.decoder.as_ref();
            let options = EvaluateOptions { batch_seconds: self.recipe.train.batch_seconds, decoder };
            let Evaluation { score, behaviour, pairs, decoded } =
                evaluate(&best, test, &self.loading, &options, observer)?;
            let greedy = match &decoded {
                Some(_) => beside_search(&test.name),
                None => test.name.clone(),
            };
            let readings = decoded.map(|search| (test.name.clone(), search.score, search.pairs));
            for (name, score, pairs) in std::iter::once((greedy, score, pairs)).chain(readings) {
                write_hypotheses(&self.run.test_hypotheses(&name), &pairs)?;
                let behaviour = Behaviour { non_empty: non_empty(&pairs), ..behaviour };
                MetricsLine::Test { name: name.clone(), behaviour, score: score.clone() }
                    .append(&self.run.metrics())?;
                scores.push((name, score));
            }
        }
        Ok(scores)
    }

    fn warn_of_features(&self, observer: &mut dyn Observer) {
        self.replicas.own().take_warnings().iter().for_each(|warning| observer.event(Event::Warning(warning)));
    }

    /// Says what features on disk were good for.
    fn sum_up_features(&self, update: u64, observer: &mut dyn Observer) -> Result<()> {
        let Some(KeptFeatures { file, at_hand, computed, written }) = self.replicas.own().kept_features() else {
            return Ok(());
        };
        observer.event(Event::Note(&format!(
            "features: {at_hand} utterances at hand in {file}, {computed} computed, {written} of them written to it"
        )));
        MetricsLine::Features { update, file, at_hand, computed, written }.append(&self.run.metrics())
    }

    fn announce(&self, update: u64, observer: &mut dyn Observer) -> Result<()> {
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
        let start = Start {
            parameters: self.model.parameters(),
            learnt: self.optimiser.parameters(),
            compute: self.model.compute,
            name: self.prepared.start_name(),
            data: self.prepared.data(),
        };
        start.announce(self.run, update, observer)
    }
}
