//! `klang check`.

use serde_json::Value;

use crate::harness::{Dir, SENTENCES};

#[test]
fn a_good_recipe_passes() {
    let dir = Dir::with_recipe(1);
    dir.klang(["check", "recipe.yaml"]).succeeds().prints(&[
        "train: 6 utterances",
        "dev: 2 utterances",
        "0 errors, 0 warnings",
    ]);
}

#[test]
fn what_is_wrong_with_a_corpus_is_listed_whole() {
    let dir = Dir::with_recipe(1);
    // A second manifest whose ids are taken, and two files that are missing or empty.
    dir.corpus("more.jsonl", &[("u0", "carla", "dab"), ("u9", "carla", "a"), ("u10", "carla", "b")]);
    std::fs::remove_file(dir.path("audio/u9.wav")).expect("a file");
    dir.write("audio/u10.wav", "");
    let checked = dir.klang(["check", "recipe.yaml", "--set", "data.train=[train.jsonl, more.jsonl]"]).ends_with(2);
    checked.prints(&[
        "line 1, `u0`: the same id as",
        "line 2, `u9`:",
        "audio/u9.wav: No such file",
        "line 3, `u10`:",
        "audio/u10.wav: an empty file",
        "which has another text; one of them is wrong",
        "5 errors",
    ]);
    let listed = checked.stdout.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(listed, 5, "{checked}");
}

#[test]
fn an_id_that_one_manifest_gives_twice_is_named_with_both_lines() {
    let dir = Dir::with_recipe(1);
    let manifest = dir.text("train.jsonl");
    let first = manifest.lines().next().expect("a line");
    dir.write("train.jsonl", format!("{manifest}{first}\n"));
    dir.klang(["check", "recipe.yaml"]).refused_with(2).says(&["train.jsonl", "lines 1 and 7", "`u0`"]);
}

#[test]
fn a_file_that_a_manifest_says_nothing_of_is_looked_into() {
    let dir = Dir::with_recipe(1);
    let lines = dir.json_lines("train.jsonl").into_iter().map(|mut line| {
        line.as_object_mut().expect("an object").remove("duration");
        format!("{line}\n")
    });
    dir.write("train.jsonl", lines.collect::<String>());
    dir.klang(["check", "recipe.yaml"]).succeeds().prints(&["train: 6 utterances"]);
    dir.write("audio/u3.wav", "RIFF, but no more");
    dir.klang(["check", "recipe.yaml"]).ends_with(2).prints(&["train.jsonl, line 4, `u3`: ./audio/u3.wav", "1 errors"]);
    dir.klang(["train", "recipe.yaml"]).refused_with(2).says(&["train.jsonl", "line 4", "audio/u3.wav"]);
}

#[test]
fn a_test_of_speakers_that_train_has_is_refused_unless_it_is_meant_so_and_sentences_are_warned_of() {
    let dir = Dir::with_recipe(1);
    dir.corpus("test.jsonl", &[("t0", "anna", "cc"), ("t1", "zoe", SENTENCES[0].2)]);
    let test = "data.test={unseen: test.jsonl}";
    let checked = dir.klang(["check", "recipe.yaml", "--set", test]).ends_with(2);
    checked.prints(&["error: ", "train has speakers of this test: anna", "1 of 2 utterances have a sentence"]);
    let trained = dir.klang(["train", "recipe.yaml", "--run", "run", "--set", test]).refused_with(2);
    trained.says(&["test.jsonl", "line 1, `t0`: train has speakers of this test: anna", "data.allow_overlap: true"]);
    assert!(!dir.path("run").exists());
    let allowed = ["--set", test, "--set", "data.allow_overlap=true"];
    dir.klang(["check", "recipe.yaml"].into_iter().chain(allowed)).succeeds().prints(&["warning: ", "0 errors"]);
    dir.klang(["train", "recipe.yaml", "--run", "run"].into_iter().chain(allowed)).succeeds();
}

