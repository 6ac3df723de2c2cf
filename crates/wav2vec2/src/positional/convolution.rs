//! Relative position by one wide convolution (Mohamed et al. 2019), with weight norm over the kernel, or a batch norm
//! before it.

use tch::{Device, Kind, Tensor};

use super::same_length;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::frames::Frames;
use crate::linear::cast;
use crate::parameters::Path;

/// ε of the batch norm: transformers leaves it at PyTorch's default.
const EPSILON: f64 = 1e-5;

/// Numbers of the weight from which on an evaluation takes it in parts.
const PART: usize = 1 << 20;

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
                let parts = (direction.numel() / PART).min(self.groups as usize) as i64;
                if parts > 1 && !hidden.requires_grad() && hidden.device() == Device::Cpu {
                    return self.by_parts(hidden, magnitude, direction, self.groups / parts);
                }
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

    /// The same in evaluation, some groups at a time: the normed weight, and libtorch's copy of it in an order of its own,
    /// are else the largest tensors that a forward of a few seconds needs.
    fn by_parts(&self, hidden: &Tensor, magnitude: &Tensor, direction: &Tensor, groups: i64) -> Result<Tensor> {
        let (kind, width) = (hidden.kind(), hidden.size()[2]);
        let group = width / self.groups;
        let mut square = magnitude.f_zeros_like()?; // (1, 1, kernel)
        for part in direction.f_split(groups * group, 0)? {
            // Square and sum are several times faster than libtorch's norm over leading dimensions.
            square = square.f_add(&part.f_square()?.f_sum_dim_intlist([0i64, 1].as_slice(), true, Kind::Float)?)?;
        }
        let scale = magnitude.f_div(&square.f_sqrt()?)?;
        let mut parts = Vec::new();
        for first in (0..self.groups).step_by(groups as usize) {
            let count = groups.min(self.groups - first);
            let (start, channels) = (first * group, count * group);
            let weight = cast(&direction.f_narrow(0, start, channels)?.f_mul(&scale)?, kind)?;
            let bias = cast(&self.bias.f_narrow(0, start, channels)?, kind)?;
            let position = same_length(&hidden.f_narrow(2, start, channels)?, &weight, &bias, count)?;
            parts.push(position.f_gelu("none")?);
        }
        Ok(Tensor::f_cat(&parts, 1)?.f_transpose(1, 2)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;
    use crate::parameters::Store;

    #[test]
    fn in_parts_it_computes_the_same() {
        let config = ModelConfig {
            hidden_size: 24,
            num_conv_pos_embeddings: 6,
            num_conv_pos_embedding_groups: 8,
            ..ModelConfig::default()
        };
        let store = Store::new(Device::Cpu);
        let convolution = PositionalConvolution::new(&store.root(), &config).unwrap();
        let noise = Noise::new(1, Device::Cpu);
        tch::no_grad(|| {
            for (_, mut tensor) in store.named() {
                tensor.copy_(&noise.normal_like(&tensor).unwrap());
            }
        });
        let hidden = noise.normal_like(&Tensor::zeros([2, 9, 24], (Kind::Float, Device::Cpu))).unwrap();
        let frames = Frames::new(vec![9, 9], 9, Device::Cpu).unwrap();
        let whole = convolution.forward(&hidden, &frames).unwrap();
        let Weight::Normed { magnitude, direction } = &convolution.weight else { panic!("Base has a weight norm") };
        for groups in [1, 3, 8] {
            let parts = convolution.by_parts(&hidden, magnitude, direction, groups).unwrap();
            // Sums of 3 × 6 products below 20, and a norm of 24 × 3 numbers: 30 roundings of 2⁻²⁴ × 20 < 4e-5.
            assert!((parts - &whole).abs().max().double_value(&[]) < 4e-5, "{groups}");
        }
    }
}
