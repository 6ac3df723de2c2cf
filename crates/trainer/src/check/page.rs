//! What a check found, as a page to listen by.

use std::path::Path;

use klang_corpus::check::{Finding, Histogram, Kind, Report, Severity};
use klang_corpus::{RelativePaths, Statistics};

use crate::drawing::{Anchor, GRID, INK, Look, SOFT, Svg};
use crate::error::Result;
use crate::files;
use crate::run::report::{count, escape, head, listening_document, row};

/// Utterances of a kind on the page: the worst of them, for whoever has an hour and not a week.
const WORST: usize = 25;
/// Characters of a transcript on the page.
const TEXT: usize = 400;

const RULES: &str = ".found { margin: .7rem 0; padding: .5rem .9rem; border-left: 3px solid var(--line) }
.found.error { border-color: var(--c1) } .found p { max-width: none; overflow-wrap: anywhere }
audio { display: block; margin: .4rem 0; height: 2.2rem; width: min(100%, 30rem) }
";

/// Writes the page: counts, lengths, and of each kind of finding the worst utterances with their audio, which the page
/// names by its path from where the page lies and does not hold.
///
/// # Errors
/// A failing file system.
pub fn write_check_page(path: &Path, report: &Report) -> Result<()> {
    files::make_folder(files::parent(path))?;
    let mut paths = RelativePaths::to(files::parent(path))?;
    files::write(path, page(report, &mut |audio| link(&paths.of(audio))).as_bytes())
}

fn page(report: &Report, link: &mut dyn FnMut(&Path) -> String) -> String {
    let lists =
        report.summaries.iter().map(|summary| summary.path.display().to_string()).collect::<Vec<_>>().join(", ");
    let mut body = format!("<h1>Check of {}</h1>\n", escape(&lists));
    body += &headline(report);
    body += &tables(report);
    body += &format!(
        "<h2>Lengths</h2>\n<figure><figcaption>Utterances by length in seconds</figcaption>\n{}</figure>\n",
        histogram(&report.durations())
    );
    for (severity, kind) in report.kinds().into_keys() {
        body += &section(report, severity, kind, link);
    }
    listening_document("Check", RULES, &body)
}

fn headline(report: &Report) -> String {
    let utterances: usize = report.summaries.iter().map(|summary| summary.statistics.utterances).sum();
    let hours: f64 = report.summaries.iter().map(|summary| summary.statistics.hours).sum();
    let card = |title: &str, value: String| format!("<div><div>{title}</div><div class=big>{value}</div></div>\n");
    format!(
        "<div class=cards>\n{}{}{}{}</div>\n",
        card("Utterances", count(utterances as u64)),
        card("Hours", format!("{hours:.2}")),
        card("Errors", count(report.count(Severity::Error) as u64)),
        card("Warnings", count(report.count(Severity::Warning) as u64))
    )
}

fn tables(report: &Report) -> String {
    let lists = report.summaries.iter().map(|summary| {
        let Statistics { utterances, hours, speakers, duration, characters_per_second, .. } = &summary.statistics;
        let known = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.2}"));
        row(&[
            escape(&summary.path.display().to_string()),
            count(*utterances as u64),
            format!("{hours:.2}"),
            count(speakers.len() as u64),
            known(duration.map(|spread| spread.min)),
            known(duration.map(|spread| spread.median)),
            known(duration.map(|spread| spread.max)),
            known(*characters_per_second),
        ])
    });
    let lists: String = lists.collect();
    let columns = ["list", "utterances", "hours", "speakers", "min s", "median s", "max s", "characters/s"];
    let kinds = report.kinds().into_iter().map(|((severity, kind), number)| {
        row(&[
            format!("<a href=\"#{}\">{}</a>", anchor(severity, kind), kind.title()),
            name(severity).into(),
            count(number as u64),
        ])
    });
    let kinds: String = kinds.collect();
    let found = match kinds.is_empty() {
        true => "<p>Nothing wrong was found.</p>\n".into(),
        false => format!("<table>\n{}<tbody>{kinds}</tbody></table>\n", head(&["what", "", "findings"])),
    };
    format!(
        "<h2>Lists</h2>\n<div class=wide><table>\n{}<tbody>{lists}</tbody></table></div>\n<h2>Findings</h2>\n{found}",
        head(&columns)
    )
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn anchor(severity: Severity, kind: Kind) -> String {
    format!("{}-{}", name(severity), kind.title().replace([' ', ','], "-"))
}

