//! Wav2Vec2: waveforms to hidden states.

use tch::{Kind, Tensor};

use crate::config::ModelConfig;
use crate::encoder::{Encoder, TransformerOutput};
use crate::error::Result;
use crate::feature_encoder::FeatureEncoder;
use crate::feature_projection::{FeatureProjection, Projected};
use crate::frames::{Frames, WaveformBatch};
use crate::linear::cast;
use crate::noise::Noise;
use crate::norm::{Moments, Site};
use crate::parameters::Path;
use crate::recomputed::Recomputed;
use crate::sites::SiteOutcomes;

/// The encoder of wav2vec 2.0 (Baevski et al. 2020), in any of its published shapes (`Wav2Vec2Model`).
#[derive(Debug)]
pub struct Wav2Vec2 {
    config: ModelConfig,
    feature_encoder: FeatureEncoder,
    feature_projection: FeatureProjection,
    encoder: Encoder,
    mask_embedding: Tensor, // (channel)
}

/// What is drawn for a training pass.
#[derive(Debug)]
pub struct TrainingPass {
    /// Frames to replace by the mask embedding, (batch, frame), true where masked.
    pub time_mask: Option<Tensor>,
    /// Channels to set to zero, (batch, channel), true where masked.
    pub channel_mask: Option<Tensor>,
    /// Blocks to skip (LayerDrop); missing entries are kept.
    pub dropped_blocks: Vec<bool>,
    /// Whether anything of the encoder learns in this pass; without, only what stands above it does, and nothing is kept for
    /// its gradient. Parameters that never learn are to require no gradient.
    pub encoder_learns: bool,
    /// Whether blocks keep nothing but their inputs (gradient checkpointing): [`Wav2Vec2::backward`] is to be called then.
    pub recompute: bool,
    /// Dropout's and KL-Norm's.
    pub noise: Noise,
}

