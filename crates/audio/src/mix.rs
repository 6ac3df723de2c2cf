//! Interleaved samples in, checked mono samples out.

use std::path::{Path, PathBuf};

use crate::waveform::MAX_SAMPLES;
use crate::{Error, Warning};

/// Beyond this magnitude (24 dB above full scale) a floating-point file is on another scale, and clamping it would
/// leave a square wave.
const MAX_MAGNITUDE: f64 = 16.0;

/// The frames of a file that are wanted, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First frame wanted.
    pub(crate) start: u64,
    /// How many, or all to the end.
    pub(crate) len: Option<u64>,
}

/// Collects the mono mix (the mean of the channels) of the frames within a span. It grows as samples arrive.
pub(crate) struct MonoMix {
    path: PathBuf,
    channels: usize,
    span: Span,
    /// Sum and number of the samples of the frame under way.
    sum: f64,
    pending: usize,
    /// Next frame, counted from the start of the file.
    position: u64,
    samples: Vec<f32>,
    clamped: u64,
    peak: f64,
}

impl MonoMix {
    /// A mix of `channels` (at least 1) whose first sample belongs to frame `position` of the file.
    pub(crate) fn new(path: &Path, channels: usize, span: Span, position: u64) -> MonoMix {
        MonoMix {
            path: path.into(),
            channels: channels.max(1),
            span,
            sum: 0.0,
            pending: 0,
            position,
            samples: Vec::new(),
            clamped: 0,
            peak: 0.0,
        }
    }

    /// Takes the next sample in interleaved order.
    pub(crate) fn push(&mut self, sample: f64) -> Result<(), Error> {
        self.sum += sample;
        self.pending += 1;
        if self.pending < self.channels {
            return Ok(());
        }
        let mono = self.sum / self.channels as f64;
        (self.sum, self.pending) = (0.0, 0);
        self.push_frame(mono)
    }

    /// Whether every frame of the span has come.
    pub(crate) fn is_full(&self) -> bool {
        self.span.len.is_some_and(|len| self.position >= self.span.start.saturating_add(len))
    }

    /// Frames of the file passed so far, skipped ones included.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The samples since the last call.
    pub(crate) fn take(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.samples)
    }

    /// A warning if some samples so far had to be clamped.
    pub(crate) fn clamped(&self) -> Option<Warning> {
        (self.clamped > 0).then_some(Warning::Clamped { samples: self.clamped, peak: self.peak as f32 })
    }

    fn push_frame(&mut self, mono: f64) -> Result<(), Error> {
        let frame = self.position;
        if frame < self.span.start || self.is_full() {
            self.position += 1;
            return Ok(());
        }
        self.position += 1;
        if !mono.is_finite() {
            return Err(Error::NotFiniteInFile { path: self.path.clone(), frame, value: mono });
        }
        let magnitude = mono.abs();
        if magnitude > MAX_MAGNITUDE {
            return Err(Error::Scale { path: self.path.clone(), frame, value: mono });
        }
        if magnitude > 1.0 {
            self.clamped += 1;
            self.peak = self.peak.max(magnitude);
        }
        if self.samples.len() >= MAX_SAMPLES {
            return Err(Error::TooLong { path: self.path.clone() });
        }
        self.samples.push(mono.clamp(-1.0, 1.0) as f32);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(channels: usize, span: Span, samples: &[f64]) -> Result<(Vec<f32>, Option<Warning>), Error> {
        let mut mix = MonoMix::new(Path::new("x.wav"), channels, span, 0);
        samples.iter().try_for_each(|&sample| mix.push(sample))?;
        Ok((mix.take(), mix.clamped()))
    }

    const ALL: Span = Span { start: 0, len: None };

    #[test]
    fn channels_are_averaged_and_a_partial_frame_is_dropped() {
        let (samples, warning) = mix(3, ALL, &[0.3, 0.6, 0.0, 0.5, 0.25, -0.75, 1.0, 1.0]).unwrap();
        assert_eq!(samples, [0.3, 0.0]);
        assert_eq!(warning, None);
    }

    #[test]
    fn the_span_is_kept_exactly() {
        let ramp = [0.0, 0.1, 0.2, 0.3, 0.4];
        assert_eq!(mix(1, Span { start: 1, len: Some(2) }, &ramp).unwrap().0, [0.1, 0.2]);
        assert_eq!(mix(1, Span { start: 3, len: None }, &ramp).unwrap().0, [0.3, 0.4]);
        assert_eq!(mix(1, Span { start: 5, len: None }, &ramp).unwrap().0, []);
    }

    #[test]
    fn a_little_over_is_clamped_and_counted() {
        let (samples, warning) = mix(1, ALL, &[1.5, -1.0, -2.0, 1.0]).unwrap();
        assert_eq!(samples, [1.0, -1.0, -1.0, 1.0]);
        assert_eq!(warning, Some(Warning::Clamped { samples: 2, peak: 2.0 }));
    }

    #[test]
    fn what_is_not_finite_or_on_another_scale_is_an_error_that_names_the_frame() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = mix(2, ALL, &[0.0, 0.0, 0.1, bad]).unwrap_err();
            assert!(matches!(error, Error::NotFiniteInFile { frame: 1, .. }), "{error}");
        }
        let error = mix(1, ALL, &[0.0, 0.0, -12_000.0]).unwrap_err();
        assert!(matches!(error, Error::Scale { frame: 2, .. }), "{error}");
        assert!(error.to_string().starts_with("x.wav: "), "{error}");
    }
}
