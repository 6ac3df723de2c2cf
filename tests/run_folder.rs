//! `klang train` and the run folder that it leaves.

use serde_json::Value;

use crate::harness::{Dir, recipe};

const MODEL: [&str; 6] = [
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "vocab.json",
];

#[test]
fn a_run_leaves_recipe_metrics_models_state_and_report() {
    let dir = Dir::with_recipe(5);
    let train = "mask: {time: {share: 0.5, length: 2}, channel: {share: 0.1, length: 2}}";
    let data = "test: {known speaker: dev.jsonl}\n  allow_overlap: true";
    dir.write("recipe.yaml", recipe(5, "norm: {kind: kl_norm}", data, train));
    let finished = dir.klang(["train", "recipe.yaml", "--run", "runs/a", "--set", "train.clip=0.5"]).succeeds();
    finished
        .prints(&["best dev WER", "known speaker", "run folder: runs/a"])
        .says(&["computing on cpu, 1 thread, fp32"]);

    assert_eq!(
        dir.names("runs/a"),
        [
            ".lock",
            "best",
            "dev.emissions.jsonl",
            "dev.hypotheses.jsonl",
            "last",
            "metrics.jsonl",
            "recipe.yaml",
            "report.html",
            "state",
            "tests"
        ],
        "and nothing unfinished"
    );
    // Dev serves as the test here, and the best model says the same of both.
    let test = dir.text("runs/a/tests/known-speaker.hypotheses.jsonl");
    assert_eq!(test, dir.text("runs/a/dev.hypotheses.jsonl"));
    for folder in ["runs/a/best", "runs/a/last"] {
        assert_eq!(dir.names(folder), MODEL, "{folder}");
    }
    assert!(dir.text("runs/a/report.html").starts_with("<!doctype html>"));
    assert_eq!(dir.json("runs/a/state/progress.json")["update"], 5);
    resolved(&dir);
    metrics(&dir.json_lines("runs/a/metrics.jsonl"));
    best_on_dev(&dir);
    transformers_layout(&dir, "runs/a/best");
}

/// What the best model made of dev is what `klang evaluate` says of it, and its path's labels are that text, in which no
/// special token stands.
fn best_on_dev(dir: &Dir) {
    dir.klang_on_cpu(["evaluate", "runs/a", "dev.jsonl", "--out", "out"]).succeeds();
    assert_eq!(dir.text("runs/a/dev.hypotheses.jsonl"), dir.text("out/dev.hypotheses.jsonl"));
    let paths = dir.json_lines("runs/a/dev.emissions.jsonl");
    assert_eq!(paths.len(), 2, "dev has two utterances");
    for path in paths {
        let labels = path["labels"].as_array().expect("labels");
        let tokens: String = labels.iter().map(|label| label["token"].as_str().expect("a token")).collect();
        let text = tokens.replace('␣', " ").replace("<unk>", "");
        assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), path["text"], "{path}");
        let bands = path["spectrogram"].as_array().expect("bands");
        let frames = bands[0].as_str().expect("digits").len() as u64;
        assert!(bands.len() == 40 && frames > 0, "{path}");
        let places: Vec<u64> = labels.iter().map(|label| label["frame"].as_u64().expect("a frame")).collect();
        assert!(places.is_sorted() && places.iter().all(|&frame| frame < frames), "{path}");
    }
}

/// Every default is shown, and what was set.
fn resolved(dir: &Dir) {
    let recipe: Value = serde_yaml::from_str(&dir.text("runs/a/recipe.yaml")).expect("YAML");
    assert_eq!(recipe["train"]["clip"], 0.5);
    assert_eq!(recipe["train"]["updates"], 5);
    assert_eq!(recipe["train"]["schedule"], "tri_stage");
    assert_eq!(recipe["model"]["norm"]["kind"], "kl_norm");
    assert_eq!(recipe["decode"]["method"], "greedy");
}

fn metrics(lines: &[Value]) {
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let updates =
        |kind: &str| of(kind).iter().map(|line| line["update"].as_u64().expect("a number")).collect::<Vec<_>>();
    assert_eq!(updates("run"), [0]);
    assert_eq!(updates("train"), [2, 4, 5]);
    assert_eq!(updates("dev"), [2, 4, 5]);
    let train = of("train");
    for (index, line) in train.iter().enumerate() {
        assert!(line["loss"].as_f64().is_some_and(|loss| loss > 0.0), "{line}");
        assert_eq!(line.get("initial_loss").is_some(), index == 0, "{line}");
        // Half of the frames would be covered without overlap.
        let masked = line["masked"].as_f64().expect("a share");
        assert!((0.2..=0.6).contains(&masked), "{masked}");
        assert!(line["rate"].as_f64().is_some_and(|rate| rate > 0.0), "{line}");
        let sites: Vec<&String> = line["rates"].as_object().expect("rates by site").keys().collect();
        assert_eq!(sites.len(), 2, "two sites of one layer: {sites:?}");
    }
    // Channel by channel at every evaluation: what the line of the update before it says of each site is their mean.
    assert_eq!(updates("rates"), [2, 4, 5]);
    for (line, train) in of("rates").iter().zip(&train) {
        for (site, mean) in train["rates"].as_object().expect("rates by site") {
            let channels: Vec<f64> =
                line["sites"][site].as_array().expect(site).iter().map(|nats| nats.as_f64().expect("nats")).collect();
            assert_eq!(channels.len(), 16, "{site}");
            let off = channels.iter().sum::<f64>() / 16.0 - mean.as_f64().expect("nats");
            assert!(off.abs() < 1e-4, "{site}: {off}");
        }
    }
    // Five labels, none likelier than another: the loss starts near ln 6 or above, never near 0.
    assert!(train[0]["initial_loss"].as_f64().is_some_and(|loss| loss > 1.0), "{}", train[0]);
    let dev = of("dev");
    assert_eq!(dev[0]["best"], true, "the first is always the best so far");
    for line in dev {
        assert_eq!(line["score"]["utterances"], 2);
        assert_eq!(line["score"]["words"], 3);
        assert!(line["behaviour"]["blank"].as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)), "{line}");
    }
    let tests = of("test");
    assert_eq!(tests.len(), 1);
    assert_eq!(tests[0]["name"], "known speaker");
}

