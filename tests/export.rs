//! `klang export`: a folder for other tools, which computes what the run computes.

use safetensors::SafeTensors;
use serde_json::Value;

use crate::harness::{Dir, recipe};

/// A run folder `run` with KL-Norm, trained for a few updates.
fn with_kl_norm(norm: &str) -> Dir {
    let dir = Dir::with_recipe(1);
    let model = format!("norm: {{kind: kl_norm, {norm}}}");
    dir.write(
        "recipe.yaml",
        recipe(6, &model, "test: {unseen: dev.jsonl}\n  allow_overlap: true", "learning_rate: 0.02"),
    );
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    dir
}

fn names(dir: &Dir, file: &str) -> Vec<String> {
    let bytes = dir.bytes(file);
    let mut names: Vec<String> =
        SafeTensors::deserialize(&bytes).expect(file).names().into_iter().map(str::to_string).collect();
    names.sort();
    names
}

fn logits(dir: &Dir, model: &str) -> Vec<u8> {
    dir.klang_on_cpu(["logits", model, "audio/u3.wav", "--out", "logits.safetensors"]).succeeds();
    let bytes = dir.bytes("logits.safetensors");
    SafeTensors::deserialize(&bytes).expect("safetensors").tensor("logits").expect("logits").data().to_vec()
}

#[test]
fn the_folder_is_a_stock_model_that_computes_the_same() {
    for norm in ["weight: 0.01", "weight: 0.01, mean: scale, log_sigma: channel"] {
        is_a_stock_model_that_computes_the_same(norm);
    }
}

fn is_a_stock_model_that_computes_the_same(norm: &str) {
    let dir = with_kl_norm(norm);
    dir.klang(["export", "run", "out"]).succeeds().prints(&["out"]);
    let expected = [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vocab.json",
    ];
    assert_eq!(dir.names("out"), expected);
    let own = names(&dir, "run/best/model.safetensors");
    let part = |part: &str| own.iter().any(|name| name.ends_with(&format!(".kl_norm.{part}")));
    assert!(part("w") && part("b") != norm.contains("scale") && part("a") != norm.contains("channel"), "{own:?}");
    assert!(!names(&dir, "out/model.safetensors").iter().any(|name| name.contains("kl_norm")));
    let config = dir.json("out/config.json");
    assert_eq!((&config["klang_norm"], &config["model_type"]), (&Value::Null, &Value::from("wav2vec2")));
    assert_eq!(logits(&dir, "out"), logits(&dir, "run"));

    dir.klang(["export", "run", "kept", "--as-is"]).succeeds();
    assert_eq!(names(&dir, "kept/model.safetensors"), names(&dir, "run/best/model.safetensors"));
    assert_eq!(logits(&dir, "kept"), logits(&dir, "run"));
}

#[test]
fn the_card_tells_data_scores_and_recipe_and_no_folder_of_this_machine() {
    let dir = with_kl_norm("weight: 0.01");
    // A second training, from the first one, all of it by absolute paths.
    std::fs::rename(dir.path("run"), dir.path("first")).expect("a run");
    let (recipe, start) = (dir.path("recipe.yaml"), format!("model.init={}", dir.path("first").display()));
    let recipe = recipe.to_str().expect("UTF-8");
    let select = "data.select={speaker: {not: [carla]}}";
    dir.klang(["train", recipe, "--run", "run", "--set", &start, "--set", select]).succeeds();
    dir.klang(["export", "run", "out"]).succeeds();
    let card = dir.text("out/README.md");
    let unseen = dir.json_lines("run/metrics.jsonl").into_iter().find(|line| line["kind"] == "test").expect("a test");
    let wer = format!("{:.2} %", 100.0 * unseen["score"]["wer"].as_f64().expect("a rate"));
    for part in [
        "license: # FILL IN",
        "library_name: transformers",
        "folded into the LayerNorm",
        "| unseen |",
        &wer,
        "| train | 6 |",
        "from first.",
        "## Recipe",
        "kl_norm",
        "train.jsonl",
    ] {
        assert!(card.contains(part), "{part} not in:\n{card}");
    }
    assert!(!card.contains("carla") && card.contains("left out: it may name people"), "{card}");
    let here = dir.path("");
    assert!(!card.contains(here.to_str().expect("UTF-8").trim_end_matches('/')), "{card}");
    // A model without a run has a card that asks for what it cannot know.
    dir.klang(["export", "out", "again"]).succeeds();
    assert!(dir.text("again/README.md").contains("no scores came with the model"));
}

#[test]
fn what_is_there_already_is_not_touched() {
    let dir = Dir::with_model();
    dir.write("out/thesis.tex", "years of work");
    dir.klang(["export", "run", "out"]).refused_with(2).says(&["out: holds something already"]);
    assert_eq!(dir.names("out"), ["thesis.tex"]);
    dir.write("model.old/notes.txt", "of another model");
    dir.klang(["export", "run", "model.new"]).succeeds();
    assert_eq!(dir.names("model.old"), ["notes.txt"]);
    // An empty folder stays the folder it is: somebody's shell may stand in it.
    std::fs::create_dir(dir.path("empty")).expect("a folder");
    std::os::unix::fs::symlink(dir.path("empty"), dir.path("link")).expect("a link");
    dir.klang(["export", "run", "link"]).succeeds();
    assert_eq!(dir.names("empty").len(), 7, "{:?}", dir.names("empty"));
}

#[test]
fn a_low_rank_mean_cannot_fold_and_as_is_keeps_it() {
    let dir = with_kl_norm("rank: 2, weight: 0.01");
    let said = ["norm.rank", "cannot be folded", "--as-is"];
    dir.klang(["export", "run", "out"]).refused_with(2).says(&said);
    assert!(!dir.path("out").exists());
    dir.klang(["export", "run", "out", "--as-is"]).succeeds();
    assert_eq!(logits(&dir, "out"), logits(&dir, "run"));
    let card = dir.text("out/README.md");
    assert!(card.contains("klang transcribe") && !card.contains("library_name"), "{card}");
    // A recipe without a place for the term does not lose it in silence.
    for (norm, said) in [("kl_norm", "kl_norm.u: unexpected"), ("layer_norm", "low-rank mean")] {
        let settings = ["model.init=out".to_string(), format!("model.norm={{kind: {norm}}}")];
        let command =
            ["check", "recipe.yaml", "--set", &settings[0], "--set", &settings[1], "--set", "model.norm.rank=0"];
        dir.klang(command).refused_with(2).says(&[said]);
    }
    // What is no LayerNorm is not written as one.
    assert!(
        !names(&dir, "out/model.safetensors").iter().any(|name| name.ends_with("encoder.layers.0.layer_norm.weight"))
    );
}
