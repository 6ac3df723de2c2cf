//! A corpus as someone has it in, utterances out.
//!
//! | module | what it does |
//! |---|---|
//! | [`manifest`] | reads and writes lists of utterances: JSON lines, CSV, TSV |
//! | [`select`] | keeps the utterances that a recipe's `select` asks for, by any manifest column |
//! | [`split`] | speaker-disjoint and sentence-disjoint splits, speaker folds |
//! | [`statistics`] | counts, hours, speakers, durations, text |
//! | [`mod@check`] | what is wrong with a set of manifests, without decoding the audio |
//! | [`mod@prepare`] | other corpora's layouts → manifests, splits, statistics |
//!
//! Nothing here decodes audio: durations come from the manifest or from the file's own header
//! (`klang_audio::probe`).

pub mod check;
pub mod durations;
mod error;
mod files;
pub mod manifest;
pub mod prepare;
mod rows;
pub mod select;
pub mod split;
pub mod statistics;
mod transcripts;
mod utterance;

pub use check::{CheckOptions, Finding, Role, Severity, Source, check};
pub use error::Error;
pub use manifest::Manifest;
pub use prepare::{Format, PrepareOptions, Prepared, prepare};
pub use select::{Conditions, Rule, Scalar, Selection};
pub use split::{Fold, Fractions, Split};
pub use statistics::Statistics;
pub use transcripts::read_transcripts;
pub use utterance::Utterance;
