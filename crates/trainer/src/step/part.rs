//! One part of an update: forward, objective, backward.

use std::collections::BTreeMap;
use std::sync::Arc;

use klang_ctc::{LossBatch, alignment_loss, ctc_loss, even_alignment, greedy};
use klang_wav2vec2::{Features, Noise, Pass, Recomputed, TrainingPass, Wav2Vec2, add_gradients};
use rand::RngExt;
use tch::{Kind, Tensor};

use super::features::{FrozenFeatures, KeptFeatures};
use super::r_drop::disagreement;
use crate::data::LoadedBatch;
use crate::draw;
use crate::error::{Error, Result};
use crate::event::Regulariser;
use crate::model::{ModelSpec, Recogniser, Recognition};
use crate::recipe::Recipe;
use crate::replicas::{Learner, Replicas, Sums, learnt_of, worthwhile};
use crate::sites::SiteSums;

/// What all parts of an update have in common.
#[derive(Clone, Copy, Debug)]
pub struct Common {
    /// Updates done before it.
    pub update: u64,
    /// What the losses' sum is divided by.
    pub divisor: f64,
    /// Real frames of the whole update.
    pub frames: i64,
    /// λ.
    pub rate_weight: f64,
    /// The even alignment's share of the objective.
    pub flat: f64,
}

/// A model, those of its parameters that learn, and how.
#[derive(Debug)]
pub struct CtcLearner {
    recipe: Arc<Recipe>,
    model: Recogniser,
    /// In the optimiser's order.
    learnt: Vec<Tensor>,
    /// Where the convolutions do not learn: what they give.
    frozen: Option<Arc<FrozenFeatures>>,
}

/// What a part gives. Everything adds up over the parts of an update.
#[derive(Debug, Default)]
pub struct Part {
    /// Of each parameter that learns; undefined where it took no part.
    pub gradients: Vec<Tensor>,
    /// CTC's loss, reduced.
    pub loss: f64,
    /// KL-Norm's mean rate, weighted by the part's share of frames.
    pub rate: f64,
    /// What its sites gave, by their share of frames.
    pub sites: SiteSums,
    /// What other regularisers add, likewise.
    pub regularisers: BTreeMap<Regulariser, f64>,
    /// Frames that were masked.
    pub masked: i64,
    /// Frames whose best label is the blank.
    pub blank: i64,
}

impl Sums for Part {
    fn add(&mut self, part: Part) -> Result<()> {
        self.loss += part.loss;
        self.rate += part.rate;
        self.masked += part.masked;
        self.blank += part.blank;
        self.sites.add(part.sites)?;
        for (kind, value) in part.regularisers {
            *self.regularisers.entry(kind).or_default() += value;
        }
        if self.gradients.is_empty() {
            self.gradients = part.gradients;
            return Ok(());
        }
        Ok(add_gradients(&mut self.gradients, part.gradients)?)
    }
}

impl Learner for CtcLearner {
    type Common = Common;
    type Part = Part;

    fn compute(&self, common: &Common, batch: &LoadedBatch, number: usize) -> Result<Part> {
        let mut part = Part::default();
        let (objective, recomputed) = self.objective(common, batch, number, &mut part)?;
        for (what, value) in [("the loss", objective.f_double_value(&[])?), ("KL-Norm's rate", part.rate)] {
            if !value.is_finite() {
                return Err(Error::NonFinite { update: common.update + 1, what, value, ids: batch.ids() });
            }
        }
        part.gradients = self.model.backward(objective, recomputed, &self.learnt)?;
        Ok(part)
    }
}

