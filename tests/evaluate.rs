//! `klang evaluate`.

use serde_json::Value;

use crate::harness::{Dir, assert_telling, hypotheses};

const COUNTS: [&str; 5] = ["words", "substitutions", "deletions", "insertions", "utterances"];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn one_manifest_gives_one_object() {
    let dir = Dir::with_model();
    let score = dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "--json"]).succeeds().json();
    // ab; dcba; a cad; bad dab; cab; ca da
    assert_eq!((&score["words"], &score["utterances"]), (&9.into(), &6.into()));
    let errors = number(&score["substitutions"]) + number(&score["deletions"]) + number(&score["insertions"]);
    assert_eq!(number(&score["wer"]), errors / 9.0);
    assert!(number(&score["cer"]) > 0.0);
    let interval = score["wer_ci95"].as_array().expect("[low, high]");
    assert!(interval.len() == 2 && number(&interval[0]) <= number(&interval[1]), "{interval:?}");
    let speakers = score["speakers"].as_object().expect("speakers");
    assert_eq!(speakers.keys().collect::<Vec<_>>(), ["anna", "ben"]);
    assert_eq!(speakers["anna"]["words"], 6);
    for key in COUNTS {
        let sum: f64 = speakers.values().map(|speaker| number(&speaker[key])).sum();
        assert_eq!(sum, number(&score[key]), "{key}");
    }
    for speaker in speakers.values() {
        for key in ["wer", "cer", "wer_ci95"] {
            assert!(speaker.get(key).is_some(), "{key}: {speaker}");
        }
    }
}

#[test]
fn several_manifests_give_an_object_by_name() {
    let dir = Dir::with_model();
    let several = dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "dev.jsonl", "--json"]).succeeds().json();
    assert_eq!(several.as_object().expect("an object").keys().collect::<Vec<_>>(), ["train", "dev"]);
    let alone = dir.klang_on_cpu(["evaluate", "run", "dev.jsonl", "--json"]).succeeds().json();
    assert_eq!(several["dev"], alone);
    assert_eq!(alone["words"], 3);
}

#[test]
fn without_json_a_table_is_printed_for_each() {
    let dir = Dir::with_model();
    let printed = dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "dev.jsonl"]).succeeds();
    printed.prints(&["train\n", "dev\n", "WER", "anna", "ben"]);
}

#[test]
fn the_text_does_not_depend_on_the_batch() {
    let dir = Dir::with_model();
    let texts = |seconds: &str| {
        let out = format!("out-{seconds}");
        let batches = ["evaluate", "run", "train.jsonl", "--out", &out, "--batch-seconds", seconds];
        dir.klang_on_cpu(batches).succeeds();
        hypotheses(&dir, &format!("{out}/train.hypotheses.jsonl"))
    };
    // One utterance at a time, without padding; and all six, from 0.24 to 0.84 s, in one batch.
    let (alone, together) = (texts("0.1"), texts("60"));
    assert_telling(alone.values());
    assert_eq!(alone, together);
}

#[test]
fn scores_and_hypotheses_are_written_and_score_agrees_with_them() {
    let dir = Dir::with_model();
    let printed = dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "--out", "out", "--json"]).succeeds().json();
    assert_eq!(dir.names("out"), ["train.hypotheses.jsonl", "train.json"]);
    assert_eq!(dir.json("out/train.json"), printed);
    let ids: Vec<Value> =
        dir.json_lines("out/train.hypotheses.jsonl").into_iter().map(|line| line["id"].clone()).collect();
    assert_eq!(ids, ["u0", "u1", "u2", "u3", "u4", "u5"], "in the manifest's order");
    let scored = dir.klang(["score", "train.jsonl", "out/train.hypotheses.jsonl", "--json"]).succeeds().json();
    assert_eq!(scored, printed);
}

#[test]
fn the_model_is_a_run_folder_or_a_folder_in_transformers_layout() {
    let dir = Dir::with_model();
    let of_run = dir.klang_on_cpu(["evaluate", "run", "dev.jsonl", "--json"]).succeeds().json();
    let of_folder = dir.klang_on_cpu(["evaluate", "run/best", "dev.jsonl", "--json"]).succeeds().json();
    assert_eq!(of_run, of_folder);
}

#[test]
fn mistakes_are_refused() {
    let dir = Dir::with_model();
    let evaluate = |arguments: &[&str]| dir.klang_on_cpu(["evaluate"].iter().chain(arguments));
    evaluate(&["run", "dev.jsonl", "--batch-seconds", "0"]).refused_with(2).says(&["--batch-seconds 0"]);
    evaluate(&["run", "dev.jsonl", "dev.jsonl"]).refused_with(2).says(&["given twice"]);
    evaluate(&["run"]).refused_with(2).says(&["<MANIFEST>"]);
    evaluate(&["nowhere", "dev.jsonl"]).refused_with(1).says(&["nowhere", "no such folder"]);
    evaluate(&["run", "nowhere.jsonl"]).refused_with(1).says(&["nowhere.jsonl"]);
    dir.write("untold.jsonl", "{\"id\": \"u0\", \"audio\": \"audio/u0.wav\"}\n");
    evaluate(&["run", "untold.jsonl"]).refused_with(1).says(&["untold.jsonl", "line 1", "`u0`"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = Dir::with_model();
    dir.write("audio/u7.wav", "no audio at all");
    dir.klang_on_cpu(["evaluate", "run", "dev.jsonl", "--json"]).refused_with(1).says(&["u7", "audio/u7.wav"]);
}
