//! Times in whole ticks, in which everything has a length, for formats that refuse intervals without one.

use crate::{Character, Segment, Transcript, Word};

/// How fine a format's times are.
#[derive(Clone, Copy)]
pub(crate) struct Resolution {
    /// Ticks in a second.
    pub ticks: f64,
    /// Ticks that anything lasts at least.
    pub least: u64,
}

/// Ticks from the start of the audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u64,
    pub end: u64,
}

impl Span {
    /// The span of two times in seconds.
    pub fn of(start: f64, end: f64, resolution: Resolution) -> Self {
        // Neither negative nor above 2^53: `check` bounds them.
        let tick = |time: f64| (time * resolution.ticks).round() as u64;
        Self { start: tick(start), end: tick(end) }
    }
}

/// A text, when it was said, and its parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Timed<'a> {
    pub text: &'a str,
    pub span: Span,
    pub parts: Vec<Timed<'a>>,
    least: u64,
}

/// One speaker's segments; of these, the words; of those, the characters.
pub(crate) struct Speaker<'a> {
    pub name: Option<&'a str>,
    pub segments: Vec<Timed<'a>>,
}

/// A transcript by speaker, in the order in which they first speak; one without a name if nobody speaks.
pub(crate) struct Timeline<'a> {
    /// The end of the audio, or a little later where everything would not fit.
    pub end: u64,
    pub speakers: Vec<Speaker<'a>>,
}

impl<'a> Timeline<'a> {
    /// Puts times on ticks. What would have no length gets the least one: it takes it from the gap after it, or moves
    /// its neighbours by as much.
    pub fn of(transcript: &'a Transcript, resolution: Resolution) -> Self {
        let mut speakers: Vec<Speaker> = Vec::new();
        for segment in transcript.segments() {
            let (name, segment) = (segment.speaker.as_deref(), Timed::segment(segment, resolution));
            match speakers.iter_mut().find(|speaker| speaker.name == name) {
                Some(speaker) => speaker.segments.push(segment),
                None => speakers.push(Speaker { name, segments: vec![segment] }),
            }
        }
        if speakers.is_empty() {
            speakers.push(Speaker { name: None, segments: Vec::new() });
        }
        let Span { end, .. } = Span::of(0.0, transcript.duration(), resolution);
        let needed = speakers.iter().map(|speaker| least(&speaker.segments)).max().unwrap_or(0);
        let end = end.max(needed).max(resolution.least);
        for speaker in &mut speakers {
            place(&mut speaker.segments, Span { start: 0, end });
        }
        Self { end, speakers }
    }
}

impl<'a> Timed<'a> {
    fn segment(segment: &'a Segment, resolution: Resolution) -> Self {
        let words = segment.words.iter().map(|word| Self::word(word, resolution)).collect();
        Self::new(&segment.text, Span::of(segment.start, segment.end, resolution), words, resolution)
    }

    fn word(word: &'a Word, resolution: Resolution) -> Self {
        let character = |character: &'a Character| {
            let span = Span::of(character.start, character.end, resolution);
            Self::new(&character.text, span, Vec::new(), resolution)
        };
        let characters = word.characters.iter().map(character).collect();
        Self::new(&word.text, Span::of(word.start, word.end, resolution), characters, resolution)
    }

    fn new(text: &'a str, span: Span, parts: Vec<Self>, resolution: Resolution) -> Self {
        let least = least(&parts).max(resolution.least);
        Self { text, span, parts, least }
    }
}

fn least(parts: &[Timed]) -> u64 {
    parts.iter().map(|part| part.least).sum()
}

fn place(parts: &mut [Timed], within: Span) {
    let wanted: Vec<(Span, u64)> = parts.iter().map(|part| (part.span, part.least)).collect();
    for (part, span) in parts.iter_mut().zip(fit(&wanted, within)) {
        part.span = span;
        place(&mut part.parts, span);
    }
}

