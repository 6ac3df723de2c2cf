//! Audio files to text.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use klang_audio::normalise;
use klang_wav2vec2::{Pass, SiteOutcomes, WaveformBatch};
use tch::{Device, Tensor};

use crate::error::{Error, Result};
use crate::model::{ModelSpec, Recogniser, Recognition};
use crate::windows::{Window, join, windows};

/// A file's transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// The text.
    pub text: String,
    /// Seconds of audio.
    pub duration: f64,
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

/// A file's samples, ready for the model.
#[derive(Debug)]
pub(crate) struct Prepared {
    samples: Vec<f32>,
    /// Seconds.
    pub(crate) duration: f64,
    /// The parts that are computed one by one; at least one.
    pub(crate) windows: Vec<Window>,
    warnings: Vec<String>,
}

impl Prepared {
    pub(crate) fn samples(&self, window: &Window) -> &[f32] {
        &self.samples[window.samples.clone()]
    }
}

impl Recogniser {
    /// Transcribes files, and hands each result over in the order of `paths`, with its place in it. A recording of more than
    /// 20 s is computed in overlapping windows, unlike by [`crate::evaluate`], which computes utterances whole.
    ///
    /// # Errors
    /// What `take` returns as an error, after which no further file is begun; too little memory for a second model's
    /// bookkeeping. A file's own error is handed over.
    pub fn transcribe_all<E: From<Error>>(
        &self,
        paths: &[PathBuf],
        take: impl FnMut(usize, Result<Transcript>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        match self.compute.device {
            _ if paths.is_empty() => Ok(()),
            Device::Cpu => self.transcribe_side_by_side(paths, take),
            _ => self.transcribe_batched(paths, take),
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

    /// The transcript of a file from the logits of its windows.
    pub(crate) fn transcript(&self, file: &Prepared, parts: Vec<Tensor>) -> Result<Transcript> {
        let logits = join(parts)?;
        let lengths = vec![logits.size()[0]];
        let recognition = Recognition {
            logits: logits.f_unsqueeze(0)?,
            lengths,
            sites: SiteOutcomes::default(),
            bottleneck: None,
            recomputed: None,
        };
        let text = self.read(&recognition)?.into_iter().map(|reading| reading.text).collect();
        Ok(Transcript { text, duration: file.duration, warnings: file.warnings.clone() })
    }

    /// What stands at every named place of the model for some files, computed as one padded batch.
    ///
    /// # Errors
    /// A file that cannot be read or is too short for a frame; libtorch's own.
    pub fn file_stages(&self, paths: &[impl AsRef<Path>]) -> Result<Vec<FileStages>> {
        let prepared = paths.iter().map(|path| self.prepare(path.as_ref())).collect::<Result<Vec<Prepared>>>()?;
        let samples: Vec<&[f32]> = prepared.iter().map(|file| file.samples.as_slice()).collect();
        let stages = tch::no_grad(|| self.stages(&WaveformBatch::pad(&samples)?, Pass::Evaluation))?;
        let lengths = &stages.recognition.lengths;
        let row = |tensor: &Tensor, row: usize| -> Result<Tensor> {
            let real = tensor.f_select(0, row as i64)?.f_narrow(0, 0, lengths[row])?;
            Ok(real.f_to_kind(tch::Kind::Float)?.f_to_device(tch::Device::Cpu)?.f_contiguous()?)
        };
        let file = |(number, Prepared { warnings, .. })| {
            Ok(FileStages {
                features: row(&stages.features, number)?,
                projected: row(&stages.projected, number)?,
                hidden: row(&stages.hidden, number)?,
                logits: row(&stages.recognition.logits, number)?,
                warnings,
            })
        };
        prepared.into_iter().enumerate().map(file).collect()
    }

    fn prepare(&self, path: &Path) -> Result<Prepared> {
        prepare(&self.spec, path)
    }
}

/// Does what is to be done for a file; a thread that died in silence would leave it without a result.
pub(crate) fn caught<R>(path: &Path, work: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::Worker(format!("it panicked while transcribing {}", path.display()))))
}

/// Reads a file for a model.
pub(crate) fn prepare(spec: &ModelSpec, path: &Path) -> Result<Prepared> {
    let audio = |source| Error::Audio { id: path.display().to_string(), source };
    let rate = spec.audio.sampling_rate;
    let decoded = klang_audio::load(path, rate, None).map_err(audio)?;
    let duration = decoded.waveform.duration();
    let warnings = decoded.warnings.iter().map(|warning| warning.to_string()).collect();
    let mut samples = decoded.waveform.into_samples();
    let windows = windows(&spec.config, samples.len(), rate);
    if windows.is_empty() {
        let minimum = spec.config.minimum_samples() as f64 / f64::from(rate);
        let message = format!("{duration:.3} s of audio; the model needs at least {minimum:.3} s");
        return Err(Error::Data { path: path.into(), message });
    }
    if spec.audio.do_normalize {
        normalise(&mut samples);
    }
    Ok(Prepared { samples, duration, windows, warnings })
}
