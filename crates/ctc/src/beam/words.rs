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
    words: Vec<WordId>,
    /// By node: log10 of the probability of the likeliest word below it, whatever came before.
    best: Vec<f32>,
}

impl Lexicon {
    /// A language model's words by their labels. A word that is spelled in several ways may stand there several times; of words
    /// that are spelled alike the first counts.
    pub fn new(lm: &NgramModel, spellings: impl IntoIterator<Item = (Vec<u32>, WordId)>) -> Lexicon {
        let spelt: Vec<(Vec<u32>, WordId)> = spellings.into_iter().filter(|(labels, _)| !labels.is_empty()).collect();
        let trie = Trie::new(spelt.iter().map(|(labels, _)| labels.clone()).zip(0..).collect());
        let mut best = vec![f32::NEG_INFINITY; trie.len()];
        for (labels, word) in &spelt {
            let log10 = lm.score(lm.null_state(), *word).0;
            let mut node = ROOT;
            for &label in labels {
                let Some(next) = trie.child(node, label) else { break };
                node = next;
                best[node as usize] = best[node as usize].max(log10);
            }
        }
        Lexicon { trie, words: spelt.into_iter().map(|(_, word)| word).collect(), best }
    }

    /// The word that ends at a node, if one does.
    fn word(&self, node: u32) -> Option<WordId> {
        if node == UNLISTED {
            return None;
        }
        self.trie.value(node).map(|number| self.words[number as usize])
    }

    /// The word that labels spell, if they spell one.
    pub fn find(&self, labels: &[u32]) -> Option<WordId> {
        self.word(labels.iter().try_fold(ROOT, |node, &label| self.trie.child(node, label))?)
    }
}

/// Scores words as they end at the delimiter, by a language model.
///
/// From its first letter on a word is promised what the likeliest word that begins so would be given without a history, so that
/// a beam does not drop the ends of words for the price that they have to pay all at once.
#[derive(Clone, Copy, Debug)]
pub struct WordScorer<'a> {
    /// The model.
    pub lm: &'a NgramModel,
    /// How its words are spelled.
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
    lm: State,
    /// Its place in the trie; the root where no word has begun.
    node: u32,
    /// What was promised of it.
    promised: f64,
}

impl WordScorer<'_> {
    /// Nats of a word, and the model's state behind it; none where it may not be.
    fn word(&self, lm: State, node: u32) -> Option<(f64, State)> {
        let listed = self.lexicon.word(node);
        if self.words == Words::Listed && listed.is_none() {
            return None;
        }
        let (log10, next) = self.lm.score(lm, listed.unwrap_or(WordId::UNKNOWN));
        let unknown = if listed.is_some() { 0.0 } else { self.weights.unknown };
        Some((self.nats(f64::from(log10) + unknown), next))
    }

    /// What is promised of a word that has begun.
    fn promise(&self, node: u32) -> f64 {
        match self.lexicon.best.get(node as usize) {
            Some(&log10) => self.nats(f64::from(log10)),
            None => {
                let (log10, _) = self.lm.score(self.lm.null_state(), WordId::UNKNOWN);
                self.nats(f64::from(log10) + self.weights.unknown)
            }
        }
    }

    fn nats(&self, log10: f64) -> f64 {
        self.weights.lm * log10 * std::f64::consts::LN_10 + self.weights.word
    }
}

impl Scorer for WordScorer<'_> {
    type State = WordState;

    fn start(&self) -> WordState {
        WordState { lm: self.lm.start(), node: ROOT, promised: 0.0 }
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
        if next.is_none() && self.words == Words::Listed {
            return None;
        }
        let node = next.unwrap_or(UNLISTED);
        let promise = self.promise(node);
        Some((promise - promised, WordState { lm, node, promised: promise }))
    }

    fn end(&self, state: WordState) -> Option<f64> {
        let WordState { lm, node, promised } = state;
        let (score, lm) = if node == ROOT { (0.0, lm) } else { self.word(lm, node)? };
        let end = f64::from(self.lm.end(lm));
        Some(score - promised + self.weights.lm * end * std::f64::consts::LN_10)
    }
}
