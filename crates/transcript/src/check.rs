//! What the writers rely on.

use std::collections::HashMap;

use crate::characters::is_forbidden_in_xml;
use crate::{Error, Place, Segment, Word};

/// The longest audio in seconds, some 49 days: ELAN files count milliseconds in 32 bits.
pub const LONGEST: f64 = 4_294_967.0;

/// Seconds that times may be off by, as sums of floats are: `13 * 0.2 + 0.2` is more than `14 * 0.2`. They are moved to
/// where they belong.
const ROUNDING: f64 = 1e-6;

/// Checks the parts of a transcript of `audio`, and mends what is rounding.
pub(crate) fn transcript(audio: &str, duration: f64, segments: &mut [Segment]) -> Result<(), Error> {
    if !(0.0..=LONGEST).contains(&duration) {
        return Err(Error::Duration { audio: audio.to_owned(), given: duration });
    }
    let check = Check { audio };
    let mut ends: HashMap<Option<String>, f64> = HashMap::new();
    let mut start = 0.0_f64;
    for (number, segment) in (1..).zip(segments) {
        let place = Place::Segment(number);
        check.speaker(place, segment.speaker.as_deref())?;
        // In order of their starts all together, and without overlap within a speaker.
        let low = ends.get(&segment.speaker).copied().unwrap_or(0.0);
        check.times(place, (&mut segment.start, &mut segment.end), (start.max(low), duration))?;
        check.segment(number, segment)?;
        start = segment.start;
        ends.insert(segment.speaker.clone(), segment.end);
    }
    Ok(())
}

struct Check<'a> {
    audio: &'a str,
}

