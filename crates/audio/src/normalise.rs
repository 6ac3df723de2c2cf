//! Zero mean, unit variance.

/// What is added to a variance, so that silence stays finite.
const FLOOR: f64 = 1e-7;

/// Shifts and scales `samples`, shape `(sample,)`, to zero mean and unit population variance:
/// (x − mean) / √(variance + 1e−7), accumulated in f64.
///
/// Source: transformers, `Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm`. Give it the samples of one utterance,
/// without padding. Silence becomes zeros.
pub fn normalise(samples: &mut [f32]) {
    if samples.is_empty() {
        return;
    }
    let count = samples.len() as f64;
    let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = samples.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let scale = (variance + FLOOR).sqrt().recip();
    for sample in samples {
        *sample = ((f64::from(*sample) - mean) * scale) as f32;
    }
}

/// Mean and variance of samples that come bit by bit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    /// Takes the next samples.
    pub fn push(&mut self, samples: &[f32]) {
        self.count += samples.len() as f64;
        for &sample in samples {
            let sample = f64::from(sample);
            self.sum += sample;
            self.squares += sample * sample;
        }
    }

    /// Shifts and scales samples as [`normalise`] does, by the mean and variance of all that were pushed.
    pub fn normalise(&self, samples: &mut [f32]) {
        let count = self.count.max(1.0);
        let mean = self.sum / count;
        let scale = ((self.squares / count - mean * mean).max(0.0) + FLOOR).sqrt().recip();
        for sample in samples {
            *sample = ((f64::from(*sample) - mean) * scale) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_case_by_hand() {
        // Mean 2.5, population variance 1.25 (the sample variance, 1.667, would give 1.162): 1.5 / √1.25 = 1.3416407.
        let mut samples = [1.0, 2.0, 3.0, 4.0];
        normalise(&mut samples);
        for (got, expected) in samples.iter().zip([-1.341_640_7, -0.447_213_6, 0.447_213_6, 1.341_640_7]) {
            assert!((got - expected).abs() < 1e-6, "{got} for {expected}"); // 1e-7 / 1.25 / 2 relative, and f32
        }
    }

    #[test]
    fn moments_are_those_of_the_whole() {
        let samples: Vec<f32> = (0..1000).map(|place| (place as f32 * 0.3).sin() * 0.2 + 0.05).collect();
        let (mut at_once, mut by_parts) = (samples.clone(), samples.clone());
        normalise(&mut at_once);
        let mut moments = Moments::default();
        samples.chunks(77).for_each(|part| moments.push(part));
        moments.normalise(&mut by_parts);
        // Sums of 1000 in f64, 2^-53 each, and a last bit of f32 of numbers below 2.
        assert!(at_once.iter().zip(&by_parts).all(|(one, other)| (one - other).abs() <= f32::EPSILON), "{by_parts:?}");
    }

    #[test]
    fn quiet_signals_feel_the_epsilon() {
        // Variance 1e-8: x / √(1e-8 + 1e-7) = 1e-4 / 3.3166e-4 = 0.30151, not 1.
        let mut samples = [1e-4, -1e-4];
        normalise(&mut samples);
        assert!((samples[0] - 0.301_511).abs() < 1e-5, "{}", samples[0]);
    }

    #[test]
    fn a_long_offset_signal_keeps_its_mean_in_f64() {
        // An f32 sum over 2^22 values of about 1000 would be wrong by whole units; the ±0.5 square wave would drown.
        let mut samples: Vec<f32> = (0..1 << 22).map(|n| if n % 2 == 0 { 1000.5 } else { 999.5 }).collect();
        normalise(&mut samples);
        assert!(samples.iter().all(|x| (x.abs() - 1.0).abs() < 1e-5));
    }

    #[test]
    fn silence_and_nothing() {
        normalise(&mut []);
        let mut silence = [0.25; 100];
        normalise(&mut silence);
        assert_eq!(silence, [0.0; 100]);
    }
}
