//! A file in, a [`Waveform`] out.
//!
//! [`load`] decodes WAV (hound), FLAC, MP3 and Ogg Vorbis (symphonia), mixes to mono, cuts a segment and resamples to
//! the model's rate (rubato); [`decode`] stops before resampling and [`probe`] reads no more than it must.
//! Formats are told apart by their first bytes, never by the file's name. What a header claims is never believed beyond
//! what the file holds, every error names its file, and what is odd but usable comes back as a [`Warning`].
//!
//! [`AudioReader`] reads a file bit by bit, and [`Segmenter`] cuts what it gives where nobody speaks.
//!
//! [`LogMel`] gives the spectra that pretraining takes its targets from, [`pauses`] where a long recording can be cut,
//! [`Signal`] whether one is clipped or silent.
//! [`augment`] changes speed and adds noise in training; [`normalise`] gives the zero mean and unit variance that some
//! checkpoints expect.

pub mod augment;
mod container;
mod error;
mod load;
mod log_mel;
mod mix;
mod normalise;
mod pauses;
mod reader;
mod resample;
mod riff;
mod segmenter;
mod signal;
mod stream;
mod warning;
mod wav;
mod waveform;

pub use error::Error;
pub use load::{Decoded, Info, Segment, decode, decode_segment, load, probe};
pub use log_mel::LogMel;
pub use normalise::{Moments, normalise};
pub use pauses::pauses;
pub use reader::AudioReader;
pub use resample::{resample, resampled_len};
pub use segmenter::{Segmenter, SegmenterSettings, SpeechSegment};
pub use signal::Signal;
pub use warning::Warning;
pub use wav::write_wav;
pub use waveform::{MAX_SAMPLE_RATE, MAX_SAMPLES, MIN_SAMPLE_RATE, Waveform};
