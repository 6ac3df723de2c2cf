//! ELAN's annotation format, EAF 3.0.
//!
//! Source: the schema EAFv3.0.xsd and "ELAN Annotation Format, version 3.0" of the Max Planck Institute for
//! Psycholinguistics. Words are a tier `Included_In` the utterances: unlike a time subdivision it allows pauses between
//! them, and unlike a symbolic one it keeps their times. Times are whole milliseconds; ELAN has no annotations without
//! a length, so what has none gets one millisecond (see `Timeline`).

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use quick_xml::events::{BytesDecl, BytesText, Event};
use quick_xml::writer::Writer;

use crate::characters::{for_xml, one_line};
use crate::timeline::{Resolution, Speaker, Timed, Timeline};
use crate::{Error, Format, RenderOptions, Transcript};

const MILLISECONDS: Resolution = Resolution { ticks: 1e3, least: 1 };

/// The constraints that ELAN writes into every file, the used one among them.
const CONSTRAINTS: [(&str, &str); 4] = [
    (
        "Time_Subdivision",
        "Time subdivision of parent annotation's time interval, no time gaps allowed within this interval",
    ),
    (
        "Symbolic_Subdivision",
        "Symbolic subdivision of a parent annotation. Annotations refering to the same parent are ordered",
    ),
    ("Symbolic_Association", "1-1 association with a parent annotation"),
    ("Included_In", "Time alignable annotations within the parent annotation's time interval, gaps are allowed"),
];

type Xml = Writer<Vec<u8>>;

/// A tier with its annotations.
struct Tier<'a> {
    name: String,
    kind: &'static str,
    parent: Option<String>,
    speaker: Option<&'a str>,
    annotations: Vec<Annotation<'a>>,
}

struct Annotation<'a> {
    text: &'a str,
    /// Where its two times are among the slots.
    slots: (usize, usize),
}

/// Writes a transcript as an ELAN file: tiers `utterance` and, where there are any, `word`. With a speaker, who becomes
/// their participant, they are named `utterance@Anna`.
pub(crate) fn eaf(transcript: &Transcript, options: &RenderOptions) -> Result<String, Error> {
    if let Some(given) = options.language.as_ref().filter(|language| !is_language(language)) {
        return Err(Error::Language { given: given.clone() });
    }
    let timeline = Timeline::of(transcript, MILLISECONDS);
    let mut times = Vec::new();
    let tiers: Vec<Tier> = timeline.speakers.iter().flat_map(|speaker| tiers(speaker, &mut times)).collect();
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 4);
    let written = document(&mut xml, transcript, options, &tiers, &times).and_then(|()| {
        let text = String::from_utf8(xml.into_inner()).map_err(io::Error::other)?;
        Ok(text + "\n")
    });
    written.map_err(|source| Error::Write { format: Format::Eaf, source })
}

/// The schema has it as xsd:ID; codes are the narrower.
fn is_language(given: &str) -> bool {
    given.starts_with(|c: char| c.is_ascii_alphabetic()) && given.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// A speaker's tiers; their times are added to `times`.
fn tiers<'a>(speaker: &Speaker<'a>, times: &mut Vec<u64>) -> Vec<Tier<'a>> {
    let named = |kind: &str| speaker.name.map_or(kind.to_owned(), |name| format!("{kind}@{name}"));
    let mut slot = |time| {
        times.push(time);
        times.len() - 1
    };
    let (mut utterances, mut words) = (Vec::new(), Vec::new());
    for segment in &speaker.segments {
        // In the order of time, which decides between slots of the same time.
        let start = slot(segment.span.start);
        words.extend(segment.parts.iter().map(|word: &Timed<'a>| {
            let slots = (slot(word.span.start), slot(word.span.end));
            Annotation { text: word.text, slots }
        }));
        utterances.push(Annotation { text: segment.text, slots: (start, slot(segment.span.end)) });
    }
    let tier = |kind, parent, annotations| Tier { name: named(kind), kind, parent, speaker: speaker.name, annotations };
    let mut tiers = vec![tier("utterance", None, utterances)];
    if !words.is_empty() {
        tiers.push(tier("word", Some(named("utterance")), words));
    }
    tiers
}

