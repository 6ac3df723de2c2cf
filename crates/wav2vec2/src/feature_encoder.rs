//! The convolutional feature encoder: waveform to one feature vector every 20 ms (wav2vec 2.0, section 2).

use tch::nn::Path;
use tch::{Kind, Tensor};

use crate::config::{FeatureNorm, ModelConfig};
use crate::error::Result;
use crate::frames::{Frames, convolved};
use crate::linear::{cast, parameter};
use crate::norm::LayerNorm;

/// ε of the convolutions' norms: transformers leaves it at PyTorch's default, whatever `layer_norm_eps` says.
const EPSILON: f64 = 1e-5;

/// The stack of convolutions (`feature_extractor`).
#[derive(Debug)]
pub struct FeatureEncoder {
    layers: Vec<ConvLayerBlock>,
}

impl FeatureEncoder {
    /// Registers the layers under `path / "conv_layers"`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<FeatureEncoder> {
        let path = path / "conv_layers";
        let layers = (0..config.conv_dim.len())
            .map(|index| ConvLayerBlock::new(&(&path / index), config, index))
            .collect::<Result<_>>()?;
        Ok(FeatureEncoder { layers })
    }

    /// Features (batch, frame, channel) and the real frames of each row, from samples (batch, sample).
    ///
    /// # Errors
    /// When libtorch refuses the shapes or cannot allocate.
    pub fn forward(&self, samples: &Tensor, lengths: &[i64]) -> Result<(Tensor, Vec<i64>)> {
        let mut hidden = samples.f_unsqueeze(1)?; // (batch, channel, frame)
        let mut lengths = lengths.to_vec();
        for layer in &self.layers {
            (hidden, lengths) = layer.forward(&hidden, &lengths)?;
        }
        Ok((hidden.f_transpose(1, 2)?.f_contiguous()?, lengths)) // (batch, frame, channel)
    }
}

/// One convolution with its norm and GELU.
#[derive(Debug)]
struct ConvLayerBlock {
    weight: Tensor, // (output, input, kernel)
    bias: Option<Tensor>,
    kernel: i64,
    stride: i64,
    norm: ConvNorm,
}

#[derive(Debug)]
enum ConvNorm {
    None,
    Group { weight: Tensor, bias: Tensor },
    Layer(LayerNorm),
}

impl ConvLayerBlock {
    fn new(path: &Path, config: &ModelConfig, index: usize) -> Result<ConvLayerBlock> {
        let input = if index == 0 { 1 } else { config.conv_dim[index - 1] };
        let (output, kernel, stride) = (config.conv_dim[index], config.conv_kernel[index], config.conv_stride[index]);
        let conv = path / "conv";
        let norm = path / "layer_norm";
        Ok(ConvLayerBlock {
            weight: parameter(&conv, "weight", &[output, input, kernel])?,
            bias: if config.conv_bias { Some(parameter(&conv, "bias", &[output])?) } else { None },
            kernel,
            stride,
            norm: match (config.feat_extract_norm, index) {
                (FeatureNorm::Layer, _) => ConvNorm::Layer(LayerNorm::new(&norm, output, EPSILON)?),
                (FeatureNorm::Group, 0) => ConvNorm::Group {
                    weight: parameter(&norm, "weight", &[output])?,
                    bias: parameter(&norm, "bias", &[output])?,
                },
                (FeatureNorm::Group, _) => ConvNorm::None,
            },
        })
    }

    fn forward(&self, input: &Tensor, lengths: &[i64]) -> Result<(Tensor, Vec<i64>)> {
        let kind = input.kind();
        let bias = self.bias.as_ref().map(|bias| cast(bias, kind)).transpose()?;
        let hidden = input.f_conv1d(&cast(&self.weight, kind)?, bias, [self.stride], [0], [1], 1)?; // (batch, channel, frame)
        let lengths: Vec<i64> = lengths.iter().map(|&length| convolved(length, self.kernel, self.stride)).collect();
        let hidden = match &self.norm {
            ConvNorm::None => hidden,
            ConvNorm::Group { weight, bias } => {
                let frames = Frames::new(lengths.clone(), hidden.size()[2], hidden.device())?;
                time_norm(&hidden, weight, bias, &frames)?
            }
            ConvNorm::Layer(norm) => norm.forward(&hidden.f_transpose(1, 2)?)?.f_transpose(1, 2)?,
        };
        Ok((hidden.f_gelu("none")?, lengths))
    }
}

/// Group norm with one group a channel: statistics of each channel over the real frames of its own utterance.
///
/// PyTorch's would count the padding, and an utterance's text would change with its neighbours.
fn time_norm(hidden: &Tensor, weight: &Tensor, bias: &Tensor, frames: &Frames) -> Result<Tensor> {
    let kind = hidden.kind();
    let hidden = hidden.f_to_kind(Kind::Float)?; // (batch, channel, frame)
    let channels = hidden.size()[1];
    let Some(valid) = &frames.valid else {
        return Ok(hidden.f_group_norm(channels, Some(weight), Some(bias), EPSILON, true)?.f_to_kind(kind)?);
    };
    let valid = valid.f_unsqueeze(1)?; // (batch, 1, frame)
    let zero = Tensor::f_zeros([1], (Kind::Float, hidden.device()))?;
    let count = Tensor::f_from_slice(&frames.lengths)?
        .f_to_device(hidden.device())?
        .f_to_kind(Kind::Float)?
        .f_view([-1, 1, 1])?;
    let mean = hidden.f_where_self(&valid, &zero)?.f_sum_dim_intlist(-1, true, Kind::Float)?.f_div(&count)?; // (batch, channel, 1)
    // Padded frames leave here as zeros, so that nothing they held reaches the layers above.
    let centred = hidden.f_sub(&mean)?.f_where_self(&valid, &zero)?;
    let variance = centred.f_square()?.f_sum_dim_intlist(-1, true, Kind::Float)?.f_div(&count)?;
    let scale = variance.f_add_scalar(EPSILON)?.f_rsqrt()?.f_mul(&weight.f_view([1, -1, 1])?)?;
    Ok(bias.f_view([1, -1, 1])?.f_addcmul(&centred, &scale)?.f_to_kind(kind)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn the_masked_norm_equals_each_row_alone_and_ignores_what_padding_holds() {
        let (cpu, lengths) = ((Kind::Float, Device::Cpu), [7i64, 40]);
        let hidden = Tensor::randn([2, 3, 40], cpu) * 2.0 + 0.5;
        let _ = hidden.get(0).narrow(1, 7, 33).fill_(f64::INFINITY);
        let (weight, bias) = (Tensor::randn([3], cpu), Tensor::randn([3], cpu));
        let frames = Frames::new(lengths.to_vec(), 40, Device::Cpu).unwrap();
        let normed = time_norm(&hidden, &weight, &bias, &frames).unwrap();
        for (row, &length) in lengths.iter().enumerate() {
            let alone = hidden.narrow(0, row as i64, 1).narrow(2, 0, length);
            let expected = alone.group_norm(3, Some(&weight), Some(&bias), EPSILON, true);
            let off = (normed.narrow(0, row as i64, 1).narrow(2, 0, length) - &expected).abs().max();
            // A mean over 40 numbers of size 10 and its square: 40 × 10 × 2⁻²⁴ = 2.4e-5 at the very worst.
            assert!(f64::try_from(off).unwrap() < 2.4e-5, "row {row}");
        }
    }
}
