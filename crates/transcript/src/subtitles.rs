//! SubRip (SRT) and WebVTT.
//!
//! Source: W3C WebVTT, section 4 (Syntax). SRT has no standard; this is what players agree on: UTF-8, numbers from 1, a
//! comma before the milliseconds, a blank line after each cue.

use std::fmt::Write as _;

use crate::Transcript;
use crate::cues::{Cue, cues};

/// Writes a transcript as SRT; empty if nothing is said.
///
/// SRT has no escapes: what looks like a tag (`<i>`) players may take for one. Only an arrow in the text is changed,
/// as it is what some find the cues by. Speakers are not named.
pub(crate) fn srt(transcript: &Transcript) -> String {
    let mut out = String::new();
    for (number, Cue { span, lines, .. }) in (1..).zip(cues(transcript)) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{number}\n{} --> {}", time(span.start, ','), time(span.end, ','));
        let _ = writeln!(out, "{}\n", lines.join("\n").replace("-->", "→"));
    }
    out
}

/// Writes a transcript as WebVTT, with its speakers as voices.
pub(crate) fn vtt(transcript: &Transcript) -> String {
    let mut out = String::from("WEBVTT\n");
    for Cue { span, lines, speaker } in cues(transcript) {
        let voice = speaker.map_or(String::new(), |name| format!("<v {}>", escaped(name)));
        let _ = writeln!(out, "\n{} --> {}", time(span.start, '.'), time(span.end, '.'));
        let _ = writeln!(out, "{voice}{}", escaped(&lines.join("\n")));
    }
    out
}

/// `&`, `<` and `>` as character references, which leaves no arrow in the text either.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Milliseconds as `HH:MM:SS.mmm`; hours take as many digits as it needs, two at least.
fn time(milliseconds: u64, point: char) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    format!("{hours:02}:{:02}:{:02}{point}{rest:03}", minutes % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Segment;

    fn transcript(text: &str, speaker: Option<&str>, start: f64, end: f64) -> Transcript {
        let segment =
            Segment { start, end, text: text.into(), speaker: speaker.map(str::to_owned), ..Segment::default() };
        Transcript::new("a.wav", end, vec![segment]).unwrap()
    }

    #[test]
    fn times_have_all_their_digits() {
        for (milliseconds, expected) in [
            (0, "00:00:00.000"),
            (59_999, "00:00:59.999"),
            (3_600_000, "01:00:00.000"),
            (359_999_999, "99:59:59.999"),
            (360_000_000, "100:00:00.000"),
        ] {
            assert_eq!(time(milliseconds, '.'), expected);
        }
    }

    #[test]
    fn nothing_said_leaves_a_valid_file() {
        for text in ["", " \n\u{85}"] {
            let silent = transcript(text, None, 0.0, 1.0);
            assert_eq!((srt(&silent), vtt(&silent)), (String::new(), "WEBVTT\n".to_owned()));
        }
    }

    #[test]
    fn text_cannot_end_a_cue_or_open_a_tag() {
        let hostile = transcript("a\n\n2\r\n00:00 --> 00:01 <b>&amp;\0", Some("A & <B>"), 1.0, 3.5);
        assert_eq!(
            vtt(&hostile),
            "WEBVTT\n\n00:00:01.000 --> 00:00:03.500\n<v A &amp; &lt;B&gt;>a 2 00:00 --&gt; 00:01 &lt;b&gt;&amp;amp;\n"
        );
        assert_eq!(srt(&hostile), "1\n00:00:01,000 --> 00:00:03,500\na 2 00:00 → 00:01 <b>&amp;\n\n");
    }

    #[test]
    fn cues_are_parted_by_a_blank_line() {
        let segment = |text: &str, start, end| Segment { start, end, text: text.into(), ..Segment::default() };
        let two = Transcript::new("a.wav", 4.0, vec![segment("a", 0.0, 2.0), segment("b", 2.0, 4.0)]).unwrap();
        assert_eq!(srt(&two), "1\n00:00:00,000 --> 00:00:02,000\na\n\n2\n00:00:02,000 --> 00:00:04,000\nb\n\n");
        assert_eq!(vtt(&two), "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\na\n\n00:00:02.000 --> 00:00:04.000\nb\n");
    }
}
