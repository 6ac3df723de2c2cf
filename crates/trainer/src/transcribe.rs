//! Audio files to text.

use std::path::Path;

use klang_audio::normalise;
use klang_wav2vec2::{Pass, WaveformBatch};
use tch::Tensor;

use crate::error::{Error, Result};
use crate::model::Recogniser;

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
pub(crate) struct Prepared {
    samples: Vec<f32>,
    pub(crate) duration: f64,
    warnings: Vec<String>,
}

impl Recogniser {
    /// Transcribes one file.
    ///
    /// # Errors
    /// A file that cannot be read or is too short for a frame.
    pub fn transcribe(&self, path: &Path) -> Result<Transcript> {
        self.transcribe_prepared(self.prepare(path)?)
    }

    pub(crate) fn transcribe_prepared(&self, file: Prepared) -> Result<Transcript> {
        let Prepared { samples, duration, warnings } = file;
        let recognition = tch::no_grad(|| self.forward(&WaveformBatch::pad(&[&samples])?, Pass::Evaluation))?;
        let text = self.read(&recognition)?.into_iter().map(|reading| reading.text).collect();
        Ok(Transcript { text, duration, warnings })
    }

    /// What stands at every named place of the model for some files, computed as one padded batch.
    ///
    /// # Errors
    /// As [`Recogniser::transcribe`].
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

    pub(crate) fn prepare(&self, path: &Path) -> Result<Prepared> {
        let audio = |source| Error::Audio { id: path.display().to_string(), source };
        let decoded = klang_audio::load(path, self.spec.audio.sampling_rate, None).map_err(audio)?;
        let duration = decoded.waveform.duration();
        let warnings = decoded.warnings.iter().map(|warning| warning.to_string()).collect();
        let mut samples = decoded.waveform.into_samples();
        let minimum = self.spec.config.minimum_samples();
        if (samples.len() as i64) < minimum {
            let message = format!(
                "{duration:.3} s of audio; the model needs at least {:.3} s",
                minimum as f64 / f64::from(self.spec.audio.sampling_rate)
            );
            return Err(Error::Data { path: path.into(), message });
        }
        if self.spec.audio.do_normalize {
            normalise(&mut samples);
        }
        Ok(Prepared { samples, duration, warnings })
    }
}
