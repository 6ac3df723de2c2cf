//! Tests of the ELAN writer. The golden files are read by ELAN's own readers in tests/interop.

use std::time::Duration;

use super::*;
use crate::{Segment, Word};

fn written(transcript: &Transcript) -> String {
    eaf(transcript, &RenderOptions::default()).unwrap()
}

fn said(text: &str, start: f64, end: f64) -> Segment {
    let words = vec![Word { text: text.into(), start, end, ..Word::default() }];
    Segment { start, end, text: text.into(), words, ..Segment::default() }
}

/// The values of an attribute, in the order of the file.
fn values<'a>(xml: &'a str, attribute: &str) -> Vec<&'a str> {
    let key = format!(" {attribute}=\"");
    xml.split(&key).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn slots_are_in_the_order_of_time() {
    let of = |speaker: &str, segment: Segment| Segment { speaker: Some(speaker.into()), ..segment };
    let segments = vec![of("A", said("a", 0.5, 2.0)), of("B", said("b", 1.0, 1.5)), of("A", said("c", 2.0, 2.0))];
    let xml = written(&Transcript::new("a.wav", 2.0, segments).unwrap());
    assert_eq!(
        values(&xml, "TIME_VALUE"),
        ["500", "500", "1000", "1000", "1500", "1500", "1999", "1999", "1999", "1999", "2000", "2000"]
    );
    // Utterances and words of A, then those of B.
    assert_eq!(values(&xml, "TIME_SLOT_REF1"), ["ts1", "ts9", "ts2", "ts10", "ts3", "ts4"]);
    assert_eq!(values(&xml, "TIME_SLOT_REF2"), ["ts8", "ts12", "ts7", "ts11", "ts6", "ts5"]);
    assert_eq!(values(&xml, "TIER_ID"), ["utterance@A", "word@A", "utterance@B", "word@B"]);
    assert_eq!(values(&xml, "PARENT_REF"), ["utterance@A", "utterance@B"]);
    assert_eq!(values(&xml, "PARTICIPANT"), ["A", "A", "B", "B"]);
    assert!(xml.contains("<PROPERTY NAME=\"lastUsedAnnotationId\">6</PROPERTY>"), "{xml}");
}

#[test]
fn text_cannot_leave_its_element() {
    let text = "<b> & \"c\" ]]> '\u{1}\u{FFFE}\r\n e\u{301} \u{202E}";
    let hostile = Segment { speaker: Some("A & \"B\" <c>".into()), ..said(text, 0.0, 1.0) };
    let xml = written(&Transcript::new("a&\"\u{2}.wav", 1.0, vec![hostile]).unwrap());
    let value = "&lt;b&gt; &amp; &quot;c&quot; ]]&gt; &apos; \u{FFFD}   e\u{301} \u{202E}";
    assert_eq!(xml.matches(&format!("<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE>")).count(), 2, "{xml}");
    assert_eq!(values(&xml, "PARTICIPANT"), ["A &amp; &quot;B&quot; &lt;c&gt;"; 2]);
    assert_eq!(values(&xml, "MEDIA_URL"), ["a&amp;&quot;\u{FFFD}.wav"]);
}

#[test]
fn nobody_speaking_leaves_an_empty_tier() {
    let xml = written(&Transcript::new("a.flac", 1.0, vec![]).unwrap());
    assert_eq!((values(&xml, "TIER_ID"), values(&xml, "TIME_VALUE")), (vec!["utterance"], vec![]));
    assert_eq!(values(&xml, "MIME_TYPE"), ["audio/*"]);
}

#[test]
fn audio_is_found_from_its_path_or_the_files_folder() {
    for (audio, expected, relative) in [
        ("/data/my talk.WAV", "file:///data/my talk.WAV", "./my talk.WAV"),
        ("talks/a.wav", "talks/a.wav", "./a.wav"),
        ("C:\\talks\\a.wav", "file:///C:/talks/a.wav", "./a.wav"),
        ("\\\\server\\talks\\a.wav", "file://server/talks/a.wav", "./a.wav"),
        ("é:/a.wav", "é:/a.wav", "./a.wav"),
    ] {
        let xml = written(&Transcript::new(audio, 1.0, vec![]).unwrap());
        assert_eq!((url(audio).as_str(), values(&xml, "MEDIA_URL")), (expected, vec![expected]));
        assert_eq!(values(&xml, "RELATIVE_MEDIA_URL"), [relative]);
    }
    let options = RenderOptions { relative_audio: Some("../talks/a.wav".into()), ..RenderOptions::default() };
    let xml = eaf(&Transcript::new("talks/a.wav", 1.0, vec![]).unwrap(), &options).unwrap();
    assert_eq!(values(&xml, "RELATIVE_MEDIA_URL"), ["../talks/a.wav"]);
}

#[test]
fn languages_are_codes() {
    let transcript = Transcript::new("a.wav", 1.0, vec![said("a", 0.0, 1.0)]).unwrap();
    let of = |language: &str| {
        eaf(&transcript, &RenderOptions { language: Some(language.into()), ..RenderOptions::default() })
    };
    let xml = of("mdw").unwrap();
    assert_eq!((values(&xml, "LANG_ID"), values(&xml, "LANG_REF")), (vec!["mdw"], vec!["mdw", "mdw"]));
    for given in ["", "1a", "two words", "a\"b", "日本"] {
        assert!(matches!(of(given), Err(Error::Language { .. })), "{given:?}");
    }
}

#[test]
fn dates_are_of_the_calendar() {
    for (seconds, expected) in [
        (0, "1970-01-01T00:00:00+00:00"),
        (951_782_399, "2000-02-28T23:59:59+00:00"),
        (951_868_799, "2000-02-29T23:59:59+00:00"),
        (1_735_689_599, "2024-12-31T23:59:59+00:00"),
        (4_107_542_400, "2100-03-01T00:00:00+00:00"),
        (u64::MAX / 2, "9999-12-31T23:59:59+00:00"),
    ] {
        let Some(time) = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) else { continue };
        assert_eq!(date_time(time), expected);
    }
    assert_eq!(date_time(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00+00:00");
}
