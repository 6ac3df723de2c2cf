//! The model and its scores.

use crate::automaton::ROOT;
use crate::table::{Arc, Table};
use crate::words::{SENTENCE_END, SENTENCE_START, WordId, Words, is_special};

/// What of a history still matters to one model: a handle of four bytes.
///
/// It stands for the longest end of the history that some n-gram extends or that has a back-off weight, as in KenLM
/// (Heafield, "KenLM: Faster and Smaller Language Model Queries", WMT 2011, section 4.1): where two states are equal, so are all
/// scores to come, and a beam may merge its hypotheses. A state means nothing to another model, and may make it panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State(pub(crate) u32);

/// A state's own data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Node {
    /// log10 of the back-off weight.
    pub(crate) backoff: f32,
    /// The next shorter state.
    pub(crate) fallback: u32,
    /// How many words of history it stands for.
    pub(crate) length: u8,
}

/// A back-off n-gram model, ready to score.
#[derive(Debug, Clone, PartialEq)]
pub struct NgramModel {
    pub(crate) words: Words,
    /// By word.
    pub(crate) unigrams: Vec<Arc>,
    /// All longer n-grams.
    pub(crate) table: Table,
    /// By state: all of one length stand together, shorter ones before.
    pub(crate) nodes: Vec<Node>,
    pub(crate) counts: Vec<u64>,
    pub(crate) unknown_given: bool,
}

impl NgramModel {
    /// The order: the number of words of the longest n-gram, 1 to [`MAX_ORDER`](crate::MAX_ORDER).
    #[must_use]
    pub fn order(&self) -> usize {
        self.counts.len()
    }

    /// How many n-grams there are of each order, as an ARPA file's header says it.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Whether the unknown word's probability is the model's own. If not, it is [`ReadOptions`](crate::ReadOptions)', and any
    /// text with an unknown word is about as improbable as it says.
    #[must_use]
    pub fn unknown_given(&self) -> bool {
        self.unknown_given
    }

    /// The id of a word of text; nothing where the model does not know it. The special tokens are no words of text.
    #[must_use]
    pub fn word(&self, word: &str) -> Option<WordId> {
        if is_special(word) { None } else { self.words.get(word).map(WordId) }
    }

    /// The spelling of a word.
    #[must_use]
    pub fn spelling(&self, word: WordId) -> &str {
        self.words.text(word.0)
    }

    /// All words that can be said, without the special tokens, in the model's order.
    pub fn vocabulary(&self) -> impl Iterator<Item = (WordId, &str)> {
        let all = (0..self.words.len()).map(|id| (WordId(id), self.words.text(id)));
        all.filter(|(_, word)| !is_special(word))
    }

    /// The state without any history, for a fragment.
    #[must_use]
    pub fn null_state(&self) -> State {
        State(ROOT)
    }

    /// The state at the start of a sentence.
    #[must_use]
    pub fn start(&self) -> State {
        self.words.get(SENTENCE_START).map_or(State(ROOT), |start| State(self.unigrams[start as usize].next))
    }

    /// How many words of history a state stands for, below the order.
    #[must_use]
    pub fn history_length(&self, state: State) -> usize {
        usize::from(self.nodes[state.0 as usize].length)
    }

    /// log10 of the probability of `word` after the history that `state` stands for, and the state that follows.
    ///
    /// One look-up where the n-gram is in the model, and one more for each word that is dropped from the history.
    #[must_use]
    pub fn score(&self, state: State, word: WordId) -> (f32, State) {
        let mut state = state.0;
        let mut backoff = 0.0;
        while state != ROOT {
            if let Some(arc) = self.table.get(state, word.0) {
                return (backoff + arc.log10, State(arc.next));
            }
            let node = &self.nodes[state as usize];
            backoff += node.backoff;
            state = node.fallback;
        }
        let arc = self.unigrams[word.index()];
        (backoff + arc.log10, State(arc.next))
    }

    /// log10 of the probability that the sentence ends here.
    #[must_use]
    pub fn end(&self, state: State) -> f32 {
        self.words.get(SENTENCE_END).map_or(f32::NEG_INFINITY, |end| self.score(state, WordId(end)).0)
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
