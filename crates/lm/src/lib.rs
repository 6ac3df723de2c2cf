//! n-gram language models: read from ARPA files, estimated from text, and scored word by word as a beam search asks.
//!
//! A [`NgramModel`] is an automaton over words. [`State`] is what of the history still matters, and two histories after which
//! everything scores alike share one. Probabilities and back-off weights are decimal logarithms (log10), as in ARPA files.
//! [`ModifiedKneserNey`] makes a model from text; a model of characters is the same, with characters for words.
//! Nothing here knows of audio or of tensors.

mod arpa;
mod automaton;
mod error;
pub mod kneser_ney;
mod model;
mod perplexity;
mod table;
mod words;

pub use arpa::ReadOptions;
pub use error::{Error, Result};
pub use kneser_ney::{Discounts, Estimate, FallbackReason, ModifiedKneserNey, SpecialsInText};
pub use model::{NgramModel, State};
pub use perplexity::{SentenceScore, TextScore};
pub use words::WordId;

/// The highest order that is read or estimated, in words.
pub const MAX_ORDER: usize = 20;
