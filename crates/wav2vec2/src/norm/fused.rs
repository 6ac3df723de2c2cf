//! KL-Norm's values and slopes on the CPU, in one pass over the hidden states.
//!
//! As operations on tensors they are two dozen passes over memory, most of what KL-Norm costs beyond a LayerNorm.

use crate::frames::Frames;
use crate::noise::Normals;

/// A site's parameters, each (channel).
pub(super) struct Parameters {
    pub w: Vec<f32>,
    pub b: Vec<f32>,
    /// Zeros where log σ does not follow the input.
    pub a: Vec<f32>,
    pub s: Vec<f32>,
}

/// What one pass gives, as in [`super::linearised`]. Numbers in bf16 are their bits.
pub(super) struct Measured {
    /// n = σ ⊙ ε in bf16, (batch, frame, channel).
    pub noise: Vec<i16>,
    /// k in bf16, (batch, frame, channel), zero in padding.
    pub slope: Vec<i16>,
    /// Mean over real frames and channels, in nats.
    pub rate: f64,
    /// Of the rate in w, b, a, s, each (channel).
    pub slopes: [Vec<f32>; 4],
}

impl Parameters {
    /// `standard` is x̂, (batch, frame, channel); `sigma` has its shape or is (channel). Noise is drawn for padding too, so
    /// that what a frame gets hangs on its place alone.
    pub fn measure(&self, standard: &[f32], sigma: &[f32], frames: &Frames, normals: &mut Normals) -> Measured {
        let channels = self.w.len();
        let share = 1.0 / (frames.count().max(1) as f64 * channels as f64);
        let mut noise = vec![0; standard.len()];
        let mut slope = vec![0; standard.len()];
        let mut sums = Sums::new(channels);
        let mut drawn = vec![0f32; channels];
        let mut places = frames.lengths.iter().flat_map(|&length| (0..frames.padded).map(move |frame| frame < length));
        let rows = standard.chunks_exact(channels).zip(noise.chunks_exact_mut(channels));
        for (number, ((standard, noise), slope)) in rows.zip(slope.chunks_exact_mut(channels)).enumerate() {
            let sigma = if sigma.len() == channels { sigma } else { &sigma[number * channels..][..channels] };
            normals.fill(&mut drawn);
            for ((noise, drawn), sigma) in noise.iter_mut().zip(&drawn).zip(sigma) {
                *noise = bf16_bits(drawn * sigma);
            }
            if places.next() == Some(true) {
                self.add_frame(standard, sigma, share as f32, slope, &mut sums);
            }
        }
        let Sums { rate, in_w, in_b, in_a, in_s } = sums;
        let rate = rate.into_iter().map(f64::from).sum::<f64>() * share;
        Measured { noise, slope, rate, slopes: [in_w, in_b, in_a, in_s] }
    }

    /// Writes a real frame's slopes in x̂, and adds its divergence and its slopes in the parameters.
    fn add_frame(&self, standard: &[f32], sigma: &[f32], share: f32, slope: &mut [i16], sums: &mut Sums) {
        let channels = self.w.len();
        // Slices of one length spare every bounds check below, and let the compiler take several channels at once.
        let (w, b, a, s) = (&self.w[..channels], &self.b[..channels], &self.a[..channels], &self.s[..channels]);
        let (standard, sigma, slope) = (&standard[..channels], &sigma[..channels], &mut slope[..channels]);
        let (rate, in_w, in_b) = (&mut sums.rate[..channels], &mut sums.in_w[..channels], &mut sums.in_b[..channels]);
        let (in_a, in_s) = (&mut sums.in_a[..channels], &mut sums.in_s[..channels]);
        for c in 0..channels {
            let mean = w[c] * standard[c] + b[c];
            let log_sigma = a[c] * standard[c] + s[c];
            let excess = sigma[c] * sigma[c] - 1.0;
            rate[c] += 0.5 * (mean * mean + excess) - log_sigma;
            let (in_mean, in_log) = (share * mean, share * excess);
            in_w[c] += in_mean * standard[c];
            in_b[c] += in_mean;
            in_a[c] += in_log * standard[c];
            in_s[c] += in_log;
            slope[c] = bf16_bits(in_mean * w[c] + in_log * a[c]);
        }
    }
}

/// Sums over real frames, each (channel).
struct Sums {
    rate: Vec<f32>,
    in_w: Vec<f32>,
    in_b: Vec<f32>,
    in_a: Vec<f32>,
    in_s: Vec<f32>,
}

impl Sums {
    fn new(channels: usize) -> Sums {
        let [rate, in_w, in_b, in_a, in_s] = [(); 5].map(|()| vec![0f32; channels]);
        Sums { rate, in_w, in_b, in_a, in_s }
    }
}

/// The bits of a number in bf16, rounded to nearest, ties to even.
fn bf16_bits(number: f32) -> i16 {
    let bits = number.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    // Rounding could carry a NaN over into a number.
    (if number.is_nan() { 0x7fc0 } else { rounded as u16 }).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    #[test]
    fn bf16_is_rounded_as_libtorch_rounds_it() {
        let numbers: Vec<f32> = (0..200_000u32)
            .map(|number| f32::from_bits(number.wrapping_mul(21_475)))
            .chain([0.0, -0.0, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, f32::MAX, f32::INFINITY, f32::NEG_INFINITY])
            .filter(|number| !number.is_nan())
            .collect();
        let expected = Tensor::from_slice(&numbers).to_kind(Kind::BFloat16).view_dtype(Kind::Int16);
        let given: Vec<i16> = numbers.iter().copied().map(bf16_bits).collect();
        assert_eq!(given, Vec::<i16>::try_from(expected).unwrap());
        assert_eq!(bf16_bits(f32::from_bits(0x7fff_ffff)), 0x7fc0);
    }
}
