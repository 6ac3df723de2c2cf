//! Words without blanks in them, each with a time, of any segment.

use crate::characters::is_blank;
use crate::{Character, Segment};

/// A word without blanks, never empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    pub text: &'a str,
    /// Seconds.
    pub start: f64,
    /// Seconds.
    pub end: f64,
    pub confidence: Option<f32>,
    /// The word's characters, where the token is a whole word.
    pub characters: &'a [Character],
}

/// The tokens of a segment: of its words, or of its text where it has none.
///
/// What has no times of its own (parts of a word with blanks in it, words of a text) gets them by its share of the
/// characters.
pub(crate) fn tokens(segment: &Segment) -> Vec<Token<'_>> {
    let mut tokens = Vec::with_capacity(segment.words.len());
    for word in &segment.words {
        let whole = !word.text.contains(is_blank);
        let characters = if whole { word.characters.as_slice() } else { &[] };
        let parts = shared(&word.text, word.start, word.end);
        tokens.extend(parts.map(|part| Token { confidence: word.confidence, characters, ..part }));
    }
    if tokens.is_empty() {
        tokens.extend(shared(&segment.text, segment.start, segment.end));
    }
    tokens
}

/// The parts of a text between blanks, which share its time by their numbers of characters.
fn shared(text: &str, start: f64, end: f64) -> impl Iterator<Item = Token<'_>> {
    let parts = move || text.split(is_blank).filter(|part| !part.is_empty());
    let total: usize = parts().map(|part| part.chars().count()).sum();
    let mut before = 0;
    parts().map(move |text| {
        let from = between(start, end, before, total);
        before += text.chars().count();
        Token { text, start: from, end: between(start, end, before, total), confidence: None, characters: &[] }
    })
}

/// The time `part` of `total` on the way from `start` to `end`; exact at both ends, and never outside.
pub(crate) fn between(start: f64, end: f64, part: usize, total: usize) -> f64 {
    if part >= total {
        return end;
    }
    (start + (end - start) * (part as f64 / total as f64)).min(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Word;

    fn spans(segment: &Segment) -> Vec<(&str, f64, f64)> {
        tokens(segment).into_iter().map(|token| (token.text, token.start, token.end)).collect()
    }

    #[test]
    fn words_are_taken_as_they_are() {
        let word = |text: &str, start, end| Word { text: text.into(), start, end, ..Word::default() };
        let words = vec![word("a", 0.0, 0.5), word("", 0.5, 0.75), word(" \n", 0.75, 0.75), word("b c\td", 1.0, 2.5)];
        let segment = Segment { start: 0.0, end: 3.0, text: "not this".into(), words, ..Segment::default() };
        assert_eq!(spans(&segment), [("a", 0.0, 0.5), ("b", 1.0, 1.5), ("c", 1.5, 2.0), ("d", 2.0, 2.5)]);
    }

    #[test]
    fn a_text_without_words_shares_its_time() {
        let of = |text: &str| Segment { start: 1.0, end: 2.0, text: text.into(), ..Segment::default() };
        assert_eq!(spans(&of(" abc\n\0d ")), [("abc", 1.0, 1.75), ("d", 1.75, 2.0)]);
        assert_eq!(spans(&of("\u{A0}\n")), []);
        assert_eq!(between(0.1, 0.3, 3, 3), 0.3);
        assert_eq!(between(0.1, 0.3, 0, 0), 0.3);
    }
}
