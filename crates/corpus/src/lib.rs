//! A corpus as someone has it in, utterances out.
//!
//! | module | what it does |
//! |---|---|
//! | [`manifest`] | reads and writes lists of utterances: JSON lines, CSV, TSV |
//! | [`select`] | keeps the utterances that a recipe's `select` asks for, by any manifest column |
//! | [`split`] | speaker-disjoint and sentence-disjoint splits, speaker folds |
//! | [`statistics`] | counts, hours, speakers, durations, text |
//! | [`mod@check`] | what is wrong with a set of manifests: audio, decoded on all cores, text, and lists beside one another |
//! | [`mod@mend`] | manifests without what is wrong, and the list of what was left out |
//! | [`mod@prepare`] | other corpora's layouts → manifests, splits, statistics |
//!
//! Only a check decodes audio. Elsewhere durations come from the manifest or from the file's own header
//! (`klang_audio::probe`).

pub mod check;
pub mod durations;
mod error;
mod files;
pub mod manifest;
pub mod mend;
mod parallel;
pub mod prepare;
mod rows;
pub mod select;
pub mod split;
pub mod statistics;
mod transcripts;
mod utterance;

pub use check::{CheckOptions, Finding, Listening, Overlap, Report, Role, Severity, Source, check};
pub use error::Error;
pub use manifest::{Manifest, RelativePaths};
pub use mend::{mend, mend_targets};
pub use prepare::{Format, PrepareOptions, Prepared, prepare};
pub use select::{Conditions, Rule, Scalar, Selection};
pub use split::{Fold, Fractions, Split};
pub use statistics::Statistics;
pub use transcripts::read_transcripts;
pub use utterance::Utterance;
