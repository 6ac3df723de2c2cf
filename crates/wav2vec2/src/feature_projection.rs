//! From feature vectors to the transformer's width.

use tch::Tensor;
use tch::nn::Path;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::linear::Linear;
use crate::noise::{Noise, dropout};
use crate::norm::LayerNorm;

/// LayerNorm, linear map, dropout (`feature_projection`).
#[derive(Debug)]
pub struct FeatureProjection {
    layer_norm: LayerNorm,
    projection: Linear,
    dropout: f64,
}

impl FeatureProjection {
    /// Registers the parameters under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<FeatureProjection> {
        let channels = config.conv_dim[config.conv_dim.len() - 1];
        Ok(FeatureProjection {
            layer_norm: LayerNorm::new(&(path / "layer_norm"), channels, config.layer_norm_eps)?,
            projection: Linear::new(&(path / "projection"), channels, config.hidden_size)?,
            dropout: config.feat_proj_dropout,
        })
    }

    /// (batch, frame, feature) to (batch, frame, channel); no noise means evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, features: &Tensor, noise: Option<&Noise>) -> Result<Tensor> {
        dropout(self.projection.forward(&self.layer_norm.forward(features)?)?, self.dropout, noise)
    }
}
