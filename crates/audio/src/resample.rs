//! Resampling by rubato's FFT resampler: linear phase, its delay removed, the length exact.

use std::cell::RefCell;

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

use crate::waveform::check_rate;
use crate::{Error, Waveform};

/// Least block of the side with the lower rate, samples. The filter is as long as a block, and rubato puts its cutoff as
/// near to the Nyquist frequency as that length allows. The squared Blackman-Harris window falls within 13.7 / 1,024 =
/// 0.013 of that frequency to either side, so 0.45 of the lower rate (0.9 of Nyquist) is well within the pass band;
/// measured: ripple 0.0001 dB, aliases and images −131 dB.
const MIN_BLOCK: usize = 1024;
/// Resamplers kept by each thread: a corpus has a few rates.
const KEPT: usize = 4;
/// Blocks beyond this are not kept: rates without a common divisor need blocks of up to 384,000 samples.
const MAX_KEPT_BLOCK: usize = 1 << 15;

/// Length in samples at rate `to` of `len` samples at rate `from`: len · to / from, halves rounded up. The one rounding
/// rule: [`resample`] returns exactly this many. A `from` of 0 Hz gives 0.
pub fn resampled_len(len: usize, from: u32, to: u32) -> usize {
    let (len, from, to) = (len as u128, u128::from(from), u128::from(to));
    let rounded = (2 * len * to + from).checked_div(2 * from).unwrap_or(0);
    usize::try_from(rounded).unwrap_or(usize::MAX)
}

/// Resamples to `sample_rate` in Hz, between any two rates of 4–192 kHz. Sample 0 stays at time 0 and the length is
/// [`resampled_len`]. The pass band is flat within 0.1 dB up to 0.45 of the lower rate and aliases lie below −80 dB.
/// What lies before and behind the waveform counts as silence. The same input gives the same output.
///
/// # Errors
/// [`Error::SampleRate`] outside 4–192 kHz.
pub fn resample(waveform: &Waveform, sample_rate: u32) -> Result<Waveform, Error> {
    check_rate(sample_rate)?;
    let from = waveform.sample_rate();
    if from == sample_rate || waveform.is_empty() {
        return Waveform::new(waveform.samples().to_vec(), sample_rate);
    }
    let mut samples = with_resampler(from, sample_rate, |resampler| run(resampler, waveform.samples()))
        .map_err(|what| Error::Resample { from, to: sample_rate, what })?;
    // rubato rounds up; never short but for the arithmetic of its f64 ratio.
    samples.resize(resampled_len(waveform.len(), from, sample_rate), 0.0);
    Waveform::new(samples, sample_rate)
}

fn run(resampler: &mut Fft<f32>, samples: &[f32]) -> Result<Vec<f32>, String> {
    let input = SequentialSlice::new(samples, 1, samples.len()).map_err(|error| error.to_string())?;
    // Clears what the last waveform left behind, and trims the delay.
    let output = resampler.process_all(&input, samples.len(), None).map_err(|error| error.to_string())?;
    Ok(output.take_data())
}

