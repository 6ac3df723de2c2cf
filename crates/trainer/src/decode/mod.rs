//! From a model's output to text: greedily or by beam search with a language model, with times and confidence.

mod confidence;
mod decoder;
mod knowledge;
mod listener;
mod recording;
mod sentences;
mod settings;
mod times;
mod transcripts;
mod tune;

pub use confidence::{Calibration, expected_calibration_error};
pub use decoder::{Decoded, Decoder};
pub use knowledge::SPACE;
pub use listener::Listener;
pub use recording::{AlignedLine, AlignedRecording};
pub use sentences::{LmUnits, known_sentences, read_sentences};
pub use settings::{DECODING, DecodeMethod, DecodeSettings, WordList};
pub use times::TimedWord;
pub use transcripts::{AlignedTranscript, Suspicion, align_transcripts, worst_first};
pub use tune::{LEAST_WORDS, TuneTry, TunedDecoding, tune_decoding};

use std::sync::atomic::{AtomicUsize, Ordering};

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// Does something with each of several, on so many threads; the results stand in the order of what was given.
///
/// # Errors
/// A system that gives no thread, or one that ended.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    all: &[T],
    threads: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        while let Some((place, one)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            all.get(place).map(|one| (place, one))
        } {
            done.push((place, work(one)));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let others = (1..threads.clamp(1, all.len().max(1)))
            .map(|_| std::thread::Builder::new().name("decoder".into()).spawn_scoped(scope, some))
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|error| Error::no_thread(&error))?;
        let mut done = some();
        for other in others {
            done.extend(other.join().map_err(|_| Error::Worker("it panicked while decoding".into()))?);
        }
        Ok::<_, Error>(done)
    })?;
    done.sort_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// ln of the probability of what is not said in silence.
const SURELY_NOT: f32 = -30.0;

/// A model's output on some frames, as text is read off it.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// ln of probabilities (frame, output).
    values: Vec<f32>,
    /// Outputs of the head: at least as many as the vocabulary has tokens.
    width: usize,
    /// The best output of each frame, by the logits themselves: rounding makes equals of what lies close together.
    best: Vec<u32>,
}

impl Output {
    /// Of logits (frame, output).
    ///
    /// # Errors
    /// libtorch's own.
    pub(crate) fn of(logits: &Tensor) -> Result<Output> {
        let (frames, width) = logits.size2()?;
        let rows = logits.f_log_softmax(-1, Kind::Float)?.f_to_device(Device::Cpu)?.f_contiguous()?;
        let mut values = vec![0.0; rows.numel()];
        let count = values.len();
        rows.f_copy_data(&mut values, count)?;
        let argmax = logits.f_argmax(-1, false)?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Int64)?.f_contiguous()?;
        let mut best = vec![0i64; frames as usize];
        argmax.f_copy_data(&mut best, frames as usize)?;
        Ok(Output { values, width: width as usize, best: best.into_iter().map(|label| label as u32).collect() })
    }

    /// Puts the frames of another, which begins at frame `first`, behind its own. Both are of one head; frames between them
    /// are surely blank.
    pub(crate) fn append(&mut self, other: Output, first: usize, blank: u32) {
        self.width = other.width;
        let between = first.saturating_sub(self.frames());
        let silence = (0..self.width).map(|label| if label == blank as usize { 0.0 } else { SURELY_NOT });
        let silence: Vec<f32> = silence.collect();
        (0..between).for_each(|_| self.values.extend(&silence));
        self.best.extend(std::iter::repeat_n(blank, between));
        self.values.extend(other.values);
        self.best.extend(other.best);
    }

    /// Each frame's ln of probabilities, by output.
    pub(crate) fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// Frames.
    pub(crate) fn frames(&self) -> usize {
        self.best.len()
    }

    /// Of ln of probabilities, of which the first of the best counts.
    #[cfg(test)]
    pub(crate) fn of_rows(values: Vec<f32>, width: usize) -> Output {
        let best = |row: &[f32]| {
            (0u32..).zip(row).max_by(|(a, x), (b, y)| x.total_cmp(y).then(b.cmp(a))).map_or(0, |(label, _)| label)
        };
        let best = values.chunks_exact(width).map(best).collect();
        Output { values, width, best }
    }
}
