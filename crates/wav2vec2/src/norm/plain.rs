//! A normalisation that is nothing but statistics, a gain and a bias: the rivals of KL-Norm that are no LayerNorm.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::statistics::{Standardised, Standardiser, Statistics};
use super::{Layers, Normed, Placement, Site};
use crate::error::Result;
use crate::frames::Frames;
use crate::parameters::Path;

/// Where a plain normalisation stands, and its shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlainNormConfig {
    /// Sites that carry it.
    pub sites: BTreeSet<Site>,
    /// Blocks that carry it; the encoder's own norm is no block's.
    pub layers: Layers,
    /// Group norm: groups of channels; divides the width.
    pub groups: i64,
    /// Batch norm: the share of the newest update in the running estimates.
    pub momentum: f64,
}

impl Default for PlainNormConfig {
    fn default() -> Self {
        PlainNormConfig {
            sites: [Site::Attention, Site::FeedForward].into(),
            layers: Layers::ALL,
            groups: 16,
            momentum: 0.1,
        }
    }
}

impl PlainNormConfig {
    pub(super) fn placement(&self) -> Placement<'_> {
        Placement { sites: &self.sites, layers: &self.layers }
    }
}

/// γ ⊙ x̂ + β, with x̂ by any statistics. Parameters: `gamma` and `beta`, each (channel), fp32.
#[derive(Debug)]
pub struct PlainNorm {
    gamma: Tensor,
    beta: Tensor,
    standardiser: Standardiser,
}

impl PlainNorm {
    /// Registers the parameters under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(
        path: &Path,
        statistics: Statistics,
        config: &PlainNormConfig,
        channels: i64,
        epsilon: f64,
    ) -> Result<PlainNorm> {
        Ok(PlainNorm {
            gamma: path.parameter("gamma", &[channels])?,
            beta: path.parameter("beta", &[channels])?,
            standardiser: Standardiser::new(path, statistics, config.groups, channels, epsilon)?,
        })
    }

    /// Normalises `hidden` (batch, frame, channel).
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor, frames: &Frames, training: bool) -> Result<Normed> {
        let Standardised { standard, moments } = self.standardiser.forward(hidden, frames, training)?;
        let normed = self.beta.f_addcmul(&self.gamma, &standard)?.f_to_kind(hidden.kind())?;
        Ok(Normed { hidden: normed, rate: None, moments })
    }

    pub(super) fn standardiser(&self) -> &Standardiser {
        &self.standardiser
    }
}
