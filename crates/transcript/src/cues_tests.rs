//! Tests of how segments are cut into subtitles.

use super::*;
use crate::{Character, Word};

fn word(text: &str, start: f64, end: f64) -> Word {
    Word { text: text.into(), start, end, ..Word::default() }
}

/// Words of a text, half a second each.
fn said(text: &str) -> Vec<Word> {
    (0..).zip(text.split(' ')).map(|(at, text)| word(text, 0.5 * at as f64, 0.5 * at as f64 + 0.5)).collect()
}

fn transcript(words: Vec<Word>, duration: f64) -> Transcript {
    let end = words.last().map_or(0.0, |word| word.end);
    Transcript::new("a.wav", duration, vec![Segment { end, words, ..Segment::default() }]).unwrap()
}

fn shown(transcript: &Transcript) -> Vec<(u64, u64, String)> {
    let cues = cues(transcript).into_iter();
    cues.map(|cue| (cue.span.start, cue.span.end, cue.lines.join("|"))).collect()
}

#[track_caller]
fn assert_shown(words: Vec<Word>, duration: f64, expected: &[(u64, u64, &str)]) {
    let shown = shown(&transcript(words, duration));
    let shown: Vec<_> = shown.iter().map(|(start, end, text)| (*start, *end, text.as_str())).collect();
    assert_eq!(shown, expected);
}

#[test]
fn long_lines_are_halved() {
    let words = said("the quick brown fox jumps over the lazy dog today");
    assert_shown(words, 9.0, &[(0, 5000, "the quick brown fox jumps|over the lazy dog today")]);
    let full = format!("{} {}", "a".repeat(42), "b".repeat(42));
    assert_shown(said(&full), 9.0, &[(0, 1000, &full.replace(' ', "|"))]);
    assert_shown(said(&"c".repeat(42)), 9.0, &[(0, 1000, &"c".repeat(42))]);
}

#[test]
fn long_segments_are_cut_evenly() {
    // 21 words of 3 and a blank: 83 columns. 10.5 s make two cues.
    let text = ["abc"; 21].join(" ");
    let cues = shown(&transcript(said(&text), 11.0));
    assert_eq!(cues.len(), 2, "{cues:?}");
    assert_eq!((cues[0].0, cues[1].1, cues[0].1), (0, 10500, cues[1].0));
    assert!(cues.iter().all(|(start, end, _)| end - start >= 5000), "{cues:?}");
    assert_eq!(cues.iter().map(|cue| cue.2.replace('|', " ")).collect::<Vec<_>>().join(" "), text);
}

#[test]
fn cuts_are_at_pauses_where_they_can_be() {
    let mut words = said(&["abc"; 21].join(" "));
    // After the eighth word, 0.9 s.
    for word in &mut words[8..] {
        (word.start, word.end) = (word.start + 0.9, word.end + 0.9);
    }
    let cues = shown(&transcript(words, 12.0));
    assert_eq!((cues[0].1, cues[1].0, cues.len()), (4000, 4900, 2), "{cues:?}");
    // Beyond a second also where all would fit.
    assert_shown(vec![word("a", 0.0, 0.5), word("b", 1.5, 2.0)], 2.0, &[(0, 1000, "a"), (1500, 2000, "b")]);
}

#[test]
fn every_cue_has_a_length_and_time_to_be_read() {
    // The third is shown for as long as it is said, and the fourth has no time left.
    let words = vec![word("a", 0.1, 0.1), word("b", 1.2, 1.2), word("c", 2.25, 9.5), word("d", 9.5, 9.5)];
    assert_shown(words, 9.5, &[(100, 1100, "a"), (1200, 2200, "b"), (2250, 9499, "c"), (9499, 9500, "d")]);
    assert_shown(vec![word("a", 0.0, 0.0)], 0.0, &[(0, 1, "a")]);
    assert_shown(vec![word(" ", 0.0, 0.0)], 0.0, &[]);
}

#[test]
fn a_word_that_lasts_stays_whole() {
    assert_shown(vec![word("mmm", 0.0, 9.0), word("so", 9.0, 9.5)], 11.0, &[(0, 9000, "mmm"), (9000, 10000, "so")]);
}

#[test]
fn words_wider_than_a_line_are_broken_between_characters() {
    let wide = "東".repeat(50);
    let cues = shown(&transcript(vec![word(&wide, 0.0, 5.0)], 5.0));
    let lines: Vec<usize> = cues.iter().flat_map(|cue| cue.2.split('|')).map(width).collect();
    assert_eq!((lines.iter().sum::<usize>(), lines.iter().max()), (100, Some(&42)), "{cues:?}");
    assert_eq!(cues.iter().map(|cue| cue.2.replace('|', "")).collect::<String>(), wide);
    assert_eq!((cues[0].0, cues[cues.len() - 1].1), (0, 5000));
    // Marks stay with their letters.
    let marked = "a\u{301}".repeat(43);
    let cues = shown(&transcript(vec![word(&marked, 0.0, 4.3)], 5.0));
    assert_eq!(cues, [(0, 4300, format!("{}|a\u{301}", "a\u{301}".repeat(42)))]);
    // Nothing to break between.
    let marks = "\u{301}".repeat(100);
    assert_eq!(shown(&transcript(vec![word(&marks, 0.0, 1.0)], 1.0)), [(0, 1000, marks)]);
}

#[test]
fn broken_words_take_their_characters_times() {
    let text = "x".repeat(90);
    // Silence between the 84th and the 85th.
    let start = |at: usize| if at < 84 { 0.01 * at as f64 } else { 5.0 + 0.01 * at as f64 };
    let characters =
        (0..90).map(|at| Character { text: "x".into(), start: start(at), end: start(at) + 0.01 }).collect();
    let word = Word { characters, ..word(&text, 0.0, 5.95) };
    let token = Token { text: &text, start: 0.0, end: 5.95, confidence: None, characters: &word.characters };
    let starts: Vec<f64> = pieces(&token).iter().map(|piece| piece.start).collect();
    assert_eq!(starts, [0.0, start(42), start(84)]);
    let token = Token { characters: &[], ..token };
    assert_eq!(pieces(&token)[1].start, 5.95 * (42.0 / 90.0));
}

#[test]
fn speakers_are_kept_apart() {
    let of = |name: &str, start, end| Segment {
        start,
        end,
        text: name.to_lowercase(),
        speaker: Some(name.into()),
        ..Segment::default()
    };
    let transcript = Transcript::new("a.wav", 5.0, vec![of("B", 0.0, 0.5), of("A", 0.25, 2.0), of("B", 0.75, 3.0)]);
    let transcript = transcript.unwrap();
    let found: Vec<_> =
        cues(&transcript).into_iter().map(|cue| (cue.span.start, cue.span.end, cue.speaker.unwrap())).collect();
    assert_eq!(found, [(0, 750, "B"), (250, 2000, "A"), (750, 3000, "B")]);
}
