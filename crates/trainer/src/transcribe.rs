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

/// The logits of one file.
#[derive(Debug)]
pub struct FileLogits {
    /// (frame, vocabulary), fp32, on the CPU.
    pub logits: Tensor,
    /// Seconds of audio.
    pub duration: f64,
    /// What is odd about the file.
    pub warnings: Vec<String>,
}

impl Recogniser {
    /// Transcribes one file.
    ///
    /// # Errors
    /// A file that cannot be read or is too short for a frame.
    pub fn transcribe(&self, path: &Path) -> Result<Transcript> {
        let (recognition, duration, warnings) = self.recognise(path)?;
        let text = self.read(&recognition)?.into_iter().map(|reading| reading.text).collect();
        Ok(Transcript { text, duration, warnings })
    }

    /// The logits of one file.
    ///
    /// # Errors
    /// As [`Recogniser::transcribe`].
    pub fn logits(&self, path: &Path) -> Result<FileLogits> {
        let (recognition, duration, warnings) = self.recognise(path)?;
        let logits = recognition.logits.f_squeeze_dim(0)?.f_to_device(tch::Device::Cpu)?;
        Ok(FileLogits { logits, duration, warnings })
    }

    fn recognise(&self, path: &Path) -> Result<(crate::model::Recognition, f64, Vec<String>)> {
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
        let recognition = tch::no_grad(|| self.forward(&WaveformBatch::pad(&[&samples])?, Pass::Evaluation))?;
        Ok((recognition, duration, warnings))
    }
}
