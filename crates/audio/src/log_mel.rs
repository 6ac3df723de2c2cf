//! Log-mel spectra: what an ear tells of a few hundredths of a second.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::Error;
use crate::waveform::check_rate;

/// Length of a window and way to the next, in seconds: the field's own.
const WINDOW: f64 = 0.025;
const HOP: f64 = 0.010;
/// Lowest frequency of the filters, in Hz; the highest is half the sample rate.
const LOWEST: f64 = 20.0;
/// Least energy of a band: silence has a logarithm too.
const FLOOR: f32 = 1e-10;

/// Computes log-mel spectra: Hann windows of 25 ms, triangular filters evenly spaced in mel (HTK's) from 20 Hz to half the
/// sample rate, natural logarithm of the energy.
#[derive(Clone)]
pub struct LogMel {
    window: Vec<f32>,
    hop: usize,
    fft: Arc<dyn Fft<f32>>,
    bands: Vec<Band>,
}

/// A filter: its weights from its first bin on.
#[derive(Clone, Debug)]
struct Band {
    first: usize,
    weights: Vec<f32>,
}

impl std::fmt::Debug for LogMel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.debug_struct("LogMel").field("window", &self.window.len()).field("bands", &self.bands.len()).finish()
    }
}

impl LogMel {
    /// Spectra of `bands` bands at a sample rate in Hz.
    ///
    /// # Errors
    /// [`Error::SampleRate`].
    pub fn new(sample_rate: u32, bands: usize) -> Result<LogMel, Error> {
        check_rate(sample_rate)?;
        let rate = f64::from(sample_rate);
        let length = (WINDOW * rate).round() as usize;
        let points = length.next_power_of_two();
        // Periodic: the window's next sample would be its first.
        let window = (0..length)
            .map(|tap| 0.5 - 0.5 * (std::f64::consts::TAU * tap as f64 / length as f64).cos())
            .map(|w| w as f32);
        let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
        let (low, high) = (mel(LOWEST.min(rate / 4.0)), mel(rate / 2.0));
        let edge = |number: usize| {
            let place = low + (high - low) * number as f64 / (bands + 1) as f64;
            700.0 * (10f64.powf(place / 2595.0) - 1.0)
        };
        let band = |number: usize| {
            let [left, centre, right] = [edge(number), edge(number + 1), edge(number + 2)];
            let weight = |bin: usize| {
                let hertz = bin as f64 * rate / points as f64;
                ((hertz - left) / (centre - left)).min((right - hertz) / (right - centre)).max(0.0) as f32
            };
            let weights: Vec<f32> = (0..=points / 2).map(weight).collect();
            let first = weights.iter().position(|&weight| weight > 0.0).unwrap_or(0);
            let end = weights.iter().rposition(|&weight| weight > 0.0).map_or(first, |last| last + 1);
            Band { first, weights: weights[first..end].to_vec() }
        };
        Ok(LogMel {
            window: window.collect(),
            hop: (HOP * rate).round() as usize,
            fft: FftPlanner::new().plan_fft_forward(points),
            bands: (0..bands).map(band).collect(),
        })
    }

    /// Bands of a spectrum.
    pub fn bands(&self) -> usize {
        self.bands.len()
    }

    /// Samples of a window.
    pub fn window(&self) -> usize {
        self.window.len()
    }

    /// Samples between two windows' starts, 10 ms.
    pub fn hop(&self) -> usize {
        self.hop
    }

    /// Appends to `values` the spectrum of the window that starts at sample `start`, shape `(band,)`; what lies outside the
    /// samples counts as silence.
    pub fn spectrum(&self, samples: &[f32], start: i64, values: &mut Vec<f32>) {
        let points = self.fft.len();
        let mut bins = vec![Complex::default(); points];
        for ((bin, &weight), place) in bins.iter_mut().zip(&self.window).zip(start..) {
            let sample = usize::try_from(place).ok().and_then(|place| samples.get(place));
            bin.re = weight * sample.copied().unwrap_or(0.0);
        }
        self.fft.process(&mut bins);
        for Band { first, weights } in &self.bands {
            let energy: f32 = bins[*first..].iter().zip(weights).map(|(bin, weight)| bin.norm_sqr() * weight).sum();
            values.push(energy.max(FLOOR).ln());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_heard_in_its_band_alone() {
        let log_mel = LogMel::new(16_000, 80).unwrap();
        let tone = |hertz: f32| -> Vec<f32> {
            (0..400).map(|tap| (std::f32::consts::TAU * hertz * tap as f32 / 16_000.0).sin()).collect()
        };
        let loudest = |samples: &[f32]| {
            let mut values = Vec::new();
            log_mel.spectrum(samples, 0, &mut values);
            assert_eq!(values.len(), 80);
            (0..80).max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap()
        };
        let places = [200.0, 1000.0, 3000.0, 7000.0].map(|hertz| loudest(&tone(hertz)));
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{places:?}");
        // Mel of 20 and 8000 Hz: 31.7 and 2840.0, of 1000 Hz: 1000.0; 81 steps of 34.7 between: the 28th edge, band 27.
        assert_eq!(places[1], 27);
    }

    #[test]
    fn what_lies_outside_is_silence() {
        let log_mel = LogMel::new(8_000, 40).unwrap();
        let mut values = Vec::new();
        log_mel.spectrum(&[1.0; 10], -500, &mut values);
        log_mel.spectrum(&[1.0; 10], 10, &mut values);
        assert_eq!(values, vec![FLOOR.ln(); 80]);
        assert_eq!((log_mel.window(), log_mel.hop()), (200, 80));
    }
}
