use super::*;
use std::f64::consts::TAU;
use std::fs;

use klang_text::{Normaliser, TextOptions};
use tempfile::TempDir;

fn write(path: &Path, rate: u32, samples: impl IntoIterator<Item = i16>) {
    let spec =
        hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples.into_iter().for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}

/// `seconds` of a tone; cut off at full scale where `gain` is above 1.
fn tone(hertz: f64, gain: f64, seconds: f64) -> impl Iterator<Item = i16> {
    let sample = move |place: u32| (gain * (TAU * hertz * f64::from(place) / 16_000.0).sin() * 32_768.0) as i16;
    (0..(seconds * 16_000.0) as u32).map(sample)
}

/// A folder with second-long WAVs `a.wav`, `b.wav`, `c.wav`, an `empty.wav` and a `noise.wav` that is none.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, hertz) in [("a", 200.0), ("b", 300.0), ("c", 400.0)] {
        write(&folder.path().join(format!("{name}.wav")), 16_000, tone(hertz, 0.3, 1.0));
    }
    fs::write(folder.path().join("empty.wav"), b"").unwrap();
    fs::write(folder.path().join("noise.wav"), b"this is no audio file").unwrap();
    folder
}

fn utterance(folder: &TempDir, name: &str) -> Utterance {
    Utterance {
        text: Some(format!("sentence {name}")),
        speaker: Some(format!("speaker {name}")),
        duration: Some(1.0),
        line: 1,
        ..Utterance::new(name, folder.path().join(format!("{name}.wav")))
    }
}

/// A second of `samples` in a file of its own.
fn recorded(folder: &TempDir, rate: u32, samples: impl IntoIterator<Item = i16>) -> Utterance {
    write(&folder.path().join("recorded.wav"), rate, samples);
    utterance(folder, "recorded")
}

