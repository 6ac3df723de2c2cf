//! Transcripts with times, and the files they are written as.
//!
//! A [`Transcript`] says what was heard in one audio file: segments, their words, the words' characters, each with its
//! time. It is checked when it is made, so that every writer can rely on it, and [`render`] writes it as plain text,
//! JSON, subtitles (SRT, WebVTT), NIST CTM, a Praat TextGrid or an ELAN file.
//!
//! All times are seconds (f64) from the start of the audio.
//!
//! ```
//! use klang_transcript::{Format, RenderOptions, Segment, Transcript, Word, render};
//!
//! let word = Word { text: "mwána".into(), start: 0.5, end: 0.9, confidence: Some(0.98), characters: vec![] };
//! let segment = Segment { start: 0.5, end: 0.9, text: "mwána".into(), words: vec![word], ..Segment::default() };
//! let transcript = Transcript::new("talks/first.wav", 1.25, vec![segment])?;
//! assert_eq!(render(&transcript, Format::Ctm, &RenderOptions::default())?, "first 1 0.500 0.400 mwána 0.9800\n");
//! # Ok::<(), klang_transcript::Error>(())
//! ```

mod characters;
mod check;
mod ctm;
mod cues;
mod eaf;
mod error;
mod format;
mod subtitles;
mod textgrid;
mod timeline;
mod tokens;
mod transcript;

pub use check::LONGEST;
pub use error::{Error, Place};
pub use format::{Format, RenderOptions, render};
pub use transcript::{Alternative, Character, Segment, Transcript, Word};
