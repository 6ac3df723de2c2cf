//! What BEST-RQ's targets are taken from: the log-mel spectra of each frame of the model.

use klang_audio::LogMel;
use klang_wav2vec2::ModelConfig;

use crate::error::{Error, Result};
use crate::recipe::Spectrum;

/// Bands of a spectrum, as in the paper.
const BANDS: usize = 80;
/// Cepstra taken of it, as in speech recognition since Davis and Mermelstein (1980).
const CEPSTRA: usize = 13;
/// Least deviation of a number that counts as one, in nats: what varies less, as a band above a recording's own, is no sound.
const LEAST_DEVIATION: f32 = 0.1;

/// Spectra in step with a model's frames.
#[derive(Clone, Debug)]
pub struct Spectra {
    log_mel: LogMel,
    /// (cepstrum, band); none where bands are taken as they are.
    cosines: Option<Vec<Vec<f32>>>,
    /// Windows side by side that make up a frame.
    windows: usize,
    /// Samples from one frame's start to the next's.
    frame: i64,
    /// Where a frame's first window starts, in samples from where the frame starts; below 0 where the windows together are
    /// longer than what the frame hears.
    first: i64,
    config: ModelConfig,
}

impl Spectra {
    /// For a model of this shape, at its sample rate in Hz.
    ///
    /// # Errors
    /// A rate that no audio has.
    pub fn new(config: &ModelConfig, sample_rate: u32, spectrum: Spectrum) -> Result<Spectra> {
        let audio = |source| Error::Audio { id: "log-mel spectra".into(), source };
        let log_mel = LogMel::new(sample_rate, BANDS).map_err(audio)?;
        let frame = config.samples_per_frame();
        // A frame of 20 ms takes two windows: the stack has a frame's rate, as in the paper.
        let windows = (frame as f64 / log_mel.hop() as f64).round().max(1.0) as i64;
        // The windows lie around the middle of what the frame hears.
        let first = (config.minimum_samples() - (windows - 1) * frame / windows - log_mel.window() as i64) / 2;
        let cosine = |number: usize| {
            let band = |band: usize| std::f64::consts::PI * number as f64 * (band as f64 + 0.5) / BANDS as f64;
            (0..BANDS).map(|place| (band(place).cos() * (2.0 / BANDS as f64).sqrt()) as f32).collect()
        };
        let cosines = (spectrum == Spectrum::Cepstra).then(|| (0..CEPSTRA).map(cosine).collect());
        Ok(Spectra { log_mel, cosines, windows: windows as usize, frame, first, config: config.clone() })
    }

    /// Numbers that stand for a frame.
    pub fn width(&self) -> usize {
        self.windows * self.numbers()
    }

    /// Numbers that stand for a window.
    fn numbers(&self) -> usize {
        self.cosines.as_ref().map_or(BANDS, Vec::len)
    }

    /// Where a window starts, counted over all frames.
    fn start(&self, window: i64) -> i64 {
        let windows = self.windows as i64;
        // A frame may be no multiple of its windows: what is lost by rounding is not to add up.
        self.first + window / windows * self.frame + window % windows * self.frame / windows
    }

