//! What can be wrong with a transcript, or with how it is to be written.

use std::fmt;

use crate::Format;
use crate::check::LONGEST;

/// An error of this crate: what is wrong, where, what was given and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The audio's duration is no duration, or longer than an ELAN file can say.
    #[error("{audio}: the duration is {given} s; allowed is 0 to {LONGEST} s")]
    Duration {
        /// The audio file.
        audio: String,
        /// The duration as given, in seconds.
        given: f64,
    },

    /// Times that run backwards, overlap what comes before, or leave what they lie in.
    #[error(
        "{audio}: {place}: starts at {start} s and ends at {end} s; allowed is {low} s <= start <= end <= {high} s (hint: things of one speaker follow one another, and lie in what they are part of)"
    )]
    Times {
        /// The audio file.
        audio: String,
        /// What has these times.
        place: Place,
        /// The start as given, in seconds.
        start: f64,
        /// The end as given, in seconds.
        end: f64,
        /// The smallest start allowed: where the thing before it ends, or the thing around it starts.
        low: f64,
        /// The largest end allowed: where the thing around it ends.
        high: f64,
    },

    /// A confidence or a score that is out of its range.
    #[error("{audio}: {place}: {what} is {given}; allowed is {allowed}")]
    Number {
        /// The audio file.
        audio: String,
        /// What has this number.
        place: Place,
        /// Which of its numbers.
        what: &'static str,
        /// The number as given.
        given: f64,
        /// What it may be.
        allowed: &'static str,
    },

    /// A speaker whose name cannot name a tier.
    #[error(
        "{audio}: {place}: the speaker is {given:?}; allowed is a name that is not blank and has no control characters, or none"
    )]
    Speaker {
        /// The audio file.
        audio: String,
        /// Whose speaker it is.
        place: Place,
        /// The name as given.
        given: String,
    },

    /// A name that is no format's.
    #[error("{given:?} is no format of transcripts; allowed is one of {}", Format::NAMES.join(", "))]
    UnknownFormat {
        /// The name as given.
        given: String,
    },

    /// A language that an ELAN file cannot name.
    #[error(
        "the language is {given:?}; allowed in an ELAN file is a code of letters, digits and hyphens that starts with a letter, such as eng or sw-TZ"
    )]
    Language {
        /// The language as given.
        given: String,
    },

    /// The writer of JSON or XML failed.
    #[error("the transcript cannot be written as {format}: {source}")]
    Write {
        /// The format.
        format: Format,
        /// The writer's complaint.
        source: std::io::Error,
    },
}

/// A part of a transcript; all numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The n-th segment.
    Segment(usize),
    /// A segment's n-th word.
    Word(usize, usize),
    /// A segment's word's n-th character.
    Character(usize, usize, usize),
    /// A segment's n-th alternative.
    Alternative(usize, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(segment) => write!(out, "segment {segment}"),
            Self::Word(segment, word) => write!(out, "segment {segment}, word {word}"),
            Self::Character(segment, word, character) => {
                write!(out, "segment {segment}, word {word}, character {character}")
            }
            Self::Alternative(segment, alternative) => write!(out, "segment {segment}, alternative {alternative}"),
        }
    }
}
