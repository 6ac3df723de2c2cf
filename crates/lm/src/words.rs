//! The words of a model and their ids.

use std::collections::HashMap;

/// The unknown word, as KenLM and SRILM write it.
pub(crate) const UNKNOWN: &str = "<unk>";
/// Another spelling of the unknown word, which some toolkits write.
pub(crate) const UNKNOWN_CAPITALS: &str = "<UNK>";
/// The start of a sentence: context only, never predicted.
pub(crate) const SENTENCE_START: &str = "<s>";
/// The end of a sentence.
pub(crate) const SENTENCE_END: &str = "</s>";

/// Whether `word` is one of the special tokens, which are no words of text.
pub(crate) fn is_special(word: &str) -> bool {
    [UNKNOWN, UNKNOWN_CAPITALS, SENTENCE_START, SENTENCE_END].contains(&word)
}

/// A word of one model; meaningless to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WordId(pub(crate) u32);

impl WordId {
    /// The unknown word, in every model.
    pub const UNKNOWN: Self = Self(0);

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Words and ids, both ways. Id 0 is the unknown word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Words {
    texts: Vec<Box<str>>,
    ids: HashMap<Box<str>, u32>,
}

impl Words {
    /// The unknown word alone.
    pub(crate) fn new() -> Self {
        let mut words = Self { texts: Vec::new(), ids: HashMap::new() };
        words.push(UNKNOWN);
        words
    }

    /// Chooses how the unknown word is spelt.
    pub(crate) fn spell_unknown(&mut self, spelling: &str) {
        self.ids.remove(&self.texts[0]);
        self.texts[0] = spelling.into();
        self.ids.insert(spelling.into(), 0);
    }

    /// The id of a word, new or not.
    pub(crate) fn push(&mut self, word: &str) -> u32 {
        if let Some(id) = self.get(word) {
            return id;
        }
        let id = self.len();
        self.texts.push(word.into());
        self.ids.insert(word.into(), id);
        id
    }

    pub(crate) fn get(&self, word: &str) -> Option<u32> {
        self.ids.get(word).copied()
    }

    pub(crate) fn text(&self, id: u32) -> &str {
        &self.texts[id as usize]
    }

    /// How many there are. Both ways in see to it that ids fit 32 bits.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.texts.len()).unwrap_or(u32::MAX)
    }
}
