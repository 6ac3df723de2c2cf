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

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 16_000;

    /// A file that is silent but for tones at the given seconds, over noise that is so loud.
    fn file(folder: &Path, length: f64, noise: f32, tones: &[[f64; 2]]) -> PathBuf {
        let path = folder.join("file.wav");
        let mut state = 1u32;
        let sample = |place: usize| {
            let time = place as f64 / RATE as f64;
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = noise * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0);
            let speaks = tones.iter().any(|&[start, end]| (start..end).contains(&time));
            hiss + if speaks { (time * 900.0).sin() as f32 * 0.4 } else { 0.0 }
        };
        let samples: Vec<f32> = (0..(length * RATE as f64) as usize).map(sample).collect();
        klang_audio::write_wav(&path, &klang_audio::Waveform::new(samples, RATE as u32).unwrap()).unwrap();
        path
    }

    fn stretches(spec: &ModelSpec, path: &Path) -> (Vec<Stretch>, FileEnd) {
        let mut file = Stretches::open(spec, path).unwrap();
        let mut all = Vec::new();
        while let Some(stretch) = file.next().unwrap() {
            all.push(stretch);
        }
        (all, file.end())
    }

    fn deviation(samples: &[f32]) -> f64 {
        (samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
    }

    #[test]
    fn a_file_of_one_window_is_whole() {
        let (folder, spec) = (tempfile::tempdir().unwrap(), ModelSpec::example());
        let path = file(folder.path(), 19.0, 0.0, &[[1.0, 2.0], [8.0, 9.0]]);
        let (found, end) = stretches(&spec, &path);
        assert_eq!((found.len(), found[0].start, found[0].duration, end.duration), (1, 0.0, 19.0, 19.0));
        assert_eq!(found[0].samples, whole(&spec, &path).unwrap().0);
        assert!(Stretches::open(&spec, &path).unwrap().is_read());
    }

    #[test]
    fn a_long_file_is_cut_in_its_pauses_and_a_muted_one_is_passed_over() {
        let (folder, spec) = (tempfile::tempdir().unwrap(), ModelSpec::example());
        let tones = [[0.5, 2.0], [2.2, 4.0], [6.0, 9.0], [20.0, 24.0]];
        let (found, end) = stretches(&spec, &file(folder.path(), 25.0, 0.0, &tones));
        assert_eq!(end, FileEnd { duration: 25.0, warnings: Vec::new() });
        // A fifth of a second before and behind; the two that lie close are one. Steps of 20 ms.
        let expected = [[0.3, 4.2], [5.8, 9.2], [19.8, 24.2]];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        let step = spec.config.samples_per_frame();
        for (stretch, [start, end]) in found.iter().zip(expected) {
            assert!((stretch.start - start).abs() <= 0.04, "{} for {start}", stretch.start);
            assert!((stretch.start + stretch.duration - end).abs() <= 0.04, "{} for {end}", stretch.duration);
            let first = stretch.first_frame as i64 * step;
            assert_eq!((stretch.start * RATE as f64).round() as i64, first);
            // Its frames reach to its end.
            let frames: i64 = stretch.windows.iter().map(|window| window.kept.end - window.kept.start).sum();
            assert!((frames * step - (stretch.duration * RATE as f64) as i64).abs() < step);
            assert!((deviation(&stretch.samples) - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn a_pause_is_heard_as_loud_as_the_speech_before_it() {
        let (folder, spec) = (tempfile::tempdir().unwrap(), ModelSpec::example());
        let (found, _) = stretches(&spec, &file(folder.path(), 30.0, 0.001, &[[0.5, 4.0], [12.0, 30.0]]));
        let lengths: Vec<(f64, bool)> = found.iter().map(|one| (one.duration, deviation(&one.samples) < 0.1)).collect();
        assert_eq!(found.len(), 3, "{lengths:?}");
        // From half a second behind the speech to half a second before the next.
        assert!((found[1].duration - 7.0).abs() < 0.1 && lengths[1].1, "{lengths:?}");
        assert!(!lengths[0].1 && !lengths[2].1);
    }

    #[test]
    fn what_is_too_short_or_no_audio_is_an_error_that_names_the_file() {
        let (folder, spec) = (tempfile::tempdir().unwrap(), ModelSpec::example());
        let path = file(folder.path(), 0.02, 0.1, &[]);
        let error = Stretches::open(&spec, &path).err().unwrap().to_string();
        assert!(error.contains("file.wav") && error.contains("0.020 s"), "{error}");
        std::fs::write(&path, "no sound").unwrap();
        assert!(Stretches::open(&spec, &path).err().unwrap().to_string().contains("file.wav"));
    }
}
