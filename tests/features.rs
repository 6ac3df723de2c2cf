//! Features of frozen convolutions that are kept on disk from one run to the next.

use serde_json::Value;

use crate::harness::{Dir, Finished, recipe};

/// A folder with a model `run` to start from, whose convolutions are then frozen, and a recipe that does.
fn dir() -> Dir {
    let dir = Dir::with_model();
    let text = recipe(6, "init: ../run", "", "learning_rate: 0.01");
    // The checkpoint says its own shape.
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("architecture:")).collect();
    let text = lines.join("\n").replace("train.jsonl", "../train.jsonl").replace("dev.jsonl", "../dev.jsonl");
    dir.write("sub/recipe.yaml", text);
    dir
}

#[track_caller]
fn train(dir: &Dir, run: &str, settings: &[&str]) -> Finished {
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    dir.klang(["train", "sub/recipe.yaml", "--run", run].into_iter().chain(settings)).succeeds()
}

/// Losses and scores of a run, by kind and update.
fn losses(dir: &Dir, run: &str) -> Vec<(Value, Value, Value)> {
    let lines = dir.json_lines(&format!("{run}/metrics.jsonl"));
    let told = lines.iter().filter(|line| line["kind"] == "train" || line["kind"] == "dev");
    told.map(|line| (line["update"].clone(), line["loss"].clone(), line["score"].clone())).collect()
}

/// What the run says of its features: at hand, computed, written.
fn counts(dir: &Dir, run: &str) -> Option<[u64; 3]> {
    let lines = dir.json_lines(&format!("{run}/metrics.jsonl"));
    let line = lines.iter().find(|line| line["kind"] == "features")?;
    Some(["at_hand", "computed", "written"].map(|key| line[key].as_u64().expect(key)))
}

#[test]
fn a_second_run_computes_no_features_and_learns_the_same() {
    let dir = dir();
    train(&dir, "memory", &[]);
    assert_eq!(counts(&dir, "memory"), None);
    let text = dir.text("sub/recipe.yaml");
    dir.write("sub/recipe.yaml", text.replace("data:\n", "data:\n  feature_cache_dir: features\n"));
    let first = train(&dir, "first", &[]);
    first.says(&["features: 0 utterances at hand in sub/features/", "6 computed, 6 of them written"]);
    let second = train(&dir, "second", &[]);
    second.says(&["features: 6 utterances at hand in sub/features/", "0 computed"]);
    assert_eq!((counts(&dir, "first"), counts(&dir, "second")), (Some([0, 6, 6]), Some([6, 0, 0])));

    let memory = losses(&dir, "memory");
    assert!(memory.len() >= 6 && memory.iter().any(|(_, loss, _)| loss.as_f64() > Some(0.0)), "{memory:?}");
    assert_eq!(memory, losses(&dir, "first"));
    assert_eq!(memory, losses(&dir, "second"));
    let weights = |run: &str| dir.bytes(&format!("{run}/last/model.safetensors"));
    assert!(weights("memory") == weights("first") && weights("first") == weights("second"));

    // The same convolutions under other blocks and another seed: the same file.
    train(&dir, "other", &["seed=2", "model.tune.kind=head"]).says(&["0 computed"]);
    assert_eq!(dir.names("sub/features").len(), 1);
}

#[test]
fn a_damaged_file_costs_time_or_is_named() {
    let dir = dir();
    let keep = ["data.feature_cache_dir=features"];
    train(&dir, "first", &keep);
    let name = format!("features/{}", dir.names("features")[0]);
    let whole = dir.bytes(&name);
    // A bit within the last numbers, and the end of a record that was never finished.
    let mut spoiled = [&whole[..], &[0; 100]].concat();
    spoiled[whole.len() - 1] ^= 1;
    dir.write(&name, &spoiled);
    let second = train(&dir, "second", &keep);
    second.says(&["warning: ", "100 bytes behind its last whole record", "a record is damaged", "1 computed"]);
    assert_eq!(losses(&dir, "first"), losses(&dir, "second"));
    train(&dir, "third", &keep).says(&["6 utterances at hand", "0 computed"]);

    dir.write(&name, "no features");
    let third = ["train", "sub/recipe.yaml", "--set", keep[0], "--run", "fourth"];
    dir.klang(third).refused_with(1).says(&[&name, "delete it"]);
    assert!(!dir.path("fourth").exists(), "no run is left behind that was none");
}

#[test]
fn a_resumed_run_keeps_features_by_the_weights_that_it_restores() {
    let dir = dir();
    let keep = ["data.feature_cache_dir=features"];
    train(&dir, "first", &keep);
    // What the run started from is another model by now; its own convolutions are in its state.
    let mut other = dir.bytes("run/best/model.safetensors");
    let middle = other.len() / 2;
    other[middle..].iter_mut().step_by(4).for_each(|byte| *byte ^= 1);
    dir.write("run/best/model.safetensors", other);
    let resume = ["train", "sub/recipe.yaml", "--run", "first", "--resume", "--set", keep[0]];
    dir.klang(resume).succeeds();
    assert_eq!(dir.names("features").len(), 1);
    train(&dir, "second", &keep);
    assert_eq!(dir.names("features").len(), 2, "the convolutions are not what they were");
}

#[test]
fn where_no_features_are_kept_the_run_says_why() {
    let dir = dir();
    for (setting, why) in [
        ("data.augment.speed=[0.9, 1.1]", "sound different each time"),
        ("model.freeze.feature_encoder=false", "the convolutions learn"),
        ("data.feature_cache_mib=0", "data.feature_cache_mib is 0"),
    ] {
        let run = why.replace(' ', "-");
        let said = train(&dir, &run, &["data.feature_cache_dir=features", "train.updates=1", setting]);
        said.says(&["data.feature_cache_dir: no features are kept", why]);
        assert_eq!(counts(&dir, &run), None);
        assert!(!dir.path("features").exists());
    }
}

#[test]
fn check_refuses_a_folder_that_cannot_be_and_makes_none() {
    let dir = dir();
    let check = |folder: &str| {
        let setting = format!("data.feature_cache_dir={folder}");
        dir.klang(["check", "sub/recipe.yaml", "--set", &setting])
    };
    for folder in ["train.jsonl", "train.jsonl/features", "/proc/features"] {
        check(folder).refused_with(2).says(&["`data.feature_cache_dir`", folder, "a folder that can be written to"]);
    }
    let before = dir.names(".");
    check("new/features").succeeds();
    check("sub").succeeds();
    assert_eq!((dir.names("."), dir.names("sub")), (before, vec!["recipe.yaml".to_string()]));
}
