//! The convolutional feature encoder: waveform to one feature vector every 20 ms (wav2vec 2.0, section 2).

use std::sync::{Arc, OnceLock};

use tch::{Kind, Tensor};

use crate::config::{FeatureNorm, ModelConfig};
use crate::error::Result;
use crate::frames::{Frames, convolved};
use crate::int8::{Int8Linear, Then, flat};
use crate::linear::{cast, gelu};
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
    int8: Arc<OnceLock<Int8Linear>>,
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
        let weight = conv.parameter("weight", &[output, input, kernel])?;
        let bias = if config.conv_bias { Some(conv.parameter("bias", &[output])?) } else { None };
        Ok(ConvLayerBlock {
            int8: conv.affine(&weight, bias.as_ref()),
            weight,
            bias,
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
        let lengths: Vec<i64> = lengths.iter().map(|&length| convolved(length, self.kernel, self.stride)).collect();
        if let Some(rounded) = self.int8.get() {
            let convolve = |then| rounded.convolve(input, self.kernel, self.stride, then);
            match &self.norm {
                ConvNorm::None => return Ok((convolve(Then::Gelu)?, lengths)),
                ConvNorm::Layer(norm) => return Ok((gelu(norm.forward(&convolve(Then::Nothing)?)?)?, lengths)),
                // The first layer, of one channel: in floats, where its norm costs nothing.
                ConvNorm::Group { .. } => {}
            }
        }
        let weight = flat(&self.weight)?; // (output, kernel × input)
        let hidden = match &self.norm {
            ConvNorm::None => self.product(input, &cast(&weight, kind)?)?,
            ConvNorm::Group { weight: scale, bias: shift } => {
                let windows = windows(input, self.kernel, self.stride)?; // (batch, frame, kernel × input)
                let frames = Frames::new(lengths.clone(), windows.size()[1], windows.device())?;
                normed_product(&windows, &weight, scale, shift, &frames)?
            }
            ConvNorm::Layer(norm) => norm.forward(&self.product(input, &cast(&weight, kind)?)?)?,
        };
        Ok((gelu(hidden)?, lengths))
    }

    /// The convolution (batch, frame, output) of `input` (batch, frame, input), by a weight (output, kernel × input).
    fn product(&self, input: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|bias| cast(bias, input.kind())).transpose()?;
        let (batch, _, channels) = input.size3()?;
        let learns = input.requires_grad() || weight.requires_grad();
        if learns || channels == 1 || self.kernel == self.stride || batch > 1 {
            return Ok(windows(input, self.kernel, self.stride)?.f_linear(weight, bias)?);
        }
        in_place(&input.f_squeeze_dim(0)?, weight, bias.as_ref(), self.kernel, self.stride)
    }
}

