//! A model in pretraining: the encoder, and what tells masked frames from its output.

use std::path::Path;

use klang_wav2vec2::checkpoint::{Checkpoint, Fit, Head, Own, save_weights};
use klang_wav2vec2::{
    BestRq, BestRqConfig, Contrastive, ContrastiveBatch, Gumbel, MaskedFrames, ModelConfig, Noise, Pass, Prediction,
    Recomputed, Stages, Store, Wav2Vec2, WaveformBatch, dropout, initialise_contrastive, initialise_linear,
};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tch::Tensor;

use super::spectra::Spectra;
use crate::data::LoadedBatch;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::model::{AudioSpec, initialise_encoder, write_model};
use crate::recipe::Spectrum;

/// What a model in pretraining is, without its weights.
#[derive(Clone, Debug)]
pub struct PretrainingSpec {
    /// The encoder's shape.
    pub config: ModelConfig,
    /// What audio it expects.
    pub audio: AudioSpec,
    /// BEST-RQ's shape and what it quantises; none for wav2vec 2.0's objective, whose shape is in the encoder's configuration.
    pub best_rq: Option<(BestRqConfig, Spectrum)>,
}

/// A model in pretraining with its weights.
#[derive(Debug)]
pub struct Pretrained {
    /// What it is.
    pub spec: PretrainingSpec,
    /// How it computes.
    pub compute: Compute,
    store: Store,
    encoder: Wav2Vec2,
    objective: Objective,
}

#[derive(Debug)]
enum Objective {
    BestRq { head: BestRq, spectra: Box<Spectra> },
    Contrastive(Contrastive),
}

/// What frames are to be told by.
#[derive(Debug)]
pub struct Targets {
    /// BEST-RQ's codes (batch, frame, codebook), int64; those of padding mean nothing.
    codes: Option<Tensor>,
}

/// The names of what BEST-RQ adds.
pub(super) const BEST_RQ: &str = "best_rq.";

/// What is random about a look at masked frames.
#[derive(Debug)]
pub struct Drawn<'a> {
    /// For distractors.
    pub random: &'a mut ChaCha8Rng,
    /// For the choice of codes, with its temperature; none in evaluation.
    pub choice: Option<(&'a Noise, f64)>,
}

impl Pretrained {
    /// A model with fresh weights, drawn from `seed`.
    ///
    /// # Errors
    /// A configuration that cannot be built, or too little memory.
    pub fn random(spec: PretrainingSpec, compute: Compute, seed: u64) -> Result<Pretrained> {
        let model = Pretrained::blank(spec, compute, Store::new(compute.device))?;
        model.initialise(seed, |_| true)?;
        Ok(model)
    }

    /// A model with a checkpoint's weights; what the checkpoint lacks is drawn from `seed`.
    ///
    /// # Errors
    /// Weights that do not fit, or too little memory.
    pub fn load(
        checkpoint: &Checkpoint,
        spec: PretrainingSpec,
        compute: Compute,
        seed: u64,
    ) -> Result<(Pretrained, Fit)> {
        let fit = Pretrained::fit(checkpoint, &spec)?;
        let model = Pretrained::blank(spec, compute, Store::new(compute.device))?;
        model.initialise(seed, |name| fit.fresh.iter().any(|fresh| fresh == name))?;
        fit.copy(checkpoint, &model.parameters())?;
        Ok((model, fit))
    }

    /// Whether a model of this spec can be built; nothing is allocated.
    ///
    /// # Errors
    /// A configuration that cannot be built.
    pub fn check(spec: &PretrainingSpec) -> Result<()> {
        Pretrained::networks(spec, &Store::declaring()).map(drop)
    }

    /// Whether a checkpoint holds a quantiser of BEST-RQ's that this spec has no place for, since it is of another shape.
    ///
    /// # Errors
    /// A configuration that cannot be built.
    pub fn has_other_quantiser(checkpoint: &Checkpoint, spec: &PretrainingSpec) -> Result<bool> {
        let store = Store::declaring();
        Pretrained::networks(spec, &store)?;
        let own = store.named().into_iter().filter(|(name, _)| name.starts_with(BEST_RQ));
        Ok(own.into_iter().any(|(name, tensor)| checkpoint.shape(&name).is_some_and(|shape| shape != tensor.size())))
    }

