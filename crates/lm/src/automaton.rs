//! From n-grams, order by order, to the automaton that scores.
//!
//! Its states are the n-grams that matter as a context: those that a longer n-gram extends, and those with a back-off weight.
//! An n-gram is an arc from its context, by its last word, to the longest state that ends what was said (Aho and Corasick's
//! construction with weights on the failure links). This needs every n-gram's context among the n-grams, but not its suffix:
//! models pruned by SRILM lack some.

use crate::model::{NgramModel, Node};
use crate::table::{Arc, Table};
use crate::words::Words;

/// The state without any history.
pub(crate) const ROOT: u32 = 0;

/// An n-gram on its way into the automaton.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gram {
    /// The place of its context among the n-grams one order lower, as they were given to the builder; 0 for a unigram.
    pub(crate) context: u32,
    /// Its last word.
    pub(crate) word: u32,
    /// log10 of its probability.
    pub(crate) log10: f32,
    /// log10 of its back-off weight, 0 where there is none.
    pub(crate) backoff: f32,
}

/// The states, or n-grams of one order, are too many for 32 bits.
#[derive(Debug)]
pub(crate) struct TooMany;

/// Takes the n-grams of each order in turn.
pub(crate) struct Builder {
    words: Words,
    unigrams: Vec<Arc>,
    table: Table,
    nodes: Vec<Node>,
    counts: Vec<u64>,
    unknown_given: bool,
    /// The highest order so far, whose contexts are states; which of its n-grams are is known once the next order has come.
    pending: Vec<Gram>,
    extended: Vec<bool>,
    /// Where each state's n-grams start in `pending`, from the first state of that order on.
    starts: Vec<u32>,
    first_context: u32,
}

impl Builder {
    /// The unigrams, one for each word and in the words' order. Where the unknown word was not given, it is no n-gram of the
    /// model, though it has a probability.
    pub(crate) fn new(words: Words, unigrams: Vec<Gram>, unknown_given: bool) -> Self {
        let root = Node { backoff: 0.0, fallback: ROOT, length: 0 };
        Self {
            counts: vec![unigrams.len() as u64 - u64::from(!unknown_given)],
            extended: vec![false; unigrams.len()],
            pending: unigrams,
            starts: Vec::new(),
            first_context: ROOT,
            unigrams: Vec::new(),
            table: Table::new(),
            nodes: vec![root],
            words,
            unknown_given,
        }
    }

    pub(crate) fn words(&self) -> &Words {
        &self.words
    }

    /// The place of an n-gram among those of the highest order so far.
    pub(crate) fn find(&self, gram: &[u32]) -> Option<u32> {
        let (last, context) = gram.split_last()?;
        if context.is_empty() {
            return Some(*last);
        }
        let mut state = ROOT;
        for word in context {
            let arc = if state == ROOT { self.unigrams[*word as usize] } else { self.table.get(state, *word)? };
            state = arc.next;
        }
        // Where words were dropped on the way, the state is a shorter one, and comes before those of the order.
        let row = state.checked_sub(self.first_context)? as usize;
        let range = *self.starts.get(row)? as usize..*self.starts.get(row + 1)? as usize;
        let place = self.pending[range.clone()].binary_search_by_key(last, |gram| gram.word).ok()?;
        u32::try_from(range.start + place).ok()
    }

    /// Sets back-off weights of n-grams of the highest order so far, by their places.
    pub(crate) fn set_backoffs(&mut self, backoffs: impl Iterator<Item = (u32, f32)>) {
        backoffs.for_each(|(place, backoff)| self.pending[place as usize].backoff = backoff);
    }

    /// The n-grams of the next order, sorted by (context, word), none twice.
    pub(crate) fn push(&mut self, mut grams: Vec<Gram>) -> Result<(), TooMany> {
        debug_assert!(grams.is_sorted_by(|a, b| (a.context, a.word) < (b.context, b.word)));
        if u32::try_from(grams.len()).is_err() {
            return Err(TooMany);
        }
        for gram in &grams {
            self.extended[gram.context as usize] = true;
        }
        let first = self.next_state()?;
        let states = self.settle()?;
        for gram in &mut grams {
            gram.context = states[gram.context as usize];
        }
        self.starts.clear();
        let mut place = 0;
        for state in first..=self.next_state()? {
            place += grams[place..].iter().take_while(|gram| gram.context < state).count();
            self.starts.push(place as u32);
        }
        self.first_context = first;
        self.counts.push(grams.len() as u64);
        self.extended = vec![false; grams.len()];
        self.pending = grams;
        Ok(())
    }

    /// The model of all orders given.
    pub(crate) fn finish(mut self) -> Result<NgramModel, TooMany> {
        self.settle()?;
        Ok(NgramModel {
            words: self.words,
            unigrams: self.unigrams,
            table: self.table,
            nodes: self.nodes,
            counts: self.counts,
            unknown_given: self.unknown_given,
        })
    }

    fn next_state(&self) -> Result<u32, TooMany> {
        // The table's empty slots have the last id.
        u32::try_from(self.nodes.len()).ok().filter(|next| *next < u32::MAX).ok_or(TooMany)
    }

    /// Makes arcs of the pending n-grams, and states of those that are contexts. Returns the state after each.
    fn settle(&mut self) -> Result<Vec<u32>, TooMany> {
        let pending = std::mem::take(&mut self.pending);
        let extended = std::mem::take(&mut self.extended);
        let are_unigrams = self.unigrams.is_empty();
        if !are_unigrams {
            self.table.reserve(pending.len());
        }
        let length = self.counts.len() as u8;
        let mut states = Vec::with_capacity(pending.len());
        for (gram, extended) in pending.iter().zip(extended) {
            let shorter = if are_unigrams { ROOT } else { self.follow(gram.context, gram.word) };
            let next = if extended || gram.backoff != 0.0 {
                let next = self.next_state()?;
                self.nodes.push(Node { backoff: gram.backoff, fallback: shorter, length });
                next
            } else {
                shorter
            };
            let arc = Arc { log10: gram.log10, next };
            if are_unigrams {
                self.unigrams.push(arc);
            } else {
                self.table.insert(gram.context, gram.word, arc);
            }
            states.push(next);
        }
        Ok(states)
    }

    /// The longest state that ends `context` and `word`, but for both in full.
    fn follow(&self, context: u32, word: u32) -> u32 {
        let mut state = context;
        loop {
            state = self.nodes[state as usize].fallback;
            if state == ROOT {
                return self.unigrams[word as usize].next;
            }
            if let Some(arc) = self.table.get(state, word) {
                return arc.next;
            }
        }
    }
}
