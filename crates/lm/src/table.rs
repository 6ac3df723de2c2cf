//! The hash table behind every score: (state, word) to a probability and the state that follows.

/// An n-gram as the automaton sees it: from the state of its context, by its last word, to the next state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Arc {
    /// log10 of the probability.
    pub(crate) log10: f32,
    /// The state that follows.
    pub(crate) next: u32,
}

/// 16 bytes: a look-up touches one cache line.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slot {
    key: u64,
    arc: Arc,
}

/// No state and no word reaches 2^32 − 1.
const EMPTY: u64 = u64::MAX;
const EMPTY_SLOT: Slot = Slot { key: EMPTY, arc: Arc { log10: 0.0, next: 0 } };

/// Open addressing with linear probing, at most two thirds full. Equal insertions in equal order give equal tables.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    len: usize,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { slots: vec![EMPTY_SLOT; 2], len: 0 }
    }

    pub(crate) fn get(&self, state: u32, word: u32) -> Option<Arc> {
        let key = key(state, word);
        let mut place = self.home(key);
        loop {
            let slot = &self.slots[place];
            if slot.key == key {
                return Some(slot.arc);
            }
            if slot.key == EMPTY {
                return None;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    /// Makes room for as many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        // One slot at least stays empty, so that every search ends.
        let slots = ((self.len + more) / 2 * 3 + 2).next_power_of_two();
        if slots > self.slots.len() {
            let old = std::mem::replace(&mut self.slots, vec![EMPTY_SLOT; slots]);
            old.into_iter().filter(|slot| slot.key != EMPTY).for_each(|slot| self.place(slot));
        }
    }

    /// Adds what is not there yet. Room must have been made.
    pub(crate) fn insert(&mut self, state: u32, word: u32, arc: Arc) {
        debug_assert!(self.get(state, word).is_none() && self.len + 1 < self.slots.len());
        self.place(Slot { key: key(state, word), arc });
        self.len += 1;
    }

    /// All there is as (state, word, arc), by state and then word.
    pub(crate) fn sorted(&self) -> Vec<(u32, u32, Arc)> {
        let filled = self.slots.iter().filter(|slot| slot.key != EMPTY);
        let mut all: Vec<_> = filled.map(|slot| ((slot.key >> 32) as u32, slot.key as u32, slot.arc)).collect();
        all.sort_unstable_by_key(|(state, word, _)| (*state, *word));
        all
    }

    fn place(&mut self, slot: Slot) {
        let mut place = self.home(slot.key);
        while self.slots[place].key != EMPTY {
            place = (place + 1) & (self.slots.len() - 1);
        }
        self.slots[place] = slot;
    }

    /// The upper bits of a product, after a fold that lets state and word reach all of them.
    fn home(&self, key: u64) -> usize {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 / golden ratio
        let folded = key.wrapping_mul(ODD);
        let product = (folded ^ (folded >> 32)).wrapping_mul(ODD);
        (product >> (64 - self.slots.len().trailing_zeros())) as usize
    }
}

fn key(state: u32, word: u32) -> u64 {
    u64::from(state) << 32 | u64::from(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_in_and_nothing_else() {
        let mut table = Table::new();
        let arc = |state: u32, word: u32| Arc { log10: -(state as f32), next: word };
        for batch in 0..4 {
            table.reserve(625);
            for place in batch * 625..(batch + 1) * 625 {
                table.insert(place % 50, place / 50 * 2, arc(place % 50, place / 50 * 2));
            }
        }
        for state in 0..50 {
            for word in 0..100 {
                assert_eq!(table.get(state, word), (word % 2 == 0).then(|| arc(state, word)), "{state} {word}");
            }
        }
        let sorted = table.sorted();
        assert_eq!(sorted.len(), 2500);
        assert!(sorted.is_sorted_by_key(|(state, word, _)| (*state, *word)));
    }

    #[test]
    fn an_empty_table_has_nothing() {
        assert_eq!(Table::new().get(0, 0), None);
        let mut table = Table::new();
        table.reserve(0);
        assert_eq!(table.get(7, 7), None);
    }
}
