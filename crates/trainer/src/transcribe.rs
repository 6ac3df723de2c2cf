//! Audio files to text.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use klang_transcript::{Segment, Transcript, Word};
use klang_wav2vec2::{Pass, WaveformBatch};
use tch::{Device, Tensor};

use crate::decode::{Decoded, Decoder, Output, TimedWord};
use crate::error::{Error, Result};
use crate::model::Recogniser;
use crate::stretches::{Stretch, whole};
use crate::windows::Window;

/// A pause between two words that ends a segment, in seconds.
const PAUSE: f64 = 1.0;

/// What was heard in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Its text and times.
    pub transcript: Transcript,
    /// What is odd about the file.
    pub warnings: Vec<String>,
}

/// What the model computes of one file, frame by frame, in fp32 on the CPU.
#[derive(Debug)]
pub struct FileStages {
    /// The convolutions' features (frame, feature).
    pub features: Tensor,
    /// After the feature projection (frame, channel).
    pub projected: Tensor,
    /// The encoder's output (frame, channel).
    pub hidden: Tensor,
    /// (frame, vocabulary).
    pub logits: Tensor,
    /// What is odd about the file.
    pub warnings: Vec<String>,
}

impl Recogniser {
    /// Transcribes files as `decoder` reads, and hands each result over in the order of `paths`, with its place in it. A
    /// recording of more than 20 s is cut in its pauses while it is read, unlike by [`crate::evaluate`], which computes
    /// utterances whole; memory does not grow with its length.
    ///
    /// # Errors
    /// What `take` returns as an error, after which no further file is begun; too little memory for a second model's
    /// bookkeeping. A file's own error is handed over.
    pub fn transcribe_all<E: From<Error>>(
        &self,
        paths: &[PathBuf],
        decoder: &Decoder,
        take: impl FnMut(usize, Result<Heard>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        match self.compute.device {
            _ if paths.is_empty() => Ok(()),
            Device::Cpu => self.transcribe_side_by_side(paths, decoder, take),
            _ => self.transcribe_batched(paths, decoder, take),
        }
    }

    /// The logits of windows, computed as one padded batch: each (frame, vocabulary), of the frames that count.
    pub(crate) fn window_logits(&self, samples: &[&[f32]], windows: &[&Window]) -> Result<Vec<Tensor>> {
        let recognition = tch::no_grad(|| self.forward(&WaveformBatch::pad(samples)?, Pass::Evaluation))?;
        let kept = |(row, window): (usize, &&Window)| {
            let logits = recognition.logits.f_select(0, row as i64)?;
            Ok(logits.f_narrow(0, window.kept.start, window.kept.end - window.kept.start)?)
        };
        windows.iter().enumerate().map(kept).collect()
    }

    /// What stands at every named place of the model for some files, computed as one padded batch.
    ///
    /// # Errors
    /// A file that cannot be read or is too short for a frame; libtorch's own.
    pub fn file_stages(&self, paths: &[impl AsRef<Path>]) -> Result<Vec<FileStages>> {
        let files = paths.iter().map(|path| whole(&self.spec, path.as_ref())).collect::<Result<Vec<_>>>()?;
        let samples: Vec<&[f32]> = files.iter().map(|(samples, _)| samples.as_slice()).collect();
        let stages = tch::no_grad(|| self.stages(&WaveformBatch::pad(&samples)?, Pass::Evaluation))?;
        let lengths = &stages.recognition.lengths;
        let row = |tensor: &Tensor, row: usize| -> Result<Tensor> {
            let real = tensor.f_select(0, row as i64)?.f_narrow(0, 0, lengths[row])?;
            Ok(real.f_to_kind(tch::Kind::Float)?.f_to_device(tch::Device::Cpu)?.f_contiguous()?)
        };
        let file = |(number, (_, warnings))| {
            Ok(FileStages {
                features: row(&stages.features, number)?,
                projected: row(&stages.projected, number)?,
                hidden: row(&stages.hidden, number)?,
                logits: row(&stages.recognition.logits, number)?,
                warnings,
            })
        };
        files.into_iter().enumerate().map(file).collect()
    }
}

/// What was heard in a part of a file.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) segments: Vec<Segment>,
    pub(crate) warnings: Vec<String>,
}

