//! Words and phrases that are to be expected: names, terms, places.

use super::scorer::Scorer;
use super::trie::{ROOT, Trie};

/// Adds to a text's score for every place in it where a listed phrase stands, as whole words; phrases may overlap, and one may
/// hold another: each counts.
///
/// It is the automaton of Aho and Corasick (1975) over labels, of phrases between two delimiters. A phrase is worth what it adds
/// from the delimiter behind it on; until then a part of it is promised its share by labels, and gives it back where the phrase
/// is left. Where each label is a word there are no delimiters, and a phrase ends with its last label.
#[derive(Clone, Debug)]
pub struct HotWords {
    trie: Trie,
    /// By node: that of its longest end which begins a phrase, too.
    falls: Vec<u32>,
    /// By node: what the phrases add that end there.
    earned: Vec<f64>,
    /// By node: what the phrases that have begun are promised there.
    promised: Vec<f64>,
    delimiter: Option<u32>,
}

impl HotWords {
    /// Phrases by their labels, words parted by `delimiter`, each with what it adds, in nats; of equal ones the first counts.
    /// `None`: each label is a word.
    pub fn new(phrases: &[(Vec<u32>, f64)], delimiter: Option<u32>) -> HotWords {
        let between = |labels: &[u32]| {
            let Some(delimiter) = delimiter else { return labels.to_vec() };
            let words = labels.split(|&label| label == delimiter).filter(|word| !word.is_empty());
            words.fold(vec![delimiter], |all, word| [&all, word, &[delimiter]].concat())
        };
        let edge = usize::from(delimiter.is_some());
        let phrases: Vec<(Vec<u32>, f64)> = phrases
            .iter()
            .map(|(labels, weight)| (between(labels), *weight))
            .filter(|(all, _)| all.len() > edge)
            .collect();
        let trie = Trie::new(phrases.iter().map(|(labels, _)| labels.clone()).zip(0..).collect());
        let (mut earned, mut promised) = (vec![0.0; trie.len()], vec![0.0; trie.len()]);
        for ((labels, weight), number) in phrases.iter().zip(0u32..) {
            let path: Vec<u32> = labels
                .iter()
                .scan(ROOT, |node, &label| {
                    *node = trie.child(*node, label)?;
                    Some(*node)
                })
                .collect();
            let Some((&end, within)) = path.split_last().filter(|(end, _)| trie.value(**end) == Some(number)) else {
                continue;
            };
            earned[end as usize] = *weight;
            for (&node, length) in within.iter().zip(1 - edge..) {
                let share = weight * length as f64 / (path.len() - 2 * edge) as f64;
                // Phrases that begin alike: the one that promises most, whatever its sign.
                let known = &mut promised[node as usize];
                if share.abs() > f64::abs(*known) {
                    *known = share;
                }
            }
        }
        let mut hot = HotWords { falls: vec![ROOT; trie.len()], trie, earned, promised, delimiter };
        // The shallower first, by the nodes' order: what a node falls to is done before it.
        for node in 0..hot.trie.len() as u32 {
            for (label, child) in hot.trie.children(node) {
                let fall = if node == ROOT { ROOT } else { hot.next(hot.falls[node as usize], label) };
                hot.falls[child as usize] = fall;
                hot.earned[child as usize] += hot.earned[fall as usize];
                hot.promised[child as usize] += hot.promised[fall as usize];
            }
        }
        hot
    }

    /// The node of the longest end of a text that begins a phrase, one label later.
    fn next(&self, mut node: u32, label: u32) -> u32 {
        loop {
            match self.trie.child(node, label) {
                Some(child) => return child,
                None if node == ROOT => return ROOT,
                None => node = self.falls[node as usize],
            }
        }
    }

    /// Whether no word has begun since the last delimiter.
    fn is_between_words(&self, node: u32) -> bool {
        node != ROOT && Some(self.trie.label(node)) == self.delimiter
    }
}

impl Scorer for HotWords {
    type State = u32;

    fn start(&self) -> u32 {
        self.delimiter.map_or(ROOT, |delimiter| self.next(ROOT, delimiter))
    }

    fn extend(&self, node: u32, label: u32) -> Option<(f64, u32)> {
        // Two delimiters in a row have no word between.
        if Some(label) == self.delimiter && self.is_between_words(node) {
            return Some((0.0, node));
        }
        let next = self.next(node, label);
        Some((self.earned[next as usize] + self.promised[next as usize] - self.promised[node as usize], next))
    }

