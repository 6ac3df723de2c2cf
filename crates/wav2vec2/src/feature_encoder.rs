//! The convolutional feature encoder: waveform to one feature vector every 20 ms (wav2vec 2.0, section 2).

use tch::{Kind, Tensor};

use crate::config::{FeatureNorm, ModelConfig};
use crate::error::Result;
use crate::frames::{Frames, convolved};
use crate::linear::cast;
use crate::norm::LayerNorm;
use crate::parameters::Path;

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
        let mut hidden = samples.f_unsqueeze(-1)?; // (batch, frame, channel)
        let mut lengths = lengths.to_vec();
        for layer in &self.layers {
            (hidden, lengths) = layer.forward(&hidden, &lengths)?;
        }
        Ok((hidden, lengths))
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
            weight: conv.parameter("weight", &[output, input, kernel])?,
            bias: if config.conv_bias { Some(conv.parameter("bias", &[output])?) } else { None },
            kernel,
            stride,
            norm: match (config.feat_extract_norm, index) {
                (FeatureNorm::Layer, _) => ConvNorm::Layer(LayerNorm::new(&norm, output, EPSILON)?),
                (FeatureNorm::Group, 0) => ConvNorm::Group {
                    weight: norm.parameter("weight", &[output])?,
                    bias: norm.parameter("bias", &[output])?,
                },
                (FeatureNorm::Group, _) => ConvNorm::None,
            },
        })
    }

    fn forward(&self, input: &Tensor, lengths: &[i64]) -> Result<(Tensor, Vec<i64>)> {
        let kind = input.kind();
        let windows = windows(input, self.kernel, self.stride)?; // (batch, frame, kernel × input)
        let weight = cast(&self.weight, kind)?.f_permute([0, 2, 1])?.f_flatten(1, 2)?; // (output, kernel × input)
        let bias = self.bias.as_ref().map(|bias| cast(bias, kind)).transpose()?;
        let hidden = windows.f_linear(&weight, bias)?; // (batch, frame, channel)
        drop(windows); // these are the largest tensors of a forward: each goes as soon as it has served
        let lengths: Vec<i64> = lengths.iter().map(|&length| convolved(length, self.kernel, self.stride)).collect();
        let hidden = match &self.norm {
            ConvNorm::None => hidden,
            ConvNorm::Group { weight, bias } => {
                let frames = Frames::new(lengths.clone(), hidden.size()[1], hidden.device())?;
                time_norm(hidden, weight, bias, &frames)?
            }
            ConvNorm::Layer(norm) => {
                let normed = norm.forward(&hidden)?;
                drop(hidden);
                normed
            }
        };
        Ok((gelu(hidden)?, lengths))
    }
}

/// What each output frame of a convolution sees, laid side by side: (batch, frame, channel) to (batch, frame, kernel × channel).
///
/// The convolution is then one matrix product, and channels stay last for the norms: several times faster on a CPU than
/// convolving and transposing, since these layers have few channels and long inputs.
fn windows(input: &Tensor, kernel: i64, stride: i64) -> Result<Tensor> {
    let (batch, length, channels) = input.size3()?;
    let frames = convolved(length, kernel, stride);
    if kernel == stride {
        return Ok(input.f_narrow(1, 0, frames * kernel)?.f_reshape([batch, frames, kernel * channels])?);
    }
    if channels == 1 {
        return Ok(input.f_squeeze_dim(-1)?.f_unfold(1, kernel, stride)?);
    }
    let tap = |tap: i64| input.f_slice(1, tap, tap + (frames - 1) * stride + 1, stride); // (batch, frame, channel)
    let taps = (0..kernel).map(tap).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Tensor::f_cat(&taps, -1)?)
}

/// GELU, in place where nothing is kept for a gradient.
fn gelu(mut hidden: Tensor) -> Result<Tensor> {
    Ok(if hidden.requires_grad() { hidden.f_gelu("none")? } else { hidden.f_gelu_("none")? })
}