fn transformers_layout(dir: &Dir, folder: &str) {
    let json = |name: &str| dir.json(&format!("{folder}/{name}"));
    let (config, vocabulary, tokenizer) = (json("config.json"), json("vocab.json"), json("tokenizer_config.json"));
    let vocabulary = vocabulary.as_object().expect("tokens");
    assert_eq!(config["architectures"][0], "Wav2Vec2ForCTC");
    assert_eq!(config["model_type"], "wav2vec2");
    assert_eq!(config["hidden_size"], 16);
    assert_eq!(config["vocab_size"], vocabulary.len());
    assert_eq!(config["pad_token_id"], vocabulary[tokenizer["pad_token"].as_str().expect("a token")]);
    for token in ["a", "b", "c", "d", tokenizer["word_delimiter_token"].as_str().expect("a token")] {
        assert!(vocabulary.contains_key(token), "{token}: {vocabulary:?}");
    }
    assert_eq!(json("preprocessor_config.json")["sampling_rate"], 16_000);
    let bytes = dir.bytes(&format!("{folder}/model.safetensors"));
    let weights = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    assert_eq!(weights.tensor("lm_head.weight").expect("a head").shape(), [vocabulary.len(), 16]);
    // KL-Norm's own parameters, and beside them the LayerNorm that it equals for a tool that knows nothing of it.
    let names = weights.names();
    let norm = "wav2vec2.encoder.layers.0.layer_norm";
    assert!(names.contains(&format!("{norm}.weight").as_str()), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with(norm) && name.ends_with(".gamma")), "{names:?}");
}

#[test]
fn without_a_name_the_run_folder_is_named_after_the_recipe() {
    let dir = Dir::with_recipe(1);
    dir.klang(["train", "recipe.yaml"]).succeeds().prints(&["run folder: runs/recipe"]);
    assert!(dir.path("runs/recipe/last/model.safetensors").is_file());
}

#[test]
fn a_folder_with_a_run_is_not_trained_into_again() {
    let dir = Dir::with_recipe(1);
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    let before = dir.bytes("run/metrics.jsonl");
    dir.klang(["train", "recipe.yaml", "--run", "run"]).refused_with(2).says(&["run folder run", "--resume"]);
    assert_eq!(dir.bytes("run/metrics.jsonl"), before);
}

#[test]
fn two_processes_never_share_a_run_folder() {
    let dir = Dir::with_recipe(1);
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    let before = dir.bytes("run/metrics.jsonl");
    let resume = ["train", "recipe.yaml", "--run", "run", "--resume"];
    let other = std::fs::File::open(dir.path("run/.lock")).expect("a lock");
    other.try_lock().expect("its process has ended, and the lock with it");
    dir.klang(resume).refused_with(2).says(&["another `klang train` or `klang pretrain` is at work", "--run DIR"]);
    assert_eq!(dir.bytes("run/metrics.jsonl"), before);
    drop(other);
    dir.klang(resume).succeeds();
}

#[test]
fn a_recipe_that_fails_leaves_no_run_folder() {
    let dir = Dir::with_recipe(1);
    for setting in ["data.train=[nowhere.jsonl]", "data.dev=nowhere.jsonl", "model.architecture.hidden_size=15"] {
        dir.klang(["train", "recipe.yaml", "--run", "run", "--set", setting]).refused_with(2);
        assert!(!dir.path("run").exists(), "{setting}");
    }
}

#[test]
fn a_run_can_start_from_another_one() {
    let dir = Dir::with_model();
    let from = ["train", "recipe.yaml", "--run", "second", "--set", "model.init=run"];
    dir.klang(from).succeeds().says(&["starting from run/best", "vocabulary and head: the checkpoint's"]);
    // Convolutions that come from a checkpoint are frozen; the rest has learnt.
    let weight = |run: &str, name: &str| {
        let bytes = dir.bytes(&format!("{run}/last/model.safetensors"));
        safetensors::SafeTensors::deserialize(&bytes).expect(run).tensor(name).expect(name).data().to_vec()
    };
    let convolution = "wav2vec2.feature_extractor.conv_layers.0.conv.weight";
    assert!(weight("run", convolution) == weight("second", convolution));
    assert!(weight("run", "lm_head.weight") != weight("second", "lm_head.weight"));
}
