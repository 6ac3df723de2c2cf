//! Segments cut into subtitles that can be read: two lines of at most 42 columns, some 7 seconds, between words and
//! preferably at pauses.
//!
//! Source of the figures: Netflix's Timed Text Style Guide (42 characters, two lines, 7 seconds), as most use them.

use crate::characters::{columns, may_part, width};
use crate::timeline::{Resolution, Span, fit};
use crate::tokens::{Token, between, tokens};
use crate::{Segment, Transcript};

/// Columns of a line.
const LINE: usize = 42;
/// Seconds that a cue is shown at most, unless a single word lasts longer.
const LONGEST: f64 = 7.0;
/// Milliseconds that a cue is shown at least, where nothing else is said.
const SHORTEST: u64 = 1_000;
/// A pause this long in seconds always ends a cue.
const PAUSE: f64 = 1.0;

const MILLISECONDS: Resolution = Resolution { ticks: 1e3, least: 1 };

/// One subtitle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cue<'a> {
    /// When it is shown, in milliseconds; never empty.
    pub span: Span,
    /// One or two, none blank.
    pub lines: Vec<String>,
    pub speaker: Option<&'a str>,
}

/// A word, or as much of a word as fits on a line.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    text: &'a str,
    columns: usize,
    /// Goes on a word: no blank before it.
    goes_on: bool,
    start: f64,
    end: f64,
}

/// The cues of a transcript, by where they start. Those of one speaker do not overlap.
pub(crate) fn cues(transcript: &Transcript) -> Vec<Cue<'_>> {
    let mut speakers: Vec<Option<&str>> = transcript.segments().iter().map(|one| one.speaker.as_deref()).collect();
    speakers.sort_unstable();
    speakers.dedup();
    let audio = Span::of(0.0, transcript.duration(), MILLISECONDS);
    let mut all = Vec::new();
    for speaker in speakers {
        let of_speaker = transcript.segments().iter().filter(|segment| segment.speaker.as_deref() == speaker);
        let mut cues: Vec<Cue> = of_speaker.flat_map(of_segment).collect();
        place(&mut cues, audio.end);
        all.append(&mut cues);
    }
    all.sort_by_key(|cue| (cue.span.start, cue.span.end));
    all
}

/// Gives every cue a length, and short ones what they need of the silence after them.
fn place(cues: &mut [Cue], end: u64) {
    let wanted: Vec<(Span, u64)> = cues.iter().map(|cue| (cue.span, 1)).collect();
    let end = end.max(wanted.len() as u64);
    let spans = fit(&wanted, Span { start: 0, end });
    for (number, cue) in cues.iter_mut().enumerate() {
        cue.span = spans[number];
        let next = spans.get(number + 1).map_or(end, |next| next.start);
        cue.span.end = cue.span.end.max(next.min(cue.span.start + SHORTEST));
    }
}

fn of_segment(segment: &Segment) -> Vec<Cue<'_>> {
    let pieces: Vec<Piece> = tokens(segment).iter().flat_map(pieces).collect();
    let mut cues = Vec::new();
    for run in pieces.chunk_by(|one, next| next.start - one.end < PAUSE) {
        let mut rest = run;
        while !rest.is_empty() {
            let (cue, after) = rest.split_at(cut(rest));
            let span = Span::of(cue[0].start, cue[cue.len() - 1].end, MILLISECONDS);
            cues.push(Cue { span, lines: lines(cue), speaker: segment.speaker.as_deref() });
            rest = after;
        }
    }
    cues
}

/// How many pieces, at least one, make the next cue.
fn cut(pieces: &[Piece]) -> usize {
    let fits = |count: &usize| {
        let cue = &pieces[..*count];
        cue[*count - 1].end - cue[0].start <= LONGEST && break_at(cue).is_some()
    };
    let most = (2..=pieces.len()).take_while(fits).last().unwrap_or(1);
    if most == pieces.len() {
        return most;
    }
    // As many cues of one size as it takes, rather than full ones and a last word; a pause of half a second is worth
    // half a cue.
    let (whole, lasts) = (line_width(pieces), pieces[pieces.len() - 1].end - pieces[0].start);
    let count = (whole as f64 / (2 * LINE) as f64).max(lasts / LONGEST).ceil().max(1.0);
    let worth = |&count_here: &usize| {
        let off = (line_width(&pieces[..count_here]) as f64 - whole as f64 / count).abs() / (2 * LINE) as f64;
        pieces[count_here].start - pieces[count_here - 1].end - off
    };
    (1..=most).max_by(|a, b| worth(a).total_cmp(&worth(b))).unwrap_or(most)
}

/// Where the second line starts, or all pieces if one line is enough; none if two are not.
fn break_at(pieces: &[Piece]) -> Option<usize> {
    if line_width(pieces) <= LINE {
        return Some(pieces.len());
    }
    let longer = |&at: &usize| line_width(&pieces[..at]).max(line_width(&pieces[at..]));
    let even = (1..pieces.len()).min_by_key(longer)?;
    (longer(&even) <= LINE).then_some(even)
}

fn line_width(pieces: &[Piece]) -> usize {
    let blanks = pieces.iter().skip(1).filter(|piece| !piece.goes_on).count();
    blanks + pieces.iter().map(|piece| piece.columns).sum::<usize>()
}

fn lines(pieces: &[Piece]) -> Vec<String> {
    let (first, second) = pieces.split_at(break_at(pieces).unwrap_or(pieces.len()));
    let line = |pieces: &[Piece]| {
        let mut line = String::new();
        for piece in pieces {
            if !piece.goes_on && !line.is_empty() {
                line.push(' ');
            }
            line.push_str(piece.text);
        }
        line
    };
    [first, second].into_iter().filter(|pieces| !pieces.is_empty()).map(line).collect()
}

/// A word in pieces that fit on a line: one, but for scripts without blanks.
fn pieces<'a>(token: &Token<'a>) -> Vec<Piece<'a>> {
    let mut pieces = Vec::with_capacity(1);
    let mut from = 0;
    while from < token.text.len() {
        let to = from + fitting(&token.text[from..]);
        let (text, goes_on) = (&token.text[from..to], from > 0);
        pieces.push(Piece { text, columns: width(text), goes_on, start: time(token, from), end: time(token, to) });
        from = to;
    }
    pieces
}

/// How many bytes of a text fit on a line: whole characters with their marks, at least one.
fn fitting(text: &str) -> usize {
    let (mut taken, mut safe, mut before) = (0, 0, None);
    for (at, c) in text.char_indices() {
        if before.is_some_and(|before| may_part(before, c)) {
            safe = at;
        }
        taken += columns(c);
        if taken > LINE && safe > 0 {
            return safe;
        }
        before = Some(c);
    }
    text.len()
}

/// When the byte `at` of a token is said: by its characters where they spell it, else by its share of the columns.
fn time(token: &Token, at: usize) -> f64 {
    let spelt = token.characters.iter().map(|character| character.text.as_str()).collect::<String>() == token.text;
    if at == 0 {
        return token.start;
    }
    if at == token.text.len() || !spelt {
        return between(token.start, token.end, width(&token.text[..at]), width(token.text));
    }
    let mut until = 0;
    let mut characters = token.characters.iter();
    let around = characters.find(|character| {
        until += character.text.len();
        at < until
    });
    around.map_or(token.end, |character| character.start)
}

#[cfg(test)]
#[path = "cues_tests.rs"]
mod tests;
