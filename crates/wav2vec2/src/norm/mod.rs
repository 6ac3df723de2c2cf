//! The normalisation of the transformer's sites, chosen per site.

mod function;
mod fused;
mod kl_norm;
mod layer_norm;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::{Error, Result};
use crate::frames::Frames;
use crate::noise::Noise;
use crate::parameters::Path;

pub(crate) use kl_norm::fold;
pub use kl_norm::{KlNorm, KlNormConfig, LogSigma, Statistics};
pub use layer_norm::LayerNorm;

/// A place in the transformer that carries a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// The norm of a block's attention (`layer_norm`).
    Attention,
    /// The norm of a block's feed-forward network (`final_layer_norm`).
    FeedForward,
    /// The encoder's own norm: before the first block (post-norm) or after the last one (pre-norm).
    Encoder,
}

/// Which blocks carry the chosen normalisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "`all`, or a list of block numbers from 0")]
pub enum Layers {
    /// `all`.
    Every(Every),
    /// A list of block numbers from 0.
    Listed(BTreeSet<usize>),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// Every block.
    All,
}

impl Layers {
    /// Every block.
    pub const ALL: Layers = Layers::Every(Every::All);

    fn contains(&self, layer: usize) -> bool {
        match self {
            Layers::Every(_) => true,
            Layers::Listed(layers) => layers.contains(&layer),
        }
    }
}

/// The normalisation of a model, and where it stands; LayerNorm elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NormConfig {
    /// LayerNorm at every site: the control.
    #[default]
    LayerNorm,
    /// KL-Norm at the listed sites.
    KlNorm(KlNormConfig),
}

impl NormConfig {
    /// Whether every site is a plain LayerNorm.
    pub fn is_layer_norm(&self) -> bool {
        matches!(self, NormConfig::LayerNorm)
    }

    /// Whether every site equals a LayerNorm in evaluation, so that a stock model can hold it.
    ///
    /// # Errors
    /// Why not.
    pub fn folds(&self) -> std::result::Result<(), &'static str> {
        match self {
            NormConfig::LayerNorm => Ok(()),
            NormConfig::KlNorm(config) if config.rank == 0 => Ok(()),
            NormConfig::KlNorm(_) => {
                Err("KL-Norm with a low-rank mean (norm.rank) is no LayerNorm and cannot be folded")
            }
        }
    }

    /// Checks the values, for a model of `layers` blocks.
    pub(crate) fn check(&self, layers: usize) -> Result<()> {
        let NormConfig::KlNorm(config) = self else { return Ok(()) };
        let refuse = |key, given: String, allowed: String| Err(Error::Config { key, given, allowed });
        if config.sites.is_empty() {
            return refuse("norm.sites", "empty".into(), "at least one of attention, feed_forward, encoder".into());
        }
        if let Layers::Listed(listed) = &config.layers {
            let inside = config.sites.iter().any(|&site| site != Site::Encoder);
            if let Some(layer) = listed.iter().find(|&&layer| layer >= layers) {
                return refuse("norm.layers", layer.to_string(), format!("block numbers 0 to {}", layers - 1));
            }
            if listed.is_empty() && inside {
                return refuse("norm.layers", "empty".into(), "`all`, or at least one block number".into());
            }
        }
        if !(0..=1024).contains(&config.rank) {
            return refuse("norm.rank", config.rank.to_string(), "0 (none) to 1024".into());
        }
        if !(config.sigma_init > 0.0 && config.sigma_init <= 1.0) {
            return refuse("norm.sigma_init", config.sigma_init.to_string(), "above 0, at most 1".into());
        }
        Ok(())
    }

    /// Builds the normalisation of one site under `path`.
    pub(crate) fn build(&self, path: &Path, site: Site, layer: usize, channels: i64, epsilon: f64) -> Result<Norm> {
        match self {
            NormConfig::KlNorm(config) if config.covers(site, layer) => {
                Ok(Norm::Kl(KlNorm::new(&(path / KL_NORM), config, channels, epsilon)?))
            }
            _ => Ok(Norm::Layer(LayerNorm::new(path, channels, epsilon)?)),
        }
    }
}

/// The part of a parameter's name that says it is KL-Norm's own.
pub(crate) const KL_NORM: &str = "kl_norm";

/// The normalisation at one site.
#[derive(Debug)]
pub enum Norm {
    /// LayerNorm.
    Layer(LayerNorm),
    /// KL-Norm.
    Kl(KlNorm),
}

/// What a normalisation gives.
#[derive(Debug)]
pub struct Normed {
    /// (batch, frame, channel), in the input's kind.
    pub hidden: Tensor,
    /// KL-Norm in training: the mean rate over channels and real frames, in nats per channel, a scalar with its gradient.
    pub rate: Option<Tensor>,
}

impl Norm {
    /// Normalises `hidden` (batch, frame, channel); with noise in training, without in evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor, frames: &Frames, noise: Option<&Noise>) -> Result<Normed> {
        match self {
            Norm::Layer(norm) => Ok(Normed { hidden: norm.forward(hidden)?, rate: None }),
            Norm::Kl(norm) => match noise {
                Some(noise) => norm.forward_noisy(hidden, frames, noise),
                None => Ok(Normed { hidden: norm.forward_mean(hidden)?, rate: None }),
            },
        }
    }
}
