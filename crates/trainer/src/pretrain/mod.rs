//! Pretraining: an encoder that learns from speech without transcripts, judged by how it tells masked frames of other speech.
//!
//! ```text
//! recipe.yaml ─► PretrainingPreparation ─► pretrain ─► run folder ─► model.init of a recipe for training
//! ```

mod evaluate;
mod learner;
mod model;
mod prepare;
mod probe;
mod spectra;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tch::Tensor;

use crate::data::{Item, LoadedBatch, LoadedRow, LoaderSettings};
use crate::device::{Compute, processor_seconds};
use crate::error::Result;
use crate::evaluate::split_short;
use crate::event::{Event, Measures, Observer, PretrainingMeasures, UpdateReport};
use crate::optimiser::{AdamW, Applied};
use crate::recipe::Recipe;
use crate::replicas::{Replicas, Summed};
use crate::run::{MadeBy, MetricsLine, Progress, RunFolder, SavedState, write_report};
use crate::sites::SiteRate;
use crate::training::{Begin, Means, Outcome, Speed, Start, Task, Told, Training, check_finite};

pub use evaluate::HeldOut;
use evaluate::held_out;
use learner::{Common, PretrainLearner};
use model::Pretrained;
pub use prepare::PretrainingPreparation;
pub use probe::Probed;

/// Pretrains as `recipe` says, in the run folder `folder`.
///
/// # Errors
/// Anything wrong with recipe, data or machine; the last saved state stays whole.
pub fn pretrain(recipe: &Recipe, folder: &Path, begin: Begin, observer: &mut dyn Observer) -> Result<Outcome> {
    recipe.pretraining()?;
    let mut recipe = recipe.clone();
    let run = RunFolder::begun(folder, &mut recipe, begin)?;
    let recipe = &mut recipe;
    let compute = Compute::decide(recipe.device, recipe.precision, recipe.threads)?;
    observer.event(Event::Note(&format!("computing on {compute}")));
    let prepared = PretrainingPreparation::new(recipe, observer)?;
    if let Some(pinned) = prepared.pinned() {
        recipe.model.init = pinned.into();
    }
    let recipe = &*recipe;
    prepared.notes.iter().for_each(|note| observer.event(Event::Note(note)));
    let (model, notes) = prepared.model(compute, recipe.seed)?;
    notes.iter().for_each(|note| observer.event(Event::Note(note)));
    let learnt = learnt(recipe, &model);
    let mut optimiser = AdamW::new(learnt, recipe.train.adamw()).scaled(|name| recipe.model.norm.rate_scale(name));
    let progress = match &run {
        Some(run) => SavedState::restore(run, &model.parameters(), &mut optimiser)?.unwrap_or_default(),
        None => Progress::default(),
    };
    let replicas = PretrainLearner::replicas(recipe, &model, optimiser.parameters())?;
    if progress.parts > 0 {
        replicas.cut_into(progress.parts);
    }
    // The folder is made only now: a recipe that fails leaves none behind.
    let run = match run {
        Some(run) => run,
        None => RunFolder::create(folder, recipe)?,
    };
    let mut training = Training::new(recipe, &run, model.spec.audio, prepared.train.items.len(), progress)?;
    let loading = training.loading.clone();
    let mut task = Pretraining {
        recipe,
        prepared: &prepared,
        model: &model,
        run: &run,
        replicas,
        optimiser,
        loading,
        rates: Vec::new(),
        short: TooShort::default(),
    };
    training.greet(begin, &task.made_by(), observer);
    task.announce(training.progress.update, observer)?;
    training.run(&mut task, observer)?;
    training.end(processor_seconds())?;
    write_report(&run)?;
    Ok(Outcome {
        updates: training.progress.update,
        best: training.progress.best,
        tests: Vec::new(),
        seconds: training.seconds(),
        processor_seconds: processor_seconds(),
    })
}

/// What learns: everything that is not random for good, without the convolutions where the recipe freezes them.
fn learnt(recipe: &Recipe, model: &Pretrained) -> Vec<(String, Tensor)> {
    let frozen = recipe.model.init != "random" && recipe.model.freeze.feature_encoder == Some(true);
    let learns =
        |(name, tensor): &(String, Tensor)| tensor.requires_grad() && !(frozen && name.contains("feature_extractor."));
    model.parameters().into_iter().filter(learns).collect()
}

struct Pretraining<'a> {
    recipe: &'a Recipe,
    prepared: &'a PretrainingPreparation,
    model: &'a Pretrained,
    run: &'a RunFolder,
    replicas: Replicas<PretrainLearner>,
    optimiser: AdamW,
    loading: LoaderSettings,
    /// Of the last update.
    rates: Vec<SiteRate>,
    short: TooShort,
}

/// Utterances whose files hold less than a frame, whatever their manifest says: each is named once.
#[derive(Debug, Default)]
struct TooShort {
    named: HashSet<String>,
}

impl TooShort {
    fn say(&mut self, rows: &[LoadedRow], observer: &mut dyn Observer) {
        for item in rows.iter().flat_map(|row| &row.items) {
            let id = &item.utterance.id;
            if self.named.insert(id.clone()) {
                observer.event(Event::Warning(&format!(
                    "{id}: its file holds less than one frame, and is passed over; the manifest says {:.2} s",
                    item.duration
                )));
            }
        }
    }
}