/// The convolution of one utterance (frame, input) without copying what each output frame sees: as many taps as the stride
/// lie side by side in memory already, so that the convolution is a few products over overlapping rows.
fn in_place(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>, kernel: i64, stride: i64) -> Result<Tensor> {
    let (length, channels) = input.size2()?;
    let samples = input.f_contiguous()?.f_view([-1])?;
    let frames = convolved(length, kernel, stride);
    let mut output: Option<Tensor> = None; // (frame, output)
    for tap in (0..kernel).step_by(stride as usize) {
        let width = stride.min(kernel - tap) * channels;
        let seen = samples.f_narrow(0, tap * channels, (length - tap) * channels)?;
        let rows = seen.f_as_strided([frames, width], [stride * channels, 1], None)?; // overlap with the next tap's
        let taps = weight.f_narrow(1, tap * channels, width)?;
        output = Some(match output {
            None => rows.f_linear(&taps, bias)?,
            Some(mut sum) => sum.f_addmm_(&rows, &taps.f_transpose(0, 1)?)?,
        });
    }
    let output = match output {
        Some(output) => output,
        None => Tensor::f_zeros([frames, weight.size()[0]], (input.kind(), input.device()))?,
    };
    Ok(output.f_unsqueeze(0)?)
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

/// The product of `windows` (batch, frame, tap) with `weight` (channel, tap), then group norm with one group a channel:
/// statistics of each channel over the real frames of its own utterance. Padded frames become zeros.
///
/// PyTorch's would count the padding, and an utterance's text would change with its neighbours. The statistics of the
/// product follow from those of the windows, mean w·m and variance wᵀCw, and there are few taps: the norm costs a weight of
/// its own for each utterance, and not one more pass over its frames. A bias before the norm would change nothing.
fn normed_product(
    windows: &Tensor,
    weight: &Tensor,
    scale: &Tensor,
    shift: &Tensor,
    frames: &Frames,
) -> Result<Tensor> {
    let kind = windows.kind();
    // Nothing that padding held may reach a sum.
    let seen = frames.zero_padding(windows.f_to_kind(Kind::Double)?)?;
    let count = Tensor::f_from_slice(&frames.lengths)?.f_to_device(windows.device())?.f_view([-1, 1, 1])?;
    let mean = seen.f_sum_dim_intlist(1, true, Kind::Double)?.f_div(&count)?; // (batch, 1, tap)
    let centred = frames.zero_padding(seen.f_sub(&mean)?)?;
    let covariance = centred.f_transpose(1, 2)?.f_matmul(&centred)?.f_div(&count)?; // (batch, tap, tap)
    let weight = weight.f_to_kind(Kind::Double)?;
    let variance = weight.f_matmul(&covariance)?.f_mul(&weight)?.f_sum_dim_intlist(-1, true, Kind::Double)?;
    let scale = variance.f_add_scalar(EPSILON)?.f_rsqrt()?.f_mul(&scale.f_unsqueeze(-1)?)?; // (batch, channel, 1)
    let normed = weight.f_mul(&scale)?; // (batch, channel, tap)
    let shift = shift.f_sub(&normed.f_matmul(&mean.f_transpose(1, 2)?)?.f_squeeze_dim(-1)?)?; // (batch, channel)
    let (normed, shift) = (normed.f_to_kind(kind)?, shift.f_to_kind(kind)?);
    let rows = (0..windows.size()[0])
        .map(|row| Ok(windows.f_get(row)?.f_linear(&normed.f_get(row)?, Some(shift.f_get(row)?))?))
        .collect::<Result<Vec<_>>>()?;
    let product = match rows.as_slice() {
        [row] => row.f_unsqueeze(0)?,
        rows => Tensor::f_stack(rows, 0)?,
    };
    frames.zero_padding(product)
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
    fn in_place_is_the_convolution() {
        for (channels, kernel, stride) in [(3, 3, 2), (4, 5, 1), (2, 7, 3), (2, 2, 5)] {
            let input = Tensor::randn([2, 53, channels], (Kind::Double, Device::Cpu)).get(1);
            let weight = Tensor::randn([6, channels, kernel], (Kind::Double, Device::Cpu));
            let bias = Tensor::randn([6], (Kind::Double, Device::Cpu));
            let expected = input.transpose(0, 1).unsqueeze(0).conv1d(&weight, Some(&bias), [stride], [0], [1], 1);
            let flat = weight.permute([0, 2, 1]).flatten(1, 2);
            let product = in_place(&input, &flat, Some(&bias), kernel, stride).unwrap();
            assert_eq!(product.size(), expected.transpose(1, 2).size());
            // Sums of at most 20 products of size 10 in fp64, and a bias: 21 × 10 × 2⁻⁵³.
            let off = (product - expected.transpose(1, 2)).abs().max();
            assert!(off.double_value(&[]) < 1e-13, "{channels} {kernel} {stride}");
        }
    }

    #[test]
    fn the_normed_product_equals_each_row_alone_and_ignores_what_padding_holds() {
        let (cpu, lengths) = ((Kind::Float, Device::Cpu), [7i64, 40]);
        let windows = Tensor::randn([2, 40, 5], cpu) + 0.5;
        let _ = windows.get(0).narrow(0, 7, 33).fill_(f64::INFINITY);
        let weight = Tensor::randn([3, 5], cpu);
        let (scale, shift) = (Tensor::randn([3], cpu), Tensor::randn([3], cpu));
        let frames = Frames::new(lengths.to_vec(), 40, Device::Cpu).unwrap();
        let normed = normed_product(&windows, &weight, &scale, &shift, &frames).unwrap();
        for (row, &length) in lengths.iter().enumerate() {
            let row = row as i64;
            let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
            let alone =
                double(&windows.narrow(0, row, 1).narrow(1, 0, length)).linear(&double(&weight), None::<&Tensor>);
            let expected = alone
                .transpose(1, 2)
                .group_norm(3, Some(&double(&scale)), Some(&double(&shift)), EPSILON, true)
                .transpose(1, 2);
            let off = (double(&normed.narrow(0, row, 1).narrow(1, 0, length)) - &expected).abs().max();
            // Rounding the weights of 5 taps, the shift, 5 products and their sum, each of size 20 at most:
            // 16 × 20 × 2⁻²⁴ = 1.9e-5.
            assert!(off.double_value(&[]) < 1.9e-5, "row {row}");
            let padded = normed.narrow(0, row, 1).narrow(1, length, 40 - length);
            assert_eq!(padded.abs().sum(Kind::Float).double_value(&[]), 0.0);
        }
    }
}