impl CtcLearner {
    /// Replicas of `model` for all of its threads, where they help; `learnt` names the parameters that learn.
    ///
    /// # Errors
    /// Too little memory, a system that gives no more threads, or a folder for features that cannot be used.
    pub fn replicas(recipe: &Recipe, model: &Recogniser, learnt: &[(String, Tensor)]) -> Result<Replicas<CtcLearner>> {
        let recipe = Arc::new(recipe.clone());
        let frozen = FrozenFeatures::of(&recipe, model, learnt)?;
        let learner = |_| -> Result<CtcLearner> {
            let model = model.replica()?;
            let learnt = learnt_of(model.parameters(), learnt)?;
            Ok(CtcLearner { recipe: recipe.clone(), model, learnt, frozen: frozen.clone() })
        };
        let learners = (0..worthwhile(&model.compute, learnt)).map(learner).collect::<Result<_>>()?;
        Replicas::start(learners, model.compute.threads)
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The encoder below the head.
    pub fn encoder(&self) -> &Wav2Vec2 {
        self.model.encoder()
    }

    /// The model's shape and vocabulary.
    pub fn spec(&self) -> &ModelSpec {
        &self.model.spec
    }

    /// What came of keeping features on disk, where that was asked for.
    pub fn kept_features(&self) -> Option<KeptFeatures> {
        self.frozen.as_ref().and_then(|frozen| frozen.kept())
    }

    /// What is odd about features on disk and was not said yet.
    pub fn take_warnings(&self) -> Vec<String> {
        self.frozen.as_ref().map(|frozen| frozen.take_warnings()).unwrap_or_default()
    }

    fn objective(
        &self,
        common: &Common,
        batch: &LoadedBatch,
        number: usize,
        part: &mut Part,
    ) -> Result<(Tensor, Option<Recomputed>)> {
        let mut drawn = vec![self.draw(common, batch, number, part)?];
        let r_drop = self.recipe.train.r_drop;
        if r_drop > 0.0 {
            drawn.push(self.redraw(&drawn[0], common, number));
        }
        let blank = self.model.spec.vocabulary.blank();
        let delimiter = self.model.spec.vocabulary.delimiter();
        let labels: Vec<Vec<u32>> = batch.rows.iter().map(|row| row.labels(delimiter)).collect();
        let reduce =
            |losses: &Tensor| -> Result<Tensor> { Ok(losses.f_sum(Kind::Float)?.f_div_scalar(common.divisor)?) };
        // One pass, or two that R-Drop compares; what each gives counts by its share.
        let share = 1.0 / drawn.len() as f64;
        let mut objective: Option<Tensor> = None;
        let mut add = |term: Tensor, weight: f64| -> Result<()> {
            let term = term.f_mul_scalar(weight)?;
            objective = Some(match objective.take() {
                Some(sum) => sum.f_add(&term)?,
                None => term,
            });
            Ok(())
        };
        let features = self.frozen.as_ref().map(|frozen| frozen.features(&self.model, batch)).transpose()?;
        let mut alignments: Option<Vec<Vec<u32>>> = None;
        let mut kept = None;
        let mut first: Option<Tensor> = None;
        for drawn in &drawn {
            let Recognition { logits, lengths, sites, bottleneck, recomputed } =
                self.pass(batch, features.as_ref(), drawn)?;
            let loss = reduce(&ctc_loss(&LossBatch { logits: &logits, lengths: &lengths, labels: &labels, blank })?)?;
            part.loss += share * loss.f_double_value(&[])?;
            add(loss, share * (1.0 - common.flat))?;
            if common.flat > 0.0 {
                let step = self.model.spec.config.samples_per_frame() as usize;
                let alignments = alignments.get_or_insert_with(|| {
                    (batch.rows.iter().zip(&labels).zip(&lengths))
                        .map(|((row, labels), &frames)| even_alignment(&row.energies(step, frames), labels, blank))
                        .collect()
                });
                add(reduce(&alignment_loss(&logits, alignments)?)?, share * common.flat)?;
            }
            let frames = share * lengths.iter().sum::<i64>() as f64 / common.frames as f64;
            if let Some(divergence) = sites.divergence(self.recipe.model.norm.free_bits)?
                && common.rate_weight > 0.0
            {
                add(divergence, common.rate_weight * frames)?;
            }
            part.rate += frames * part.sites.take(sites, frames)?.unwrap_or(0.0);
            if let (Some(rate), Some(recipe)) = (bottleneck, self.recipe.model.bottleneck) {
                let rate = rate.f_mean(Kind::Float)?;
                *part.regularisers.entry(Regulariser::Bottleneck).or_default() += frames * rate.f_double_value(&[])?;
                add(rate, recipe.weight * frames)?;
            }
            kept = recomputed;
            match &first {
                Some(first) => {
                    let apart = reduce(&disagreement(first, &logits, &lengths)?)?;
                    *part.regularisers.entry(Regulariser::RDrop).or_default() += apart.f_double_value(&[])?;
                    add(apart, r_drop)?;
                }
                None => {
                    let paths = greedy(&logits, &lengths, blank)?;
                    part.blank = paths.iter().map(|path| path.blank_frames as i64).sum();
                    first = Some(logits);
                }
            }
        }
        let objective = objective.ok_or_else(|| Error::Worker("a part of the batch had no pass".into()))?;
        Ok((objective, kept))
    }

    /// One pass, from the features of frozen convolutions where they are frozen.
    fn pass(&self, batch: &LoadedBatch, features: Option<&Features>, drawn: &TrainingPass) -> Result<Recognition> {
        let pass = Pass::Training(drawn);
        match features {
            Some(Features { hidden, lengths }) => {
                let features = Features { hidden: hidden.shallow_clone(), lengths: lengths.clone() };
                self.model.forward_features(features, pass)
            }
            None => self.model.forward(&batch.waveforms()?, pass),
        }
    }

    /// A second pass over what is masked alike, with dropout, noise and dropped blocks of its own.
    fn redraw(&self, first: &TrainingPass, common: &Common, number: usize) -> TrainingPass {
        let subject: [&dyn std::fmt::Display; 2] = [&common.update, &number];
        let mut random = draw::generator(self.recipe.seed, "second pass", &subject);
        let chance = self.model.spec.config.layerdrop;
        TrainingPass {
            time_mask: first.time_mask.as_ref().map(Tensor::shallow_clone),
            channel_mask: first.channel_mask.as_ref().map(Tensor::shallow_clone),
            dropped_blocks: first.dropped_blocks.iter().map(|_| random.random::<f64>() < chance).collect(),
            noise: Noise::new(random.random(), self.model.compute.device),
            ..*first
        }
    }

    /// Draws masks, dropped blocks and noise from (seed, update, number), and counts what is masked.
    fn draw(&self, common: &Common, batch: &LoadedBatch, number: usize, part: &mut Part) -> Result<TrainingPass> {
        let Recipe { seed, train, .. } = &*self.recipe;
        let config = &self.model.spec.config;
        let device = self.model.compute.device;
        let mut random = draw::generator(*seed, "mask", &[&common.update, &number]);
        let lengths: Vec<usize> = batch.rows.iter().map(|row| row.frames(config) as usize).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let rows = lengths.len() as i64;
        let tensor = |mask: Vec<bool>, width: usize| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(&mask)?.f_view([rows, width as i64])?.f_to_device(device)?)
        };
        let mut drawn = TrainingPass {
            time_mask: None,
            channel_mask: None,
            dropped_blocks: (0..config.num_hidden_layers).map(|_| random.random::<f64>() < config.layerdrop).collect(),
            encoder_learns: common.update >= self.recipe.model.freeze.encoder_updates,
            recompute: train.gradient_checkpointing,
            noise: Noise::new(draw::seed(*seed, "noise", &[&common.update, &number]), device),
        };
        if train.mask.time.share > 0.0 {
            let mut mask = Vec::with_capacity(lengths.len() * longest);
            for &length in &lengths {
                let row = train.mask.time.draw(length, &mut random);
                part.masked += row.iter().filter(|&&masked| masked).count() as i64;
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
}