impl Task for Pretraining<'_> {
    type Evaluation = (HeldOut, Option<Probed>);

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

    fn update(
        &mut self,
        done: u64,
        mut batches: Vec<LoadedBatch>,
        observer: &mut dyn Observer,
    ) -> Result<UpdateReport> {
        let start = Instant::now();
        let Recipe { train, model, .. } = self.recipe;
        let minimum = self.model.spec.config.minimum_samples() as usize;
        for batch in &mut batches {
            // A file may hold less than its manifest promises.
            let rows = std::mem::take(&mut batch.rows);
            let (whole, short) = split_short(LoadedBatch { rows, ..LoadedBatch::default() }, minimum);
            batch.rows = whole.rows;
            self.short.say(&short, observer);
        }
        batches.retain(|batch| !batch.rows.is_empty());
        let learning_rate = train.learning_rate_at(done);
        let rate_weight = model.norm.weight_at(done as f64 / train.updates as f64);
        let ids: Vec<String> = batches.iter().flat_map(LoadedBatch::ids).collect();
        let common = Common { update: done, rate_weight };
        let Summed { sums, samples, padded } = self.replicas.sum(&common, &batches, &|| observer.stops())?;
        // Over the masked frames of the whole update, as fairseq does; none of them is no update.
        let count = sums.masked.max(1) as f64;
        let applied = Applied { update: done + 1, learning_rate, clip: train.clip, divisor: count };
        let gradient_norm = applied.apply(&sums.gradients, ids, &mut self.optimiser)?;
        // Behind what may refuse the update.
        sums.sites.follow(self.model.encoder())?;
        self.rates = sums.sites.rates()?;
        let mean = |sum: Option<f64>| sum.map(|sum| sum / count);
        Ok(UpdateReport {
            update: done + 1,
            loss: sums.loss / count,
            rate: mean(sums.rate),
            rate_weight: sums.rate.map(|_| rate_weight),
            learning_rate,
            gradient_norm,
            masked: sums.masked as f64 / sums.frames.max(1) as f64,
            measures: Measures::Pretraining(PretrainingMeasures {
                prediction: sums.prediction / count,
                accuracy: sums.correct / count,
                perplexity: sums.perplexity / count,
                predicted_perplexity: mean(sums.predicted_perplexity),
                idle: mean(sums.idle),
                penalty: mean(sums.penalty),
                temperature: self.replicas.own().temperature(done),
            }),
            audio_seconds: samples as f64 / f64::from(self.model.spec.audio.sampling_rate),
            padding: 1.0 - samples as f64 / padded.max(1) as f64,
            seconds: start.elapsed().as_secs_f64(),
            ..UpdateReport::default()
        })
    }

    fn line(&mut self, reports: &[UpdateReport], seconds: f64) -> MetricsLine {
        let means = Means::of(reports);
        let (last, Speed { audio_seconds_per_second, padding, waiting }) = (means.last(), means.speed());
        let measures = |report: &UpdateReport| match report.measures {
            Measures::Pretraining(measures) => measures,
            Measures::Ctc { .. } => PretrainingMeasures::default(),
        };
        let mean = |value: fn(&PretrainingMeasures) -> f64| means.mean(|report| value(&measures(report)));
        let optional = |value: fn(&PretrainingMeasures) -> Option<f64>| {
            value(&measures(&last)).map(|_| means.mean(|report| value(&measures(report)).unwrap_or(0.0)))
        };
        MetricsLine::Pretrain {
            update: last.update,
            epoch: last.epoch,
            loss: means.mean(|report| report.loss),
            measures: PretrainingMeasures {
                prediction: mean(|measures| measures.prediction),
                accuracy: mean(|measures| measures.accuracy),
                perplexity: mean(|measures| measures.perplexity),
                predicted_perplexity: optional(|measures| measures.predicted_perplexity),
                idle: optional(|measures| measures.idle),
                penalty: optional(|measures| measures.penalty),
                temperature: measures(&last).temperature,
            },
            rate: last.rate.map(|_| means.mean(|report| report.rate.unwrap_or(0.0))),
            rate_weight: last.rate_weight,
            rates: self.rates.iter().map(|rate| (rate.name(), rate.nats())).collect(),
            learning_rate: last.learning_rate,
            gradient_norm: means.mean(|report| report.gradient_norm),
            masked: means.mean(|report| report.masked),
            audio_seconds_per_second,
            padding,
            waiting,
            seconds,
        }
    }

    fn rates(&self) -> &[SiteRate] {
        &self.rates
    }

    fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<Self::Evaluation> {
        let seconds = self.recipe.train.batch_seconds;
        let judged = held_out(self.model, &self.prepared.dev, self.recipe, &self.loading, &mut self.short, observer)?;
        let probe = self.prepared.probe.as_ref();
        let probed = probe.map(|probe| probe.run(self.model, &self.loading, seconds, observer)).transpose()?;
        Ok((judged, probed))
    }

    fn result(&self, (judged, _): &Self::Evaluation) -> [f64; 2] {
        // To a collapsed codebook nothing is easier to tell than its one code: such a loss is no good one.
        [if judged.collapse().is_some() { f64::MAX } else { judged.loss }, 0.0]
    }

    fn tell(&mut self, (judged, probed): Self::Evaluation, told: Told, observer: &mut dyn Observer) -> Result<()> {
        let Told { update, best, seconds } = told;
        observer.event(Event::HeldOut { update, held_out: &judged, probe: probed.as_ref(), best });
        if let Some(warning) = judged.collapse().filter(|_| update as f64 >= self.recipe.train.rise()) {
            observer.event(Event::Warning(&warning));
        }
        MetricsLine::HeldOut { update, best, held_out: judged, probe: probed, seconds }.append(&self.run.metrics())
    }

    fn save_model(&self, folder: &Path) -> Result<()> {
        self.model.save(folder)
    }

    fn save_state(&self, progress: &Progress) -> Result<()> {
        SavedState::write(self.run, &self.model.parameters(), &self.optimiser, progress)
    }
}

impl Pretraining<'_> {
    fn announce(&self, update: u64, observer: &mut dyn Observer) -> Result<()> {
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
