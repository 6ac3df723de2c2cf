//! Audio that goes bad under a run: what it costs, and what it does not.

use serde_json::Value;

use crate::harness::{Dir, start_and_kill, timeless};
use crate::resume::full_recipe;

/// A corpus of which a file of train cannot be read, though its manifest says how long it is; and a recipe that skips it.
fn spoilt() -> Dir {
    let dir = Dir::with_recipe(1);
    let data = "data:\n  on_bad_audio: skip\n  bad_audio_limit: 0.2";
    dir.write("recipe.yaml", full_recipe().replace("data:", data));
    dir.write("audio/u2.wav", "RIFF, but no more");
    dir
}

fn skipped(dir: &Dir, run: &str) -> Vec<Value> {
    let mut lines = dir.json_lines(&format!("{run}/metrics.jsonl"));
    lines.retain(|line| line["kind"] == "skipped");
    lines
}

#[test]
fn audio_that_cannot_be_read_ends_a_run_unless_it_is_to_be_skipped() {
    let dir = Dir::with_recipe(4);
    std::fs::remove_file(dir.path("audio/u2.wav")).expect("a file");
    dir.klang(["train", "recipe.yaml", "--run", "run"])
        .ends_with(1)
        .says(&["error: ", "u2: ./audio/u2.wav: cannot be opened"]);
    let skip = ["train", "recipe.yaml", "--run", "skipping", "--set", "data.on_bad_audio=skip"];
    let trained = dir.klang(skip).succeeds();
    trained.says(&["warning: train: u2 is skipped", "audio/u2.wav"]);
    assert_eq!(trained.stderr.matches("u2 is skipped").count(), 1, "{trained}");
    let [line] = &skipped(&dir, "skipping")[..] else { panic!("{:?}", skipped(&dir, "skipping")) };
    assert_eq!((&line["set"], &line["id"], &line["count"]), (&"train".into(), &"u2".into(), &1.into()));
}

#[test]
fn the_same_bad_files_give_the_same_run_stopped_or_not_and_whoever_reads() {
    let dir = spoilt();
    dir.klang(["train", "recipe.yaml", "--run", "whole"]).succeeds();
    dir.klang(["train", "recipe.yaml", "--run", "more", "--set", "data.workers=5"]).succeeds();
    let update = start_and_kill(&dir, "train", "stopped");
    let resumed = dir.klang(["train", "recipe.yaml", "--run", "stopped", "--resume"]).succeeds();
    // It was named before the stop.
    assert!(!resumed.stderr.contains("is skipped"), "{resumed}");
    for other in ["more", "stopped"] {
        assert_eq!(timeless(&dir, "whole"), timeless(&dir, other), "{other}, stopped after {update}");
        assert!(dir.bytes("whole/last/model.safetensors") == dir.bytes(&format!("{other}/last/model.safetensors")));
        assert_eq!(skipped(&dir, other).len(), 1);
    }
}

#[test]
fn beyond_the_limit_a_run_ends_and_goes_on_once_the_files_are_mended() {
    let dir = spoilt();
    let whole = dir.bytes("audio/u4.wav");
    // One of six is within a fifth, rounded up; so are two, and three are not.
    for id in ["u4", "u5"] {
        dir.write(&format!("audio/{id}.wav"), "");
    }
    let broken = dir.klang(["train", "recipe.yaml", "--run", "run"]).ends_with(1);
    broken.says(&["train: the audio of 3 of 6 utterances cannot be read", "at most 2", "data.bad_audio_limit: 0.2"]);
    assert_eq!(skipped(&dir, "run").len(), 3);
    dir.write("audio/u4.wav", whole);
    dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"]).succeeds();
    assert_eq!(skipped(&dir, "run").len(), 2);
    let none = ["train", "recipe.yaml", "--run", "none", "--set", "data.bad_audio_limit=0"];
    dir.klang(none).ends_with(1).says(&["1 of 6", "at most 0"]);
    dir.klang(["check", "recipe.yaml", "--set", "data.bad_audio_limit=2"]).refused_with(2).says(&["0 to 1"]);
}

#[test]
fn the_share_is_of_what_is_listed_whenever_it_goes_bad() {
    let dir = spoilt();
    // One that is left out at the start, as nobody knows its length, and one that goes bad behind it: two of six, not of five.
    let lines = dir.json_lines("train.jsonl").into_iter().map(|mut line| {
        if line["id"] == "u2" {
            line.as_object_mut().expect("an object").remove("duration");
        }
        format!("{line}\n")
    });
    dir.write("train.jsonl", lines.collect::<String>());
    dir.write("audio/u4.wav", "");
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    assert_eq!(skipped(&dir, "run").len(), 2);
    dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"]).succeeds();
    dir.write("audio/u5.wav", "");
    dir.klang(["train", "recipe.yaml", "--run", "other"]).ends_with(1).says(&["3 of 6", "at most 2"]);
}

#[test]
fn what_is_scored_counts_as_deleted_and_a_length_that_nobody_knows_is_left_out_at_the_start() {
    let dir = Dir::with_recipe(2);
    let lines = dir.json_lines("train.jsonl").into_iter().map(|mut line| {
        line.as_object_mut().expect("an object").remove("duration");
        format!("{line}\n")
    });
    dir.write("train.jsonl", lines.collect::<String>());
    for id in ["u2", "u6"] {
        dir.write(&format!("audio/{id}.wav"), "");
    }
    dir.klang(["train", "recipe.yaml", "--run", "run"]).refused_with(2).says(&["train.jsonl", "line 3", "u2.wav"]);
    let skip = ["train", "recipe.yaml", "--run", "run", "--set", "data.on_bad_audio=skip"];
    let trained = dir.klang(skip).succeeds();
    trained.says(&[
        "train: 5 utterances",
        "train: u2 is skipped: line 3: ./audio/u2.wav: an empty file",
        "dev: u6 is skipped",
    ]);
    assert_eq!(skipped(&dir, "run").len(), 2);
    let dev = dir.json_lines("run/metrics.jsonl").into_iter().find(|line| line["kind"] == "dev").expect("a score");
    assert_eq!((&dev["score"]["utterances"], &dev["behaviour"]["infeasible"]), (&2.into(), &0.into()));
    assert!(dev["score"]["deletions"].as_u64() >= Some(1), "{dev}");
}