#[test]
fn the_same_audio_in_train_and_test_is_an_error() {
    let dir = Dir::with_recipe(1);
    let set = ["check", "recipe.yaml", "--set", "data.test={seen: train.jsonl}"];
    dir.klang(set).ends_with(2).prints(&["error: ", "`u0`: the same audio as `u0`", "6  audio of another list, error"]);
    // A copy is known by its bytes, before anything is decoded.
    dir.write("audio/copy.wav", dir.bytes("audio/u0.wav"));
    dir.write("test.jsonl", "{\"audio\": \"audio/copy.wav\", \"text\": \"ab\", \"duration\": 0.24}\n");
    let set = ["recipe.yaml", "--set", "data.test={seen: test.jsonl}"];
    let with = |command: &'static str, more: &[&'static str]| {
        dir.klang([command].into_iter().chain(set).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    with("check", &[]).ends_with(2).prints(&["`copy`: the same audio as `u0`", "1 errors"]);
    with("check", &["--quick"]).ends_with(2).prints(&["`copy`: the same audio as `u0`", "1 errors"]);
    with("train", &["--run", "run"]).refused_with(2).says(&["`copy`: the same audio as `u0`", "allow_overlap"]);
    // The same sound in other bytes is known by what is decoded; a training that decodes nothing beforehand cannot know.
    dir.write("audio/copy.wav", [dir.bytes("audio/u0.wav"), b"LIST\x04\0\0\0INFO".to_vec()].concat());
    with("check", &[]).ends_with(2).prints(&["`copy`: the same audio as `u0`", "1 errors"]);
    with("check", &["--quick"]).succeeds();
}

#[test]
fn nothing_is_written() {
    let dir = Dir::with_recipe(1);
    let before = dir.names(".");
    dir.klang(["check", "recipe.yaml"]).succeeds();
    assert_eq!(dir.names("."), before);
    let _: Value = serde_yaml::from_str(&dir.text("recipe.yaml")).expect("the recipe is as it was");
}

/// A corpus of six with something wrong in four of them, beside `dev.jsonl`.
fn spoilt() -> Dir {
    let dir = Dir::with_recipe(1);
    dir.write("audio/u1.wav", "");
    dir.speech("audio/u2.wav", "anna", "     ");
    let whole = dir.bytes("audio/u3.wav");
    dir.write("audio/u3.wav", &whole[..whole.len() / 2]);
    dir.write("audio/u5.wav", dir.bytes("audio/u6.wav"));
    dir
}

#[test]
fn manifests_are_checked_by_themselves_and_mended() {
    let dir = spoilt();
    let before = dir.text("train.jsonl");
    let checked =
        dir.klang(["check", "train.jsonl", "dev.jsonl", "--fix", "clean", "--html", "out/check.html"]).ends_with(1);
    checked.prints(&[
        "train.jsonl, line 2, `u1`: ./audio/u1.wav: an empty file",
        "train.jsonl, line 3, `u2`: silent",
        "train.jsonl, line 4, `u3`: truncated",
        "dev.jsonl, line 1, `u6`: the same audio as `u5` (train.jsonl, line 6)",
        "utterances by length",
        "4 errors",
    ]);
    let ids = |name: &str| -> Vec<String> {
        dir.json_lines(name).iter().map(|line| line["id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids("clean/train.jsonl"), ["u0", "u4", "u5"]);
    assert_eq!(ids("clean/dev.jsonl"), ["u7"]);
    assert_eq!(ids("clean/train.left-out.jsonl"), ["u1", "u2", "u3"]);
    let left_out = dir.json_lines("clean/train.left-out.jsonl");
    assert_eq!((&left_out[1]["line"], &left_out[1]["reasons"][0]["kind"]), (&3.into(), &"silent".into()));
    assert_eq!(dir.text("train.jsonl"), before);
    // What is mended is sound, from where it lies.
    dir.klang(["check", "clean/train.jsonl", "clean/dev.jsonl"]).succeeds().prints(&["0 errors"]);
    let page = dir.text("out/check.html");
    for part in ["src=\"../audio/u2.wav\"", "preload=\"none\"", "silent", "a cad"] {
        assert!(page.contains(part), "the page lacks {part:?}");
    }
    // Nothing is replaced that was there, and an input never.
    dir.klang(["check", "train.jsonl", "--fix", "clean"]).ends_with(1).says(&["train.jsonl", "--overwrite"]);
    dir.klang(["check", "train.jsonl", "--fix", ".", "--overwrite"]).ends_with(1).says(&["never replaced"]);
    dir.klang(["check", "train.jsonl", "--fix", "clean", "--overwrite"]).ends_with(1);
    assert_eq!(dir.text("train.jsonl"), before);
}

#[test]
fn every_finding_is_in_the_json() {
    let dir = spoilt();
    let found = dir.klang(["check", "train.jsonl", "--json"]).ends_with(1).json();
    assert_eq!(found["errors"], 3);
    let kinds: Vec<&str> =
        found["findings"].as_array().expect("a list").iter().filter_map(|one| one["kind"].as_str()).collect();
    assert!(["empty", "silent", "truncated"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    assert_eq!(found["summaries"][0]["statistics"]["utterances"], 6);
    assert!(found["summaries"][0]["durations"]["bins"].is_array());
    // What needs the samples is not in the headers.
    let quick = dir.klang(["check", "train.jsonl", "--json", "--quick"]).ends_with(1).json();
    assert_eq!(quick["errors"], 2);
}

#[test]
fn manifests_are_held_against_a_model() {
    let dir = Dir::with_model();
    let mut lines = dir.text("dev.jsonl");
    // One with letters that the model lacks, and one with more labels than its frames hold.
    for (id, text) in [("odd", "xylo a".to_owned()), ("long", "ab".repeat(40))] {
        dir.speech(&format!("audio/{id}.wav"), "carla", "ab cd");
        lines += &format!("{{\"audio\": \"audio/{id}.wav\", \"text\": \"{text}\", \"duration\": 0.6}}\n");
    }
    dir.write("new.jsonl", lines);
    let checked = dir.klang(["check", "new.jsonl", "--model", "run"]).ends_with(1);
    checked.prints(&[
        "`odd`: out of vocabulary: 'l', 'o', 'x', 'y'",
        "`long`: infeasible for CTC",
        "its 80 labels need 80",
    ]);
    dir.klang(["check", "new.jsonl"]).run().prints(&["improbable pace"]);
}

#[test]
fn an_id_twice_is_listed_where_no_recipe_needs_it() {
    let dir = Dir::with_recipe(1);
    let manifest = dir.text("train.jsonl");
    dir.write("train.jsonl", format!("{manifest}{}\n", manifest.lines().next().expect("a line")));
    let checked = dir.klang(["check", "train.jsonl", "--fix", "clean.jsonl"]).ends_with(1);
    checked.prints(&["line 7, `u0`: the same id as train.jsonl, line 1"]);
    assert_eq!(dir.json_lines("clean.jsonl").len(), 6);
}

#[test]
fn what_is_for_manifests_is_refused_of_a_recipe_and_the_other_way_round() {
    let dir = Dir::with_recipe(1);
    dir.klang(["check", "recipe.yaml", "--fix", "out"]).refused_with(2).says(&["--fix", "give its manifests"]);
    dir.klang(["check", "train.jsonl", "--set", "seed=2"]).refused_with(2).says(&["--set seed=2"]);
    dir.klang(["check", "train.jsonl", "recipe.yaml"]).refused_with(2).says(&["recipe.yaml is no manifest"]);
    dir.klang(["check", "train.jsonl", "./train.jsonl"]).refused_with(2).says(&["given twice"]);
}
