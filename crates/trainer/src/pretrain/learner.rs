//! One part of an update in pretraining: masks, forward, objective, backward.

use std::sync::Arc;

use klang_wav2vec2::{
    MaskedFrames, ModelConfig, Noise, Pass, Recomputed, Spans, TrainingPass, add_gradients, feature_penalty,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use super::model::{Drawn, Pretrained};
use crate::data::LoadedBatch;
use crate::draw;
use crate::error::{Error, Result};
use crate::recipe::{ContrastiveRecipe, ObjectiveKind, PretrainRecipe, Recipe};
use crate::replicas::{Learner, Replicas, Sums, learnt_of, worthwhile};
use crate::sites::SiteSums;

/// What all parts of an update have in common.
#[derive(Clone, Copy, Debug)]
pub struct Common {
    /// Updates done before it.
    pub update: u64,
    /// λ.
    pub rate_weight: f64,
}

/// A model in pretraining, those of its parameters that learn, and how.
#[derive(Debug)]
pub struct PretrainLearner {
    recipe: Arc<Recipe>,
    pretrain: Arc<PretrainRecipe>,
    model: Pretrained,
    /// In the optimiser's order.
    learnt: Vec<Tensor>,
    /// Of each, what its gradient is multiplied by.
    scales: Vec<f64>,
}

/// What a part gives: sums over its masked frames, which add up over the parts of an update.
#[derive(Debug, Default)]
pub struct Part {
    /// Of each parameter that learns; undefined where it took no part.
    pub gradients: Vec<Tensor>,
    /// Masked frames.
    pub masked: i64,
    /// Real frames.
    pub frames: i64,
    /// The whole objective but for KL-Norm's rate.
    pub loss: f64,
    /// −log of the targets' probabilities.
    pub prediction: f64,
    /// Frames whose target was told.
    pub correct: f64,
    /// Times the masked frames: perplexity of the codebook over this part, of what is predicted, the idle share, the penalty,
    /// KL-Norm's rate.
    pub perplexity: f64,
    /// As `perplexity`.
    pub predicted_perplexity: Option<f64>,
    /// As `perplexity`.
    pub idle: Option<f64>,
    /// As `perplexity`.
    pub penalty: Option<f64>,
    /// As `perplexity`.
    pub rate: Option<f64>,
    /// What its sites gave, by its masked frames.
    pub sites: SiteSums,
}

impl Sums for Part {
    fn add(&mut self, part: Part) -> Result<()> {
        let sum = |a: &mut Option<f64>, b: Option<f64>| *a = a.map_or(b, |a| Some(a + b.unwrap_or(0.0)));
        self.masked += part.masked;
        self.frames += part.frames;
        self.loss += part.loss;
        self.prediction += part.prediction;
        self.correct += part.correct;
        self.perplexity += part.perplexity;
        sum(&mut self.predicted_perplexity, part.predicted_perplexity);
        sum(&mut self.idle, part.idle);
        sum(&mut self.penalty, part.penalty);
        sum(&mut self.rate, part.rate);
        self.sites.add(part.sites)?;
        if self.gradients.is_empty() {
            self.gradients = part.gradients;
            return Ok(());
        }
        if part.gradients.is_empty() {
            return Ok(());
        }
        Ok(add_gradients(&mut self.gradients, part.gradients)?)
    }
}

impl Learner for PretrainLearner {
    type Common = Common;
    type Part = Part;

    fn compute(&self, common: &Common, batch: &LoadedBatch, number: usize) -> Result<Part> {
        let mut part = Part::default();
        let Some((objective, recomputed)) = self.objective(common, batch, number, &mut part)? else {
            return Ok(part);
        };
        let value = objective.f_double_value(&[])?;
        if !value.is_finite() {
            return Err(Error::NonFinite { update: common.update + 1, what: "the loss", value, ids: batch.ids() });
        }
        part.gradients = self.model.backward(objective, recomputed, &self.learnt)?;
        for (gradient, &scale) in part.gradients.iter_mut().zip(&self.scales).filter(|(_, scale)| **scale != 1.0) {
            if gradient.defined() {
                let _ = tch::no_grad(|| gradient.f_mul_scalar_(scale))?;
            }
        }
        Ok(part)
    }
}

impl PretrainLearner {
    /// Replicas of `model` for all of its threads, where they help; `learnt` names the parameters that learn.
    ///
    /// # Errors
    /// A recipe that is none for pretraining, too little memory, or a system that gives no more threads.
    pub fn replicas(
        recipe: &Recipe,
        model: &Pretrained,
        learnt: &[(String, Tensor)],
    ) -> Result<Replicas<PretrainLearner>> {
        let pretrain = Arc::new(recipe.pretraining()?.clone());
        let recipe = Arc::new(recipe.clone());
        let scale = |(name, _): &(String, Tensor)| match pretrain.objective {
            // All of the convolutions' gradient goes through their output: to scale it there, as fairseq does, is the same.
            ObjectiveKind::Wav2vec2 if name.contains("feature_extractor.") => pretrain.wav2vec2.feature_gradient,
            _ => 1.0,
        };
        let learner = |_| -> Result<PretrainLearner> {
            let model = model.replica()?;
            Ok(PretrainLearner {
                recipe: recipe.clone(),
                pretrain: pretrain.clone(),
                scales: learnt.iter().map(scale).collect(),
                learnt: learnt_of(model.parameters(), learnt)?,
                model,
            })
        };
        let learners = (0..worthwhile(&model.compute, learnt)).map(learner).collect::<Result<_>>()?;
        Replicas::start(learners, model.compute.threads)
    }

    /// The temperature of the choice of codes in the update after `update` updates; none where nothing is chosen.
    pub fn temperature(&self, update: u64) -> Option<f64> {
        let share = update as f64 / self.recipe.train.updates as f64;
        (self.pretrain.objective == ObjectiveKind::Wav2vec2).then(|| self.pretrain.wav2vec2.temperature_at(share))
    }

    /// The sum over masked frames that is to fall; none where nothing could be masked.
    fn objective(
        &self,
        common: &Common,
        batch: &LoadedBatch,
        number: usize,
        part: &mut Part,
    ) -> Result<Option<(Tensor, Option<Recomputed>)>> {
        let Recipe { seed, train, .. } = &*self.recipe;
        let (config, device) = (&self.model.spec.config, self.model.compute.device);
        let mut random = draw::generator(*seed, "mask", &[&common.update, &number]);
        let rows = masks(&self.pretrain.mask.spans(), batch, config, &mut random);
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let masked = MaskedFrames::new(&rows, longest, device)?;
        part.frames = rows.iter().map(|row| row.len() as i64).sum();
        part.masked = masked.count();
        if part.masked == 0 {
            return Ok(None);
        }
        let drawn = TrainingPass {
            time_mask: Some(masked.mask.shallow_clone()),
            channel_mask: None,
            dropped_blocks: (0..config.num_hidden_layers).map(|_| random.random::<f64>() < config.layerdrop).collect(),
            encoder_learns: true,
            recompute: train.gradient_checkpointing,
            noise: Noise::new(draw::seed(*seed, "noise", &[&common.update, &number]), device),
        };
        let mut stages = self.model.stages(batch, Pass::Training(&drawn))?;
        let targets = self.model.targets(batch)?;
        let choice = self.temperature(common.update).map(|temperature| (&drawn.noise, temperature));
        let told = self.model.predict(&stages, &targets, &masked, Drawn { random: &mut random, choice })?;
        let count = part.masked as f64;
        part.prediction = told.loss.f_double_value(&[])?;
        part.correct = told.correct.f_int64_value(&[])? as f64;
        part.perplexity = count * told.perplexity.f_double_value(&[])?;
        if let Some(predicted) = told.predicted_perplexity {
            part.predicted_perplexity = Some(count * predicted.f_double_value(&[])?);
        }
        let mut objective = told.loss;
        if self.pretrain.objective == ObjectiveKind::BestRq && self.pretrain.unmasked > 0.0 {
            let open: Vec<Vec<bool>> = rows.iter().map(|row| row.iter().map(|masked| !masked).collect()).collect();
            let frames = MaskedFrames::new(&open, longest, device)?;
            if frames.count() > 0 {
                let drawn = Drawn { random: &mut random, choice: None };
                let told = self.model.predict(&stages, &targets, &frames, drawn)?;
                let weight = self.pretrain.unmasked * count / frames.count() as f64;
                objective = objective.f_add(&told.loss.f_mul_scalar(weight)?)?;
            }
        }
        if let Some(diversity) = told.diversity {
            part.idle = Some(diversity.f_double_value(&[])?);
            objective = objective.f_add(&diversity.f_mul_scalar(config.contrastive.diversity_loss_weight)?)?;
        }
        let ContrastiveRecipe { feature_penalty: weight, .. } = self.pretrain.wav2vec2;
        if self.pretrain.objective == ObjectiveKind::Wav2vec2 && weight > 0.0 {
            let penalty = feature_penalty(&stages.features, &stages.output.lengths)?;
            part.penalty = Some(count * penalty.f_double_value(&[])?);
            objective = objective.f_add(&penalty.f_mul_scalar(weight * count)?)?;
        }
        part.loss = objective.f_double_value(&[])?;
        let sites = std::mem::take(&mut stages.output.sites);
        let divergence = sites.divergence(self.recipe.model.norm.free_bits)?;
        if let Some(divergence) = divergence.filter(|_| common.rate_weight > 0.0) {
            objective = objective.f_add(&divergence.f_mul_scalar(common.rate_weight * count)?)?;
        }
        part.rate = part.sites.take(sites, count)?.map(|rate| count * rate);
        Ok(Some((objective.f_to_kind(Kind::Float)?, stages.output.recomputed.take())))
    }
}

/// Masks of a batch's rows, each as long as it has frames: at least one span each, where it is as long as one.
pub(super) fn masks(
    spans: &Spans,
    batch: &LoadedBatch,
    config: &ModelConfig,
    random: &mut ChaCha8Rng,
) -> Vec<Vec<bool>> {
    batch.rows.iter().map(|row| spans.draw_at_least(1, row.frames(config).max(0) as usize, random)).collect()
}