/// Group norm with one group a channel: statistics of each channel over the real frames of its own utterance.
///
/// PyTorch's would count the padding, and an utterance's text would change with its neighbours.
fn time_norm(hidden: Tensor, weight: &Tensor, bias: &Tensor, frames: &Frames) -> Result<Tensor> {
    let kind = hidden.kind();
    // Padded frames become zeros, so that nothing they held reaches a sum, or the layers above.
    let float = hidden.f_to_kind(Kind::Float)?;
    drop(hidden);
    let hidden = frames.zero_padding(float)?; // (batch, frame, channel)
    let (variance, mean) = match &frames.valid {
        None => hidden.f_var_mean_correction([1i64].as_slice(), 0, true)?, // (batch, 1, channel)
        Some(_) => {
            let count = Tensor::f_from_slice(&frames.lengths)?.f_to_device(hidden.device())?.f_view([-1, 1, 1])?;
            let sum = |values: &Tensor| values.f_sum_dim_intlist(1, true, Kind::Float)?.f_div(&count);
            let mean = sum(&hidden)?;
            let centred = frames.zero_padding(hidden.f_sub(&mean)?)?;
            (sum(&centred.f_square()?)?, mean)
        }
    };
    let scale = variance.f_add_scalar(EPSILON)?.f_rsqrt()?.f_mul(weight)?;
    let shift = bias.f_sub(&mean.f_mul(&scale)?)?;
    let normed = shift.f_addcmul(&hidden, &scale)?;
    drop(hidden);
    // The shift has moved padded frames off zero.
    frames.zero_padding(normed.f_to_kind(kind)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn windows_times_the_weight_is_the_convolution() {
        for (channels, kernel, stride) in [(1, 10, 5), (1, 7, 7), (3, 3, 2), (3, 2, 2), (4, 5, 1)] {
            let input = Tensor::randn([2, 53, channels], (Kind::Double, Device::Cpu));
            let weight = Tensor::randn([6, channels, kernel], (Kind::Double, Device::Cpu));
            let expected =
                input.transpose(1, 2).conv1d(&weight, None::<&Tensor>, [stride], [0], [1], 1).transpose(1, 2);
            let product = windows(&input, kernel, stride)
                .unwrap()
                .linear(&weight.permute([0, 2, 1]).flatten(1, 2), None::<&Tensor>);
            assert_eq!(product.size(), expected.size());
            // Sums of at most 15 products of size 10 in fp64: 15 × 10 × 2⁻⁵³.
            assert!((product - expected).abs().max().double_value(&[]) < 1e-13, "{channels} {kernel} {stride}");
        }
    }

    #[test]
    fn the_masked_norm_equals_each_row_alone_and_ignores_what_padding_holds() {
        let (cpu, lengths) = ((Kind::Float, Device::Cpu), [7i64, 40]);
        let hidden = Tensor::randn([2, 40, 3], cpu) * 2.0 + 0.5;
        let _ = hidden.get(0).narrow(0, 7, 33).fill_(f64::INFINITY);
        let (weight, bias) = (Tensor::randn([3], cpu), Tensor::randn([3], cpu));
        let frames = Frames::new(lengths.to_vec(), 40, Device::Cpu).unwrap();
        let normed = time_norm(hidden.shallow_clone(), &weight, &bias, &frames).unwrap();
        for (row, &length) in lengths.iter().enumerate() {
            let alone = hidden.narrow(0, row as i64, 1).narrow(1, 0, length).transpose(1, 2);
            let expected = alone.group_norm(3, Some(&weight), Some(&bias), EPSILON, true).transpose(1, 2);
            let off = (normed.narrow(0, row as i64, 1).narrow(1, 0, length) - &expected).abs().max();
            // A mean over 40 numbers of size 10 and its square: 40 × 10 × 2⁻²⁴ = 2.4e-5 at the very worst.
            assert!(f64::try_from(off).unwrap() < 2.4e-5, "row {row}");
        }
    }
}