/// Spans, each at least as long as it says, that follow one another within `within` and differ from those wanted only
/// where they must. `within` is to be as long as all of these lengths together.
pub(crate) fn fit(wanted: &[(Span, u64)], within: Span) -> Vec<Span> {
    let mut spans = Vec::with_capacity(wanted.len());
    let mut low = within.start;
    for &(Span { start, end }, least) in wanted {
        let start = start.max(low);
        low = end.max(start + least);
        spans.push(Span { start, end: low });
    }
    // What was pushed out at the end comes back in, and pushes others before it.
    let mut high = within.end;
    for (span, &(_, least)) in spans.iter_mut().zip(wanted).rev() {
        if span.end <= high {
            break;
        }
        span.end = high;
        span.start = span.start.min(high.saturating_sub(least));
        high = span.start;
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECONDS: Resolution = Resolution { ticks: 1e3, least: 1 };

    fn fitted(wanted: &[(u64, u64)], least: u64, (start, end): (u64, u64)) -> Vec<(u64, u64)> {
        let wanted: Vec<_> = wanted.iter().map(|&(start, end)| (Span { start, end }, least)).collect();
        fit(&wanted, Span { start, end }).into_iter().map(|span| (span.start, span.end)).collect()
    }

    #[test]
    fn spans_that_fit_stay() {
        assert_eq!(fitted(&[(0, 5), (5, 6), (8, 10)], 1, (0, 10)), [(0, 5), (5, 6), (8, 10)]);
        assert_eq!(fitted(&[], 1, (0, 0)), []);
    }

    #[test]
    fn empty_spans_take_from_the_gap_after_them_or_move_others() {
        assert_eq!(fitted(&[(2, 2), (5, 9)], 1, (0, 10)), [(2, 3), (5, 9)]);
        assert_eq!(fitted(&[(2, 2), (2, 2), (2, 9)], 1, (0, 10)), [(2, 3), (3, 4), (4, 9)]);
        assert_eq!(fitted(&[(2, 9), (10, 10)], 1, (0, 10)), [(2, 9), (9, 10)]);
        assert_eq!(fitted(&[(2, 10), (10, 10), (10, 10)], 1, (0, 10)), [(2, 8), (8, 9), (9, 10)]);
        assert_eq!(fitted(&[(0, 0), (0, 0), (0, 10)], 3, (0, 10)), [(0, 3), (3, 6), (6, 10)]);
        // As tight as can be.
        assert_eq!(fitted(&[(10, 10), (10, 10), (10, 10)], 3, (1, 10)), [(1, 4), (4, 7), (7, 10)]);
    }

    #[test]
    fn parts_stay_in_what_they_are_part_of() {
        let word = |text: &str, start, end| Word { text: text.into(), start, end, ..Word::default() };
        let words = vec![word("a", 0.5, 0.5), word("b", 0.5, 0.5), word("c", 0.5, 0.5)];
        let segment = Segment { start: 0.5, end: 0.5, text: "a b c".into(), words, ..Segment::default() };
        for (duration, first, end) in [(1.0, 500, 1000), (0.501, 498, 501), (0.5, 497, 500)] {
            let transcript = Transcript::new("a.wav", duration, vec![segment.clone()]).unwrap();
            let timeline = Timeline::of(&transcript, MILLISECONDS);
            let segment = &timeline.speakers[0].segments[0];
            assert_eq!((timeline.end, segment.span), (end, Span { start: first, end: first + 3 }));
            let starts: Vec<_> = segment.parts.iter().map(|word| word.span.start).collect();
            assert_eq!(starts, [first, first + 1, first + 2]);
        }
    }

    #[test]
    fn audio_without_a_length_gets_one() {
        let silent = Transcript::new("a.wav", 0.0, vec![]).unwrap();
        assert_eq!(Timeline::of(&silent, MILLISECONDS).end, 1);
        let spoken = Transcript::new("a.wav", 0.0, vec![Segment::default(); 3]).unwrap();
        let timeline = Timeline::of(&spoken, MILLISECONDS);
        assert_eq!((timeline.end, timeline.speakers[0].segments[2].span), (3, Span { start: 2, end: 3 }));
    }
}
