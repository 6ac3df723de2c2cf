//! A language model of words, for labels that spell them.

use klang_lm::{NgramModel, State, WordId};

use super::scorer::Scorer;
use super::trie::{ROOT, Trie};

/// The place of a word that is not listed.
const UNLISTED: u32 = u32::MAX;

/// How the spelling of words is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Any letters may make a word; one that is not listed costs what an unknown word costs, from the letter on by which it
    /// leaves the list.
    Open,
    /// Words of the list alone.
    Listed,
}

/// How much a language model counts. Tune it on development data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LmWeights {
    /// Weight of the model's logarithm; 1 takes it as it is.
    pub lm: f64,
    /// Nats that each word adds: above 0 against the model's liking for few words.
    pub word: f64,
    /// log10 that an unknown word is given beyond the model's own.
    pub unknown: f64,
}

impl Default for LmWeights {
    fn default() -> Self {
        LmWeights { lm: 0.5, word: 1.5, unknown: -10.0 }
    }
}

/// The words of a vocabulary's labels, by their spelling.
#[derive(Clone, Debug)]
pub struct Lexicon {
    trie: Trie,
    words: Vec<Option<WordId>>,
}

impl Lexicon {
    /// Words by their labels. A word that is spelled in several ways may stand there several times; of words that are
    /// spelled alike the first counts. `word` is the language model's, or none where it knows no such word.
    pub fn new(spellings: impl IntoIterator<Item = (Vec<u32>, Option<WordId>)>) -> Lexicon {
        let spelt = spellings.into_iter().filter(|(labels, _)| !labels.is_empty());
        let (labels, words): (Vec<_>, Vec<_>) = spelt.unzip();
        Lexicon { trie: Trie::new(labels.into_iter().zip(0..).collect()), words }
    }

    /// The word that ends at a node, if one does, by what the language model knows of it.
    fn word(&self, node: u32) -> Option<Option<WordId>> {
        if node == UNLISTED {
            return None;
        }
        self.trie.value(node).map(|number| self.words[number as usize])
    }
}

/// Scores words as they end at the delimiter, by a language model if there is one.
#[derive(Clone, Copy, Debug)]
pub struct WordScorer<'a> {
    /// The model.
    pub lm: Option<&'a NgramModel>,
    /// How words are spelled.
    pub lexicon: &'a Lexicon,
    /// Whether there may be others.
    pub words: Words,
    /// The label between words.
    pub delimiter: u32,
    /// How much each part counts.
    pub weights: LmWeights,
}

/// Within a text: the words so far, and the letters of the one that has begun.
#[derive(Clone, Copy, Debug)]
pub struct WordState {
    /// The model's state, if there is a model.
    lm: Option<State>,
    /// Its place in the trie; the root where no word has begun.
    node: u32,
    /// What was promised of it.
    promised: f64,
}

impl WordScorer<'_> {
    /// Nats of a word, and the model's state behind it; none where it may not be.
    fn word(&self, lm: Option<State>, node: u32) -> Option<(f64, Option<State>)> {
        let listed = self.lexicon.word(node);
        if self.words == Words::Listed && listed.is_none() {
            return None;
        }
        let (log10, next, known) = match (self.lm, lm) {
            (Some(model), Some(state)) => {
                let known = listed.flatten();
                let (log10, next) = model.score(state, known.unwrap_or(WordId::UNKNOWN));
                (log10, Some(next), known.is_some())
            }
            _ => (0.0, None, listed.is_some()),
        };
        let unknown = if known { 0.0 } else { self.unknown() };
        Some((self.weights.lm * f64::from(log10) * std::f64::consts::LN_10 + unknown + self.weights.word, next))
    }

    fn unknown(&self) -> f64 {
        self.weights.lm * self.weights.unknown * std::f64::consts::LN_10
    }
}

impl Scorer for WordScorer<'_> {
    type State = WordState;

    fn start(&self) -> WordState {
        WordState { lm: self.lm.map(NgramModel::start), node: ROOT, promised: 0.0 }
    }

    fn extend(&self, state: WordState, label: u32) -> Option<(f64, WordState)> {
        let WordState { lm, node, promised } = state;
        if label == self.delimiter {
            // Two delimiters in a row have no word between.
            if node == ROOT {
                return Some((0.0, state));
            }
            let (score, lm) = self.word(lm, node)?;
            return Some((score - promised, WordState { lm, node: ROOT, promised: 0.0 }));
        }
        let next = if node == UNLISTED { None } else { self.lexicon.trie.child(node, label) };
        match (next, self.words) {
            (Some(node), _) => Some((0.0, WordState { node, ..state })),
            (None, Words::Listed) => None,
            (None, Words::Open) => {
                let unknown = self.unknown();
                Some((unknown - promised, WordState { lm, node: UNLISTED, promised: unknown }))
            }
        }
    }

    fn end(&self, state: WordState) -> Option<f64> {
        let WordState { lm, node, promised } = state;
        let (score, lm) = if node == ROOT { (0.0, lm) } else { self.word(lm, node)? };
        let end = self.lm.zip(lm).map_or(0.0, |(model, state)| f64::from(model.end(state)));
        Some(score - promised + self.weights.lm * end * std::f64::consts::LN_10)
    }
}
