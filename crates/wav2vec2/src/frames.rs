//! Lengths: how many frames a waveform gives, and which frames of a padded batch are real.

use tch::{Device, Kind, Tensor};

use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// Output length of one unpadded convolution, in frames; 0 when the input is shorter than the kernel.
pub fn convolved(length: i64, kernel: i64, stride: i64) -> i64 {
    if length < kernel { 0 } else { (length - kernel) / stride + 1 }
}

impl ModelConfig {
    /// Frames that a waveform of `samples` samples gives.
    pub fn frames(&self, samples: i64) -> i64 {
        self.conv_kernel
            .iter()
            .zip(&self.conv_stride)
            .fold(samples, |length, (&kernel, &stride)| convolved(length, kernel, stride))
    }

    /// Samples between the starts of two frames: 320 in every published model.
    pub fn samples_per_frame(&self) -> i64 {
        self.conv_stride.iter().product()
    }

    /// Samples that one frame needs: 400 in every published model.
    pub fn minimum_samples(&self) -> i64 {
        self.conv_kernel
            .iter()
            .zip(&self.conv_stride)
            .rev()
            .fold(1, |frames, (&kernel, &stride)| (frames - 1) * stride + kernel)
    }
}

/// A padded batch of waveforms: the tensor travels with its lengths.
#[derive(Debug)]
pub struct WaveformBatch {
    /// Samples at the model's rate, (batch, sample), padded at the end with anything.
    pub samples: Tensor,
    /// Length of each row in samples.
    pub lengths: Vec<i64>,
}

impl WaveformBatch {
    /// Pads waveforms with zeros to the longest of them, in fp32 on the CPU.
    ///
    /// # Errors
    /// When libtorch cannot allocate the batch.
    pub fn pad(waveforms: &[&[f32]]) -> Result<WaveformBatch> {
        let longest = waveforms.iter().map(|waveform| waveform.len()).max().unwrap_or(0);
        let mut samples = vec![0f32; longest * waveforms.len()];
        for (row, waveform) in samples.chunks_exact_mut(longest.max(1)).zip(waveforms) {
            row[..waveform.len()].copy_from_slice(waveform);
        }
        let samples = Tensor::f_from_slice(&samples)?.f_view([waveforms.len() as i64, longest as i64])?;
        Ok(WaveformBatch { samples, lengths: waveforms.iter().map(|waveform| waveform.len() as i64).collect() })
    }

    /// The batch on another device.
    ///
    /// # Errors
    /// When libtorch cannot copy it there.
    pub fn to_device(&self, device: Device) -> Result<WaveformBatch> {
        Ok(WaveformBatch { samples: self.samples.f_to_device(device)?, lengths: self.lengths.clone() })
    }

    /// Each row as a batch of its own, without its padding.
    ///
    /// # Errors
    /// A length that does not fit the tensor.
    pub fn rows(&self) -> Result<Vec<WaveformBatch>> {
        let row = |(row, &length): (usize, &i64)| -> Result<WaveformBatch> {
            let samples = self.samples.f_narrow(0, row as i64, 1)?.f_narrow(1, 0, length)?;
            Ok(WaveformBatch { samples, lengths: vec![length] })
        };
        self.lengths.iter().enumerate().map(row).collect()
    }

    /// Checks that every row has a length inside the tensor and enough samples for one frame.
    pub(crate) fn check(&self, config: &ModelConfig) -> Result<()> {
        let (rows, samples) = self.samples.size2()?;
        if self.lengths.len() as i64 != rows || self.lengths.iter().any(|length| !(1..=samples).contains(length)) {
            return Err(Error::BatchLengths { rows, samples, lengths: self.lengths.clone() });
        }
        let minimum = config.minimum_samples();
        match self.lengths.iter().position(|&length| length < minimum) {
            Some(index) => Err(Error::TooShort { index, samples: self.lengths[index], minimum }),
            None => Ok(()),
        }
    }
}

/// Which frames of a padded batch are real.
#[derive(Debug)]
pub struct Frames {
    /// Length of each row in frames.
    pub lengths: Vec<i64>,
    /// Frames of the padded tensor.
    pub padded: i64,
    /// (batch, frame), true where real; absent when no row is padded, so that unpadded batches pay nothing.
    pub valid: Option<Tensor>,
}

impl Frames {
    /// Marks the first `lengths[row]` of `padded` frames of each row as real.
    ///
    /// # Errors
    /// When libtorch cannot build the mask.
    pub fn new(lengths: Vec<i64>, padded: i64, device: Device) -> Result<Frames> {
        let valid = if lengths.iter().all(|&length| length == padded) {
            None
        } else {
            let positions = Tensor::f_arange(padded, (Kind::Int64, device))?;
            let ends = Tensor::f_from_slice(&lengths)?.f_to_device(device)?.f_unsqueeze(1)?; // (batch, 1)
            Some(positions.f_unsqueeze(0)?.f_less_tensor(&ends)?) // (batch, frame)
        };
        Ok(Frames { lengths, padded, valid })
    }

    /// The same frames; the mask is shared.
    pub(crate) fn shallow_clone(&self) -> Frames {
        let valid = self.valid.as_ref().map(Tensor::shallow_clone);
        Frames { lengths: self.lengths.clone(), padded: self.padded, valid }
    }

    /// Real frames of the whole batch.
    pub fn count(&self) -> i64 {
        self.lengths.iter().sum()
    }

    /// Sets padded frames of `hidden` (batch, frame, channel) to zero.
    pub(crate) fn zero_padding(&self, hidden: Tensor) -> Result<Tensor> {
        Ok(match &self.valid {
            // where, not a product: zero times a padded NaN or infinity would be NaN.
            Some(valid) => hidden.f_where_self(&valid.f_unsqueeze(-1)?, &hidden.f_zeros_like()?.f_narrow(1, 0, 1)?)?,
            None => hidden,
        })
    }

    /// Mean of values (batch, frame, channel) over real frames: (channel).
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn mean_of_channels(&self, values: &Tensor) -> Result<Tensor> {
        let values = self.zero_padding(values.shallow_clone())?;
        let sum = values.f_sum_dim_intlist([0i64, 1].as_slice(), false, values.kind())?;
        Ok(sum.f_div_scalar(self.count().max(1) as f64)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_needs_400_samples_for_a_frame_and_320_for_the_next() {
        let config = ModelConfig::default();
        assert_eq!((config.minimum_samples(), config.samples_per_frame()), (400, 320));
        for (samples, frames) in [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49)] {
            assert_eq!(config.frames(samples), frames, "{samples} samples");
        }
    }

    #[test]
    fn the_mean_leaves_padded_values_out() {
        let frames = Frames::new(vec![1, 3], 3, Device::Cpu).unwrap();
        let values = Tensor::from_slice(&[2f32, f32::NAN, f32::INFINITY, 4., 6., 8.]).view([2, 3, 1]);
        let both = Tensor::cat(&[&values, &(&values * 2.0)], 2);
        // (2 + 4 + 6 + 8) / 4
        assert_eq!(Vec::<f32>::try_from(frames.mean_of_channels(&both).unwrap()).unwrap(), [5.0, 10.0]);
    }

    #[test]
    fn an_unpadded_batch_carries_no_mask() {
        assert!(Frames::new(vec![3, 3], 3, Device::Cpu).unwrap().valid.is_none());
    }
}
