//! Test signals, and their measurement.

use std::f64::consts::TAU;

use klang_audio::Waveform;

/// A sine of `frequency` Hz and amplitude 0.5, starting at phase 0.3 so that neither sine nor cosine is special.
pub fn sine(rate: u32, frequency: f64, len: usize) -> Waveform {
    let step = TAU * frequency / f64::from(rate);
    let samples = (0..len).map(|n| (0.5 * (step * n as f64 + 0.3).sin()) as f32).collect();
    Waveform::new(samples, rate).unwrap()
}

/// 0.4 · sin(2π (a t + b t²)): the frequency rises from a to a + 2 b t Hz.
pub fn chirp(rate: u32, amplitude: f64, a: f64, b: f64, len: usize) -> Vec<f64> {
    let at = |n: usize| n as f64 / f64::from(rate);
    (0..len).map(|n| amplitude * (TAU * (a * at(n) + b * at(n) * at(n))).sin()).collect()
}

pub fn rms(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value * value;
        count += 1.0;
    }
    (sum / f64::max(count, 1.0)).sqrt()
}

pub fn decibels(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

/// What a least-squares fit of one sine finds.
pub struct Fit {
    pub amplitude: f64,
    /// Phase at sample 0 of the slice, radians.
    pub phase: f64,
    /// RMS of everything else: images, aliases, noise.
    pub residual: f64,
}

/// Fits a sine of known frequency (cycles per sample) by solving the 2 × 2 normal equations.
pub fn fit(samples: &[f32], frequency: f64) -> Fit {
    let (mut ss, mut cc, mut sc, mut xs, mut xc) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let basis = |n: usize| (TAU * frequency * n as f64).sin_cos();
    for (n, &x) in samples.iter().enumerate() {
        let ((s, c), x) = (basis(n), f64::from(x));
        (ss, cc, sc) = (ss + s * s, cc + c * c, sc + s * c);
        (xs, xc) = (xs + x * s, xc + x * c);
    }
    let determinant = ss * cc - sc * sc;
    let (a, b) = ((xs * cc - xc * sc) / determinant, (xc * ss - xs * sc) / determinant);
    let residual = samples.iter().enumerate().map(|(n, &x)| {
        let (s, c) = basis(n);
        f64::from(x) - a * s - b * c
    });
    Fit { amplitude: a.hypot(b), phase: b.atan2(a), residual: rms(residual) }
}

/// The middle half, out of reach of the edges.
pub fn middle(samples: &[f32]) -> &[f32] {
    &samples[samples.len() / 4..samples.len() * 3 / 4]
}
