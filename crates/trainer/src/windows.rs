//! Long stretches in overlapping windows.
//!
//! Attention over a whole recording takes time and, beside a mask, memory with the square of its length. A window of 20 s
//! holds more context than models are fine-tuned on. What is computed near a cut lacks its neighbours, and is dropped:
//! windows overlap, and each frame's logits come from a window in which it stands inside. What is left of the difference is
//! attention's, which ends with the window, and that of the group norm of Base's first convolution, whose statistics are the
//! window's. A stretch of one window is computed as it is.

use std::ops::Range;

use klang_wav2vec2::ModelConfig;
use tch::Tensor;

use crate::error::Result;

/// Seconds of audio that are computed at a time. Shorter windows spend more on what they drop, longer ones on attention and
/// on activations that leave the caches.
const SECONDS: f64 = 20.0;

/// Seconds on either side of a cut that are computed and dropped. The positional convolution looks 1.28 s away.
const CONTEXT: f64 = 1.5;

/// A part of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Its samples.
    pub samples: Range<usize>,
    /// Those of its own frames that count.
    pub kept: Range<i64>,
}

/// The windows of a recording of `samples` samples, `rate` a second, in order: the frames that count are the whole
/// recording's, each once. None where there is not one frame.
pub(crate) fn windows(config: &ModelConfig, samples: usize, rate: u32) -> Vec<Window> {
    let (step, frames) = (config.samples_per_frame(), config.frames(samples as i64));
    let in_frames = |seconds: f64| ((seconds * f64::from(rate) / step as f64) as i64).max(1);
    let (longest, context) = (in_frames(SECONDS), in_frames(CONTEXT));
    let inside = (longest - 2 * context).max(1);
    let count = if frames <= longest { 1 } else { (frames + inside - 1) / inside };
    let window = |number: i64| {
        // All about as long: a short last one would have little context.
        let (start, end) = (frames * number / count, frames * (number + 1) / count);
        let (from, to) = ((start - context).max(0), (end + context).min(frames));
        let last = if to == frames { samples as i64 } else { (to - 1) * step + config.minimum_samples() };
        Window { samples: (from * step) as usize..last as usize, kept: start - from..end - from }
    };
    (0..count).filter(|_| frames > 0).map(window).collect()
}

/// The logits of a recording, (frame, vocabulary), from those of its windows in order, each (frame, vocabulary) of its kept
/// frames.
///
/// # Errors
/// libtorch's own.
pub(crate) fn join(parts: Vec<Tensor>) -> Result<Tensor> {
    Ok(match parts.as_slice() {
        [part] => part.shallow_clone(),
        parts => Tensor::f_cat(parts, 0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 16_000;

    #[test]
    fn what_fits_is_computed_as_it_is() {
        let config = ModelConfig::default();
        for samples in [400, 401, 16_000, 320_000] {
            let whole = Window { samples: 0..samples, kept: 0..config.frames(samples as i64) };
            assert_eq!(windows(&config, samples, RATE), [whole]);
        }
        assert_eq!(windows(&config, 399, RATE), []);
    }

    #[test]
    fn every_frame_counts_once_and_in_its_place() {
        for config in [ModelConfig::default(), ModelConfig::of_size("tiny").unwrap()] {
            let step = config.samples_per_frame();
            for samples in [322_000usize, 500_123, 960_000, 1_000_007, 57_600_000] {
                let windows = windows(&config, samples, RATE);
                assert!(windows.len() > 1);
                let mut next = 0;
                for window in &windows {
                    let Range { start, end } = window.samples;
                    assert!(end <= samples && end - start <= 20 * RATE as usize + config.minimum_samples() as usize);
                    // A frame of the window is one of the recording's: they start on the same samples.
                    assert_eq!(start as i64 % step, 0);
                    let first = start as i64 / step;
                    assert_eq!(first + window.kept.start, next);
                    next = first + window.kept.end;
                    let own = config.frames((end - start) as i64);
                    assert!(window.kept.end <= own);
                    // What is dropped lies at cuts alone, and is a second and a half long.
                    let context = 3 * i64::from(RATE) / 2 / step;
                    assert_eq!(window.kept.start, if start == 0 { 0 } else { context });
                    assert_eq!(own - window.kept.end, if end == samples { 0 } else { context });
                }
                assert_eq!(next, config.frames(samples as i64));
            }
        }
    }
}
