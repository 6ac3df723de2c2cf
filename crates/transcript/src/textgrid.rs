//! Praat's TextGrid, in its long text form and UTF-8.
//!
//! Source: "TextGrid file formats" of the Praat manual. The layout is what Praat 6 saves, to the blank at the end of a
//! line. Every tier covers the whole time with intervals that neither overlap nor are empty; a pause has no text. Praat
//! refuses intervals without a length, so what has none gets a millisecond (see `Timeline`).

use std::fmt::Write as _;

use crate::Transcript;
use crate::characters::one_line;
use crate::timeline::{Resolution, Span, Timed, Timeline};

/// Microseconds: finer than any frame, and without the noise of sums of floats.
const MICROSECONDS: Resolution = Resolution { ticks: 1e6, least: 1_000 };

/// An interval and its text.
type Interval<'a> = (Span, &'a str);

/// Writes a transcript as a TextGrid: tiers `segments` and, where there are any, `words` and `characters`. With a
/// speaker they are named `Anna - segments`, as the Montreal Forced Aligner does.
pub(crate) fn textgrid(transcript: &Transcript) -> String {
    let timeline = Timeline::of(transcript, MICROSECONDS);
    let mut tiers = Vec::new();
    for speaker in &timeline.speakers {
        let words: Vec<&Timed> = speaker.segments.iter().flat_map(|segment| &segment.parts).collect();
        let characters: Vec<&Timed> = words.iter().flat_map(|word| &word.parts).collect();
        for (kind, parts) in
            [("segments", speaker.segments.iter().collect()), ("words", words), ("characters", characters)]
        {
            if kind == "segments" || !parts.is_empty() {
                let name = speaker.name.map_or(kind.to_owned(), |speaker| format!("{speaker} - {kind}"));
                tiers.push((name, without_gaps(&parts, timeline.end)));
            }
        }
    }
    written(&tiers, timeline.end)
}

/// The intervals of a tier, with empty ones between.
fn without_gaps<'a>(parts: &[&Timed<'a>], end: u64) -> Vec<Interval<'a>> {
    let mut intervals = Vec::with_capacity(2 * parts.len() + 1);
    let mut last = 0;
    for part in parts {
        if part.span.start > last {
            intervals.push((Span { start: last, end: part.span.start }, ""));
        }
        intervals.push((part.span, part.text));
        last = part.span.end;
    }
    if end > last {
        intervals.push((Span { start: last, end }, ""));
    }
    intervals
}

fn written(tiers: &[(String, Vec<Interval>)], end: u64) -> String {
    let end = seconds(end);
    let mut out = String::from("File type = \"ooTextFile\"\nObject class = \"TextGrid\"\n\n");
    // Writing to a String cannot fail.
    let _ = write!(out, "xmin = 0 \nxmax = {end} \ntiers? <exists> \nsize = {} \nitem []: \n", tiers.len());
    for (number, (name, intervals)) in (1..).zip(tiers) {
        let _ = write!(
            out,
            "    item [{number}]:\n        class = \"IntervalTier\" \n        name = {} \n        xmin = 0 \n        \
             xmax = {end} \n        intervals: size = {} \n",
            quoted(name),
            intervals.len()
        );
        for (number, (span, text)) in (1..).zip(intervals) {
            let (start, end) = (seconds(span.start), seconds(span.end));
            let _ = write!(
                out,
                "        intervals [{number}]:\n            xmin = {start} \n            xmax = {end} \n            \
                 text = {} \n",
                quoted(text)
            );
        }
    }
    out
}

/// A Praat string: in quotes, those within doubled. Line breaks become blanks, as other readers go by lines.
fn quoted(text: &str) -> String {
    format!("\"{}\"", one_line(text).replace('"', "\"\""))
}

