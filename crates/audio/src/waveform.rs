//! Mono samples with their rate.

use crate::Error;

/// Lowest sample rate, Hz.
pub const MIN_SAMPLE_RATE: u32 = 4_000;
/// Highest sample rate, Hz.
pub const MAX_SAMPLE_RATE: u32 = 192_000;
/// Most samples that one decoded waveform may hold: 4 GiB, 18 hours at 16 kHz. A few megabytes of FLAC can unfold to more.
pub const MAX_SAMPLES: usize = 1 << 30;

/// Mono audio: finite f32 samples, nominally in [−1, 1], and their sample rate.
///
/// What [`decode`](crate::decode) returns is within [−1, 1]; resampling, speed and noise may overshoot it a little.
#[derive(Clone, PartialEq)]
pub struct Waveform {
    samples: Vec<f32>,
    sample_rate: u32,
}

impl Waveform {
    /// A waveform of `samples`, shape `(sample,)`, at `sample_rate` in Hz. It may be empty.
    ///
    /// # Errors
    /// [`Error::SampleRate`] outside 4–192 kHz; [`Error::NotFinite`] for NaN or infinity.
    pub fn new(samples: Vec<f32>, sample_rate: u32) -> Result<Waveform, Error> {
        check_rate(sample_rate)?;
        match samples.iter().position(|sample| !sample.is_finite()) {
            Some(index) => Err(Error::NotFinite { index, value: samples[index] }),
            None => Ok(Waveform { samples, sample_rate }),
        }
    }

    /// The samples, shape `(sample,)`.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// The samples, taken out.
    pub fn into_samples(self) -> Vec<f32> {
        self.samples
    }

    /// Samples per second, Hz.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Length in samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Length in seconds.
    pub fn duration(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate)
    }
}

// Length and rate: a derived Debug would print every sample.
impl std::fmt::Debug for Waveform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waveform").field("len", &self.len()).field("sample_rate", &self.sample_rate).finish()
    }
}

pub(crate) fn check_rate(given: u32) -> Result<(), Error> {
    if (MIN_SAMPLE_RATE..=MAX_SAMPLE_RATE).contains(&given) { Ok(()) } else { Err(Error::SampleRate { given }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_bounds_are_inclusive() {
        for (rate, allowed) in [(0, false), (3_999, false), (4_000, true), (192_000, true), (192_001, false)] {
            assert_eq!(Waveform::new(vec![0.0], rate).is_ok(), allowed, "{rate}");
        }
    }

    #[test]
    fn the_first_bad_sample_is_named() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = Waveform::new(vec![0.0, 0.5, bad, bad], 16_000).unwrap_err();
            assert!(matches!(error, Error::NotFinite { index: 2, .. }), "{error}");
        }
    }

    #[test]
    fn duration_is_in_seconds() {
        assert_eq!(Waveform::new(vec![0.0; 12_000], 8_000).unwrap().duration(), 1.5);
    }
}
