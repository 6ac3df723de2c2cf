//! A file bit by bit, so that its length costs no memory.

use std::path::Path;

use crate::load::open;
use crate::mix::MonoMix;
use crate::resample::StreamResampler;
use crate::{Error, Warning};

/// Samples that are decoded at a time, about.
pub(crate) const BLOCK: usize = 1 << 15;

/// A format's decoder.
pub(crate) trait Decoder: Send {
    /// Decodes some more into the mix; false at the end.
    fn more(&mut self) -> Result<bool, Error>;

    /// The file's rate, Hz.
    fn sample_rate(&self) -> u32;

    /// Where the samples are; none before the first.
    fn mix(&mut self) -> Option<&mut MonoMix>;

    /// What is known once all was decoded.
    fn ending(&self) -> Result<Ending, Error>;
}

/// What is known of a file once all of it was decoded.
pub(crate) struct Ending {
    pub(crate) channels: u16,
    /// Frame of the file at which reading ended.
    pub(crate) end: u64,
    pub(crate) warnings: Vec<Warning>,
}

/// A file that is read bit by bit: its mono mix at a rate of choice. All bits together are what [`load`](crate::load) gives of
/// the whole file.
pub struct AudioReader {
    decoder: Box<dyn Decoder>,
    resampler: StreamResampler,
    sample_rate: u32,
    /// Whether the last sample was given.
    ended: bool,
    warnings: Vec<Warning>,
}

impl AudioReader {
    /// Opens a file, to be read at `sample_rate` in Hz.
    ///
    /// # Errors
    /// Those of [`load`](crate::load) that a file's beginning can tell.
    pub fn open(path: &Path, sample_rate: u32) -> Result<AudioReader, Error> {
        let decoder = open(path, None)?;
        let resampler = StreamResampler::new(decoder.sample_rate(), sample_rate)?;
        Ok(AudioReader { decoder, resampler, sample_rate, ended: false, warnings: Vec::new() })
    }

    /// The next samples, in [−1, 1]: a second or so; none at the end.
    ///
    /// # Errors
    /// Those of [`load`](crate::load).
    pub fn read(&mut self) -> Result<Option<Vec<f32>>, Error> {
        while !self.ended {
            let goes_on = self.decoder.more()?;
            let decoded = self.decoder.mix().map(MonoMix::take).unwrap_or_default();
            let mut samples = self.resampler.push(decoded)?;
            if !goes_on {
                self.ended = true;
                samples.extend(self.resampler.end()?);
                self.warnings = self.decoder.ending()?.warnings;
                let from = self.decoder.sample_rate();
                self.warnings.extend((from < self.sample_rate).then_some(Warning::Upsampled { from }));
            }
            if !samples.is_empty() {
                return Ok(Some(samples));
            }
        }
        Ok(None)
    }

    /// What was odd about the file; all of it once it was read to its end.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}
