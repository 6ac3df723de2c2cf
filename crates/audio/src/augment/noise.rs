//! Additive noise at a chosen signal-to-noise ratio.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

/// Spectrum of a noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseColour {
    /// The same power at every frequency: electronics.
    White,
    /// Power falling by 3 dB per octave: rooms, wind, traffic.
    Pink,
}

/// Below this frequency (in cycles per sample; 20 Hz at 16 kHz) pink noise is flat: else a good part of its power would
/// lie where nothing is heard.
const PINK_CORNER: f64 = 1.0 / 800.0;

/// Adds Gaussian noise to `samples`, shape `(sample,)`, such that 20 · log₁₀(RMS of the signal / RMS of the noise) is
/// `snr_db`, for the noise actually drawn. Sums may leave [−1, 1]; they are not clipped.
///
/// A signal without power, or an `snr_db` that gives no finite scale, leaves the samples as they are.
pub fn add_noise(samples: &mut [f32], snr_db: f64, colour: NoiseColour, rng: &mut impl Rng) {
    let noise = match colour {
        NoiseColour::White => gaussian(samples.len(), rng),
        NoiseColour::Pink => pink(gaussian(samples.len(), rng)),
    };
    let signal_rms = rms(samples.iter().map(|&sample| sample.into()));
    let scale = signal_rms / rms(noise.iter().copied()) * 10_f64.powf(-snr_db / 20.0);
    if !scale.is_finite() || scale == 0.0 {
        return;
    }
    for (sample, noise) in samples.iter_mut().zip(noise) {
        *sample = (f64::from(*sample) + scale * noise) as f32;
    }
}

fn rms(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    (values.map(|value| value * value).sum::<f64>() / count).sqrt()
}

/// `len` values of mean 0 and variance 1, by Box and Muller's transform.
pub(super) fn gaussian(len: usize, rng: &mut impl Rng) -> Vec<f64> {
    let mut values = Vec::with_capacity(len + 1);
    while values.len() < len {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt(); // 1 − [0, 1) is never 0
        let (sin, cos) = (TAU * rng.random::<f64>()).sin_cos();
        values.extend([radius * cos, radius * sin]);
    }
    values.truncate(len);
    values
}

/// White noise shaped to 1/√f in amplitude, in the frequency domain.
fn pink(white: Vec<f64>) -> Vec<f64> {
    let len = white.len();
    let mut spectrum: Vec<Complex<f64>> = white.into_iter().map(Complex::from).collect();
    let mut planner = FftPlanner::new();
    planner.plan_fft_forward(len).process(&mut spectrum);
    for (bin, value) in spectrum.iter_mut().enumerate() {
        let frequency = bin.min(len - bin) as f64 / len as f64; // the upper half mirrors the lower
        *value *= if bin == 0 { 0.0 } else { frequency.max(PINK_CORNER).sqrt().recip() };
    }
    planner.plan_fft_inverse(len).process(&mut spectrum);
    spectrum.into_iter().map(|value| value.re).collect()
}
