//! Model folders that are damaged or contradict themselves: the file is named, and nothing panics.

use serde_json::{Value, json};

use crate::harness::Dir;

/// `transcribe` must refuse the model of the folder `run`, and say each of `parts`.
#[track_caller]
fn refused_with(dir: &Dir, parts: &[&str]) {
    dir.klang_on_cpu(["transcribe", "run", "audio/u0.wav"]).refused_with(1).says(parts);
}

#[test]
fn every_command_that_opens_a_model_refuses_a_damaged_one() {
    let dir = Dir::with_model();
    let whole = dir.bytes("run/best/model.safetensors");
    dir.write("run/best/model.safetensors", &whole[..whole.len() / 2]);
    let commands: [&[&str]; 3] = [
        &["transcribe", "run", "audio/u0.wav"],
        &["evaluate", "run", "dev.jsonl", "--json"],
        &["logits", "run", "audio/u0.wav", "--out", "logits.safetensors"],
    ];
    for command in commands {
        dir.klang_on_cpu(command).refused_with(1).says(&["run/best/model.safetensors"]);
    }
    assert!(!dir.path("logits.safetensors").exists());
    // Where a recipe names it, the recipe is what is wrong.
    let start = ["train", "recipe.yaml", "--run", "second", "--set", "model.init=run"];
    dir.klang(start).refused_with(2).says(&["run/best/model.safetensors"]);
    assert!(!dir.path("second").exists());
}

fn change_config(dir: &Dir, key: &str, value: Value) {
    let mut config = dir.json("run/best/config.json");
    config[key] = value;
    dir.write("run/best/config.json", config.to_string());
}

#[test]
fn truncated_weights() {
    let dir = Dir::with_model();
    let whole = dir.bytes("run/best/model.safetensors");
    // Within the last tensor, within the header, within the header's length, and nothing at all.
    for length in [whole.len() - 1, 100, 5, 0] {
        dir.write("run/best/model.safetensors", &whole[..length]);
        refused_with(&dir, &["run/best/model.safetensors"]);
    }
}

#[test]
fn weights_whose_header_promises_more_than_there_is() {
    let dir = Dir::with_model();
    let mut bytes = dir.bytes("run/best/model.safetensors");
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    dir.write("run/best/model.safetensors", bytes);
    refused_with(&dir, &["run/best/model.safetensors"]);
}

#[test]
fn no_weights() {
    let dir = Dir::with_model();
    std::fs::remove_file(dir.path("run/best/model.safetensors")).expect("a file");
    refused_with(&dir, &["run/best: no weights in it", "model.safetensors", "pytorch_model.bin"]);
}

#[test]
fn a_configuration_of_another_shape() {
    let dir = Dir::with_model();
    change_config(&dir, "hidden_size", json!(32));
    refused_with(&dir, &["run/best/model.safetensors", "lm_head.weight", "[7, 16]", "[7, 32]"]);
}

#[test]
fn a_configuration_with_more_layers_than_there_are_weights() {
    let dir = Dir::with_model();
    change_config(&dir, "num_hidden_layers", json!(2));
    refused_with(&dir, &["run/best/model.safetensors", "encoder.layers.1.", "missing"]);
}

#[test]
fn a_configuration_that_cannot_be_built() {
    let dir = Dir::with_model();
    for (key, value) in [("hidden_size", json!(0)), ("model_type", json!("bert")), ("conv_kernel", json!([1, 2]))] {
        let whole = dir.text("run/best/config.json");
        change_config(&dir, key, value);
        refused_with(&dir, &["run/best/config.json"]);
        dir.write("run/best/config.json", whole);
    }
}

#[test]
fn files_that_are_no_json() {
    let dir = Dir::with_model();
    for name in ["config.json", "vocab.json", "tokenizer_config.json", "preprocessor_config.json"] {
        let path = format!("run/best/{name}");
        let whole = dir.text(&path);
        dir.write(&path, &whole[..whole.len() / 2]);
        refused_with(&dir, &[&path]);
        dir.write(&path, whole);
    }
    is_still_good(&dir);
}

fn is_still_good(dir: &Dir) {
    dir.klang_on_cpu(["transcribe", "run", "audio/u0.wav"]).succeeds();
}

#[test]
fn a_vocabulary_of_another_size() {
    let dir = Dir::with_model();
    let mut vocabulary = dir.json("run/best/vocab.json");
    vocabulary["é"] = json!(vocabulary.as_object().expect("tokens").len());
    dir.write("run/best/vocab.json", vocabulary.to_string());
    refused_with(&dir, &["run/best/vocab.json", "8 tokens", "7 rows", "é"]);
}

#[test]
fn a_folder_without_a_model() {
    let dir = Dir::with_recipe(1);
    std::fs::create_dir(dir.path("run")).expect("a folder");
    refused_with(&dir, &["run: no model", "config.json"]);
}
