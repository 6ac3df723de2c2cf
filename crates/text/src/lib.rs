//! Transcript normalisation, vocabulary, edit distance, WER and CER with their statistics: the one rule that training and scoring share.
//!
//! A transcript passes through here twice: [`Normaliser`] brings it into the form a model is trained on,
//! [`Vocabulary`] turns it into labels. After decoding, [`score()`] counts word and character errors of the hypotheses.
//! Nothing here knows of audio or of tensors.

pub mod aligned;
mod bootstrap;
mod characters;
pub mod compare;
pub mod edit;
mod error;
pub mod normalise;
pub mod score;
pub mod special;
mod table;
pub mod transcripts;
pub mod vocabulary;

pub use aligned::{AlignedWord, align_words};
pub use bootstrap::{Ci95Unit, interval95};
pub use compare::{
    CompareOptions, Comparison, DrawRuns, MatchedPairs, MeanRate, Segment, UtteranceRuns, compare, holm, mapsswe,
    mean_rate, segments,
};
pub use edit::{Counts, Operation, align, count_errors};
pub use error::Error;
pub use normalise::{Normaliser, Punctuation, TextOptions, Units};
pub use score::{CharacterCounts, Pair, Score, ScoreOptions, SpeakerScore, count_characters, count_words, score};
pub use special::SpecialTokens;
pub use transcripts::{Paired, Transcript, pair_up, parse_kaldi, parse_transcripts, parse_trn};
pub use vocabulary::{
    Encoded, MovedToken, OutOfVocabulary, Role, TokenizerFile, TokenizerFiles, Vocabulary, VocabularyDifference,
};
