//! Wav2Vec2 (Baevski et al. 2020) and its family (HuBERT, WavLM, data2vec audio) on libtorch, with a normalisation chosen
//! per site: LayerNorm, or KL-Norm.
//!
//! Waveforms go in as a [`WaveformBatch`], padded with their lengths; hidden states come out as an [`EncoderOutput`].
//! Nothing that a padded sample or frame holds changes a real one: an utterance gives the same values whatever it was
//! batched with. Parameter names are transformers', so a model's path in its store is its checkpoint schema.
//!
//! ```text
//! (batch, sample) ─► FeatureEncoder ─► FeatureProjection ─► masking ─► Encoder ─► (batch, frame, channel)
//! ```

mod adapter;
mod attention;
mod block;
pub mod checkpoint;
mod config;
mod encoder;
mod error;
mod feature_encoder;
mod feature_projection;
mod feed_forward;
mod frames;
mod initialise;
mod int8;
mod linear;
mod lora;
mod masking;
mod model;
mod noise;
mod norm;
mod parameters;
mod positional;
mod pretraining;
mod recomputed;
mod relative_position;
mod sites;
mod slices;

pub use block::BlockOrder;
pub use config::{Family, FeatureNorm, ModelConfig};
pub use encoder::TransformerOutput;
pub use error::{Error, Result};
pub use frames::{Frames, WaveformBatch, convolved};
pub use initialise::{initialise, initialise_contrastive, initialise_linear};
pub use int8::is_available as has_int8;
pub use linear::Linear;
pub use lora::{LoraConfig, Projection};
pub use masking::Spans;
pub use model::{EncoderOutput, Features, Pass, Stages, TrainingPass, Wav2Vec2};
pub use noise::{Noise, dropout};
pub use norm::{
    Every, KlNorm, KlNormConfig, Layers, LogSigma, Mean, Moments, Norm, NormConfig, Normed, PlainNorm, PlainNormConfig,
    Site, Standardiser, Statistics, divergence as gaussian_divergence,
};
pub use parameters::{Path, Store};
pub use pretraining::{
    BestRq, BestRqConfig, Contrastive, ContrastiveBatch, ContrastiveConfig, Gumbel, MaskedFrames, Prediction,
    Quantised, Quantiser, feature_penalty, spread,
};
pub use recomputed::{Recomputed, add_gradients};
pub use sites::{SiteOutcome, SiteOutcomes};