fn document(
    xml: &mut Xml,
    transcript: &Transcript,
    options: &RenderOptions,
    tiers: &[Tier],
    times: &[u64],
) -> io::Result<()> {
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let date = date_time(options.date);
    let root = xml.create_element("ANNOTATION_DOCUMENT").with_attributes([
        ("AUTHOR", "klang"),
        ("DATE", &date),
        ("FORMAT", "3.0"),
        ("VERSION", "3.0"),
        ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"),
        ("xsi:noNamespaceSchemaLocation", "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"),
    ]);
    root.write_inner_content(|xml| {
        let annotations = tiers.iter().map(|tier| tier.annotations.len()).sum();
        header(xml, transcript.audio(), options.relative_audio.as_deref(), annotations)?;
        let slots = time_order(xml, times)?;
        let language = options.language.as_deref();
        let mut number = 0;
        for tier in tiers {
            write_tier(xml, tier, language, &slots, &mut number)?;
        }
        let kinds = [("utterance", None), ("word", Some("Included_In"))];
        for (name, constraint) in kinds {
            let kind = xml.create_element("LINGUISTIC_TYPE").with_attributes(constraint.map(|it| ("CONSTRAINTS", it)));
            kind.with_attributes([
                ("GRAPHIC_REFERENCES", "false"),
                ("LINGUISTIC_TYPE_ID", name),
                ("TIME_ALIGNABLE", "true"),
            ])
            .write_empty()?;
        }
        if let Some(language) = language {
            let attributes = [("LANG_ID", language), ("LANG_LABEL", language)];
            xml.create_element("LANGUAGE").with_attributes(attributes).write_empty()?;
        }
        for (name, description) in CONSTRAINTS {
            let attributes = [("DESCRIPTION", description), ("STEREOTYPE", name)];
            xml.create_element("CONSTRAINT").with_attributes(attributes).write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn header(xml: &mut Xml, audio: &str, relative: Option<&str>, annotations: usize) -> io::Result<()> {
    let audio = for_xml(audio);
    let name = audio.rsplit(['/', '\\']).next().unwrap_or(&audio);
    let relative = relative.map_or_else(|| format!("./{name}"), |given| for_xml(given).into_owned());
    let attributes = [("MEDIA_FILE", ""), ("TIME_UNITS", "milliseconds")];
    xml.create_element("HEADER").with_attributes(attributes).write_inner_content(|xml| {
        let (url, kind) = (url(&audio), media_type(name));
        let attributes = [("MEDIA_URL", url.as_str()), ("MIME_TYPE", kind), ("RELATIVE_MEDIA_URL", &relative)];
        xml.create_element("MEDIA_DESCRIPTOR").with_attributes(attributes).write_empty()?;
        let last = annotations.to_string();
        let property = xml.create_element("PROPERTY").with_attribute(("NAME", "lastUsedAnnotationId"));
        property.write_text_content(BytesText::new(&last))?;
        Ok(())
    })?;
    Ok(())
}

/// As ELAN writes it: absolute paths with `file:///` and nothing escaped, since it opens what follows the colon. A
/// relative path stays one; ELAN then goes by the relative URL.
fn url(audio: &str) -> String {
    let path = audio.replace('\\', "/");
    let has_drive = path.as_bytes().get(1..3) == Some(b":/") && path.starts_with(|c: char| c.is_ascii_alphabetic());
    match path.strip_prefix('/') {
        Some(share) if share.starts_with('/') => format!("file:{path}"),
        Some(rest) => format!("file:///{rest}"),
        None if has_drive => format!("file:///{path}"),
        None => path,
    }
}

/// As ELAN has them: WAV, and all other audio.
fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    if extension.eq_ignore_ascii_case("wav") { "audio/x-wav" } else { "audio/*" }
}

/// Writes the times in their order; returns the number of each one's slot.
fn time_order(xml: &mut Xml, times: &[u64]) -> io::Result<Vec<usize>> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|&at| times[at]);
    let mut slots = vec![0; times.len()];
    xml.create_element("TIME_ORDER").write_inner_content(|xml| {
        for (number, at) in (1..).zip(order) {
            slots[at] = number;
            let (id, value) = (format!("ts{number}"), times[at].to_string());
            let attributes = [("TIME_SLOT_ID", id.as_str()), ("TIME_VALUE", &value)];
            xml.create_element("TIME_SLOT").with_attributes(attributes).write_empty()?;
        }
        Ok(())
    })?;
    Ok(slots)
}

fn write_tier(
    xml: &mut Xml,
    tier: &Tier,
    language: Option<&str>,
    slots: &[usize],
    number: &mut usize,
) -> io::Result<()> {
    let optional = [("LANG_REF", language), ("PARENT_REF", tier.parent.as_deref()), ("PARTICIPANT", tier.speaker)];
    let element = xml
        .create_element("TIER")
        .with_attribute(("LINGUISTIC_TYPE_REF", tier.kind))
        .with_attributes(optional.into_iter().filter_map(|(name, value)| Some((name, value?))))
        .with_attribute(("TIER_ID", tier.name.as_str()));
    element.write_inner_content(|xml| {
        for annotation in &tier.annotations {
            *number += 1;
            write_annotation(xml, annotation, *number, slots)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn write_annotation(xml: &mut Xml, annotation: &Annotation, number: usize, slots: &[usize]) -> io::Result<()> {
    let id = format!("a{number}");
    let (start, end) = annotation.slots;
    let (start, end) = (format!("ts{}", slots[start]), format!("ts{}", slots[end]));
    xml.create_element("ANNOTATION").write_inner_content(|xml| {
        let attributes = [("ANNOTATION_ID", &id[..]), ("TIME_SLOT_REF1", &start), ("TIME_SLOT_REF2", &end)];
        xml.create_element("ALIGNABLE_ANNOTATION").with_attributes(attributes).write_inner_content(|xml| {
            let text = one_line(annotation.text);
            xml.create_element("ANNOTATION_VALUE").write_text_content(BytesText::new(&for_xml(&text)))?;
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(())
}

/// An xsd:dateTime in UTC, years 1970 to 9999.
fn date_time(time: SystemTime) -> String {
    const DAY: u64 = 86_400;
    const LAST: u64 = 253_402_300_799;
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(LAST);
    let (day, second) = (seconds / DAY, seconds % DAY);
    // Days of the Gregorian calendar by years that start in March (H. Hinnant, "chrono-compatible low-level date
    // algorithms", civil_from_days).
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let year = era * 400 + year;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
}

#[cfg(test)]
#[path = "eaf_tests.rs"]
mod tests;
