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
        "3 errors",
    ]);
    let listed = checked.stdout.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(listed, 3, "{checked}");
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
    dir.klang(["check", "recipe.yaml"]).ends_with(2).says(&["train.jsonl", "line 4", "audio/u3.wav"]);
}

#[test]
fn a_test_of_speakers_and_sentences_that_train_has_is_warned_of() {
    let dir = Dir::with_recipe(1);
    dir.corpus("test.jsonl", &[("t0", "anna", SENTENCES[0].2), ("t1", "zoe", "cc")]);
    let checked = dir.klang(["check", "recipe.yaml", "--set", "data.test={unseen: test.jsonl}"]).succeeds();
    checked.prints(&["warning: ", "train has speakers of this test: anna", "1 of 2 utterances have a sentence"]);
    checked.prints(&["0 errors, 2 warnings"]);
}

#[test]
fn the_same_audio_in_train_and_test_is_an_error() {
    let dir = Dir::with_recipe(1);
    let set = ["check", "recipe.yaml", "--set", "data.test={seen: train.jsonl}"];
    dir.klang(set).ends_with(2).prints(&["error: ", "6 of 6 utterances are the same audio"]);
}

#[test]
fn nothing_is_written() {
    let dir = Dir::with_recipe(1);
    let before = dir.names(".");
    dir.klang(["check", "recipe.yaml"]).succeeds();
    assert_eq!(dir.names("."), before);
    let _: Value = serde_yaml::from_str(&dir.text("recipe.yaml")).expect("the recipe is as it was");
}
