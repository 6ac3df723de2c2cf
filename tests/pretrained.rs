//! Training from, and transcribing with, checkpoints of other people's making.

use std::path::PathBuf;

use safetensors::SafeTensors;
use safetensors::tensor::{TensorView, serialize};
use serde_json::{Map, Value, json};

use crate::harness::{Dir, recipe};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../wav2vec2/tests/golden").join(name)
}

/// A recipe that starts from `init`, whose shape is the checkpoint's.
fn write_recipe(dir: &Dir, init: &str, more: &str) {
    let text = recipe(2, &format!("init: {init}\n  {more}"), "", "learning_rate: 0.01");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("architecture:")).collect();
    dir.write("recipe.yaml", lines.join("\n"));
}

#[test]
fn a_fairseq_checkpoint_is_trained_from_and_its_run_is_a_model_like_any_other() {
    let dir = Dir::with_recipe(1);
    let file = golden("files/fairseq.pt");
    write_recipe(&dir, file.to_str().expect("UTF-8"), "");
    let said = ["the checkpoint has none with a vocabulary", "fairseq.pt", "final_proj.bias"];
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds().says(&said);
    assert_eq!(dir.json("run/best/preprocessor_config.json")["do_normalize"], true);
    dir.klang_on_cpu(["transcribe", "run", "audio/u0.wav"]).succeeds();
    let model = file.to_str().expect("UTF-8");
    dir.klang_on_cpu(["transcribe", model, "audio/u0.wav"]).refused_with(1).says(&["can only be trained from"]);
}

/// A model folder `mms` with a nested vocabulary and the adapters of `aaa`, in the weights, and of `bbb`, beside them.
fn with_languages() -> Dir {
    let dir = Dir::with_recipe(1);
    for name in ["config.json", "model.safetensors"] {
        dir.write(&format!("mms/{name}"), std::fs::read(golden("mms").join(name)).expect(name));
    }
    let letters = |letters: &str| -> Value {
        let specials = ["<pad>", "<s>", "</s>", "<unk>", "|"].map(str::to_string);
        let tokens = specials.into_iter().chain(letters.chars().map(String::from));
        Value::Object(tokens.zip(0..).map(|(token, id)| (token, Value::from(id))).collect::<Map<_, _>>())
    };
    dir.write("mms/vocab.json", json!({"aaa": letters("abcdef"), "bbb": letters("uvwxyz")}).to_string());
    dir.write("mms/tokenizer_config.json", json!({"target_lang": "aaa"}).to_string());
    let weights = dir.bytes("mms/model.safetensors");
    let file = SafeTensors::deserialize(&weights).expect("weights");
    let own: Vec<(&str, TensorView)> = (file.names().into_iter())
        .filter(|name| name.contains("adapter_layer") || name.starts_with("lm_head"))
        .map(|name| (name, file.tensor(name).expect(name)))
        .collect();
    dir.write("mms/adapter.bbb.safetensors", serialize(own, None).expect("safetensors"));
    dir
}

#[test]
fn a_language_brings_its_adapter_and_its_letters() {
    let dir = with_languages();
    let text = |language: &[&str]| {
        let command: Vec<&str> = ["transcribe", "mms", "audio/u3.wav"].iter().chain(language).copied().collect();
        dir.klang_on_cpu(command).succeeds().stdout
    };
    // The adapters of both are the same here: other letters stand for the same labels.
    let (first, second) = (text(&[]), text(&["--language", "bbb"]));
    assert!(!first.trim().is_empty(), "{first:?}");
    let spelt: String = first
        .chars()
        .map(|letter| if letter.is_alphabetic() { (letter as u8 - b'a' + b'u') as char } else { letter })
        .collect();
    assert_eq!(second, spelt);
    let unknown = ["transcribe", "mms", "audio/u3.wav", "--language", "ccc"];
    dir.klang_on_cpu(unknown).refused_with(2).says(&["language `ccc`", "bbb"]);
}

#[test]
fn decoding_holds_for_the_language_that_it_was_tuned_for() {
    let dir = with_languages();
    dir.write("mms/decoding.json", r#"{"method": "beam", "width": 7, "language": "bbb"}"#);
    let transcribe = ["transcribe", "mms", "audio/u3.wav"];
    let language = ["--language", "bbb"];
    dir.klang_on_cpu(transcribe.iter().chain(&language)).succeeds().says(&["beam search 7 wide"]);
    let passed_over = ["tuned for `bbb`, not for the model's own language", "passed over"];
    let other = dir.klang_on_cpu(transcribe).succeeds();
    other.says(&passed_over);
    assert!(!other.stderr.contains("beam search"), "{other}");
    // What is exported has one language, and what was tuned for it.
    dir.klang(["export", "mms", "out"].iter().chain(&language)).succeeds();
    assert_eq!(dir.json("out/decoding.json")["language"], Value::Null);
    dir.klang_on_cpu(["transcribe", "out", "audio/u3.wav"]).succeeds().says(&["beam search 7 wide"]);
    dir.klang(["export", "mms", "plain"]).succeeds().says(&passed_over);
    assert!(!dir.path("plain/decoding.json").exists());
}

#[test]
fn a_training_from_one_of_many_languages_is_a_model_of_one() {
    let dir = with_languages();
    write_recipe(&dir, "mms", "language: bbb\n  tune: {kind: adapters}");
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds().says(&["4 new tokens: a b c d"]);
    dir.klang_on_cpu(["transcribe", "run", "audio/u0.wav"]).succeeds();
    dir.klang(["export", "run", "out"]).succeeds();
    assert_eq!(dir.json("out/config.json")["adapter_attn_dim"], 3);
    assert!(dir.json("out/vocab.json")["a"].is_u64());
}

#[test]
fn a_shape_that_contradicts_the_weights_is_found_by_check() {
    let dir = Dir::with_model();
    write_recipe(&dir, "run", "");
    for command in ["check", "train"] {
        let deeper = ["--set", "model.architecture.num_hidden_layers=3"];
        dir.klang([command, "recipe.yaml"].iter().chain(&deeper)).refused_with(2).says(&[
            "run/best/model.safetensors",
            "layers.1.",
            "missing",
        ]);
    }
}

#[test]
fn a_model_that_lacks_what_its_configuration_promises_is_not_opened() {
    let dir = Dir::with_model();
    let mut config = dir.json("run/best/config.json");
    config["adapter_attn_dim"] = json!(16384);
    dir.write("run/best/config.json", config.to_string());
    let said = ["adapter_layer", "missing"];
    dir.klang_on_cpu(["transcribe", "run", "audio/u0.wav"]).refused_with(1).says(&said);
}

#[test]
fn a_mistyped_path_stays_a_path() {
    let dir = Dir::with_model();
    dir.write("runs/digits/recipe.yaml", "");
    let said = ["runs/digtis: no such folder", "@main"];
    dir.klang_on_cpu(["transcribe", "runs/digtis", "audio/u0.wav"]).refused_with(1).says(&said);
    // In a recipe elsewhere, whose paths start at its own folder.
    write_recipe(&dir, "runs/digtis", "");
    let recipe = dir.path("recipe.yaml");
    let elsewhere = Dir::new();
    let said = ["runs/digtis: no such folder"];
    elsewhere.klang(["check", recipe.to_str().expect("UTF-8")]).refused_with(2).says(&said);
}