/// Microseconds as seconds, with as many decimals as it takes.
fn seconds(microseconds: u64) -> String {
    let (whole, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
    match rest {
        0 => whole.to_string(),
        _ => format!("{whole}.{rest:06}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Character, Segment, Word};

    /// (tier, xmin, xmax, text) of every interval, as the lines have it.
    fn intervals(written: &str) -> Vec<(String, String, String, String)> {
        let value = |line: &str| line.split_once(" = ").unwrap().1.trim_end().to_owned();
        let lines: Vec<&str> = written.lines().collect();
        let mut tier = String::new();
        let mut found = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            if line.starts_with("        name") {
                tier = value(line);
            }
            if line.starts_with("        intervals [") {
                found.push((tier.clone(), value(lines[at + 1]), value(lines[at + 2]), value(lines[at + 3])));
            }
        }
        found
    }

    #[track_caller]
    fn assert_intervals(transcript: &Transcript, expected: &[(&str, &str, &str, &str)]) {
        let found = intervals(&textgrid(transcript));
        let found: Vec<_> =
            found.iter().map(|(tier, from, to, text)| (&tier[..], &from[..], &to[..], &text[..])).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn tiers_cover_the_whole_time() {
        let characters = vec![Character { text: "a".into(), start: 0.1 + 0.2, end: 0.5 }];
        let words = vec![
            Word { text: "a".into(), start: 0.1 + 0.2, end: 0.5, confidence: None, characters },
            Word { text: "say \"b\"".into(), start: 0.5, end: 0.75, ..Word::default() },
        ];
        let segment = Segment { start: 0.25, end: 1.0, text: "a\n\"".into(), words, ..Segment::default() };
        assert_intervals(
            &Transcript::new("a.wav", 1.0, vec![segment]).unwrap(),
            &[
                ("\"segments\"", "0", "0.25", "\"\""),
                ("\"segments\"", "0.25", "1", "\"a \"\"\""),
                ("\"words\"", "0", "0.3", "\"\""),
                ("\"words\"", "0.3", "0.5", "\"a\""),
                ("\"words\"", "0.5", "0.75", "\"say \"\"b\"\"\""),
                ("\"words\"", "0.75", "1", "\"\""),
                ("\"characters\"", "0", "0.3", "\"\""),
                ("\"characters\"", "0.3", "0.5", "\"a\""),
                ("\"characters\"", "0.5", "1", "\"\""),
            ],
        );
    }

    #[test]
    fn what_has_no_length_gets_a_millisecond() {
        let words = vec![
            Word { text: "a".into(), start: 0.5, end: 0.5, ..Word::default() },
            Word { text: "b".into(), start: 0.5, end: 1.0, ..Word::default() },
            Word { text: "c".into(), start: 1.0, end: 1.0, ..Word::default() },
        ];
        let segment = Segment { start: 0.5, end: 1.0, text: "a b c".into(), words, ..Segment::default() };
        assert_intervals(
            &Transcript::new("a.wav", 1.0, vec![segment]).unwrap(),
            &[
                ("\"segments\"", "0", "0.5", "\"\""),
                ("\"segments\"", "0.5", "1", "\"a b c\""),
                ("\"words\"", "0", "0.5", "\"\""),
                ("\"words\"", "0.5", "0.501", "\"a\""),
                ("\"words\"", "0.501", "0.999", "\"b\""),
                ("\"words\"", "0.999", "1", "\"c\""),
            ],
        );
        assert_intervals(&Transcript::new("a.wav", 0.0, vec![]).unwrap(), &[("\"segments\"", "0", "0.001", "\"\"")]);
    }

    #[test]
    fn each_speaker_has_tiers() {
        let of = |name: &str, start, end| {
            let text = name.to_lowercase();
            Segment { start, end, text, speaker: Some(name.to_owned()), ..Segment::default() }
        };
        let transcript = Transcript::new("a.wav", 3.0, vec![of("A\"", 0.0, 2.0), of("B", 1.0, 3.0)]).unwrap();
        assert_intervals(
            &transcript,
            &[
                ("\"A\"\" - segments\"", "0", "2", "\"a\"\"\""),
                ("\"A\"\" - segments\"", "2", "3", "\"\""),
                ("\"B - segments\"", "0", "1", "\"\""),
                ("\"B - segments\"", "1", "3", "\"b\""),
            ],
        );
    }
}
