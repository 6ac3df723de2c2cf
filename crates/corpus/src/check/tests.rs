use super::*;
use std::fs;

use tempfile::TempDir;

/// A folder with second-long WAVs `a.wav`, `b.wav`, `c.wav`, an `empty.wav` and a `noise.wav` that is none.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(folder.path().join(format!("{name}.wav")), spec).unwrap();
        (0..8000).for_each(|_| writer.write_sample(0_i16).unwrap());
        writer.finalize().unwrap();
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

fn found(sources: &[(Role, &str, &[Utterance])], options: CheckOptions) -> Vec<(Severity, String)> {
    let sources: Vec<Source<'_>> = sources
        .iter()
        .map(|(role, path, utterances)| Source { role: *role, path: Path::new(*path), utterances })
        .collect();
    check(&sources, &options).into_iter().map(|finding| (finding.severity, finding.to_string())).collect()
}

/// The one finding for one utterance of train.
fn only(utterance: Utterance) -> (Severity, String) {
    let mut findings = found(&[(Role::Train, "train.jsonl", &[utterance])], CheckOptions::default());
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[test]
fn a_sound_corpus_has_no_findings() {
    let folder = folder();
    let [a, b, c] = ["a", "b", "c"].map(|name| [utterance(&folder, name)]);
    let sources: [(Role, &str, &[Utterance]); 3] =
        [(Role::Train, "train", &a), (Role::Dev, "dev", &b), (Role::Test, "test", &c)];
    assert_eq!(found(&sources, CheckOptions::default()), []);
}

#[test]
fn a_missing_file_is_an_error_with_its_path() {
    let (severity, what) = only(utterance(&folder(), "missing"));
    assert_eq!(severity, Severity::Error);
    assert!(what.contains("missing.wav") && what.contains("train.jsonl, line 1, `missing`"), "{what}");
}

#[test]
fn an_empty_file_is_an_error_even_unprobed() {
    let folder = folder();
    for probe in [true, false] {
        let one = [utterance(&folder, "empty")];
        let findings = found(&[(Role::Train, "t", &one)], CheckOptions { probe, ..Default::default() });
        assert!(findings.len() == 1 && findings[0].1.contains("empty.wav: an empty file"), "{findings:?}");
    }
}

#[test]
fn a_file_that_is_no_audio_is_an_error_that_names_it() {
    let folder = folder();
    let (severity, what) = only(utterance(&folder, "noise"));
    assert_eq!(severity, Severity::Error);
    assert!(what.contains("noise.wav"), "{what}");
    let one = [utterance(&folder, "noise")];
    assert_eq!(found(&[(Role::Train, "t", &one)], CheckOptions { probe: false, ..Default::default() }), []);
}

#[test]
fn durations_are_compared_with_the_file() {
    let folder = folder();
    let with = |offset: Option<f64>, duration: Option<f64>| Utterance { offset, duration, ..utterance(&folder, "a") };
    for (offset, duration, severity, part) in [
        (None, Some(1.2), Severity::Warning, "1.2 s, but the file holds 1.000 s"),
        (None, Some(0.8), Severity::Warning, "0.8 s, but the file holds 1.000 s"),
        (None, Some(0.0), Severity::Error, "allowed: above 0"),
        (None, Some(-1.0), Severity::Error, "allowed: above 0"),
        (Some(0.5), Some(0.8), Severity::Warning, "ends at 1.300 s"),
        (Some(1.5), Some(0.5), Severity::Error, "starts at 1.5 s"),
        (None, None, Severity::Warning, "no duration"),
    ] {
        let (found, what) = only(with(offset, duration));
        assert!(found == severity && what.contains(part), "{what}");
    }
    for (offset, duration) in [(None, 1.05), (None, 0.95), (Some(0.5), 0.55)] {
        let fine = [with(offset, Some(duration))];
        assert_eq!(found(&[(Role::Train, "t", &fine)], CheckOptions::default()), []);
    }
}

#[test]
fn missing_durations_are_counted_in_one_finding() {
    let folder = folder();
    let all = ["a", "b", "c"].map(|name| Utterance { duration: None, ..utterance(&folder, name) });
    let findings = found(&[(Role::Train, "t", &all)], CheckOptions::default());
    assert!(findings.len() == 1 && findings[0].1.contains("nor have 2 more"), "{findings:?}");
}

#[test]
fn text_is_needed_unless_training_is_self_supervised() {
    let folder = folder();
    let without = Utterance { text: None, ..utterance(&folder, "a") };
    let (severity, what) = only(without.clone());
    assert!(severity == Severity::Error && what.contains("no text"), "{what}");
    let options = CheckOptions { labelled: false, ..Default::default() };
    assert_eq!(found(&[(Role::Train, "t", &[without])], options), []);
    let (severity, what) = only(Utterance { text: Some(" \u{a0}".into()), ..utterance(&folder, "a") });
    assert!(severity == Severity::Warning && what.contains("empty"), "{what}");
}

#[test]
fn an_improbable_pace_is_a_warning_both_ways() {
    let folder = folder();
    let fast = Utterance { text: Some("x".repeat(41)), ..utterance(&folder, "a") };
    assert!(only(fast).1.contains("41.0 per second"));
    let fine = [Utterance { text: Some("x".repeat(40)), ..utterance(&folder, "a") }];
    assert_eq!(found(&[(Role::Train, "t", &fine)], CheckOptions::default()), []);
    let slow = [Utterance { text: Some("xx".into()), duration: Some(5.0), ..utterance(&folder, "a") }];
    let options = CheckOptions { probe: false, ..Default::default() };
    let findings = found(&[(Role::Train, "t", &slow)], options);
    assert!(findings.len() == 1 && findings[0].1.contains("0.4 per second"), "{findings:?}");
}

#[test]
fn ids_are_unique_within_a_role() {
    let folder = folder();
    let a = [utterance(&folder, "a")];
    let other = [Utterance { id: "a".into(), ..utterance(&folder, "b") }];
    let findings = found(&[(Role::Train, "x.jsonl", &a), (Role::Train, "y.jsonl", &other)], CheckOptions::default());
    assert!(findings.len() == 1 && findings[0].0 == Severity::Error, "{findings:?}");
    assert!(findings[0].1.contains("y.jsonl") && findings[0].1.contains("x.jsonl, line 1"), "{findings:?}");
    let apart = [(Role::Test, "x.jsonl", &a[..]), (Role::Test, "y.jsonl", &other[..])];
    assert_eq!(found(&apart, CheckOptions::default()), []);
}

#[test]
fn what_test_shares_with_train_is_told() {
    let folder = folder();
    let train = [utterance(&folder, "a"), utterance(&folder, "b")];
    let test = [
        utterance(&folder, "c"),
        Utterance { speaker: Some("speaker a".into()), ..utterance(&folder, "c") },
        Utterance { text: Some("SENTENCE  b".into()), ..utterance(&folder, "c") },
    ];
    let test: Vec<Utterance> =
        (1..).zip(test).map(|(line, one)| Utterance { id: format!("t{line}"), line, ..one }).collect();
    let findings = found(&[(Role::Train, "train", &train), (Role::Test, "test", &test)], CheckOptions::default());
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].1.contains("`t2`: train has speakers of this test: speaker a"), "{findings:?}");
    assert!(findings[1].1.contains("`t3`: 1 of 3 utterances have a sentence"), "{findings:?}");
    // The speaker of train in dev is how most small corpora are; a sentence of it is not.
    let findings = found(&[(Role::Train, "train", &train), (Role::Dev, "dev", &test)], CheckOptions::default());
    assert!(findings.len() == 1 && findings[0].1.contains("sentence"), "{findings:?}");
}

#[test]
fn the_same_audio_in_train_and_test_is_an_error_and_comes_first() {
    let folder = folder();
    let train = [Utterance { text: Some("other words".into()), duration: None, ..utterance(&folder, "a") }];
    let test = [utterance(&folder, "a")];
    let findings = found(&[(Role::Train, "train", &train), (Role::Test, "test", &test)], CheckOptions::default());
    assert!(findings[0].0 == Severity::Error && findings[0].1.contains("same audio"), "{findings:?}");
    assert!(
        findings[1..].iter().all(|(severity, _)| *severity == Severity::Warning) && findings.len() == 3,
        "{findings:?}"
    );
    let elsewhere = [Utterance { offset: Some(0.5), duration: Some(0.5), speaker: None, ..utterance(&folder, "a") }];
    assert_eq!(
        found(&[(Role::Train, "train", &train), (Role::Test, "test", &elsewhere)], CheckOptions::default()).len(),
        1
    );
}
