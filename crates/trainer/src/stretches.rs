//! A file's stretches: what of it is computed and read as one, while the file is read.
//!
//! A file of one window is a single stretch, computed as an utterance is. A longer one is cut where nobody speaks, so that a
//! stretch resembles the utterances that the model was trained on, and an hour takes no more memory than a minute.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use klang_audio::{AudioReader, Moments, Segmenter, SegmenterSettings, SpeechSegment, normalise};

use crate::error::{Error, Result};
use crate::model::ModelSpec;
use crate::windows::{Window, windows};

/// Seconds of quiet between two stretches, at least.
const PAUSE: f64 = 0.5;
/// Most seconds of a stretch.
const LONGEST: f64 = 60.0;
/// Seconds of quiet that are computed before and behind speech.
const MARGIN: f64 = 0.2;
/// Samples that differ by less than this, one step of 16-bit audio, are of a recorder that was muted.
const MUTED: f32 = 1.0 / 32_768.0;

/// A part of a file, ready for the model.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Where it begins, in seconds.
    pub(crate) start: f64,
    /// Seconds.
    pub(crate) duration: f64,
    /// The file's frame that is its first.
    pub(crate) first_frame: usize,
    /// The parts that are computed one by one; at least one.
    pub(crate) windows: Vec<Window>,
    samples: Vec<f32>,
}

impl Stretch {
    pub(crate) fn samples(&self, window: &Window) -> &[f32] {
        &self.samples[window.samples.clone()]
    }
}

/// What is known of a file once it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FileEnd {
    /// Seconds.
    pub(crate) duration: f64,
    pub(crate) warnings: Vec<String>,
}

/// A file that gives its stretches one after another.
pub(crate) struct Stretches<'a> {
    spec: &'a ModelSpec,
    path: PathBuf,
    reader: AudioReader,
    /// Samples that were read.
    read: usize,
    /// None for a file of one window, and behind the end.
    segmenter: Option<Segmenter>,
    /// Waiting to be given.
    ready: VecDeque<SpeechSegment>,
    /// Of the last stretch that somebody spoke in: what is quiet is heard as loud as the speech before it, lest noise be taken
    /// for speech.
    spoken: Option<Moments>,
}

