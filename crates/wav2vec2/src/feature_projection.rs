//! From feature vectors to the transformer's width.

use tch::Tensor;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::linear::Linear;
use crate::noise::{Noise, dropout};
use crate::norm::LayerNorm;
use crate::parameters::Path;

/// LayerNorm (but in some of HuBERT's), linear map, dropout (`feature_projection`).
#[derive(Debug)]
pub struct FeatureProjection {
    layer_norm: Option<LayerNorm>,
    projection: Linear,
    dropout: f64,
}

/// What the projection gives.
#[derive(Debug)]
pub struct Projected {
    /// The features behind their norm (batch, frame, feature).
    pub normed: Tensor,
    /// (batch, frame, channel).
    pub projected: Tensor,
}

impl FeatureProjection {
    /// Registers the parameters under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<FeatureProjection> {
        let channels = config.conv_dim[config.conv_dim.len() - 1];
        Ok(FeatureProjection {
            layer_norm: match config.feat_proj_layer_norm {
                true => Some(LayerNorm::new(&(path / "layer_norm"), channels, config.layer_norm_eps)?),
                false => None,
            },
            projection: Linear::new(&(path / "projection"), channels, config.hidden_size)?,
            dropout: config.feat_proj_dropout,
        })
    }

    /// (batch, frame, feature) to the same behind the norm and to (batch, frame, channel); no noise means evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, features: &Tensor, noise: Option<&Noise>) -> Result<Projected> {
        let normed = match &self.layer_norm {
            Some(norm) => norm.forward(features)?,
            None => features.shallow_clone(),
        };
        let projected = dropout(self.projection.forward(&normed)?, self.dropout, noise)?;
        Ok(Projected { normed, projected })
    }
}