/// What was heard in a stretch, from the model's output.
pub(crate) fn heard(stretch: &Stretch, output: &Output, decoder: &Decoder) -> Part {
    let decoded = decoder.decode(output);
    let words = match decoder.gives_times() {
        true => decoder.timed(output, &decoded.labels, stretch.duration),
        false => Vec::new(),
    };
    let asked = !decoded.alternatives.is_empty();
    let mut segments = segments(decoded, words, stretch.duration);
    let mut warnings = Vec::new();
    if asked && segments.len() > 1 {
        let (count, start) = (segments.len(), stretch.start);
        warnings.push(format!(
            "alternatives are of whole stretches; that from {start:.1} s on has {count} segments between pauses, and they were \
             left out"
        ));
    }
    segments.iter_mut().for_each(|segment| segment.shift(stretch.start));
    Part { segments, warnings }
}

/// Stretches of speech between pauses. What else the whole may have been stands with a single one.
fn segments(decoded: Decoded, words: Vec<TimedWord>, duration: f64) -> Vec<Segment> {
    let words: Vec<Word> = words.into_iter().map(|timed| timed.word).collect();
    if decoded.text.is_empty() && decoded.alternatives.is_empty() {
        return Vec::new();
    }
    let spoken = words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    let mut parts: Vec<&[Word]> = words.chunk_by(|one, next| next.start - one.end < PAUSE).collect();
    if spoken != decoded.text || parts.is_empty() {
        // The vocabulary has a space of its own, or nothing was said.
        parts = vec![&words];
    }
    let alone = parts.len() == 1;
    let segment = |words: &[Word]| {
        let confidences: Vec<f32> = words.iter().filter_map(|word| word.confidence).collect();
        let mean = confidences.iter().sum::<f32>() / confidences.len().max(1) as f32;
        Segment {
            start: words.first().map_or(0.0, |word| word.start),
            end: words.last().map_or(duration, |word| word.end),
            text: match alone {
                true => decoded.text.clone(),
                false => words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "),
            },
            confidence: (!confidences.is_empty()).then_some(mean),
            words: words.to_vec(),
            alternatives: if alone { decoded.alternatives.clone() } else { Vec::new() },
            speaker: None,
        }
    };
    parts.into_iter().map(segment).collect()
}

/// Does what is to be done for a file; a thread that died in silence would leave it without a result.
pub(crate) fn caught<R>(path: &Path, work: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::Worker(format!("it panicked while transcribing {}", path.display()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, start: f64, end: f64, confidence: f32) -> TimedWord {
        let word = Word { text: text.into(), start, end, confidence: Some(confidence), characters: Vec::new() };
        TimedWord { word, log_probability: 0.0 }
    }

    fn decoded(text: &str) -> Decoded {
        let alternatives = vec![klang_transcript::Alternative { text: text.into(), ..Default::default() }];
        Decoded { text: text.into(), labels: Vec::new(), alternatives }
    }

    #[test]
    fn a_pause_ends_a_segment() {
        let words = vec![word("a", 0.1, 0.4, 0.5), word("b", 1.3, 1.5, 1.0), word("c", 2.5, 2.6, 0.25)];
        let found = segments(decoded("a b c"), words.clone(), 3.0);
        let parts: Vec<(f64, f64, &str, Option<f32>)> =
            found.iter().map(|part| (part.start, part.end, part.text.as_str(), part.confidence)).collect();
        assert_eq!(parts, [(0.1, 1.5, "a b", Some(0.75)), (2.5, 2.6, "c", Some(0.25))]);
        assert!(found.iter().all(|part| part.alternatives.is_empty()));
        let one = segments(decoded("a b"), words[..2].to_vec(), 3.0);
        assert_eq!((one.len(), one[0].alternatives.len()), (1, 1));
    }

    #[test]
    fn no_text_is_lost_where_words_do_not_spell_it() {
        let found = segments(decoded("a\u{3000}b"), vec![word("a", 0.1, 0.4, 0.5), word("b", 2.3, 2.5, 1.0)], 3.0);
        assert_eq!((found.len(), found[0].text.as_str(), found[0].words.len()), (1, "a\u{3000}b", 2));
        let untimed = segments(decoded("a"), Vec::new(), 3.0);
        assert_eq!((untimed[0].start, untimed[0].end, untimed[0].confidence), (0.0, 3.0, None));
        assert_eq!(segments(Decoded::default(), Vec::new(), 3.0), []);
    }
}
