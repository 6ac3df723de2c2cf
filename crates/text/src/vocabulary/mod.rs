//! The labels of a model: one token per id, read from and written as transformers' tokenizer files.
//!
//! A vocabulary is built once, from training text only, and then frozen with the model: built from evaluation text it would leak,
//! and every later text reports what the vocabulary lacks instead ([`Vocabulary::out_of_vocabulary`]).

mod assemble;
mod difference;
mod entries;
mod files;
mod labels;
mod languages;
mod write;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

pub use difference::{MovedToken, Role, VocabularyDifference};
pub use files::{TokenizerFile, TokenizerFiles};
pub use labels::{Encoded, OutOfVocabulary};

use crate::error::excerpt;
use crate::normalise::Units;
use crate::{Error, SpecialTokens};
use assemble::{Parts, assemble, in_id_order};
use entries::read_flat;

/// Tokens in the order of their ids, of which some are special: blank, unknown, word delimiter, …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    /// How many tokens `vocab.json` has; the rest were added behind.
    own: usize,
    /// The ids of single characters that are text.
    characters: HashMap<char, u32>,
    /// The ids of tokens that are text and matched as they are written: longer ones, and those added.
    verbatim: HashMap<String, u32>,
    /// Whether a token is text that begins with a space, and so a word, by id.
    begins_word: Vec<bool>,
    /// How many characters the longest token of `verbatim` has.
    longest: usize,
    /// Whether all letters are capitals, as in most English checkpoints.
    capitals: bool,
    /// `do_lower_case`.
    lower_case: bool,
    /// Whether a token is no text, by id. The delimiter is not among these.
    special: Vec<bool>,
    /// What the delimiter is in text.
    space: String,
    blank: u32,
    unknown: Option<u32>,
    delimiter: Option<u32>,
    start: Option<u32>,
    end: Option<u32>,
}

impl Vocabulary {
    /// The vocabulary of normalised training texts: 0 `<pad>` (the CTC blank, transformers' convention), 1 `<unk>`, 2 `|`
    /// (between words), then every character that occurs, by code point.
    ///
    /// # Errors
    /// [`Error::SpecialInText`] if a text holds `|`, `<pad>` or `<unk>`, [`Error::NoCharacters`] if there is nothing but white space.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        Self::of_units(Units::Characters, texts)
    }

    /// As [`Vocabulary::from_texts`], with characters or whole words behind the special tokens. A word's token begins with its
    /// space (` two`), and there is no delimiter: texts of one word would never teach it. transformers decodes such labels to the
    /// same text, but neither encodes texts of several words nor knows the words' times.
    ///
    /// # Errors
    /// Those of [`Vocabulary::from_texts`]; of words, a `|` is one.
    pub fn of_units<'a>(units: Units, texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let special = match units {
            Units::Characters => ["<pad>", "<unk>", "|"].as_slice(),
            Units::Words => &["<pad>", "<unk>"],
        };
        let mut tokens = BTreeSet::new();
        let mut count = 0;
        for text in texts {
            count += 1;
            if let Some(&token) = special.iter().find(|&&token| text.contains(token)) {
                return Err(Error::SpecialInText { number: count, token: token.to_owned(), excerpt: excerpt(text) });
            }
            match units {
                Units::Characters => tokens.extend(text.chars().filter(|c| !c.is_whitespace()).map(String::from)),
                Units::Words => tokens.extend(text.split_whitespace().map(|word| format!(" {word}"))),
            }
        }
        if tokens.is_empty() {
            return Err(Error::NoCharacters { texts: count });
        }
        let tokens = special.iter().map(|&token| token.to_owned()).chain(tokens).collect();
        assemble(Parts::own(tokens), &SpecialTokens::default(), Path::new("vocabulary"))
    }

    /// A vocabulary from `vocab.json` alone, an object of token and id. `file` is for messages only.
    /// [`Vocabulary::from_files`] also reads the files beside it.
    ///
    /// The unknown token and the delimiter may be missing; without a delimiter, a token that is one space takes its part.
    ///
    /// # Errors
    /// [`Error::Json`] if it is no such object; [`Error::DuplicateToken`], [`Error::DuplicateTokenId`], [`Error::TokenIdRange`]
    /// if the ids are not 0 to n − 1, each once; [`Error::NoBlank`] without the padding token; [`Error::SpecialsCollide`];
    /// [`Error::LanguageMissing`] if it holds one vocabulary per language.
    pub fn from_vocab_json(json: impl AsRef<[u8]>, file: &Path, specials: &SpecialTokens) -> Result<Self, Error> {
        assemble(Parts::own(in_id_order(read_flat(json.as_ref(), file)?, file)?), specials, file)
    }

    /// How many tokens there are, special ones included: the size of the model's head. At least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // the blank is always there
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The id of the CTC blank, which is the padding token.
    #[must_use]
    pub fn blank(&self) -> u32 {
        self.blank
    }

    /// The id of the unknown token, if there is one.
    #[must_use]
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// The id of the token between words, if there is one.
    #[must_use]
    pub fn delimiter(&self) -> Option<u32> {
        self.delimiter
    }

    /// The id of the token for the start of a sentence (`bos_token`), if there is one. CTC does not use it.
    #[must_use]
    pub fn start(&self) -> Option<u32> {
        self.start
    }

    /// The id of the token for the end of a sentence (`eos_token`), if there is one. CTC does not use it.
    #[must_use]
    pub fn end(&self) -> Option<u32> {
        self.end
    }

    /// Whether every label that is text is a whole word, as in a vocabulary of words.
    #[must_use]
    pub fn labels_are_words(&self) -> bool {
        let text = |id: &u32| !self.is_special(*id);
        self.delimiter.is_none() && (0..).take(self.len()).filter(text).all(|id| self.begins_word(id))
    }

    /// Whether a label is text that begins with a space: it needs no delimiter before it.
    pub(super) fn begins_word(&self, id: u32) -> bool {
        self.begins_word.get(id as usize).copied().unwrap_or(false)
    }

    /// Whether text is upper-cased to find its labels, and lower-cased when it is decoded (`do_lower_case`).
    #[must_use]
    pub fn lower_cases(&self) -> bool {
        self.lower_case
    }

    /// What the delimiter is in decoded text (`replace_word_delimiter_char`): nearly always a space.
    #[must_use]
    pub fn space(&self) -> &str {
        &self.space
    }

    /// The tokens that stand behind those of `vocab.json`, by id: what `added_tokens_decoder` or `added_tokens.json` adds.
    pub fn added_tokens(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(&self.tokens).skip(self.own).map(|(id, token)| (id, token.as_str()))
    }

    /// Whether an id is no text and skipped in decoding. The delimiter is text.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }

    /// The token of an id, `None` outside the vocabulary.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// All tokens in the order of their ids.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

#[cfg(test)]
mod difference_tests;
#[cfg(test)]
mod files_tests;
#[cfg(test)]
mod tests;
