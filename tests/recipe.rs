//! Mistakes in a recipe and in what it names: found before any work starts, and said so that they can be mended.

use crate::harness::Dir;

/// Runs `check`, which must refuse with exit code 2 and say each of `parts`.
#[track_caller]
fn refused_with(dir: &Dir, settings: &[&str], parts: &[&str]) {
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    dir.klang(["check", "recipe.yaml"].into_iter().chain(settings)).refused_with(2).says(parts);
}

#[test]
fn train_finds_what_check_finds() {
    let dir = Dir::with_recipe(1);
    dir.klang(["train", "recipe.yaml", "--set", "train.update=3"]).refused_with(2).says(&["--set train.update=3"]);
    dir.klang(["train", "recipe.yaml", "--set", "data.dev=no.jsonl"]).refused_with(2).says(&["no.jsonl"]);
    dir.write("recipe.yaml", "trian: {updates: 3}\n");
    dir.klang(["train", "recipe.yaml"]).refused_with(2).says(&["recipe.yaml", "line 1 column 1", "`trian`"]);
    assert!(!dir.path("runs").exists());
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_column() {
    let dir = Dir::with_recipe(1);
    let recipe = dir.text("recipe.yaml");
    let line = 1 + recipe.lines().position(|line| line.starts_with("  updates:")).expect("the key");
    dir.write("recipe.yaml", recipe.replace("  updates:", "  update:"));
    refused_with(
        &dir,
        &[],
        &["recipe.yaml", &format!("line {line}"), "column 3", "`update`", "expected one of updates"],
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_file_and_line() {
    let dir = Dir::with_recipe(1);
    let recipe = dir.text("recipe.yaml");
    let line = 1 + recipe.lines().position(|line| line.starts_with("  updates:")).expect("the key");
    dir.write("recipe.yaml", recipe.replace("updates: 1\n", "updates: many\n"));
    refused_with(&dir, &[], &["recipe.yaml", &format!("line {line}")]);
}

#[test]
fn a_value_outside_its_range_is_named_with_what_is_allowed() {
    let dir = Dir::with_recipe(1);
    refused_with(&dir, &["train.clip=-1"], &["`train.clip`", "-1", "0 (never) to 1e6"]);
    refused_with(&dir, &["model.architecture.hidden_sise=8"], &["hidden_sise", "no such key", "hidden_size"]);
    refused_with(&dir, &["model.architecture.hidden_size=15"], &["num_attention_heads", "divisor of hidden_size = 15"]);
}

#[test]
fn a_setting_that_is_wrong_is_named() {
    let dir = Dir::with_recipe(1);
    refused_with(&dir, &["train.update=3"], &["--set train.update=3", "unknown field `update`"]);
    refused_with(&dir, &["train.updates"], &["--set train.updates", "KEY=VALUE"]);
}

#[test]
fn a_recipe_that_is_not_there_is_named() {
    let dir = Dir::new();
    refused_with(&dir, &[], &["recipe.yaml", "No such file"]);
}

#[test]
fn a_recipe_that_is_no_yaml_is_named_with_its_line() {
    let dir = Dir::with_recipe(1);
    dir.write("recipe.yaml", "seed: 1\ntrain: {updates: 3\n");
    refused_with(&dir, &[], &["recipe.yaml", "line "]);
    dir.write("recipe.yaml", b"\xff\xfe\x00");
    refused_with(&dir, &[], &["recipe.yaml"]);
}

#[test]
fn a_manifest_that_is_not_there_is_named() {
    let dir = Dir::with_recipe(1);
    refused_with(&dir, &["data.train=[nowhere/train.jsonl]"], &["nowhere/train.jsonl", "No such file"]);
    refused_with(&dir, &["data.test={unseen: nowhere.jsonl}"], &["nowhere.jsonl"]);
}

#[test]
fn a_line_of_a_manifest_without_text_is_named() {
    let dir = Dir::with_recipe(1);
    let manifest = dir.text("train.jsonl");
    let second = manifest.lines().nth(1).expect("a line").replace("\"text\":\"dcba\",", "");
    assert!(!second.contains("dcba"));
    dir.write(
        "train.jsonl",
        manifest
            .lines()
            .enumerate()
            .map(|(index, line)| format!("{}\n", if index == 1 { &second } else { line }))
            .collect::<String>(),
    );
    refused_with(&dir, &[], &["train.jsonl", "line 2", "`u1`", "text"]);
}

#[test]
fn a_line_of_a_manifest_that_is_no_json_is_named() {
    let dir = Dir::with_recipe(1);
    let manifest = dir.text("dev.jsonl");
    dir.write("dev.jsonl", format!("{manifest}{{\"id\": \"u8\", \"audio\": \n"));
    refused_with(&dir, &[], &["dev.jsonl", "line 3"]);
    dir.write("dev.jsonl", format!("{manifest}{{\"id\": \"u8\", \"text\": \"a\"}}\n"));
    refused_with(&dir, &[], &["dev.jsonl", "line 3", "no audio"]);
}

#[test]
fn a_selection_that_leaves_nothing_is_refused() {
    let dir = Dir::with_recipe(1);
    refused_with(&dir, &["data.select={speaker: carla}"], &["train.jsonl", "speaker", "anna"]);
    refused_with(&dir, &["data.select={village: here}"], &["train.jsonl", "`village`"]);
}

#[test]
fn an_init_that_is_no_model_is_refused() {
    let dir = Dir::with_recipe(1);
    refused_with(&dir, &["model.init=nowhere"], &["nowhere", "allowed: a run folder"]);
}

#[test]
fn a_recipe_may_extend_another_in_another_folder() {
    let dir = Dir::with_recipe(3);
    dir.write("mine/recipe.yaml", "extends: ../recipe.yaml\ntrain: {updates: 1}\n");
    dir.klang(["train", "mine/recipe.yaml", "--run", "run"]).succeeds();
    assert_eq!(dir.json("run/state/progress.json")["update"], 1);
}
