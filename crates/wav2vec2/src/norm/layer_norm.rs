//! Layer normalisation (Ba et al. 2016), in fp32 whatever the precision around it.

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::parameters::Path;

/// γ ⊙ x̂ + β over the channels of a frame.
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor, // γ (channel)
    bias: Tensor,   // β (channel)
    epsilon: f64,
}

impl LayerNorm {
    /// Registers `weight` and `bias` under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, channels: i64, epsilon: f64) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: path.parameter("weight", &[channels])?,
            bias: path.parameter("bias", &[channels])?,
            epsilon,
        })
    }

    /// Normalises the last dimension; statistics in fp32, output in the input's kind.
    ///
    /// # Errors
    /// When the last dimension is not the layer's width.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        affine_layer_norm(hidden, &self.weight, &self.bias, self.epsilon)
    }
}

/// γ ⊙ x̂ + β with the given γ and β.
pub(super) fn affine_layer_norm(hidden: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Tensor> {
    let kind = hidden.kind();
    let normed = hidden.f_to_kind(Kind::Float)?.f_layer_norm(gamma.size(), Some(gamma), Some(beta), epsilon, true)?;
    Ok(normed.f_to_kind(kind)?)
}
