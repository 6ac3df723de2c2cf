//! Words and phrases that are to be expected: names, terms, places.

use super::scorer::Scorer;
use super::trie::{ROOT, Trie};

/// Where no phrase has begun, until the next word begins.
const NOWHERE: u32 = u32::MAX;

/// Adds to a text's score for each listed phrase in it, as whole words.
///
/// A part of a phrase is promised its share by labels, and gives it back where the phrase is left; of phrases that begin alike
/// the longest counts. Phrases do not overlap: while the words of one are said, none is looked for that begins within it.
#[derive(Clone, Debug)]
pub struct HotWords {
    trie: Trie,
    /// By node: what a prefix there has been given.
    promised: Vec<f64>,
    /// By node: what stays of it where the phrase is left in the middle of a word.
    banked: Vec<f64>,
    /// The weight of the phrase that ends at a node.
    weights: Vec<Option<f64>>,
    delimiter: u32,
}

impl HotWords {
    /// Phrases by their labels, words parted by `delimiter`, each with what it adds, in nats; of equal ones the first counts.
    pub fn new(phrases: &[(Vec<u32>, f64)], delimiter: u32) -> HotWords {
        let numbered = phrases.iter().zip(0u32..).filter(|((labels, _), _)| !labels.is_empty());
        let trie = Trie::new(numbered.map(|((labels, _), number)| (labels.clone(), number)).collect());
        let (mut promised, mut banked) = (vec![0.0; trie.len()], vec![0.0; trie.len()]);
        let mut weights = vec![None; trie.len()];
        for node in 0..trie.len() as u32 {
            weights[node as usize] = trie.value(node).map(|number| phrases[number as usize].1);
        }
        for ((labels, weight), number) in phrases.iter().zip(0u32..) {
            let end = labels.iter().try_fold(ROOT, |node, &label| trie.child(node, label));
            if end.and_then(|node| trie.value(node)) != Some(number) {
                continue;
            }
            let (mut node, mut bank) = (ROOT, 0.0);
            for (length, &label) in (1..).zip(labels) {
                if label == delimiter {
                    bank = weights[node as usize].unwrap_or(bank);
                }
                let Some(next) = trie.child(node, label) else { break };
                node = next;
                banked[node as usize] = bank;
                let share: f64 = bank + (weight - bank) * f64::from(length) / labels.len() as f64;
                // Phrases that begin alike: the one that promises most, whatever its sign.
                let known = &mut promised[node as usize];
                if share.abs() > f64::abs(*known) {
                    *known = share;
                }
            }
        }
        HotWords { trie, promised, banked, weights, delimiter }
    }

    fn promised(&self, node: u32) -> f64 {
        self.promised.get(node as usize).copied().unwrap_or(0.0)
    }

    /// What a node is worth where the text's words end there.
    fn ended(&self, node: u32) -> f64 {
        match self.weights.get(node as usize) {
            None => 0.0,
            Some(weight) => weight.unwrap_or(self.banked[node as usize]),
        }
    }
}

impl Scorer for HotWords {
    type State = u32;

    fn start(&self) -> u32 {
        ROOT
    }

    fn extend(&self, node: u32, label: u32) -> Option<(f64, u32)> {
        let promised = self.promised(node);
        if node != NOWHERE
            && let Some(child) = self.trie.child(node, label)
        {
            return Some((self.promised(child) - promised, child));
        }
        if label == self.delimiter {
            return Some((self.ended(node) - promised, ROOT));
        }
        let banked = self.banked.get(node as usize).copied().unwrap_or(0.0);
        Some((banked - promised, NOWHERE))
    }

    fn end(&self, node: u32) -> Option<f64> {
        Some(self.ended(node) - self.promised(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters are their places in the alphabet, the delimiter is 0.
    fn labels(text: &str) -> Vec<u32> {
        text.bytes().map(|letter| if letter == b' ' { 0 } else { u32::from(letter - b'a') + 1 }).collect()
    }

    fn score(hot: &HotWords, text: &str) -> f64 {
        let (total, state) = labels(text).into_iter().fold((0.0, hot.start()), |(total, state), label| {
            let (change, state) = hot.extend(state, label).unwrap();
            (total + change, state)
        });
        total + hot.end(state).unwrap()
    }

    #[test]
    fn whole_words_alone_are_given_their_weight() {
        let phrases = [("new", 2.0), ("new york", 5.0), ("york", 1.0), ("newt", 3.0)];
        let phrases: Vec<(Vec<u32>, f64)> = phrases.iter().map(|(text, weight)| (labels(text), *weight)).collect();
        let hot = HotWords::new(&phrases, 0);
        let cases = [
            ("", 0.0),
            ("old", 0.0),
            ("new", 2.0),
            ("new york", 5.0),
            ("a new york b", 5.0),
            ("new yor", 2.0),
            ("new yorks", 2.0),
            ("new old", 2.0),
            ("newt york", 4.0),
            ("newts", 0.0),
            ("renew", 0.0),
            ("york new", 3.0),
            ("new  york", 3.0),
        ];
        for (text, expected) in cases {
            // Sums of a few shares of small numbers: a handful of roundings of 2⁻⁵³ each.
            let given = score(&hot, text);
            assert!((given - expected).abs() < 1e-12, "{text}: {given}, not {expected}");
        }
    }

    #[test]
    fn a_part_of_a_phrase_is_promised_its_share() {
        let hot = HotWords::new(&[(labels("abcd"), 4.0)], 0);
        let (first, state) = hot.extend(ROOT, 1).unwrap();
        let (second, _) = hot.extend(state, 2).unwrap();
        assert_eq!((first, second), (1.0, 1.0));
        assert_eq!(hot.extend(state, 9).unwrap().0, -1.0);
    }
}