/// Calls `work` with this thread's resampler between two rates. Filters and FFT plans cost more than a short utterance.
fn with_resampler<T>(from: u32, to: u32, work: impl FnOnce(&mut Fft<f32>) -> Result<T, String>) -> Result<T, String> {
    thread_local! {
        /// Latest used last.
        static CACHE: RefCell<Vec<(u32, u32, Fft<f32>)>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out for the call, so that nothing is borrowed while it runs.
    let kept = CACHE.with_borrow_mut(|cache| {
        let index = cache.iter().position(|entry| (entry.0, entry.1) == (from, to))?;
        Some(cache.remove(index).2)
    });
    let mut resampler = match kept {
        Some(resampler) => resampler,
        None => build(from, to)?,
    };
    let result = work(&mut resampler);
    if resampler.fft_size_in().max(resampler.fft_size_out()) <= MAX_KEPT_BLOCK {
        CACHE.with_borrow_mut(|cache| {
            if cache.len() == KEPT {
                cache.remove(0);
            }
            cache.push((from, to, resampler));
        });
    }
    result
}

fn build(from: u32, to: u32) -> Result<Fft<f32>, String> {
    let (from, to) = (from as usize, to as usize);
    let divisor = greatest_common_divisor(from, to);
    let (unit_in, unit_out) = (from / divisor, to / divisor);
    // An even number of units: half a block, which is the delay, is then whole on both sides and can be removed exactly.
    let units = MIN_BLOCK.div_ceil(unit_in.min(unit_out)).next_multiple_of(2);
    Fft::new_custom(from, to, units * unit_in, 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Both)
        .map_err(|error| error.to_string())
}

/// Resamples what comes bit by bit, exactly as [`resample`] does the whole.
pub(crate) struct StreamResampler {
    rates: (u32, u32),
    /// None where both rates are one.
    resampler: Option<Fft<f32>>,
    /// Input that waits for a block.
    waiting: Vec<f32>,
    /// Samples that came in, and that went out.
    counts: (usize, usize),
    /// Samples of the filter's delay that have still to be dropped.
    delay: usize,
}

impl StreamResampler {
    /// # Errors
    /// [`Error::SampleRate`] outside 4–192 kHz.
    pub(crate) fn new(from: u32, to: u32) -> Result<StreamResampler, Error> {
        check_rate(from)?;
        check_rate(to)?;
        let build = || build(from, to).map_err(|what| Error::Resample { from, to, what });
        let resampler = (from != to).then(build).transpose()?;
        let delay = resampler.as_ref().map_or(0, |resampler| resampler.output_delay());
        Ok(StreamResampler { rates: (from, to), resampler, waiting: Vec::new(), counts: (0, 0), delay })
    }

    /// Takes the next samples, and gives those that stand.
    pub(crate) fn push(&mut self, samples: Vec<f32>) -> Result<Vec<f32>, Error> {
        self.counts.0 += samples.len();
        if self.resampler.is_none() {
            return Ok(samples);
        }
        self.waiting.extend(samples);
        self.blocks()
    }

    /// The rest; behind the last sample counts as silence.
    pub(crate) fn end(&mut self) -> Result<Vec<f32>, Error> {
        let mut rest = Vec::new();
        let Some(block) = self.resampler.as_ref().map(|resampler| resampler.input_frames_next()) else {
            return Ok(rest);
        };
        let wanted = resampled_len(self.counts.0, self.rates.0, self.rates.1) - self.counts.1;
        while rest.len() < wanted {
            self.waiting.resize(block, 0.0);
            rest.extend(self.blocks()?);
        }
        rest.truncate(wanted);
        Ok(rest)
    }

    /// Whole blocks of what waits.
    fn blocks(&mut self) -> Result<Vec<f32>, Error> {
        let (from, to) = self.rates;
        let mut given = Vec::new();
        let Some(resampler) = &mut self.resampler else { return Ok(given) };
        let block = resampler.input_frames_next();
        let whole = self.waiting.len() / block * block;
        for block in self.waiting[..whole].chunks(block) {
            let refuse = |what: String| Error::Resample { from, to, what };
            let input = SequentialSlice::new(block, 1, block.len()).map_err(|error| refuse(error.to_string()))?;
            let output = resampler.process(&input, None).map_err(|error| refuse(error.to_string()))?.take_data();
            let dropped = self.delay.min(output.len());
            self.delay -= dropped;
            given.extend(&output[dropped..]);
        }
        self.waiting.drain(..whole);
        self.counts.1 += given.len();
        Ok(given)
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_halves_up() {
        assert_eq!(resampled_len(0, 8_000, 16_000), 0);
        assert_eq!(resampled_len(1, 48_000, 16_000), 0); // 0.33
        assert_eq!(resampled_len(1, 32_000, 16_000), 1); // 0.5
        assert_eq!(resampled_len(441, 44_100, 16_000), 160);
        assert_eq!(resampled_len(443, 44_100, 16_000), 161); // 160.73
        assert_eq!(resampled_len(442, 44_100, 16_000), 160); // 160.36
        assert_eq!(resampled_len(usize::MAX, 4_000, 192_000), usize::MAX);
        assert_eq!(resampled_len(5, 0, 16_000), 0);
    }

    #[test]
    fn blocks_are_even_and_long_enough() {
        for (from, to) in [(8_000, 16_000), (44_100, 16_000), (11_025, 16_000), (192_000, 4_000), (16_001, 16_000)] {
            let resampler = build(from, to).unwrap();
            let (block_in, block_out) = (resampler.fft_size_in(), resampler.fft_size_out());
            assert!(block_in % 2 == 0 && block_out % 2 == 0 && block_in.min(block_out) >= MIN_BLOCK, "{from} → {to}");
            assert_eq!(resampler.output_delay(), block_out / 2);
        }
    }
}
