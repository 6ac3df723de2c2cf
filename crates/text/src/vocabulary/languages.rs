//! Which language's vocabulary to take from a `vocab.json` that has one per language, as MMS has.

use std::path::Path;

use super::Vocabulary;
use super::entries::{Entries, VocabJson, read_vocab_json};
use crate::error::excerpt;
use crate::{Error, count_errors};

/// How many languages a message names, of the thousand and more that MMS knows.
const NAMED: usize = 8;

impl Vocabulary {
    /// The languages of a `vocab.json`, in its order: none if it holds one vocabulary. `file` is for messages only.
    ///
    /// # Errors
    /// [`Error::Json`] if it is no vocabulary.
    pub fn languages(vocab_json: impl AsRef<[u8]>, file: &Path) -> Result<Vec<String>, Error> {
        Ok(match read_vocab_json(vocab_json.as_ref(), file)? {
            VocabJson::Flat(_) => Vec::new(),
            VocabJson::Nested(languages) => languages.into_iter().map(|(language, _)| language).collect(),
        })
    }
}

/// The entries of one language.
pub(super) fn choose(languages: Vec<(String, Entries)>, language: Option<&str>, file: &Path) -> Result<Entries, Error> {
    let Some(language) = language else {
        return Err(missing(languages.iter().map(|(name, _)| name.as_str()), file));
    };
    let mut names: Vec<String> = Vec::new();
    for (name, entries) in languages {
        if name == language {
            return Ok(entries);
        }
        names.push(name);
    }
    names.sort_by_cached_key(|name| (distance(language, name), name.clone()));
    Err(Error::UnknownLanguage {
        file: file.to_owned(),
        given: excerpt(language),
        count: names.len(),
        nearest: names.iter().take(NAMED).map(|name| excerpt(name)).collect(),
    })
}

/// That one of several languages is to be named.
pub(super) fn missing<'a>(names: impl ExactSizeIterator<Item = &'a str>, file: &Path) -> Error {
    let count = names.len();
    Error::LanguageMissing { file: file.to_owned(), count, first: names.take(NAMED).map(excerpt).collect() }
}

/// How many letters differ; long names, which no language has, are cut.
fn distance(a: &str, b: &str) -> u64 {
    const LIMIT: usize = 64;
    let letters = |text: &str| text.chars().take(LIMIT).flat_map(char::to_lowercase).collect::<Vec<_>>();
    count_errors(&letters(a), &letters(b)).errors()
}
