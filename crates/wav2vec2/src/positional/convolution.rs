//! Relative position by one wide convolution (Mohamed et al. 2019), with weight norm over the kernel, or a batch norm
//! before it.

use tch::{Kind, Tensor};

use super::same_length;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::frames::Frames;
use crate::linear::cast;
use crate::parameters::Path;

/// ε of the batch norm: transformers leaves it at PyTorch's default.
const EPSILON: f64 = 1e-5;

/// A grouped convolution over time whose output is added to its input.
#[derive(Debug)]
pub struct PositionalConvolution {
    weight: Weight,
    bias: Tensor, // (channel)
    groups: i64,
}

#[derive(Debug)]
enum Weight {
    /// Magnitude g (1, 1, kernel) and direction v (channel, channel / groups, kernel).
    Normed { magnitude: Tensor, direction: Tensor },
    /// The weight as it is, behind a batch norm.
    Plain { weight: Tensor, norm: BatchNorm },
}

impl PositionalConvolution {
    /// Registers the parameters under `path / "conv"`, by the names that torch's weight norm gives them, and under
    /// `path / "batch_norm"`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<PositionalConvolution> {
        let conv = path / "conv";
        let normed = &conv / "parametrizations" / "weight";
        let (channels, kernel, groups) =
            (config.hidden_size, config.num_conv_pos_embeddings, config.num_conv_pos_embedding_groups);
        let shape = [channels, channels / groups, kernel];
        let weight = if config.conv_pos_batch_norm {
            Weight::Plain {
                weight: conv.parameter("weight", &shape)?,
                norm: BatchNorm::new(&(path / "batch_norm"), channels)?,
            }
        } else {
            Weight::Normed {
                magnitude: normed.parameter("original0", &[1, 1, kernel])?,
                direction: normed.parameter("original1", &shape)?,
            }
        };
        Ok(PositionalConvolution { weight, bias: conv.parameter("bias", &[channels])?, groups })
    }

    /// Position embeddings (batch, frame, channel) of `hidden` of the same shape, whose padded frames must be zero.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor, frames: &Frames) -> Result<Tensor> {
        let kind = hidden.kind();
        let bias = cast(&self.bias, kind)?;
        let position = match &self.weight {
            Weight::Normed { magnitude, direction } => {
                // Weight norm over dim 2: each tap of the kernel has its own magnitude.
                let weight = Tensor::f_internal_weight_norm(direction, magnitude, 2)?;
                same_length(hidden, &cast(&weight, kind)?, &bias, self.groups)?
            }
            Weight::Plain { weight, norm } => {
                // The convolution's own padding is zeros behind the norm: a padded frame must be no other.
                let hidden = frames.zero_padding(norm.forward(hidden)?)?;
                same_length(&hidden, &cast(weight, kind)?, &bias, self.groups)?
            }
        };
        Ok(position.f_gelu("none")?.f_transpose(1, 2)?) // (batch, frame, channel)
    }
}

/// Batch norm with its pretrained statistics, in training too: a batch of a small corpus is no measure of them, and its
/// padding even less.
#[derive(Debug)]
struct BatchNorm {
    weight: Tensor,   // γ (channel)
    bias: Tensor,     // β (channel)
    mean: Tensor,     // (channel)
    variance: Tensor, // (channel)
}

impl BatchNorm {
    fn new(path: &Path, channels: i64) -> Result<BatchNorm> {
        let shape = [channels];
        let _ = path.buffer("num_batches_tracked", &[], Kind::Int64)?; // written back as it was
        Ok(BatchNorm {
            weight: path.parameter("weight", &shape)?,
            bias: path.parameter("bias", &shape)?,
            mean: path.buffer("running_mean", &shape, Kind::Float)?,
            variance: path.buffer("running_var", &shape, Kind::Float)?,
        })
    }

    fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let scale = self.variance.f_add_scalar(EPSILON)?.f_rsqrt()?.f_mul(&self.weight)?;
        let centred = hidden.f_to_kind(Kind::Float)?.f_sub(&self.mean)?;
        Ok(self.bias.f_addcmul(&centred, &scale)?.f_to_kind(hidden.kind())?)
    }
}
