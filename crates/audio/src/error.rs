//! What can go wrong between a file and a waveform.

use std::io;
use std::path::PathBuf;

use crate::waveform::{MAX_SAMPLE_RATE, MAX_SAMPLES, MIN_SAMPLE_RATE};

/// An error of this crate. Whatever concerns a file names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened: missing, forbidden, …
    #[error("{}: cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, a pipe or a device was given.
    #[error("{}: is not a regular file; audio is read from regular files only", path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// Reading failed half-way.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing failed; nothing is left at `path`.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has zero bytes.
    #[error("{}: is empty (0 bytes); copy it again from its source, or leave it out", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The first bytes are of no audio format.
    #[error("{}: is not audio: it starts with {found}; readable are WAV, FLAC, MP3 and Ogg Vorbis", path.display())]
    NotAudio {
        /// The file.
        path: PathBuf,
        /// Its first bytes, escaped.
        found: String,
    },
    /// Audio, but of a kind that is not read here.
    #[error(
        "{}: holds {found}, which is not supported; convert it first, as with `ffmpeg -i IN OUT.flac`",
        path.display()
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The container or encoding found.
        found: String,
    },
    /// A header field makes no sense.
    #[error("{}: bad header: {what}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The field, what it holds, and what is allowed.
        what: String,
    },
    /// A good header with no sample behind it.
    #[error("{}: holds no samples{hint}", path.display())]
    NoSamples {
        /// The file.
        path: PathBuf,
        /// Why that may be, or nothing.
        hint: &'static str,
    },
    /// The compressed stream cannot be decoded.
    #[error("{}: cannot be decoded: {what}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        what: String,
    },
    /// A floating-point file holds NaN or infinity.
    #[error("{}: frame {frame} is {value}; samples must be finite numbers", path.display())]
    NotFiniteInFile {
        /// The file.
        path: PathBuf,
        /// Frame, counted from 0 at the start of the file.
        frame: u64,
        /// The mono mix at that frame.
        value: f64,
    },
    /// A floating-point file on another scale, as when 16-bit integers were stored as floats.
    #[error(
        "{}: frame {frame} is {value}, far outside [-1, 1]; floating-point samples must be scaled to that range \
         (16-bit integers stored as floats: divide by 32768)",
        path.display()
    )]
    Scale {
        /// The file.
        path: PathBuf,
        /// Frame, counted from 0 at the start of the file.
        frame: u64,
        /// The mono mix at that frame.
        value: f64,
    },
    /// More samples than are kept in memory.
    #[error(
        "{}: holds more than {MAX_SAMPLES} samples per channel, the most that is held in memory; \
         read it in segments (offset and duration)",
        path.display()
    )]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A segment whose times are no times.
    #[error(
        "{}: segment with offset {offset} s and duration {duration:?} s; \
         the offset must be at least 0, the duration above 0, both finite",
        path.display()
    )]
    Segment {
        /// The file.
        path: PathBuf,
        /// Offset given, seconds.
        offset: f64,
        /// Duration given, seconds.
        duration: Option<f64>,
    },
    /// A segment that starts at or behind the end of the file.
    #[error("{}: the segment starts at {offset} s, but the file ends at {end} s", path.display())]
    SegmentOutside {
        /// The file.
        path: PathBuf,
        /// Offset given, seconds.
        offset: f64,
        /// Duration of the file, seconds.
        end: f64,
    },
    /// A sample rate outside what is supported.
    #[error("sample rate {given} Hz; allowed are {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz")]
    SampleRate {
        /// The rate given, Hz.
        given: u32,
    },
    /// NaN or infinity among samples given.
    #[error("sample {index} is {value}; samples must be finite numbers")]
    NotFinite {
        /// Index of the first such sample.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A speed factor outside what is supported.
    #[error("speed factor {given}; allowed are 0.5 (half speed) to 2 (double speed)")]
    Speed {
        /// The factor given.
        given: f64,
    },
    /// The resampler refused.
    #[error("resampling from {from} to {to} Hz failed: {what}")]
    Resample {
        /// Rate given, Hz.
        from: u32,
        /// Rate asked for, Hz.
        to: u32,
        /// What the resampler said.
        what: String,
    },
}