/// How a forward runs.
#[derive(Clone, Copy, Debug)]
pub enum Pass<'a> {
    /// No dropout, no mask, no noise: the same input gives the same output.
    Evaluation,
    /// As in evaluation, with frames replaced by the mask embedding: (batch, frame), true where masked.
    Masked(&'a Tensor),
    /// With what was drawn for this step.
    Training(&'a TrainingPass),
}

/// What the encoder gives.
#[derive(Debug)]
pub struct EncoderOutput {
    /// Hidden states (batch, frame, channel); padded frames hold anything.
    pub hidden: Tensor,
    /// Real frames of each row.
    pub lengths: Vec<i64>,
    /// What the transformer's norms give beside, in training.
    pub sites: SiteOutcomes,
    /// What [`Wav2Vec2::backward`] needs, where a training pass was to recompute its blocks.
    pub recomputed: Option<Recomputed>,
}

/// What the convolutions make of a padded batch.
#[derive(Debug)]
pub struct Features {
    /// (batch, frame, feature), in the kind of the samples; padded frames hold anything.
    pub hidden: Tensor,
    /// Real frames of each row.
    pub lengths: Vec<i64>,
}

/// The hidden states at every named place, for whoever compares implementations.
#[derive(Debug)]
pub struct Stages {
    /// The convolutions' features (batch, frame, feature).
    pub features: Tensor,
    /// The features behind the feature projection's norm (batch, frame, feature).
    pub normed: Tensor,
    /// After the feature projection (batch, frame, channel), before anything is masked.
    pub projected: Tensor,
    /// The encoder's output.
    pub output: EncoderOutput,
}

impl Wav2Vec2 {
    /// Registers the model's parameters under `path`, as zeros: [`crate::initialise`] or a checkpoint fills them.
    ///
    /// # Errors
    /// A configuration that cannot be built, or too little memory.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<Wav2Vec2> {
        config.check()?;
        Ok(Wav2Vec2 {
            config: config.clone(),
            feature_encoder: FeatureEncoder::new(&(path / "feature_extractor"), config)?,
            feature_projection: FeatureProjection::new(&(path / "feature_projection"), config)?,
            encoder: Encoder::new(&(path / "encoder"), config)?,
            mask_embedding: path.parameter("masked_spec_embed", &[config.hidden_size])?,
        })
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Hidden states of a batch, computed in the kind of `batch.samples` (fp32 or bf16).
    ///
    /// # Errors
    /// Lengths that do not fit the batch, an utterance shorter than one frame, or libtorch's own (memory).
    pub fn forward(&self, batch: &WaveformBatch, pass: Pass) -> Result<EncoderOutput> {
        Ok(self.stages(batch, pass)?.output)
    }

    /// As [`Wav2Vec2::forward`], with what stood in between.
    ///
    /// # Errors
    /// As [`Wav2Vec2::forward`].
    pub fn stages(&self, batch: &WaveformBatch, pass: Pass) -> Result<Stages> {
        with_gradient(learns(pass), || self.encode(self.features(batch)?, pass))
    }

    /// The convolutions alone. They draw nothing: frozen, they give the same in every pass.
    ///
    /// # Errors
    /// As [`Wav2Vec2::forward`].
    pub fn features(&self, batch: &WaveformBatch) -> Result<Features> {
        batch.check(&self.config)?;
        let (hidden, lengths) = self.feature_encoder.forward(&batch.samples, &batch.lengths)?;
        Ok(Features { hidden, lengths })
    }

    /// All but the convolutions: [`Wav2Vec2::stages`] from what [`Wav2Vec2::features`] gave.
    ///
    /// # Errors
    /// When libtorch refuses the shapes or cannot allocate.
    pub fn encode(&self, features: Features, pass: Pass) -> Result<Stages> {
        let (training, time_mask, channel_mask) = match pass {
            Pass::Evaluation => (None, None, None),
            Pass::Masked(mask) => (None, Some(mask), None),
            Pass::Training(drawn) => (Some(drawn), drawn.time_mask.as_ref(), drawn.channel_mask.as_ref()),
        };
        with_gradient(learns(pass), || {
            let Features { hidden: features, lengths } = features;
            let frames = Frames::new(lengths, features.size()[1], features.device())?;
            let noise = training.map(|drawn| &drawn.noise);
            let Projected { normed, projected } = self.feature_projection.forward(&features, noise)?;
            let hidden = self.mask(projected.shallow_clone(), time_mask, channel_mask)?;
            let TransformerOutput { hidden, sites, recomputed } = self.encoder.forward(hidden, &frames, training)?;
            let output = EncoderOutput { hidden, lengths: frames.lengths, sites, recomputed };
            Ok(Stages { features, normed, projected, output })
        })
    }

    /// Gradients of `objective`, a scalar made of a training pass's output, by `learnt`, all of which require one;
    /// undefined where a tensor took no part. `recomputed` is what that output held.
    ///
    /// On a GPU this seeds libtorch's generators.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn backward(
        &self,
        objective: Tensor,
        recomputed: Option<Recomputed>,
        learnt: &[Tensor],
    ) -> Result<Vec<Tensor>> {
        match recomputed {
            Some(recomputed) => self.encoder.backward(objective, recomputed, learnt),
            None => Ok(Tensor::f_run_backward(&[objective], learnt, false, false)?),
        }
    }

    /// Has a site's running estimates follow what an update saw, its parts added up; without any, nothing.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn follow(&self, layer: Option<usize>, site: Site, moments: &Moments) -> Result<()> {
        self.encoder.follow(layer, site, moments, self.config.norm.momentum())
    }

    fn mask(&self, hidden: Tensor, time: Option<&Tensor>, channel: Option<&Tensor>) -> Result<Tensor> {
        let kind: Kind = hidden.kind();
        let hidden = match time {
            Some(mask) => cast(&self.mask_embedding, kind)?.f_where_self(&mask.f_unsqueeze(-1)?, &hidden)?,
            None => hidden,
        };
        Ok(match channel {
            Some(mask) => hidden.f_masked_fill(&mask.f_unsqueeze(1)?, 0.0)?,
            None => hidden,
        })
    }
}

/// Whether anything of the encoder learns in a pass; in evaluation that is the caller's to say.
fn learns(pass: Pass) -> bool {
    match pass {
        Pass::Evaluation | Pass::Masked(_) => true,
        Pass::Training(drawn) => drawn.encoder_learns,
    }
}

/// Runs `forward` with or without recording for the backward pass; never records inside an outer `no_grad`.
fn with_gradient<T>(learns: bool, forward: impl FnOnce() -> Result<T>) -> Result<T> {
    if learns { forward() } else { tch::no_grad(forward) }
}