    /// Spectra of all frames of an utterance, (frame, width): each number of mean 0 and variance 1 over the utterance, so that
    /// neither loudness nor microphone nor voice as a whole decides a code.
    pub fn of(&self, samples: &[f32]) -> Vec<f32> {
        let frames = self.config.frames(samples.len() as i64).max(0) as usize;
        let (count, numbers) = (frames * self.windows, self.numbers());
        let mut values = Vec::with_capacity(count * numbers);
        let mut bands = Vec::with_capacity(BANDS);
        for window in 0..count as i64 {
            bands.clear();
            self.log_mel.spectrum(samples, self.start(window), &mut bands);
            match &self.cosines {
                Some(cosines) => {
                    let cepstrum =
                        |cosine: &Vec<f32>| cosine.iter().zip(&bands).map(|(cosine, band)| cosine * band).sum::<f32>();
                    values.extend(cosines.iter().map(cepstrum));
                }
                None => values.extend_from_slice(&bands),
            }
        }
        for number in 0..numbers {
            let column = || values.iter().skip(number).step_by(numbers).map(|&value| f64::from(value));
            let mean = column().sum::<f64>() / count.max(1) as f64;
            let variance = column().map(|value| (value - mean).powi(2)).sum::<f64>() / count.max(1) as f64;
            let deviation = (variance.sqrt() as f32).max(LEAST_DEVIATION);
            for value in values.iter_mut().skip(number).step_by(numbers) {
                *value = (*value - mean as f32) / deviation;
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_mean_0_and_variance_1_over_the_utterance() {
        let config = ModelConfig::of_size("tiny").unwrap();
        // A chirp from 100 Hz up: every band is loud at some time.
        let samples: Vec<f32> = (0..32_000).map(|n| (0.04 * n as f32 + 4e-5 * (n * n) as f32).sin() * 0.3).collect();
        let frames = config.frames(32_000) as usize;
        for (spectrum, numbers) in [(Spectrum::LogMel, BANDS), (Spectrum::Cepstra, CEPSTRA)] {
            let spectra = Spectra::new(&config, 16_000, spectrum).unwrap();
            let values = spectra.of(&samples);
            assert_eq!((values.len(), spectra.width()), (frames * 2 * numbers, 2 * numbers));
            for number in 0..numbers {
                let column: Vec<f64> =
                    values.iter().skip(number).step_by(numbers).map(|&value| f64::from(value)).collect();
                let mean = column.iter().sum::<f64>() / column.len() as f64;
                let variance = column.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / column.len() as f64;
                // fp32 values below 20 at 6e-8 each.
                assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4, "number {number}: {mean} {variance}");
            }
            assert!(spectra.of(&samples[..10]).is_empty());
        }
    }

    #[test]
    fn cepstra_are_the_cosines_of_the_bands() {
        let config = ModelConfig::of_size("tiny").unwrap();
        let cosines = Spectra::new(&config, 16_000, Spectrum::Cepstra).unwrap().cosines.unwrap();
        for (a, first) in cosines.iter().enumerate() {
            for (b, second) in cosines.iter().enumerate() {
                let product: f32 = first.iter().zip(second).map(|(x, y)| x * y).sum();
                // Orthogonal; of length 1, but for the constant one, whose length is √2. 80 products of size 1/40 in fp32.
                let expected = if a != b {
                    0.0
                } else if a == 0 {
                    2.0
                } else {
                    1.0
                };
                assert!((product - expected).abs() < 1e-5, "{a} {b}: {product}");
            }
        }
    }

    #[test]
    fn windows_lie_around_the_middle_of_what_a_frame_hears() {
        for (size, hears) in [("tiny", 800), ("base", 400)] {
            let config = ModelConfig::of_size(size).unwrap();
            assert_eq!(config.minimum_samples(), hears);
            let spectra = Spectra::new(&config, 16_000, Spectrum::LogMel).unwrap();
            // Two windows of 400 samples, 160 apart, reach over 560: as far before the frame's first sample as behind its last.
            assert_eq!((spectra.windows, spectra.frame, spectra.first), (2, 320, (hears - 560) / 2));
            assert_eq!([0, 1, 2, 2001].map(|n| spectra.start(n) - spectra.first), [0, 160, 320, 320_160]);
        }
        // 25 ms take three windows, whose starts stay with their frames.
        let config = ModelConfig { conv_stride: vec![25, 2, 2, 2, 2], ..ModelConfig::of_size("tiny").unwrap() };
        let spectra = Spectra::new(&config, 16_000, Spectrum::LogMel).unwrap();
        assert_eq!(spectra.windows, 3);
        assert_eq!([0, 1, 2, 3, 3000].map(|n| spectra.start(n) - spectra.first), [0, 133, 266, 400, 400_000]);
    }
}