/// The worst of a kind.
fn section(report: &Report, severity: Severity, kind: Kind, link: &mut dyn FnMut(&Path) -> String) -> String {
    let mut found: Vec<&Finding> =
        report.findings.iter().filter(|one| (one.severity, one.kind) == (severity, kind)).collect();
    found.sort_by(|a, b| b.badness.total_cmp(&a.badness));
    let all = found.len();
    let shown = if all > WORST { format!(", the worst {WORST} of {}", count(all as u64)) } else { String::new() };
    let mut section =
        format!("<h2 id=\"{}\">{} ({}){shown}</h2>\n", anchor(severity, kind), kind.title(), name(severity));
    for one in found.into_iter().take(WORST) {
        let line = if one.line > 0 { format!(", line {}", one.line) } else { String::new() };
        let place = one.source.display().to_string() + &line;
        section += &format!(
            "<div class=\"found {}\">\n<p><b><bdi>{}</bdi></b> <span class=soft>{}</span></p>\n<p>{}</p>\n",
            name(severity),
            escape(&one.id),
            escape(&place),
            escape(&one.what)
        );
        if let Some(text) = one.text.as_deref().filter(|text| !text.trim().is_empty()) {
            let short: String = text.chars().take(TEXT).collect();
            let rest = if short.len() < text.len() { "…" } else { "" };
            section += &format!("<p><bdi>{}{rest}</bdi></p>\n", escape(&short));
        }
        if one.audio.is_file() {
            let part = match (one.offset, one.duration) {
                (Some(offset), Some(duration)) => format!("#t={offset},{}", offset + duration),
                (Some(offset), None) => format!("#t={offset}"),
                (None, _) => String::new(),
            };
            let source = escape(&(link(&one.audio) + &part));
            section += &format!("<audio controls preload=\"none\" src=\"{source}\"></audio>\n");
        }
        section += "</div>\n";
    }
    section
}

/// A path as a link: what has a meaning in a URL is written in per cent.
fn link(path: &Path) -> String {
    let mut link = String::from(if path.is_absolute() { "file://" } else { "" });
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => link.push(char::from(*byte)),
            other => link += &format!("%{other:02X}"),
        }
    }
    link
}

/// A drawing's width and height, and what its bars stand in.
const SHEET: [f64; 2] = [760.0, 210.0];
const FLOOR: f64 = 180.0;
const HEIGHT: f64 = 150.0;

fn histogram(histogram: &Histogram) -> String {
    let bins = histogram.filled();
    let most = bins.iter().map(|bin| bin.utterances).max().unwrap_or(0).max(1) as f64;
    let mut svg = Svg::new(SHEET[0], SHEET[1], "utterances by length".into());
    svg.line([20.0, FLOOR], [SHEET[0] - 20.0, FLOOR], GRID, 1.0);
    let room = (SHEET[0] - 40.0) / bins.len().max(1) as f64;
    for (bin, place) in bins.iter().zip(0..) {
        let (left, height) = (20.0 + f64::from(place) * room, HEIGHT * bin.utterances as f64 / most);
        svg.push(&format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{}\"/>\n",
            left + 2.0,
            FLOOR - height,
            room - 4.0,
            Look::other(0).colour
        ));
        let middle = left + room / 2.0;
        svg.text([middle, FLOOR - height - 4.0], Anchor::Middle, INK, &count(bin.utterances as u64));
        svg.fitted([middle, FLOOR + 15.0], Anchor::Middle, SOFT, &bin.name(), room);
    }
    svg.inline()
}

#[cfg(test)]
mod tests {
    use super::*;
    use klang_corpus::check::{Listening, Summary};

    fn finding(id: &str, kind: Kind, badness: f64, audio: &Path) -> Finding {
        Finding {
            severity: Severity::Warning,
            kind,
            source: "train.jsonl".into(),
            line: 7,
            id: id.into(),
            what: "what is <wrong>".into(),
            audio: audio.into(),
            offset: Some(1.5),
            duration: Some(2.0),
            text: Some("a & b".into()),
            badness,
        }
    }

    fn report(findings: Vec<Finding>) -> Report {
        let summary = Summary {
            role: klang_corpus::Role::Split,
            path: "train.jsonl".into(),
            statistics: Statistics::of(&[]),
            durations: Histogram::of([1.5, 2.5, 2.6]),
        };
        Report { listening: Listening::Decoded, summaries: vec![summary], findings }
    }

    #[test]
    fn the_worst_come_first_with_audio_by_its_way_from_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let audio = folder.path().join("wav/a #1.wav");
        files::make_folder(audio.parent().unwrap()).unwrap();
        std::fs::write(&audio, "x").unwrap();
        let mut findings: Vec<Finding> =
            (0..30).map(|number| finding(&format!("u{number}"), Kind::Clipped, f64::from(number), &audio)).collect();
        findings.push(finding("<gone>", Kind::Missing, 0.0, &folder.path().join("gone.wav")));
        let target = folder.path().join("out/check.html");
        write_check_page(&target, &report(findings)).unwrap();
        let page = std::fs::read_to_string(&target).unwrap();
        assert!(page.contains("<audio controls preload=\"none\" src=\"../wav/a%20%231.wav#t=1.5,3.5\">"), "{page}");
        assert!(page.find("u29").unwrap() < page.find("u28").unwrap() && !page.contains(">u4<"));
        assert!(page.contains("the worst 25 of 30") && page.matches("<audio").count() == 25);
        assert!(page.contains("&lt;gone&gt;") && page.contains("what is &lt;wrong&gt;") && page.contains("a &amp; b"));
        assert!(page.contains("media-src") && !page.contains("http-equiv=refresh"));
    }

    #[test]
    fn a_sound_corpus_has_a_page_too() {
        let page = page(&report(Vec::new()), &mut |_| unreachable!());
        assert!(page.contains("Nothing wrong was found") && page.contains("2–3 s"), "{page}");
    }
}