impl<'a> Stretches<'a> {
    /// Opens a file, and reads as much of it as one window holds.
    ///
    /// # Errors
    /// A file that cannot be read, or is shorter than a frame.
    pub(crate) fn open(spec: &'a ModelSpec, path: &Path) -> Result<Stretches<'a>> {
        let rate = spec.audio.sampling_rate;
        let reader = AudioReader::open(path, rate).map_err(|source| unreadable(path, source))?;
        let (segmenter, ready) = (None, VecDeque::new());
        let mut file = Stretches { spec, path: path.into(), reader, read: 0, segmenter, ready, spoken: None };
        let mut first = Vec::new();
        while windows(&spec.config, first.len(), rate).len() <= 1 {
            match file.some()? {
                Some(samples) => first.extend(samples),
                None => {
                    check_length(spec, path, first.len())?;
                    let (range, speech) = (0..first.len(), 0..first.len());
                    file.ready.push_back(SpeechSegment { range, samples: first, speech });
                    return Ok(file);
                }
            }
        }
        let step = spec.config.samples_per_frame();
        let mut segmenter = Segmenter::new(SegmenterSettings {
            sample_rate: rate,
            step: step as usize,
            // As many as its last frame needs.
            tail: (spec.config.minimum_samples() - step).max(0) as usize,
            pause: PAUSE,
            longest: LONGEST,
        });
        file.ready.extend(segmenter.push(&first));
        file.segmenter = Some(segmenter);
        Ok(file)
    }

    fn some(&mut self) -> Result<Option<Vec<f32>>> {
        let some = self.reader.read().map_err(|source| unreadable(&self.path, source))?;
        self.read += some.as_ref().map_or(0, Vec::len);
        Ok(some)
    }

    /// The next stretch; none at the end.
    ///
    /// # Errors
    /// A file that cannot be read any further.
    pub(crate) fn next(&mut self) -> Result<Option<Stretch>> {
        loop {
            while let Some(segment) = self.ready.pop_front() {
                if segment.speech.is_empty() && is_muted(&segment.samples) {
                    continue;
                }
                let stretch = self.stretch(segment);
                // A rest that is shorter than a frame says nothing.
                if !stretch.windows.is_empty() {
                    return Ok(Some(stretch));
                }
            }
            let Some(mut segmenter) = self.segmenter.take() else { return Ok(None) };
            match self.some()? {
                Some(samples) => {
                    self.ready.extend(segmenter.push(&samples));
                    self.segmenter = Some(segmenter);
                }
                None => self.ready.extend(segmenter.end()),
            }
        }
    }

    /// Whether the stretches that wait are the last.
    pub(crate) fn is_read(&self) -> bool {
        self.segmenter.is_none()
    }

    /// What is known of the file, once its last stretch was given.
    pub(crate) fn end(&self) -> FileEnd {
        let warnings = self.reader.warnings().iter().map(ToString::to_string).collect();
        FileEnd { duration: self.seconds(self.read), warnings }
    }

    fn seconds(&self, samples: usize) -> f64 {
        samples as f64 / f64::from(self.spec.audio.sampling_rate)
    }

    fn stretch(&mut self, segment: SpeechSegment) -> Stretch {
        let SpeechSegment { range, mut samples, speech } = segment;
        let (config, rate) = (&self.spec.config, self.spec.audio.sampling_rate);
        let step = config.samples_per_frame().max(1) as usize;
        let is_quiet = speech.is_empty();
        // Of a pause only its edges are computed with the speech: utterances that models are trained on have no more.
        let margin = (MARGIN * f64::from(rate)) as usize;
        let (mut from, mut to) = (0, range.len());
        if !is_quiet {
            from = speech.start.saturating_sub(margin) / step * step;
            to = (speech.end + margin).min(range.len());
            samples.truncate(to + (samples.len() - range.len()));
            samples.drain(..from);
        }
        if self.spec.audio.do_normalize {
            match self.spoken.filter(|_| is_quiet) {
                Some(spoken) => spoken.normalise(&mut samples),
                None => {
                    let mut own = Moments::default();
                    own.push(&samples);
                    self.spoken = Some(own);
                    normalise(&mut samples);
                }
            }
        }
        let windows = windows(config, samples.len(), rate);
        let start = range.start + from;
        Stretch {
            start: self.seconds(start),
            duration: self.seconds(to - from),
            first_frame: start / step,
            windows,
            samples,
        }
    }
}

/// Whether samples are all one, but for rounding.
fn is_muted(samples: &[f32]) -> bool {
    let bounds = samples.iter().fold((f32::MAX, f32::MIN), |(low, high), &sample| (low.min(sample), high.max(sample)));
    bounds.1 - bounds.0 <= MUTED
}

/// The samples of a whole file as the model expects them, and what is odd about it.
///
/// # Errors
/// A file that cannot be read, or is shorter than a frame.
pub(crate) fn whole(spec: &ModelSpec, path: &Path) -> Result<(Vec<f32>, Vec<String>)> {
    let loaded = klang_audio::load(path, spec.audio.sampling_rate, None).map_err(|source| unreadable(path, source))?;
    let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
    let mut samples = loaded.waveform.into_samples();
    check_length(spec, path, samples.len())?;
    if spec.audio.do_normalize {
        normalise(&mut samples);
    }
    Ok((samples, warnings))
}

/// Refuses what has not one frame.
fn check_length(spec: &ModelSpec, path: &Path, samples: usize) -> Result<()> {
    let (config, rate) = (&spec.config, f64::from(spec.audio.sampling_rate));
    if config.frames(samples as i64) > 0 {
        return Ok(());
    }
    let (found, minimum) = (samples as f64 / rate, config.minimum_samples() as f64 / rate);
    let message = format!("{found:.3} s of audio; the model needs at least {minimum:.3} s");
    Err(Error::Data { path: path.into(), message })
}

fn unreadable(path: &Path, source: klang_audio::Error) -> Error {
    Error::Audio { id: path.display().to_string(), source }
}
