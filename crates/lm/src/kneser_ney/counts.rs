//! Counts of n-grams, order by order, from one sort of the text's positions.
//!
//! An n-gram is named by a position where it ends. Positions are sorted by the words that end there, last word first, so that
//! those of an n-gram, and of all n-grams that end in it, stand together.

use super::text::START;

/// No n-gram.
pub(super) const NONE: u32 = u32::MAX;

/// A distinct n-gram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    /// A position where it ends.
    pub(super) position: u32,
    /// How often it was seen. Pruning goes by it.
    pub(super) seen: u32,
    /// Its count for estimation: in the highest order, and behind a sentence's start, how often it was seen; else before how many
    /// different words (Kneser and Ney 1995).
    pub(super) adjusted: u32,
}

/// All n-grams of one order.
pub(super) struct Counts {
    pub(super) grams: Vec<Counted>,
    /// Which of them ends at each position of the text: `NONE` where the sentence is too short for one.
    pub(super) ending: Vec<u32>,
}

/// The text's positions that are predicted (all but the starts of sentences), sorted.
pub(super) struct Positions<'a> {
    tokens: &'a [u32],
    sorted: Vec<u32>,
    /// How many words, up to the order, each has in common with the one before it in `sorted`.
    common: Vec<u8>,
}

impl<'a> Positions<'a> {
    /// Sorts what a text of fewer than 2^32 − 1 tokens has.
    pub(super) fn sort(tokens: &'a [u32], order: usize) -> Self {
        let mut sorted: Vec<u32> = (0..).zip(tokens).filter(|(_, token)| **token != START).map(|(at, _)| at).collect();
        sorted.sort_unstable_by(|a, b| back(tokens, *a, order).cmp(back(tokens, *b, order)));
        let mut common = vec![0; sorted.len()];
        for (common, pair) in common[1..].iter_mut().zip(sorted.windows(2)) {
            let words = back(tokens, pair[0], order).zip(back(tokens, pair[1], order));
            *common = words.take_while(|(a, b)| a == b).count() as u8;
        }
        Self { tokens, sorted, common }
    }

    /// Counts the n-grams of one order.
    pub(super) fn count(&self, order: usize) -> Counts {
        let mut grams: Vec<Counted> = Vec::new();
        let mut ending = vec![NONE; self.tokens.len()];
        for (position, common) in self.sorted.iter().zip(&self.common) {
            if back(self.tokens, *position, order).count() < order {
                continue;
            }
            let common = usize::from(*common);
            // The first, and whatever follows a sentence that is too short, has less in common.
            if common < order {
                grams.push(Counted { position: *position, seen: 0, adjusted: 0 });
            }
            let place = grams.len() - 1;
            let gram = &mut grams[place];
            gram.seen += 1;
            // A new word before the n-gram is a new n-gram one order higher. In the highest order, and before a sentence's start,
            // nothing more is compared, so that all count.
            gram.adjusted += u32::from(common <= order);
            ending[*position as usize] = place as u32;
        }
        Counts { grams, ending }
    }
}

/// The words that end at a position, last word first, up to the order or to the sentence's start.
fn back(tokens: &[u32], position: u32, order: usize) -> impl Iterator<Item = &u32> {
    let mut before_start = true;
    let words = tokens[..=position as usize].iter().rev().take(order);
    words.take_while(move |token| std::mem::replace(&mut before_start, **token != START))
}
