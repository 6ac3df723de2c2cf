//! `klang prepare`, and that what it writes can be checked and trained on.

use std::collections::BTreeSet;

use crate::harness::{Dir, SENTENCES, recipe};

/// A table of two speakers, with audio beside it.
fn corpus(dir: &Dir) {
    let mut table = "path\tspeaker\ttext\n".to_string();
    for (id, speaker, text) in SENTENCES {
        dir.speech(&format!("corpus/wav/{id}.wav"), speaker, text);
        table += &format!("wav/{id}.wav\t{speaker}\t{text}\n");
    }
    dir.write("corpus/utterances.tsv", table);
}

fn speakers(dir: &Dir, manifest: &str) -> BTreeSet<String> {
    dir.json_lines(manifest).iter().map(|line| line["speaker"].as_str().expect("a speaker").to_string()).collect()
}

#[test]
fn a_table_becomes_manifests_with_speakers_kept_apart() {
    let dir = Dir::new();
    corpus(&dir);
    let share = ["--dev", "0.25", "--test", "0.4"];
    let arguments = ["prepare", "table", "corpus", "--out", "data"];
    let printed = dir.klang(arguments.iter().chain(&share)).succeeds();
    printed.prints(&["train", "dev", "test", "data/train.jsonl"]).says(&["two speakers"]);
    assert_eq!(dir.names("data"), ["all.jsonl", "dev.jsonl", "statistics.json", "test.jsonl", "train.jsonl"]);
    assert_eq!(dir.json_lines("data/all.jsonl").len(), SENTENCES.len());
    assert_eq!(speakers(&dir, "data/test.jsonl").len(), 1);
    assert!(speakers(&dir, "data/test.jsonl").is_disjoint(&speakers(&dir, "data/train.jsonl")));
    let first = &dir.json_lines("data/all.jsonl")[3];
    assert_eq!((&first["id"], &first["text"], &first["duration"]), (&"u3".into(), &"bad dab".into(), &0.84.into()));

    let sets = "test: {unseen: data/test.jsonl}";
    let recipe = recipe(1, "", sets, "").replace("[train.jsonl]", "[data/train.jsonl]");
    dir.write("recipe.yaml", recipe.replace("dev: dev.jsonl", "dev: data/dev.jsonl"));
    dir.klang(["check", "recipe.yaml"]).succeeds().prints(&["0 errors"]);
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds().prints(&["unseen"]);
}

#[test]
fn manifests_that_differ_are_not_overwritten_unasked() {
    let dir = Dir::new();
    corpus(&dir);
    let prepare = ["prepare", "table", "corpus", "--out", "data"];
    dir.klang(prepare).succeeds();
    dir.klang(prepare).succeeds();
    dir.write("data/train.jsonl", "{\"id\": \"mine\", \"audio\": \"x.wav\"}\n");
    dir.klang(prepare).refused_with(1).says(&["data/train.jsonl", "--overwrite"]);
    assert!(dir.text("data/train.jsonl").contains("mine"));
    dir.klang(prepare.iter().chain(&["--overwrite"])).succeeds();
    assert!(!dir.text("data/train.jsonl").contains("mine"));
}

#[test]
fn audio_that_cannot_be_used_is_left_out_and_named() {
    let dir = Dir::new();
    corpus(&dir);
    std::fs::remove_file(dir.path("corpus/wav/u2.wav")).expect("a file");
    dir.write("corpus/wav/u5.wav", "");
    let printed = dir.klang(["prepare", "table", "corpus", "--out", "data"]).ends_with(1);
    printed.says(&["wav/u2.wav", "wav/u5.wav", "2 utterances were left out"]);
    assert_eq!(dir.json_lines("data/all.jsonl").len(), SENTENCES.len() - 2);
}

#[test]
fn mistakes_are_refused() {
    let dir = Dir::new();
    corpus(&dir);
    dir.klang(["prepare", "timit", "corpus", "--out", "data"]).refused_with(2).says(&[
        "`timit`",
        "table",
        "librispeech",
        "common-voice",
        "kaldi",
        "audiofolder",
    ]);
    dir.klang(["prepare", "table", "corpus", "--out", "data", "--dev", "1.5"]).refused_with(2).says(&["--dev 1.5"]);
    dir.klang(["prepare", "kaldi", "corpus", "--out", "data"]).refused_with(1).says(&["corpus", "wav.scp"]);
    dir.klang(["prepare", "table", "nowhere", "--out", "data"]).refused_with(1).says(&["nowhere"]);
    assert!(!dir.path("data").exists());
}
