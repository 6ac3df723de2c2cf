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

    /// (batch, frame, feature) to (batch, frame, channel); no noise means evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, features: &Tensor, noise: Option<&Noise>) -> Result<Tensor> {
        let normed = self.layer_norm.as_ref().map(|norm| norm.forward(features)).transpose()?;
        dropout(self.projection.forward(normed.as_ref().unwrap_or(features))?, self.dropout, noise)
    }
}
