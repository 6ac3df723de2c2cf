//! One update: forward, loss, backward, clip, step.

use std::time::Instant;

use klang_ctc::{LossBatch, Reduction, alignment_loss, ctc_loss, even_alignment, required_frames};
use klang_wav2vec2::{KlRates, Pass, Site, TrainingPass};
use rand::RngExt;
use tch::{Kind, Tensor};

use crate::data::{LoadedBatch, LoadedRow};
use crate::draw;
use crate::error::{Error, Result};
use crate::event::UpdateReport;
use crate::model::{Recogniser, Recognition};
use crate::optimiser::AdamW;
use crate::recipe::Recipe;

/// What decides an update.
#[derive(Debug)]
pub struct Step<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The model.
    pub model: &'a Recogniser,
    /// Updates done before it.
    pub update: u64,
    /// Whether the convolutions learn.
    pub feature_encoder_learns: bool,
}

/// KL-Norm's rate at one site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The block; none for the encoder's own norm.
    pub layer: Option<usize>,
    /// The site.
    pub site: Site,
    /// Nats per channel.
    pub nats: f64,
}

/// What an update gives.
#[derive(Debug)]
pub struct StepOutcome {
    /// The update in numbers.
    pub report: UpdateReport,
    /// KL-Norm's rates by site, of the last batch.
    pub rates: Vec<Rate>,
    /// Utterances that were left out of it: (id, why).
    pub left_out: Vec<(String, String)>,
}

/// Sums over the batches of an update.
#[derive(Debug, Default)]
struct Sums {
    loss: f64,
    rate: f64,
    rates: Vec<Rate>,
    frames: i64,
    masked: i64,
    blank: i64,
}

