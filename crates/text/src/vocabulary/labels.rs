//! Text as labels and back.

use std::collections::BTreeMap;
use std::fmt;

use super::Vocabulary;

/// A text as labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Ids of the vocabulary, in the order of the text.
    pub labels: Vec<u32>,
    /// The characters that the vocabulary lacks, each time one occurs. In `labels` they are the unknown token, or left out if there is none.
    pub unknown: Vec<char>,
}

/// The characters of some texts that a vocabulary lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutOfVocabulary {
    /// How often each occurs, by code point.
    pub characters: BTreeMap<char, u64>,
    /// How many texts hold at least one.
    pub texts: u64,
}

impl Vocabulary {
    /// The labels of a normalised text: from left to right the longest token of several characters (a word, a digraph),
    /// otherwise one per character; a run of white space between words is one delimiter. A token that begins with a space is
    /// matched where a word begins, the text's first as well, and no delimiter stands before it.
    ///
    /// With `do_lower_case`, a character is first looked up by its capital, which may be several letters (ß is SS).
    /// Without it, where all letters of the vocabulary are capitals, small letters take theirs.
    /// Tokens of several characters and added ones are matched as they are written, as transformers does.
    ///
    /// A character that is spelled like a special token (a literal `|`) is unknown. So is a space if nothing stands for it: no
    /// delimiter, and no token that begins with one.
    #[must_use]
    pub fn encode(&self, text: &str) -> Encoded {
        let mut encoded = Encoded { labels: Vec::with_capacity(text.len()), unknown: Vec::new() };
        let spaced = self.begins_word.contains(&true);
        for (i, word) in text.split_whitespace().enumerate() {
            let mut rest = word;
            let beginning = spaced.then(|| self.longest_token(&format!(" {word}"))).flatten();
            if let Some((label, length)) = beginning.filter(|&(label, _)| self.begins_word(label)) {
                encoded.labels.push(label);
                rest = &rest[length - 1..];
            } else if i > 0 && (self.delimiter.is_some() || !spaced || self.writes(word)) {
                self.push(&mut encoded, ' ', self.delimiter);
            }
            while let Some(c) = rest.chars().next() {
                if let Some((label, length)) = self.longest_token(rest) {
                    encoded.labels.push(label);
                    rest = &rest[length..];
                    continue;
                }
                rest = &rest[c.len_utf8()..];
                match self.capital(c) {
                    Some(labels) => encoded.labels.extend(labels),
                    None => self.push(&mut encoded, c, self.character(c)),
                }
            }
        }
        encoded
    }

    /// Whether a label stands for what a text begins with, the space before it aside: without that space it would join the word
    /// before.
    fn writes(&self, text: &str) -> bool {
        let first = text.chars().next();
        self.longest_token(text).is_some()
            || first.is_some_and(|c| self.capital(c).is_some() || self.character(c).is_some())
    }

    /// The longest token matched as written that `text` starts with, and its length in bytes.
    fn longest_token(&self, text: &str) -> Option<(u32, usize)> {
        if self.longest == 0 {
            return None;
        }
        let ends = text.char_indices().map(|(start, c)| start + c.len_utf8()).take(self.longest);
        let longest_first = ends.collect::<Vec<_>>().into_iter().rev();
        longest_first.filter_map(|end| Some((*self.verbatim.get(&text[..end])?, end))).next()
    }

    /// With `do_lower_case`, the labels of a character's capital.
    fn capital(&self, c: char) -> Option<Vec<u32>> {
        let labels = || c.to_uppercase().map(|c| self.characters.get(&c).copied()).collect();
        self.lower_case.then(labels).flatten()
    }

    /// The id of a character; in a vocabulary of capitals, that of its capital.
    pub(super) fn character(&self, c: char) -> Option<u32> {
        let capital = || {
            let mut capital = c.to_uppercase();
            let first = capital.next()?;
            (self.capitals && capital.next().is_none()).then(|| self.characters.get(&first)).flatten()
        };
        self.characters.get(&c).or_else(capital).copied()
    }

    fn push(&self, encoded: &mut Encoded, c: char, label: Option<u32>) {
        if label.is_none() {
            encoded.unknown.push(c);
        }
        encoded.labels.extend(label.or(self.unknown));
    }

    /// The text of labels as they are: repeats are not collapsed, which is CTC's affair. The delimiter is [`Vocabulary::space`],
    /// special tokens and ids outside the vocabulary are skipped, white space is collapsed and trimmed. With `do_lower_case`
    /// the text is lower-cased.
    #[must_use]
    pub fn decode(&self, labels: &[u32]) -> String {
        let mut text = String::with_capacity(labels.len());
        for &label in labels {
            if Some(label) == self.delimiter {
                text.push_str(&self.space);
            } else if self.special.get(label as usize) == Some(&false) {
                text.push_str(&self.tokens[label as usize]);
            }
        }
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.lower_case { text.to_lowercase() } else { text }
    }

    /// The labels of each word: what stands between delimiters, cut before every label that begins with a space. `label` is an
    /// item's. There is no empty one.
    #[must_use]
    pub fn words<'a, T>(&self, items: &'a [T], label: impl Fn(&T) -> u32) -> Vec<&'a [T]> {
        let (mut words, mut start) = (Vec::new(), 0);
        for (place, id) in items.iter().map(label).enumerate() {
            let is_gap = Some(id) == self.delimiter;
            if is_gap || self.begins_word(id) {
                words.push(&items[start..place]);
                start = place + usize::from(is_gap);
            }
        }
        words.push(&items[start..]);
        words.retain(|word| !word.is_empty());
        words
    }

    /// How many of the first labels are of words that are whole, whatever follows: all up to where the last word begins.
    /// Where each label is a word, that is all of them.
    #[must_use]
    pub fn settled_words(&self, labels: &[u32]) -> usize {
        if self.labels_are_words() {
            return labels.len();
        }
        let is_edge = |&label: &u32| Some(label) == self.delimiter || self.begins_word(label);
        let last = labels.iter().rposition(is_edge);
        last.map_or(0, |place| place + usize::from(Some(labels[place]) == self.delimiter))
    }

    /// The characters of `texts` that this vocabulary lacks. Texts are to be normalised first, as for training.
    #[must_use]
    pub fn out_of_vocabulary<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> OutOfVocabulary {
        let mut found = OutOfVocabulary::default();
        for text in texts {
            let unknown = self.encode(text).unknown;
            found.texts += u64::from(!unknown.is_empty());
            for c in unknown {
                *found.characters.entry(c).or_default() += 1;
            }
        }
        found
    }
}

impl OutOfVocabulary {
    /// Whether the vocabulary has everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// How many characters are lacking, counting each occurrence.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.characters.values().sum()
    }
}

impl fmt::Display for OutOfVocabulary {
    /// `'q' (U+0071) 3 times, 'x' (U+0078) once`, the most frequent first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_count: Vec<_> = self.characters.iter().collect();
        by_count.sort_by_key(|&(_, count)| std::cmp::Reverse(*count));
        for (i, (&c, &count)) in by_count.into_iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
            write!(f, "{separator}{c:?} (U+{:04X}) {times}", u32::from(c))?;
        }
        Ok(())
    }
}
