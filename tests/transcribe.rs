//! `klang transcribe`.

use serde_json::Value;

use crate::harness::{Dir, assert_telling, hypotheses};

#[test]
fn one_file_gives_its_text_alone() {
    let dir = Dir::with_model();
    dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "--out", "out", "--batch-seconds", "0.1"]).succeeds();
    let expected = hypotheses(&dir, "out/train.hypotheses.jsonl");
    assert_telling(expected.values());
    let printed = dir.klang_on_cpu(["transcribe", "run", "audio/u3.wav"]).succeeds();
    assert_eq!(printed.stdout, format!("{}\n", expected["u3"]));
}

#[test]
fn a_bad_file_does_not_keep_the_others_from_being_read() {
    let dir = Dir::with_model();
    dir.write("audio/bad.wav", "no audio at all");
    let audio = ["audio/u0.wav", "audio/bad.wav", "audio/nowhere.wav", "audio/u3.wav"];
    let printed = dir.klang_on_cpu(["transcribe", "run"].iter().chain(&audio)).ends_with(1);
    printed.says(&["audio/bad.wav", "audio/nowhere.wav", "2 of 4 files failed"]);
    let named: Vec<&str> = printed.stdout.lines().filter_map(|line| Some(line.split_once('\t')?.0)).collect();
    assert_eq!(named, ["audio/u0.wav", "audio/u3.wav"], "{printed}");
    let text = dir.klang_on_cpu(["transcribe", "run", "audio/u3.wav"]).succeeds().stdout;
    assert!(printed.stdout.ends_with(&format!("audio/u3.wav\t{text}")), "{printed}");
}

#[test]
fn a_file_too_short_for_a_frame_is_named() {
    let dir = Dir::with_model();
    dir.speech("audio/short.wav", "anna", "");
    dir.klang_on_cpu(["transcribe", "run", "audio/short.wav"]).refused_with(1).says(&["audio/short.wav"]);
}

#[test]
fn json_gives_an_object_a_line() {
    let dir = Dir::with_model();
    let json = ["transcribe", "run", "audio/u0.wav", "audio/u3.wav", "--format", "json"];
    let printed = dir.klang_on_cpu(json).succeeds();
    let lines: Vec<Value> = printed.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["audio"], "audio/u3.wav");
    assert_eq!(lines[1]["duration"], 0.84);
    let text = dir.klang_on_cpu(["transcribe", "run", "audio/u3.wav"]).succeeds().stdout;
    assert_eq!(lines[1]["text"], text.trim_end());
}

#[test]
fn with_out_each_file_has_its_own() {
    let dir = Dir::with_model();
    let out = ["transcribe", "run", "audio/u0.wav", "audio/u3.wav", "--out", "new/texts"];
    assert_eq!(dir.klang_on_cpu(out).succeeds().stdout, "");
    assert_eq!(dir.names("new/texts"), ["u0.txt", "u3.txt"]);
    let text = dir.klang_on_cpu(["transcribe", "run", "audio/u3.wav"]).succeeds().stdout;
    assert_eq!(dir.text("new/texts/u3.txt"), text);
}

#[test]
fn two_files_that_would_share_a_transcript_are_refused() {
    let dir = Dir::with_model();
    dir.speech("other/u0.wav", "ben", "dad");
    let out = ["transcribe", "run", "audio/u0.wav", "other/u0.wav", "--out", "texts"];
    dir.klang_on_cpu(out).refused_with(2).says(&["audio/u0.wav", "other/u0.wav", "u0.txt"]);
    assert!(!dir.path("texts").exists());
}

#[test]
fn another_sample_rate_and_stereo_are_converted() {
    let dir = Dir::with_model();
    // Every second sample of a 16 kHz stereo file's frames is the other channel: here both hold the same.
    let mono = dir.bytes("audio/u3.wav");
    let (header, samples) = mono.split_at(44);
    let mut stereo = header.to_vec();
    stereo[22] = 2; // channels
    stereo[28..32].copy_from_slice(&64_000u32.to_le_bytes()); // bytes a second
    stereo[32] = 4; // bytes a frame
    let size = (samples.len() * 2) as u32;
    stereo[4..8].copy_from_slice(&(size + 36).to_le_bytes());
    stereo[40..44].copy_from_slice(&size.to_le_bytes());
    samples.chunks_exact(2).for_each(|sample| stereo.extend([sample, sample].concat()));
    dir.write("audio/stereo.wav", stereo);
    let text = |name: &str| dir.klang_on_cpu(["transcribe", "run", name]).succeeds().stdout;
    assert_eq!(text("audio/stereo.wav"), text("audio/u3.wav"));
}