    fn end(&self, node: u32) -> Option<f64> {
        let earned = match self.delimiter {
            Some(delimiter) if !self.is_between_words(node) => self.earned[self.next(node, delimiter) as usize],
            _ => 0.0,
        };
        Some(earned - self.promised[node as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters are their places in the alphabet, the delimiter is 0.
    fn labels(text: &str) -> Vec<u32> {
        text.bytes().map(|letter| if letter == b' ' { 0 } else { u32::from(letter - b'a') + 1 }).collect()
    }

    fn hot_words(phrases: &[(&str, f64)]) -> HotWords {
        let phrases: Vec<(Vec<u32>, f64)> = phrases.iter().map(|(text, weight)| (labels(text), *weight)).collect();
        HotWords::new(&phrases, Some(0))
    }

    fn score(hot: &HotWords, text: &[u32]) -> f64 {
        let (total, state) = text.iter().fold((0.0, hot.start()), |(total, state), &label| {
            let (change, state) = hot.extend(state, label).unwrap();
            (total + change, state)
        });
        total + hot.end(state).unwrap()
    }

    #[test]
    fn whole_words_alone_are_given_their_weight() {
        let hot = hot_words(&[("new", 2.0), ("new york", 5.0), ("york", 1.0), ("newt", 3.0), ("york times", 4.0)]);
        let cases = [
            ("", 0.0),
            ("old", 0.0),
            ("new", 2.0),
            ("new york", 2.0 + 5.0 + 1.0),
            ("new york times", 2.0 + 5.0 + 1.0 + 4.0),
            ("a new york b", 8.0),
            ("new yor", 2.0),
            ("new yorks", 2.0),
            ("new old", 2.0),
            ("newt york", 4.0),
            ("newts", 0.0),
            ("renew", 0.0),
            ("york new", 3.0),
            (" new  york ", 8.0),
        ];
        for (text, expected) in cases {
            // Sums of a few shares of small numbers: a handful of roundings of 2⁻⁵³ each.
            let given = score(&hot, &labels(text));
            assert!((given - expected).abs() < 1e-12, "{text}: {given}, not {expected}");
        }
    }

    #[test]
    fn every_phrase_counts_wherever_it_stands() {
        // Each is part of another, ends as another begins, or both; the last is a word of another.
        let sets: [&[(&str, f64)]; 4] = [
            &[("a", 1.0), ("a a", 10.0), ("a a a", 100.0)],
            &[("a b", 1.0), ("b a", 10.0), ("a b a", 100.0), ("b a b a", 1000.0)],
            &[("ab a", 1.0), ("a ab", 10.0), ("ab", 100.0), ("abb", 1000.0), ("b", -7.0)],
            &[("a", 1.0), ("a", 10.0), (" b  a ", 100.0)],
        ];
        for phrases in sets {
            let hot = hot_words(phrases);
            let words = |labels: &[u32]| -> Vec<Vec<u32>> {
                labels.split(|&label| label == 0).filter(|word| !word.is_empty()).map(<[u32]>::to_vec).collect()
            };
            let mut known: Vec<(Vec<Vec<u32>>, f64)> = Vec::new();
            for (phrase, weight) in phrases {
                let phrase = words(&labels(phrase));
                if known.iter().all(|(other, _)| *other != phrase) {
                    known.push((phrase, *weight));
                }
            }
            // All texts of up to nine labels, of which one is the delimiter.
            for length in 0..=9 {
                for number in 0..3u32.pow(length) {
                    let text: Vec<u32> = (0..length).map(|place| number / 3u32.pow(place) % 3).collect();
                    let said = words(&text);
                    let times = |phrase: &[Vec<u32>]| said.windows(phrase.len()).filter(|part| *part == phrase).count();
                    let expected: f64 = known.iter().map(|(phrase, weight)| times(phrase) as f64 * weight).sum();
                    let given = score(&hot, &text);
                    // Ten steps of at most some thousands, each rounded by 2⁻⁵³ of that.
                    assert!((given - expected).abs() < 1e-9, "{phrases:?} in {text:?}: {given}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn labels_that_are_words_need_no_delimiter() {
        let phrases = [(vec![1], 1.0), (vec![1, 2], 10.0), (vec![2, 1, 2], 100.0), (vec![], 1000.0), (vec![1], 7.0)];
        let hot = HotWords::new(&phrases, None);
        for length in 0..=7 {
            for number in 0..3u32.pow(length) {
                let text: Vec<u32> = (0..length).map(|place| number / 3u32.pow(place) % 3).collect();
                let times = |phrase: &[u32]| text.windows(phrase.len()).filter(|part| *part == phrase).count() as f64;
                let expected: f64 = phrases[..3].iter().map(|(phrase, weight)| times(phrase) * weight).sum();
                let given = score(&hot, &text);
                // Eight steps of at most some hundreds, each rounded by 2⁻⁵³ of that.
                assert!((given - expected).abs() < 1e-9, "{text:?}: {given}, not {expected}");
            }
        }
        // A part of a phrase is promised its share, and gives it back.
        let (first, state) = hot.extend(hot.start(), 2).unwrap();
        assert!((first - 100.0 / 3.0).abs() < 1e-12, "{first}"); // one division and product: 2⁻⁵² of the third
        assert_eq!(hot.extend(state, 0).unwrap().0, -first);
    }

    #[test]
    fn a_part_of_a_phrase_is_promised_its_share() {
        let hot = hot_words(&[("abcd", 4.0)]);
        let (first, state) = hot.extend(hot.start(), 1).unwrap();
        let (second, _) = hot.extend(state, 2).unwrap();
        assert_eq!((first, second), (1.0, 1.0));
        assert_eq!(hot.extend(state, 9).unwrap().0, -1.0);
    }

    #[test]
    fn a_whole_phrase_earns_no_more_at_its_end_than_it_was_promised() {
        let hot = hot_words(&[("ab", 4.0), ("b", 1.0)]);
        let (given, state) = labels("ab").into_iter().fold((0.0, hot.start()), |(total, state), label| {
            let (change, state) = hot.extend(state, label).unwrap();
            (total + change, state)
        });
        assert_eq!((given, hot.end(state).unwrap(), hot.extend(state, 0).unwrap().0), (4.0, 0.0, 0.0));
    }
}
