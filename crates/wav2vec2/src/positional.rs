//! Relative position by convolution (Mohamed et al. 2019), with weight norm over the kernel.

use tch::Tensor;
use tch::nn::Path;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::linear::{cast, parameter};

/// A grouped convolution over time whose output is added to its input (`pos_conv_embed`).
#[derive(Debug)]
pub struct PositionalConvolution {
    magnitude: Tensor, // g (1, 1, kernel)
    direction: Tensor, // v (channel, channel / groups, kernel)
    bias: Tensor,      // (channel)
    kernel: i64,
    groups: i64,
}

impl PositionalConvolution {
    /// Registers the parameters under `path / "conv"`, by the names that torch's weight norm gives them.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<PositionalConvolution> {
        let conv = path / "conv";
        let weight = &conv / "parametrizations" / "weight";
        let (channels, kernel, groups) =
            (config.hidden_size, config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups);
        Ok(PositionalConvolution {
            magnitude: parameter(&weight, "original0", &[1, 1, kernel])?,
            direction: parameter(&weight, "original1", &[channels, channels / groups, kernel])?,
            bias: parameter(&conv, "bias", &[channels])?,
            kernel,
            groups,
        })
    }

    /// Position embeddings (batch, frame, channel) of `hidden` of the same shape, whose padded frames must be zero.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let kind = hidden.kind();
        // Weight norm over dim 2: each tap of the kernel has its own magnitude.
        let weight = Tensor::f_internal_weight_norm(&self.direction, &self.magnitude, 2)?;
        let position = hidden.f_transpose(1, 2)?.f_conv1d(
            &cast(&weight, kind)?,
            Some(cast(&self.bias, kind)?),
            [1],
            [self.kernel / 2],
            [1],
            self.groups,
        )?; // (batch, channel, frame); one frame too many when the kernel is even
        let position = position.f_narrow(2, 0, hidden.size()[1])?;
        Ok(position.f_gelu("none")?.f_transpose(1, 2)?) // (batch, frame, channel)
    }
}