    /// Which tensor of a checkpoint goes where in a model of this spec; nothing is allocated.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn fit(checkpoint: &Checkpoint, spec: &PretrainingSpec) -> Result<Fit> {
        let store = Store::declaring();
        Pretrained::networks(spec, &store)?;
        Ok(checkpoint.fit(&store.named(), spec.config.model_type.root(), Head::Fresh)?)
    }

    /// A second model over the same weights, for another thread.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn replica(&self) -> Result<Pretrained> {
        Pretrained::blank(self.spec.clone(), self.compute, Store::sharing(&self.store))
    }

    fn blank(spec: PretrainingSpec, compute: Compute, store: Store) -> Result<Pretrained> {
        let (encoder, objective) = Pretrained::networks(&spec, &store)?;
        Ok(Pretrained { spec, compute, store, encoder, objective })
    }

    fn networks(spec: &PretrainingSpec, store: &Store) -> Result<(Wav2Vec2, Objective)> {
        let PretrainingSpec { config, audio, best_rq } = spec;
        let root = store.root();
        let objective = match best_rq {
            Some((best_rq, spectrum)) => {
                let spectra = Spectra::new(config, audio.sampling_rate, *spectrum)?;
                let head = BestRq::new(&root, config, *best_rq, spectra.width() as i64)?;
                Objective::BestRq { head, spectra: Box::new(spectra) }
            }
            None => {
                config.contrastive.check()?;
                Objective::Contrastive(Contrastive::new(&root, config)?)
            }
        };
        Ok((Wav2Vec2::new(&(root / config.model_type.root()), config)?, objective))
    }

    /// Draws the parameters that `wanted` names.
    fn initialise(&self, seed: u64, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let config = &self.spec.config;
        let parameters: Vec<_> = self.parameters().into_iter().filter(|(name, _)| wanted(name)).collect();
        let (encoder, above): (Vec<_>, Vec<_>) =
            parameters.into_iter().partition(|(name, _)| name.starts_with(config.model_type.root()));
        initialise_encoder(&encoder, config, seed)?;
        match (&self.objective, above.is_empty()) {
            (_, true) => {}
            (Objective::Contrastive(_), _) => initialise_contrastive(&above, config, seed)?,
            (Objective::BestRq { head, .. }, _) => {
                head.draw(seed)?;
                let find = |part: &str| above.iter().find(|(name, _)| name.ends_with(part)).map(|(_, tensor)| tensor);
                if let (Some(weight), Some(bias)) = (find("head.weight"), find("head.bias")) {
                    initialise_linear("best_rq.head", weight, bias, config, seed)?;
                }
            }
        }
        Ok(())
    }

    /// The encoder.
    pub fn encoder(&self) -> &Wav2Vec2 {
        &self.encoder
    }

    /// Every parameter and buffer by name, sorted.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        self.store.named()
    }

    /// The lowest and the highest perplexity of the codebook: groups, and codes of all groups together.
    pub fn perplexities(&self) -> [i64; 2] {
        match &self.objective {
            Objective::BestRq { .. } => [1, self.spec.best_rq.map_or(1, |(config, _)| config.codes)],
            Objective::Contrastive(head) => {
                [self.spec.config.contrastive.num_codevector_groups, head.quantiser().all_codes()]
            }
        }
    }

    /// The encoder's stages on a batch.
    ///
    /// # Errors
    /// An utterance shorter than one frame, or libtorch's own.
    pub fn stages(&self, batch: &LoadedBatch, pass: Pass) -> Result<Stages> {
        let batch = batch.waveforms()?;
        let samples = batch.samples.f_to_device(self.compute.device)?.f_to_kind(self.compute.kind)?;
        Ok(self.encoder.stages(&WaveformBatch { samples, lengths: batch.lengths }, pass)?)
    }

    /// What frames are to be told by, where that does not come from the model itself.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn targets(&self, batch: &LoadedBatch) -> Result<Targets> {
        let Objective::BestRq { head, spectra } = &self.objective else { return Ok(Targets { codes: None }) };
        let width = spectra.width();
        let rows: Vec<Vec<f32>> = batch.rows.iter().map(|row| spectra.of(&row.samples)).collect();
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut seen = Vec::with_capacity(rows.len() * longest);
        for row in rows {
            seen.extend(row);
            seen.resize(seen.len().div_ceil(longest.max(1)) * longest, 0.0);
        }
        let seen = Tensor::f_from_slice(&seen)?.f_view([-1, width as i64])?.f_to_device(self.compute.device)?;
        let codes = head.codes(&seen)?;
        let frames = (longest / width) as i64;
        Ok(Targets { codes: Some(codes.f_view([batch.rows.len() as i64, frames, codes.size()[1]])?) })
    }

    /// How the frames of `masked` are told from `stages`.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn predict(
        &self,
        stages: &Stages,
        targets: &Targets,
        masked: &MaskedFrames,
        drawn: Drawn,
    ) -> Result<Prediction> {
        let device = self.compute.device;
        Ok(match &self.objective {
            Objective::BestRq { head, .. } => {
                let codes = targets.codes.as_ref().map(|codes| masked.of(codes)).transpose()?;
                let codes = codes.ok_or_else(|| Error::Worker("the codes of a batch are missing".into()))?;
                head.forward(&stages.output.hidden, masked, &codes)?
            }
            Objective::Contrastive(head) => {
                let config = &self.spec.config.contrastive;
                let distractors = masked.distractors(config.num_negatives, drawn.random)?;
                let (noise, gumbel) = match drawn.choice {
                    Some((noise, temperature)) => {
                        let shape = head.quantiser().noise_shape(masked.count());
                        (Some(noise), Some(Gumbel { noise: noise.gumbel(&shape, device)?, temperature }))
                    }
                    None => (None, None),
                };
                let normed = dropout(stages.normed.shallow_clone(), config.feat_quantizer_dropout, noise)?;
                head.forward(&ContrastiveBatch {
                    hidden: &stages.output.hidden,
                    normed: &normed,
                    masked,
                    distractors: &distractors,
                    gumbel: gumbel.as_ref(),
                })?
            }
        })
    }

    /// Gradients of an objective made of a training pass's stages, as [`Wav2Vec2::backward`] gives them.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn backward(
        &self,
        objective: Tensor,
        recomputed: Option<Recomputed>,
        learnt: &[Tensor],
    ) -> Result<Vec<Tensor>> {
        Ok(self.encoder.backward(objective, recomputed, learnt)?)
    }

    /// Writes the model as a folder: beside the old one, then in its place. transformers opens it as the class that its
    /// config.json names.
    ///
    /// # Errors
    /// A failing file system; the old folder then still stands, whole.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let PretrainingSpec { config, audio, best_rq } = &self.spec;
        write_model(folder, |place| {
            save_weights(&place.join("model.safetensors"), &self.parameters(), config, Own::Keep)?;
            let mut map = config.to_json();
            let class = config.model_type.pretraining_architecture(best_rq.is_none());
            map.insert("architectures".into(), json!([class]));
            audio.write(place, map, config)
        })
    }
}
