//! From a path to a waveform: the one way in for every format.

use std::path::Path;

use crate::container::{self, Container, Source};
use crate::mix::{MonoMix, Span};
use crate::reader::{Decoder, Ending};
use crate::stream::StreamDecoder;
use crate::wav::WavDecoder;
use crate::waveform::check_rate;
use crate::{Error, Warning, Waveform, resample, riff, stream};

/// A decoded file.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The mono mix.
    pub waveform: Waveform,
    /// The file's own sample rate, Hz.
    pub source_rate: u32,
    /// The file's own channel count.
    pub source_channels: u16,
    /// What was odd about it.
    pub warnings: Vec<Warning>,
}

/// A part of a file, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Start, at least 0.
    pub offset: f64,
    /// Length, above 0; `None` is to the end.
    pub duration: Option<f64>,
}

/// What is known of a file without decoding it.
#[derive(Clone, Debug)]
pub struct Info {
    /// Samples per second, Hz.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// Length in seconds of what is really there.
    pub duration: f64,
    /// What is odd about it.
    pub warnings: Vec<Warning>,
}

/// A segment may end this much, in seconds, behind the file without a warning: manifests round their durations.
const SEGMENT_SLACK: f64 = 0.01;

/// Reads a whole file: its mono mix (the mean of its channels), shape `(sample,)`, in [−1, 1], at its own rate.
///
/// # Errors
/// One that names the file, where it is missing, empty, not audio, of an unsupported kind, without samples, absurd in
/// its header, or holds NaN. A truncated file is no error: what is there comes back with [`Warning::Truncated`].
pub fn decode(path: &Path) -> Result<Decoded, Error> {
    read(path, None)
}

/// Reads a [`Segment`] of a file, or all of it, as [`decode`] does: at its own rate.
///
/// # Errors
/// Those of [`decode`], and [`Error::Segment`] or [`Error::SegmentOutside`].
pub fn decode_segment(path: &Path, segment: Option<Segment>) -> Result<Decoded, Error> {
    read(path, segment)
}

/// Reads a file or a [`Segment`] of it, as [`decode`] does, and resamples it to `sample_rate` in Hz.
///
/// The segment is cut at the file's own rate, to the nearest frame, before resampling: of n frames come
/// [`resampled_len(n)`](crate::resampled_len) samples.
///
/// # Errors
/// Those of [`decode`], [`Error::SampleRate`], and [`Error::Segment`] or [`Error::SegmentOutside`].
pub fn load(path: &Path, sample_rate: u32, segment: Option<Segment>) -> Result<Decoded, Error> {
    check_rate(sample_rate)?;
    let mut decoded = read(path, segment)?;
    if decoded.source_rate < sample_rate {
        decoded.warnings.push(Warning::Upsampled { from: decoded.source_rate });
    }
    if decoded.source_rate != sample_rate {
        decoded.waveform = resample(&decoded.waveform, sample_rate)?;
    }
    Ok(decoded)
}

/// Rate, channels and duration of a file. A WAV costs its header; of the others the packets are walked, not decoded.
///
/// # Errors
/// Those of [`decode`], but for what only the samples can tell.
pub fn probe(path: &Path) -> Result<Info, Error> {
    let mut source = container::open(path)?;
    let header = match source.container {
        Container::Wav => wav_header(path, &mut source)?,
        Container::Packed(packed) => return stream::probe(path, source, packed),
    };
    Ok(Info {
        sample_rate: header.sample_rate,
        channels: header.channels,
        duration: header.found_frames as f64 / f64::from(header.sample_rate),
        warnings: truncation(&header).into_iter().collect(),
    })
}

fn read(path: &Path, segment: Option<Segment>) -> Result<Decoded, Error> {
    let mut decoder = open(path, segment)?;
    while decoder.more()? {}
    let samples = decoder.mix().map(MonoMix::take).unwrap_or_default();
    let Ending { channels, end, mut warnings } = decoder.ending()?;
    let sample_rate = decoder.sample_rate();
    let found = samples.len() as f64 / f64::from(sample_rate);
    if let Some(Segment { offset, duration }) = segment {
        if samples.is_empty() {
            let end = end as f64 / f64::from(sample_rate);
            return Err(Error::SegmentOutside { path: path.into(), offset, end });
        }
        if let Some(asked) = duration.filter(|asked| asked - found > SEGMENT_SLACK) {
            warnings.push(Warning::SegmentCut { asked, found });
        }
    } else if samples.is_empty() {
        return Err(Error::NoSamples { path: path.into(), hint: "" });
    }
    let waveform = Waveform::new(samples, sample_rate)?;
    Ok(Decoded { waveform, source_rate: sample_rate, source_channels: channels, warnings })
}

/// Opens a file, to decode it or a segment of it.
pub(crate) fn open(path: &Path, segment: Option<Segment>) -> Result<Box<dyn Decoder>, Error> {
    check_segment(path, segment)?;
    let mut source = container::open(path)?;
    Ok(match source.container {
        Container::Wav => {
            let header = wav_header(path, &mut source)?;
            let span = span(segment, header.sample_rate);
            Box::new(WavDecoder::new(path, source.file, header, span)?)
        }
        Container::Packed(packed) => {
            Box::new(StreamDecoder::new(path, source, packed, |sample_rate| span(segment, sample_rate))?)
        }
    })
}

/// The header of a WAV, which holds a frame at least.
fn wav_header(path: &Path, source: &mut Source) -> Result<riff::Header, Error> {
    let header = riff::read_header(path, &mut source.file, source.start, source.len)?;
    if header.found_frames == 0 {
        let is_unfinished = header.promised_frames == 0 && source.len > header.data_start;
        let hint =
            if is_unfinished { " by its header; a recorder that was not stopped may have left it so" } else { "" };
        return Err(Error::NoSamples { path: path.into(), hint });
    }
    Ok(header)
}

fn truncation(header: &riff::Header) -> Option<Warning> {
    let riff::Header { promised_frames, found_frames, .. } = *header;
    (promised_frames > found_frames).then_some(Warning::Truncated { promised_frames, found_frames })
}

fn check_segment(path: &Path, segment: Option<Segment>) -> Result<(), Error> {
    let Some(Segment { offset, duration }) = segment else { return Ok(()) };
    let is_good = offset.is_finite() && offset >= 0.0 && duration.is_none_or(|d| d.is_finite() && d > 0.0);
    if is_good { Ok(()) } else { Err(Error::Segment { path: path.into(), offset, duration }) }
}

/// The frames of a checked segment: offset and duration each to the nearest frame, at least one frame.
fn span(segment: Option<Segment>, sample_rate: u32) -> Span {
    let frames = |seconds: f64| (seconds * f64::from(sample_rate)).round() as u64; // saturates
    match segment {
        None => Span { start: 0, len: None },
        Some(Segment { offset, duration }) => {
            Span { start: frames(offset), len: duration.map(|duration| frames(duration).max(1)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_rounded_to_the_nearest_frame() {
        let span = |offset, duration| span(Some(Segment { offset, duration }), 8_000);
        assert_eq!(span(0.000_07, Some(0.000_18)), Span { start: 1, len: Some(1) }); // 0.56 and 1.44 frames
        assert_eq!(span(1.5, None), Span { start: 12_000, len: None });
        assert_eq!(span(0.0, Some(1e-9)), Span { start: 0, len: Some(1) });
    }

    #[test]
    fn enormous_segments_saturate() {
        assert_eq!(span(Some(Segment { offset: 1e300, duration: None }), 192_000).start, u64::MAX);
    }
}
