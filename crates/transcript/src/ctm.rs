//! NIST CTM: `<file> <channel> <start> <duration> <word> [<confidence>]`, a line per word, by where it starts.
//!
//! Source: "ctm - Definition of time marked conversation scoring input", infmts.htm of NIST's SCTK. What sclite takes
//! for markup in a word (`@`, `(…)`, `{ … / … }`) it takes for that here as well: the format has no way to say otherwise.

use std::fmt::Write as _;

use crate::Transcript;
use crate::characters::is_blank;
use crate::tokens::tokens;

/// The channel of mono audio.
const CHANNEL: &str = "1";

/// Writes a transcript as CTM. Of a segment without words, the words of its text share its time.
pub(crate) fn ctm(transcript: &Transcript) -> String {
    let file = file_id(transcript.audio());
    let mut words: Vec<_> = transcript.segments().iter().flat_map(tokens).collect();
    // Two speakers' segments may overlap.
    words.sort_by(|a, b| a.start.total_cmp(&b.start));
    let mut out = String::new();
    for word in words {
        // From rounded ends, so that words that touch do so here.
        let (start, end) = (milliseconds(word.start), milliseconds(word.end));
        let (from, lasts) = (start as f64 / 1e3, (end - start) as f64 / 1e3);
        // Writing to a String cannot fail.
        let _ = write!(out, "{file} {CHANNEL} {from:.3} {lasts:.3} {}", word.text);
        if let Some(confidence) = word.confidence {
            let _ = write!(out, " {confidence:.4}");
        }
        out.push('\n');
    }
    out
}

fn milliseconds(time: f64) -> u64 {
    (time * 1e3).round() as u64
}

/// The file's name without folders and extension. Fields are parted by blanks and comments start with `;`: both become
/// `_` here.
fn file_id(audio: &str) -> String {
    let name = audio.rsplit(['/', '\\']).next().unwrap_or(audio);
    let stem = match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    };
    match stem.is_empty() {
        true => "_".to_owned(),
        false => stem.replace(|c: char| is_blank(c) || c == ';', "_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Segment, Word};

    fn word(text: &str, start: f64, end: f64, confidence: Option<f32>) -> Word {
        Word { text: text.into(), start, end, confidence, characters: vec![] }
    }

    #[test]
    fn lines_are_by_time_and_have_no_blank_too_many() {
        let words = vec![word("a", 0.0, 0.02, Some(1.0)), word("b c", 0.5, 1.5, Some(0.25)), word(" ", 1.5, 1.5, None)];
        let first = Segment { start: 0.0, end: 2.0, words, speaker: Some("A".into()), ..Segment::default() };
        let second = Segment { start: 0.25, end: 0.75, text: "d\ne".into(), ..Segment::default() };
        let transcript = Transcript::new("x/a b.c.wav", 2.0, vec![first, second]).unwrap();
        let expected = "a_b.c 1 0.000 0.020 a 1.0000\na_b.c 1 0.250 0.250 d\na_b.c 1 0.500 0.500 b 0.2500\n\
                        a_b.c 1 0.500 0.250 e\na_b.c 1 1.000 0.500 c 0.2500\n";
        assert_eq!(ctm(&transcript), expected);
        assert_eq!(ctm(&Transcript::new("a.wav", 2.0, vec![]).unwrap()), "");
    }

    #[test]
    fn durations_are_those_of_rounded_ends() {
        let words = vec![word("a", 0.0004, 0.0015, None), word("b", 0.0015, 0.0015, None)];
        let segment = Segment { start: 0.0, end: 1.0, words, ..Segment::default() };
        let transcript = Transcript::new("a.wav", 1.0, vec![segment]).unwrap();
        assert_eq!(ctm(&transcript), "a 1 0.000 0.002 a\na 1 0.002 0.000 b\n");
    }

    #[test]
    fn file_ids_are_one_field() {
        for (audio, id) in [
            ("talk.wav", "talk"),
            ("a/b\\my talk\t2.tar.gz", "my_talk_2.tar"),
            (";;x.wav", "__x"),
            (".wav", ".wav"),
            ("", "_"),
            ("a/", "_"),
            ("\u{A0}\n.wav", "__"),
            ("mwa\u{301}na", "mwa\u{301}na"),
        ] {
            assert_eq!(file_id(audio), id, "{audio:?}");
        }
    }
}