impl Step<'_> {
    /// Applies one update from the given batches; without a row that can be learnt from, nothing.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, with the utterances; nothing has been applied then.
    pub fn run(&self, mut batches: Vec<LoadedBatch>, optimiser: &mut AdamW) -> Result<StepOutcome> {
        let start = Instant::now();
        let train = &self.recipe.train;
        let share = self.update as f64 / train.updates as f64;
        let learning_rate =
            train.learning_rate * train.schedule.scale(self.update, train.updates, train.phases, train.final_scale);
        let rate_weight = self.recipe.model.norm.weight_at(share);
        draw::seed_torch(self.recipe.seed, "step", &[&self.update]);

        let left_out = self.take_infeasible(&mut batches);
        let batches = batches.as_slice();
        if batches.is_empty() {
            let report = UpdateReport { update: self.update + 1, learning_rate, ..UpdateReport::default() };
            return Ok(StepOutcome { report, rates: Vec::new(), left_out });
        }
        let delimiter = self.model.spec.vocabulary.delimiter();
        let labels: Vec<Vec<Vec<u32>>> =
            batches.iter().map(|batch| batch.rows.iter().map(|row| row.labels(delimiter)).collect()).collect();
        let divisor = match train.loss_reduction {
            Reduction::Label => labels.iter().flatten().map(Vec::len).sum::<usize>() as f64,
            Reduction::Utterance => labels.iter().map(Vec::len).sum::<usize>() as f64,
            Reduction::Sum => 1.0,
        };

        optimiser.zero_gradients();
        let mut sums = Sums::default();
        for (number, (batch, labels)) in batches.iter().zip(&labels).enumerate() {
            let objective = self.objective(batch, labels, divisor, batches.len(), rate_weight, number, &mut sums)?;
            let part = std::slice::from_ref(batch);
            self.finite("the loss", objective.f_double_value(&[])?, part)?;
            self.finite("KL-Norm's rate", sums.rate, part)?;
            objective.f_backward()?;
        }
        let gradient_norm = optimiser.gradient_norm()?;
        self.finite("the gradient's norm", gradient_norm, batches)?;
        let clip = if train.clip > 0.0 && gradient_norm > train.clip { train.clip / gradient_norm } else { 1.0 };
        optimiser.step(learning_rate, clip)?;

        let real: usize = batches.iter().flat_map(|batch| &batch.rows).map(|row| row.samples.len()).sum();
        let padded: usize = batches
            .iter()
            .map(|batch| batch.rows.iter().map(|row| row.samples.len()).max().unwrap_or(0) * batch.rows.len())
            .sum();
        let part = |count: i64| if sums.frames == 0 { 0.0 } else { count as f64 / sums.frames as f64 };
        let has_rate = !sums.rates.is_empty();
        let report = UpdateReport {
            update: self.update + 1,
            loss: sums.loss,
            rate: has_rate.then_some(sums.rate),
            rate_weight: has_rate.then_some(rate_weight),
            learning_rate,
            gradient_norm,
            masked: part(sums.masked),
            blank: part(sums.blank),
            audio_seconds: real as f64 / f64::from(self.model.spec.audio.sampling_rate),
            padding: 1.0 - real as f64 / padded.max(1) as f64,
            seconds: start.elapsed().as_secs_f64(),
            ..UpdateReport::default()
        };
        Ok(StepOutcome { report, rates: sums.rates, left_out })
    }

    #[allow(clippy::too_many_arguments)]
    fn objective(
        &self,
        batch: &LoadedBatch,
        labels: &[Vec<u32>],
        divisor: f64,
        parts: usize,
        rate_weight: f64,
        number: usize,
        sums: &mut Sums,
    ) -> Result<Tensor> {
        let drawn = self.draw(batch, number, sums)?;
        let Recognition { logits, lengths, kl } = self.model.forward(&batch.waveforms()?, Pass::Training(&drawn))?;
        let blank = self.model.spec.vocabulary.blank();
        let losses = ctc_loss(&LossBatch { logits: &logits, lengths: &lengths, labels, blank })?;
        let loss = losses.f_sum(Kind::Float)?.f_div_scalar(divisor)?;
        sums.loss += loss.f_double_value(&[])?;
        sums.frames += lengths.iter().sum::<i64>();
        let paths = klang_ctc::greedy(&logits, &lengths, blank)?;
        sums.blank += paths.iter().map(|path| path.blank_frames as i64).sum::<i64>();

        let flat = self.recipe.train.flat_start_updates;
        let mut objective = if self.update < flat {
            let weight = 1.0 - self.update as f64 / flat as f64;
            let alignments: Vec<Vec<u32>> = (batch.rows.iter().zip(labels).zip(&lengths))
                .map(|((row, labels), &frames)| even_alignment(&self.energies(row, frames), labels, blank))
                .collect();
            let even = alignment_loss(&logits, &alignments)?.f_div_scalar(parts as f64)?;
            even.f_mul_scalar(weight)?.f_add(&loss.f_mul_scalar(1.0 - weight)?)?
        } else {
            loss
        };
        if let Some(KlRates { mean, sites }) = kl {
            sums.rate += mean.f_double_value(&[])? / parts as f64;
            let nats = |rate: &Tensor| rate.f_double_value(&[]);
            sums.rates = sites
                .iter()
                .map(|site| Ok(Rate { layer: site.layer, site: site.site, nats: nats(&site.rate)? }))
                .collect::<Result<_>>()?;
            if rate_weight > 0.0 {
                objective = objective.f_add(&mean.f_mul_scalar(rate_weight / parts as f64)?)?;
            }
        }
        Ok(objective)
    }

    /// Draws masks and dropped blocks from (seed, update), and counts what is masked.
    fn draw(&self, batch: &LoadedBatch, number: usize, sums: &mut Sums) -> Result<TrainingPass> {
        let Recipe { seed, train, model, .. } = self.recipe;
        let config = &self.model.spec.config;
        let mut random = draw::generator(*seed, "mask", &[&self.update, &number]);
        let lengths: Vec<usize> =
            batch.rows.iter().map(|row| config.frames(row.samples.len() as i64).max(0) as usize).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let rows = lengths.len() as i64;
        let tensor = |mask: Vec<bool>, width: usize| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(&mask)?.f_view([rows, width as i64])?.f_to_device(self.model.compute.device)?)
        };
        let mut drawn = TrainingPass {
            feature_encoder_learns: self.feature_encoder_learns,
            encoder_learns: self.update >= model.freeze.encoder_updates,
            dropped_blocks: (0..config.num_hidden_layers).map(|_| random.random::<f64>() < config.layerdrop).collect(),
            ..TrainingPass::default()
        };
        if train.mask.time.share > 0.0 {
            let mut mask = Vec::with_capacity(lengths.len() * longest);
            for &length in &lengths {
                let row = train.mask.time.draw(length, &mut random);
                sums.masked += row.iter().filter(|&&masked| masked).count() as i64;
                mask.extend(row);
                mask.resize(mask.len() + longest - length, false);
            }
            drawn.time_mask = Some(tensor(mask, longest)?);
        }
        if train.mask.channel.share > 0.0 {
            let width = config.hidden_size as usize;
            let mask = lengths.iter().flat_map(|_| train.mask.channel.draw(width, &mut random)).collect();
            drawn.channel_mask = Some(tensor(mask, width)?);
        }
        Ok(drawn)
    }

    /// Loudness of each frame: the mean magnitude of its samples.
    fn energies(&self, row: &LoadedRow, frames: i64) -> Vec<f32> {
        let step = self.model.spec.config.samples_per_frame() as usize;
        let mean =
            |samples: &[f32]| samples.iter().map(|sample| sample.abs()).sum::<f32>() / samples.len().max(1) as f32;
        row.samples.chunks(step).take(frames.max(0) as usize).map(mean).collect()
    }

    /// Takes out the rows whose labels do not fit their frames after all: a faster speed was drawn, or the file holds
    /// less than its manifest promises. Returns what was taken out.
    fn take_infeasible(&self, batches: &mut Vec<LoadedBatch>) -> Vec<(String, String)> {
        let spec = &self.model.spec;
        let mut left_out = Vec::new();
        for batch in batches.iter_mut() {
            batch.rows.retain(|row| {
                let frames = spec.config.frames(row.samples.len() as i64);
                let needed = required_frames(&row.labels(spec.vocabulary.delimiter())) as i64;
                if frames >= needed && frames > 0 {
                    return true;
                }
                let seconds = row.samples.len() as f64 / f64::from(spec.audio.sampling_rate);
                let why = format!("left out of this update: its {seconds:.2} s, after the change of speed, give {frames} frames, and its labels need {needed}");
                left_out.extend(row.items.iter().map(|item| (item.utterance.id.clone(), why.clone())));
                false
            });
        }
        batches.retain(|batch| !batch.rows.is_empty());
        left_out
    }

    fn finite(&self, what: &'static str, value: f64, batches: &[LoadedBatch]) -> Result<()> {
        if value.is_finite() {
            return Ok(());
        }
        let ids = batches.iter().flat_map(LoadedBatch::ids).collect();
        Err(Error::NonFinite { update: self.update + 1, what, value, ids })
    }
}
