//! The position-wise network of a block.

use tch::Tensor;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::linear::Linear;
use crate::noise::{Noise, dropout};
use crate::parameters::Path;

/// Linear, GELU, linear (`feed_forward`).
#[derive(Debug)]
pub struct FeedForward {
    intermediate: Linear,
    output: Linear,
    activation_dropout: f64,
    hidden_dropout: f64,
}

impl FeedForward {
    /// Registers `intermediate_dense` and `output_dense` under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<FeedForward> {
        Ok(FeedForward {
            intermediate: Linear::new(&(path / "intermediate_dense"), config.hidden_size, config.intermediate_size)?,
            output: Linear::new(&(path / "output_dense"), config.intermediate_size, config.hidden_size)?,
            activation_dropout: config.activation_dropout,
            hidden_dropout: config.hidden_dropout,
        })
    }

    /// (batch, frame, channel) to the same; no noise means evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor, noise: Option<&Noise>) -> Result<Tensor> {
        let inner = dropout(self.intermediate.forward_gelu(hidden)?, self.activation_dropout, noise)?;
        dropout(self.output.forward(&inner)?, self.hidden_dropout, noise)
    }
}