/// `of` decoded, labelled, by no model.
fn checked(sources: &[(Role, &str, &[Utterance])], change: impl FnOnce(&mut CheckOptions<'_>)) -> Report {
    let sources: Vec<Source<'_>> = sources
        .iter()
        .map(|(role, path, utterances)| Source { role: *role, path: Path::new(*path), utterances })
        .collect();
    let reader = PlainText { normaliser: Normaliser::new(&TextOptions::default()).unwrap() };
    let mut options = CheckOptions {
        labelled: true,
        listening: Listening::Decoded,
        reader: &reader,
        overlap: Overlap::Refused,
        progress: &|| {},
    };
    change(&mut options);
    check(&sources, &options)
}

fn found(sources: &[(Role, &str, &[Utterance])]) -> Vec<(Severity, Kind, String)> {
    listed(checked(sources, |_| {}))
}

fn listed(report: Report) -> Vec<(Severity, Kind, String)> {
    report.findings.into_iter().map(|finding| (finding.severity, finding.kind, finding.to_string())).collect()
}

/// The one finding for one utterance, by decoding and, where that can tell, by the header.
fn only(utterance: Utterance) -> (Severity, Kind, String) {
    let mut findings = found(&[(Role::Split, "train.jsonl", &[utterance])]);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

fn quick(utterance: &Utterance) -> Vec<(Severity, Kind, String)> {
    let one = std::slice::from_ref(utterance);
    listed(checked(&[(Role::Split, "train.jsonl", one)], |options| options.listening = Listening::Header))
}

const ERROR: Severity = Severity::Error;
const WARNING: Severity = Severity::Warning;

#[test]
fn a_sound_corpus_has_no_findings() {
    let folder = folder();
    let [a, b, c] = ["a", "b", "c"].map(|name| [utterance(&folder, name)]);
    for roles in [[Role::Train, Role::Dev, Role::Test], [Role::Split; 3]] {
        let sources: [(Role, &str, &[Utterance]); 3] =
            [(roles[0], "train", &a), (roles[1], "dev", &b), (roles[2], "test", &c)];
        for listening in [Listening::Presence, Listening::Header, Listening::Decoded] {
            let report = checked(&sources, |options| options.listening = listening);
            assert_eq!(report.findings, []);
            assert_eq!(report.summaries[1].statistics.hours, 1.0 / 3600.0);
            assert_eq!(report.durations().filled().iter().map(|bin| bin.utterances).sum::<usize>(), 3);
        }
    }
}

#[test]
fn a_missing_file_is_an_error_with_its_path() {
    let (severity, kind, what) = only(utterance(&folder(), "missing"));
    assert_eq!((severity, kind), (ERROR, Kind::Missing));
    assert!(what.contains("missing.wav") && what.contains("train.jsonl, line 1, `missing`"), "{what}");
}

#[test]
fn an_empty_file_is_an_error_even_unopened() {
    let folder = folder();
    for listening in [Listening::Presence, Listening::Header, Listening::Decoded] {
        let one = [utterance(&folder, "empty")];
        let findings = listed(checked(&[(Role::Train, "t", &one)], |options| options.listening = listening));
        assert!(findings.len() == 1 && findings[0].2.contains("empty.wav: an empty file"), "{findings:?}");
        assert_eq!(findings[0].1, Kind::Empty);
    }
    write(&folder.path().join("empty.wav"), 16_000, []);
    assert_eq!(only(utterance(&folder, "empty")).1, Kind::Empty);
}

#[test]
fn a_file_that_is_no_audio_is_an_error_that_names_it() {
    let folder = folder();
    let (severity, kind, what) = only(utterance(&folder, "noise"));
    assert_eq!((severity, kind), (ERROR, Kind::NotAudio));
    assert!(what.contains("noise.wav"), "{what}");
    assert_eq!(quick(&utterance(&folder, "noise"))[0].1, Kind::NotAudio);
    let one = [utterance(&folder, "noise")];
    let present = checked(&[(Role::Train, "t", &one)], |options| options.listening = Listening::Presence);
    assert_eq!(present.findings, []);
}

#[test]
fn what_only_the_samples_show_is_missed_by_the_header() {
    let folder = folder();
    let path = folder.path().join("nan.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    (0..16_000).for_each(|place| writer.write_sample(if place == 9 { f32::NAN } else { 0.1 }).unwrap());
    writer.finalize().unwrap();
    let (severity, kind, what) = only(utterance(&folder, "nan"));
    assert!((severity, kind) == (ERROR, Kind::Unreadable) && what.contains("frame 9 is NaN"), "{what}");
    assert_eq!(quick(&utterance(&folder, "nan")), []);
}

#[test]
fn a_truncated_file_is_an_error_where_words_are_gone_and_a_warning_otherwise() {
    let folder = folder();
    let cut = |frames: usize| {
        let whole = fs::read(folder.path().join("a.wav")).unwrap();
        fs::write(folder.path().join("cut.wav"), &whole[..whole.len() - 2 * frames]).unwrap();
        Utterance { duration: None, ..utterance(&folder, "cut") }
    };
    let truncated = |findings: Vec<(Severity, Kind, String)>| {
        let [one] = &findings[..] else {
            let kinds: Vec<_> = findings.iter().map(|(severity, kind, _)| (*severity, *kind)).collect();
            assert_eq!(kinds.last(), Some(&(WARNING, Kind::NoDuration)), "{findings:?}");
            return (findings[0].0, findings[0].1);
        };
        panic!("{one:?}")
    };
    for look in [|one: &Utterance| found(&[(Role::Split, "t", std::slice::from_ref(one))]), quick] {
        assert_eq!(truncated(look(&cut(8000))), (ERROR, Kind::Truncated));
        assert_eq!(truncated(look(&cut(100))), (WARNING, Kind::Truncated));
    }
    // A segment that lies within what is there lacks nothing.
    cut(8000);
    let early = Utterance { offset: Some(0.0), duration: Some(0.4), ..utterance(&folder, "cut") };
    assert_eq!(found(&[(Role::Split, "t", std::slice::from_ref(&early))]), []);
    assert_eq!(quick(&early)[0].0, WARNING);
    let mut endless = fs::read(folder.path().join("a.wav")).unwrap();
    endless[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    fs::write(folder.path().join("piped.wav"), endless).unwrap();
    assert_eq!(only(utterance(&folder, "piped")).0, WARNING);
}

#[test]
fn clipped_and_silent_recordings_are_told() {
    let folder = folder();
    let level = |gain: f64| recorded(&folder, 16_000, tone(250.0, gain, 1.0));
    let (severity, kind, what) = only(level(2.0));
    assert!((severity, kind) == (WARNING, Kind::Clipped) && what.contains("clipped: 6"), "{what}");
    assert_eq!(found(&[(Role::Split, "t", &[level(0.99)])]), []);
    let (severity, kind, what) = only(level(0.0035));
    assert!((severity, kind) == (WARNING, Kind::NearSilent) && what.contains("-52 dB"), "{what}");
    let (severity, kind, _) = only(level(0.001));
    assert_eq!((severity, kind), (ERROR, Kind::Silent));
    let (severity, kind, what) = only(recorded(&folder, 16_000, [0; 16_000]));
    assert!((severity, kind) == (ERROR, Kind::Silent) && what.contains("all samples are the same"), "{what}");
    assert_eq!(quick(&recorded(&folder, 16_000, [0; 16_000])), []);
}

#[test]
fn a_low_sample_rate_is_a_warning() {
    let folder = folder();
    let telephone = recorded(&folder, 8000, tone(250.0, 0.3, 0.5));
    for (severity, kind, what) in [only(telephone.clone()), quick(&telephone).remove(0)] {
        assert!((severity, kind) == (WARNING, Kind::Upsampled) && what.contains("from 8000 Hz"), "{what}");
    }
    let studio = recorded(&folder, 48_000, tone(250.0, 0.3, 3.0));
    assert_eq!(found(&[(Role::Split, "t", &[studio])]), []);
}

#[test]
fn durations_are_compared_with_the_file() {
    let folder = folder();
    let with = |offset: Option<f64>, duration: Option<f64>| Utterance { offset, duration, ..utterance(&folder, "a") };
    for (offset, duration, severity, kind, part) in [
        (None, Some(1.2), WARNING, Kind::Duration, "1.2 s, but the file holds 1.000 s"),
        (None, Some(0.8), WARNING, Kind::Duration, "0.8 s, but the file holds 1.000 s"),
        (None, Some(0.0), ERROR, Kind::Outside, "allowed: above 0"),
        (None, Some(-1.0), ERROR, Kind::Outside, "allowed: above 0"),
        (Some(0.5), Some(0.8), WARNING, Kind::Duration, "ends at 1.300 s"),
        (Some(1.5), Some(0.5), ERROR, Kind::Outside, "starts at 1.5 s"),
        (None, None, WARNING, Kind::NoDuration, "no duration"),
    ] {
        for (found, of, what) in [only(with(offset, duration)), quick(&with(offset, duration)).remove(0)] {
            assert!((found, of) == (severity, kind) && what.contains(part), "{what}");
        }
    }
    for (offset, duration) in [(None, 1.05), (None, 0.95), (Some(0.5), 0.55)] {
        assert_eq!(found(&[(Role::Train, "t", &[with(offset, Some(duration))])]), []);
    }
}

#[test]
fn missing_durations_are_counted_in_one_finding_and_looked_up() {
    let folder = folder();
    let all = ["a", "b", "c"].map(|name| Utterance { duration: None, ..utterance(&folder, name) });
    for listening in [Listening::Header, Listening::Decoded] {
        let report = checked(&[(Role::Train, "t", &all)], |options| options.listening = listening);
        assert_eq!(report.summaries[0].statistics.timed, 3);
        assert!(report.findings.len() == 1 && report.findings[0].what.contains("nor have 2 more"));
        assert!(!report.findings[0].leaves_out());
    }
}

#[test]
fn what_a_folder_holds_beside_speech_is_passed_over_in_a_recipe() {
    let folder = folder();
    let one = [Utterance { line: 0, duration: None, ..utterance(&folder, "noise") }];
    for (role, severity) in [(Role::Train, WARNING), (Role::Split, ERROR)] {
        let found = listed(checked(&[(role, "recordings", &one)], |options| options.labelled = false));
        assert!(found.len() == 1 && (found[0].0, found[0].1) == (severity, Kind::NotAudio), "{found:?}");
        assert!(found[0].2.contains("recordings, `noise`: "), "{found:?}");
    }
}

#[test]
fn text_is_needed_unless_training_is_self_supervised() {
    let folder = folder();
    let without = Utterance { text: None, ..utterance(&folder, "a") };
    let (severity, kind, what) = only(without.clone());
    assert!((severity, kind) == (ERROR, Kind::NoText) && what.contains("no text"), "{what}");
    let report = checked(&[(Role::Train, "t", &[without])], |options| options.labelled = false);
    assert_eq!(report.findings, []);
    for text in [" \u{a0}", "…"] {
        let empty = Utterance { text: Some(text.into()), ..utterance(&folder, "a") };
        assert_eq!(only(empty.clone()).0, ERROR);
        // A training passes it over by itself.
        let (severity, kind, what) = found(&[(Role::Train, "t", &[empty])]).remove(0);
        assert!((severity, kind) == (WARNING, Kind::EmptyText) && what.contains("empty"), "{what}");
    }
}

#[test]
fn an_improbable_pace_is_a_warning_both_ways() {
    let folder = folder();
    let fast = Utterance { text: Some("x".repeat(41)), ..utterance(&folder, "a") };
    assert!(only(fast).2.contains("41.0 per second"));
    let fine = [Utterance { text: Some("x".repeat(40)), ..utterance(&folder, "a") }];
    assert_eq!(found(&[(Role::Train, "t", &fine)]), []);
    let slow =
        Utterance { text: Some("xx".into()), duration: Some(5.0), ..recorded(&folder, 16_000, tone(250.0, 0.3, 5.0)) };
    let (severity, kind, what) = only(slow);
    assert!((severity, kind) == (WARNING, Kind::Pace) && what.contains("0.4 per second"), "{what}");
}

/// Writes a and b, at 50 frames a second, and needs a frame a letter.
struct Two;

impl Reader for Two {
    fn sample_rate(&self) -> u32 {
        16_000
    }

    fn read(&self, text: &str) -> ReadText {
        let unknown = text.chars().filter(|letter| !"ab ".contains(*letter)).collect();
        ReadText { empty: text.is_empty(), unknown, labels: text.len(), frames: text.len() }
    }

    fn frames(&self, seconds: f64) -> Option<usize> {
        Some((seconds * 50.0) as usize)
    }
}

#[test]
fn what_a_model_cannot_write_or_fit_is_told() {
    let folder = folder();
    let of = |role, text: &str| {
        let one = [Utterance { text: Some(text.into()), ..utterance(&folder, "a") }];
        listed(checked(&[(role, "t", &one)], |options| options.reader = &Two))
    };
    assert_eq!(of(Role::Split, &"ab".repeat(19)), []);
    let long = of(Role::Split, &"ab".repeat(26));
    assert!(long[0].0 == ERROR && long[0].1 == Kind::Infeasible, "{long:?}");
    assert!(long[0].2.contains("50 frames, its 52 labels need 52"), "{long:?}");
    assert!(of(Role::Train, &"ab".repeat(26)).iter().all(|finding| finding.0 == WARNING));
    let odd = of(Role::Split, "abcac");
    assert!(odd.len() == 1 && odd[0].0 == WARNING && odd[0].2.contains("out of vocabulary: 'c';"), "{odd:?}");
}

#[test]
fn ids_are_unique_within_a_list() {
    let folder = folder();
    let a = [utterance(&folder, "a")];
    let other = [Utterance { id: "a".into(), ..utterance(&folder, "b") }];
    let findings = found(&[(Role::Train, "x.jsonl", &a), (Role::Train, "y.jsonl", &other)]);
    assert!(findings.len() == 1 && findings[0].1 == Kind::DuplicateId && findings[0].0 == ERROR, "{findings:?}");
    assert!(findings[0].2.contains("y.jsonl") && findings[0].2.contains("x.jsonl, line 1"), "{findings:?}");
    for role in [Role::Test, Role::Split] {
        assert_eq!(found(&[(role, "x.jsonl", &a[..]), (role, "y.jsonl", &other[..])]), []);
    }
    let twice = [a[0].clone(), Utterance { line: 2, ..other[0].clone() }];
    assert_eq!(found(&[(Role::Split, "x.jsonl", &twice)])[0].1, Kind::DuplicateId);
}

#[test]
fn the_same_content_twice_in_a_list_is_found_under_any_name() {
    let folder = folder();
    fs::copy(folder.path().join("a.wav"), folder.path().join("copy.wav")).unwrap();
    let copy = |text: &str| Utterance { line: 2, text: Some(text.into()), ..utterance(&folder, "copy") };
    let of = |one: Utterance, listening| {
        let both = [utterance(&folder, "a"), one];
        listed(checked(&[(Role::Split, "t.jsonl", &both)], |options| options.listening = listening))
    };
    let same = of(copy("SENTENCE a"), Listening::Decoded);
    assert!(same.len() == 1 && (same[0].0, same[0].1) == (WARNING, Kind::DuplicateAudio), "{same:?}");
    assert!(same[0].2.contains("line 2, `copy`: the same audio as `a` (t.jsonl, line 1)"), "{same:?}");
    let other = of(copy("another"), Listening::Decoded);
    assert_eq!(other.len(), 2, "{other:?}");
    assert!(other.iter().all(|finding| (finding.0, finding.1) == (ERROR, Kind::Contradiction)));
    assert!(other[0].2.contains("`a`: the same audio as `copy`") && other[1].2.contains("as `a`"), "{other:?}");
    // By the header two names are two files; the same file twice is seen all the same, however it is spelt.
    assert_eq!(of(copy("SENTENCE a"), Listening::Header), []);
    let audio = folder.path().join(".").join("a.wav");
    assert_eq!(of(Utterance { audio, ..copy("sentence a") }, Listening::Header)[0].1, Kind::DuplicateAudio);
}

#[test]
fn what_test_shares_with_train_is_told() {
    let folder = folder();
    let train = [utterance(&folder, "a"), utterance(&folder, "b")];
    for name in ["d", "e"] {
        write(&folder.path().join(format!("{name}.wav")), 16_000, tone(f64::from(name.as_bytes()[0]) * 5.0, 0.3, 1.0));
    }
    let test = [
        utterance(&folder, "c"),
        Utterance { speaker: Some("speaker a".into()), ..utterance(&folder, "d") },
        Utterance { text: Some("SENTENCE  b".into()), ..utterance(&folder, "e") },
    ];
    let test: Vec<Utterance> =
        (1..).zip(test).map(|(line, one)| Utterance { id: format!("t{line}"), line, ..one }).collect();
    let sources: [(Role, &str, &[Utterance]); 2] = [(Role::Train, "train", &train), (Role::Test, "test", &test)];
    let findings = found(&sources);
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert_eq!(findings[0].0, ERROR);
    assert!(findings[0].2.contains("`t2`: train has speakers of this test: speaker a"), "{findings:?}");
    assert_eq!(findings[1].0, WARNING);
    assert!(findings[1].2.contains("`t3`: 1 of 3 utterances have a sentence"), "{findings:?}");
    let allowed = listed(checked(&sources, |options| options.overlap = Overlap::Allowed));
    assert!(allowed.len() == 2 && allowed.iter().all(|finding| finding.0 == WARNING), "{allowed:?}");
    // The speaker of train in dev is how most small corpora are; a sentence of it is not.
    let findings = found(&[(Role::Train, "train", &train), (Role::Dev, "dev", &test)]);
    assert!(findings.len() == 1 && findings[0].1 == Kind::SharedSentence, "{findings:?}");
    // Of manifests alone nobody knows what they are for.
    let splits = found(&[(Role::Split, "one", &train), (Role::Split, "two", &test)]);
    assert!(splits.len() == 2 && splits.iter().all(|finding| finding.0 == WARNING), "{splits:?}");
}

#[test]
fn audio_that_test_shares_with_train_is_an_error_by_path_and_by_content() {
    let folder = folder();
    fs::copy(folder.path().join("a.wav"), folder.path().join("copy.wav")).unwrap();
    // Of the same size, and other bytes.
    let mut other = fs::read(folder.path().join("a.wav")).unwrap();
    *other.last_mut().unwrap() ^= 1;
    fs::write(folder.path().join("louder.wav"), other).unwrap();
    let train = [Utterance { text: Some("other words".into()), duration: None, ..utterance(&folder, "a") }];
    let shares = |one: Utterance, role, listening, overlap| {
        let test = [Utterance { speaker: None, ..one }];
        let sources: [(Role, &str, &[Utterance]); 2] = [(Role::Train, "train", &train), (role, "test", &test)];
        let report = checked(&sources, |options| (options.listening, options.overlap) = (listening, overlap));
        report.findings.iter().find(|finding| finding.kind == Kind::SharedAudio).map(|finding| finding.severity)
    };
    for role in [Role::Dev, Role::Test] {
        let refused = |name, listening| shares(utterance(&folder, name), role, listening, Overlap::Refused);
        assert_eq!(refused("a", Listening::Header), Some(ERROR));
        assert_eq!(refused("copy", Listening::Decoded), Some(ERROR));
        assert_eq!(refused("copy", Listening::Header), Some(ERROR));
        assert_eq!(refused("louder", Listening::Header), None);
        assert_eq!(refused("b", Listening::Decoded), None);
        let allowed = shares(utterance(&folder, "copy"), role, Listening::Decoded, Overlap::Allowed);
        assert_eq!(allowed, Some(WARNING));
    }
    // A part of a file that is learnt from whole.
    let part = Utterance { offset: Some(0.5), duration: Some(0.5), ..utterance(&folder, "a") };
    assert_eq!(shares(part, Role::Test, Listening::Decoded, Overlap::Refused), Some(ERROR));
}

#[test]
fn neighbouring_parts_of_a_file_are_apart_and_a_training_sees_overlap_without_listening() {
    let folder = folder();
    let part = |offset, speaker: &str| {
        [Utterance {
            offset: Some(offset),
            duration: Some(0.5),
            speaker: Some(speaker.into()),
            ..utterance(&folder, "a")
        }]
    };
    let seen = |train: &[Utterance], test: &[Utterance], rule| -> Vec<(Severity, Kind)> {
        let source = |role, utterances| Source { role, path: Path::new("m.jsonl"), utterances };
        let found = overlap(&[source(Role::Train, train), source(Role::Test, test)], rule);
        found.iter().map(|finding| (finding.severity, finding.kind)).collect()
    };
    let (train, apart) = (part(0.0, "anna"), part(0.5, "ben"));
    let refused = |train: &[Utterance], test: &[Utterance]| {
        let mut seen = seen(train, test, Overlap::Refused);
        seen.retain(|(severity, _)| *severity == ERROR);
        seen
    };
    assert_eq!(refused(&train, &apart), []);
    assert_eq!(refused(&train, &part(0.1, "ben")), [(ERROR, Kind::SharedAudio)]);
    assert_eq!(refused(&train, &part(0.5, "anna")), [(ERROR, Kind::SharedSpeaker)]);
    assert!(seen(&train, &train, Overlap::Allowed).iter().all(|(severity, _)| *severity == WARNING));
    // What holds no sound is alike everywhere, and no copy.
    for (name, samples) in [("still", 8000), ("hush", 8000), ("none", 0), ("nothing", 0)] {
        write(&folder.path().join(format!("{name}.wav")), 16_000, std::iter::repeat_n(0, samples));
    }
    let silent = |name: &str, speaker: &str| [Utterance { speaker: Some(speaker.into()), ..utterance(&folder, name) }];
    assert_eq!(refused(&silent("still", "anna"), &silent("hush", "ben")), []);
    assert_eq!(refused(&silent("none", "anna"), &silent("nothing", "ben")), []);
    // Train's own copies are one file: a test's part of either is found.
    for name in ["first", "second", "third"] {
        fs::copy(folder.path().join("a.wav"), folder.path().join(format!("{name}.wav"))).unwrap();
    }
    let of = |name: &str, [one]: [Utterance; 1]| Utterance { audio: folder.path().join(format!("{name}.wav")), ..one };
    let both = [of("first", part(0.0, "anna")), of("second", part(0.5, "anna"))];
    for (offset, name) in [(0.0, "third"), (0.5, "third"), (0.5, "second"), (0.0, "second"), (0.5, "first")] {
        assert_eq!(refused(&both, &[of(name, part(offset, "ben"))]), [(ERROR, Kind::SharedAudio)], "{offset} {name}");
    }
    // Under another name, as a copy and as a link: the parts of a file are told apart there, too.
    fs::copy(folder.path().join("a.wav"), folder.path().join("copy.wav")).unwrap();
    std::os::unix::fs::symlink("a.wav", folder.path().join("link.wav")).unwrap();
    for name in ["copy", "link"] {
        let named = |[one]: [Utterance; 1]| [Utterance { audio: folder.path().join(format!("{name}.wav")), ..one }];
        assert_eq!(refused(&train, &named(part(0.1, "ben"))), [(ERROR, Kind::SharedAudio)], "{name}");
        assert_eq!(refused(&train, &named(apart.clone())), [], "{name}");
        assert_eq!(refused(&named(train.clone()), &part(0.1, "ben")), [(ERROR, Kind::SharedAudio)], "{name}");
    }
}