impl Check<'_> {
    fn segment(&self, number: usize, segment: &mut Segment) -> Result<(), Error> {
        self.confidence(Place::Segment(number), segment.confidence)?;
        let mut low = segment.start;
        for (place, word) in (1..).zip(&mut segment.words) {
            self.times(Place::Word(number, place), (&mut word.start, &mut word.end), (low, segment.end))?;
            self.word(number, place, word)?;
            low = word.end;
        }
        for (place, alternative) in (1..).zip(&segment.alternatives) {
            let place = Place::Alternative(number, place);
            self.finite(place, "the score", alternative.score)?;
            self.finite(place, "the acoustic score", alternative.acoustic)?;
            self.finite(place, "the language model's score", alternative.lm.unwrap_or_default())?;
        }
        Ok(())
    }

    fn word(&self, segment: usize, number: usize, word: &mut Word) -> Result<(), Error> {
        self.confidence(Place::Word(segment, number), word.confidence)?;
        let mut low = word.start;
        for (place, character) in (1..).zip(&mut word.characters) {
            let place = Place::Character(segment, number, place);
            self.times(place, (&mut character.start, &mut character.end), (low, word.end))?;
            low = character.end;
        }
        Ok(())
    }

    /// Leaves `low <= start <= end <= high`, of `low <= high`.
    fn times(&self, place: Place, (start, end): (&mut f64, &mut f64), (low, high): (f64, f64)) -> Result<(), Error> {
        // False of NaN, too.
        if low - ROUNDING <= *start && *start <= *end + ROUNDING && *end <= high + ROUNDING {
            *start = start.clamp(low, high);
            *end = end.clamp(*start, high);
            return Ok(());
        }
        Err(Error::Times { audio: self.audio.to_owned(), place, start: *start, end: *end, low, high })
    }

    fn confidence(&self, place: Place, given: Option<f32>) -> Result<(), Error> {
        let given = given.unwrap_or_default();
        let held = (0.0..=1.0).contains(&given);
        self.number(held, place, "the confidence", given.into(), "0 to 1, or none")
    }

    fn finite(&self, place: Place, what: &'static str, given: f64) -> Result<(), Error> {
        self.number(given.is_finite(), place, what, given, "a finite number")
    }

    fn number(
        &self,
        held: bool,
        place: Place,
        what: &'static str,
        given: f64,
        allowed: &'static str,
    ) -> Result<(), Error> {
        match held {
            true => Ok(()),
            false => Err(Error::Number { audio: self.audio.to_owned(), place, what, given, allowed }),
        }
    }

    /// Speakers name tiers, which readers tell apart by their names alone: nothing in them may need replacing.
    fn speaker(&self, place: Place, given: Option<&str>) -> Result<(), Error> {
        let Some(name) = given else { return Ok(()) };
        let breaks = |c: char| c.is_control() || is_forbidden_in_xml(c) || matches!(c, '\u{2028}' | '\u{2029}');
        if name.trim().is_empty() || name.contains(breaks) {
            return Err(Error::Speaker { audio: self.audio.to_owned(), place, given: name.to_owned() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Alternative, Character};

    fn segment(start: f64, end: f64) -> Segment {
        Segment { start, end, ..Segment::default() }
    }

    fn word(start: f64, end: f64) -> Word {
        Word { start, end, ..Word::default() }
    }

    fn message(duration: f64, mut segments: Vec<Segment>) -> String {
        transcript("a.wav", duration, &mut segments).unwrap_err().to_string()
    }

    #[test]
    fn times_at_the_borders_are_allowed() {
        let inner = Segment { words: vec![word(0.0, 0.0), word(0.0, 1.0), word(1.0, 1.0)], ..segment(0.0, 1.0) };
        transcript("a.wav", 1.0, &mut [inner, segment(1.0, 1.0)]).unwrap();
        transcript("a.wav", 0.0, &mut [segment(0.0, 0.0), segment(-0.0, 0.0)]).unwrap();
        transcript("a.wav", LONGEST, &mut [segment(0.0, LONGEST)]).unwrap();
    }

    #[test]
    fn rounding_is_mended() {
        let at = |frame: usize| frame as f64 * 0.2;
        let words: Vec<Word> = (0..100).map(|frame| word(at(frame), at(frame) + 0.2)).collect();
        assert!(words.windows(2).any(|pair| pair[0].end > pair[1].start));
        let mut segments = [Segment { words, ..segment(0.0, at(100)) }, segment(at(100) - 1e-9, at(100) - 2e-9)];
        transcript("a.wav", at(100) - 1e-7, &mut segments).unwrap();
        let words = &segments[0].words;
        assert!(words.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert_eq!((segments[0].end, words[99].end), (at(100) - 1e-7, at(100) - 1e-7));
        assert_eq!((segments[1].start, segments[1].end), (at(100) - 1e-7, at(100) - 1e-7));
        assert!(message(2.0, vec![segment(0.0, 1.0), segment(1.0 - 2e-6, 2.0)]).contains("segment 2"));
    }

    #[test]
    fn durations_outside_the_range_are_named() {
        for given in [f64::NAN, f64::INFINITY, -0.5, LONGEST + 1.0] {
            let message = message(given, vec![]);
            assert_eq!(message, format!("a.wav: the duration is {given} s; allowed is 0 to 4294967 s"));
        }
    }

    #[test]
    fn times_outside_their_bounds_are_named() {
        for (start, end) in
            [(f64::NAN, 1.0), (0.5, f64::NAN), (0.5, f64::INFINITY), (-0.1, 1.0), (1.0, 0.5), (1.0, 3.0)]
        {
            let message = message(2.0, vec![segment(start, end)]);
            let part = format!("a.wav: segment 1: starts at {start} s and ends at {end} s; allowed is 0 s <=");
            assert!(message.starts_with(&part), "{message}");
        }
        let overlapping = message(2.0, vec![segment(0.0, 1.5), segment(1.0, 2.0)]);
        assert!(overlapping.contains("segment 2: starts at 1 s") && overlapping.contains("1.5 s <="), "{overlapping}");
        let outside = Segment { words: vec![word(1.0, 2.0)], ..segment(0.0, 1.5) };
        assert!(message(2.0, vec![outside]).contains("segment 1, word 1: starts at 1 s and ends at 2 s"));
        let backwards = Segment { words: vec![word(0.5, 1.0), word(0.0, 0.5)], ..segment(0.0, 1.5) };
        assert!(message(2.0, vec![segment(0.0, 0.0), backwards]).contains("segment 2, word 2: starts at 0 s"));
        let late = Character { text: "a".into(), start: 0.5, end: 1.25 };
        let spoken = Segment { words: vec![Word { characters: vec![late], ..word(0.5, 1.0) }], ..segment(0.0, 1.5) };
        assert!(
            message(2.0, vec![spoken]).contains("segment 1, word 1, character 1: starts at 0.5 s and ends at 1.25")
        );
    }

    #[test]
    fn speakers_may_overlap_one_another_but_not_themselves() {
        let of = |speaker: &str, start, end| Segment { speaker: Some(speaker.into()), ..segment(start, end) };
        transcript("a.wav", 3.0, &mut [of("A", 0.0, 2.0), of("B", 1.0, 3.0), of("A", 2.0, 3.0)]).unwrap();
        let twice = message(3.0, vec![of("A", 0.0, 2.0), of("B", 1.0, 3.0), of("A", 1.5, 3.0)]);
        assert!(twice.contains("segment 3: starts at 1.5 s") && twice.contains("2 s <= start"), "{twice}");
        let unordered = message(3.0, vec![of("A", 1.0, 2.0), of("B", 0.5, 3.0)]);
        assert!(unordered.contains("segment 2") && unordered.contains("1 s <= start"), "{unordered}");
        for name in ["", " \u{A0}", "a\nb", "a\u{0}", "a\u{FFFE}", "a\u{2028}b"] {
            assert!(message(3.0, vec![of(name, 0.0, 1.0)]).contains("segment 1: the speaker is"), "{name:?}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        for given in [f32::NAN, -0.1, 1.5, f32::INFINITY] {
            let unsure = Segment { confidence: Some(given), ..segment(0.0, 1.0) };
            assert!(message(1.0, vec![unsure]).contains("segment 1: the confidence is"));
            let word = Word { confidence: Some(given), ..word(0.0, 1.0) };
            let unsure = Segment { words: vec![word], ..segment(0.0, 1.0) };
            assert!(message(1.0, vec![unsure]).contains("segment 1, word 1: the confidence is"));
        }
        let alternatives =
            vec![Alternative::default(), Alternative { lm: Some(f64::NEG_INFINITY), ..Default::default() }];
        let message = message(1.0, vec![Segment { alternatives, ..segment(0.0, 1.0) }]);
        assert_eq!(
            message,
            "a.wav: segment 1, alternative 2: the language model's score is -inf; allowed is a finite number"
        );
    }
}
