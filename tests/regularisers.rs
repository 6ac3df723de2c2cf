//! Norms and regularisers beside KL-Norm: each is a recipe that trains, resumes exactly and can be scored.

use crate::harness::{Dir, recipe, start_and_kill, timeless};

/// A folder with a model `start` to begin from.
fn dir() -> Dir {
    let dir = Dir::with_recipe(1);
    dir.write("start.yaml", recipe(1, "size: tiny", "", "learning_rate: 1.0e-9"));
    dir.klang(["train", "start.yaml", "--run", "start"]).succeeds();
    dir
}

fn from_start(updates: u64, model: &str, train: &str) -> String {
    let text = recipe(updates, &format!("init: start\n  {model}"), "", &format!("learning_rate: 0.01\n  {train}"));
    // The checkpoint says its own shape.
    text.lines().filter(|line| !line.contains("architecture:")).collect::<Vec<_>>().join("\n")
}

const EVERY: [(&str, &str, &str); 9] = [
    ("batch_norm", "norm: {kind: batch_norm}", ""),
    ("instance_norm", "norm: {kind: instance_norm, sites: [feed_forward]}", ""),
    ("group_norm", "norm: {kind: group_norm, groups: 4}", ""),
    ("rms_norm", "norm: {kind: rms_norm, sites: [attention, feed_forward, encoder]}", ""),
    (
        "kl_norm in full",
        "norm: {kind: kl_norm, statistics: batch, rank: 2, sigma_rank: 2, free_bits: 0.1, cycles: 2, warmup: [0, 0.5], learning_rate_scale: 5}",
        "",
    ),
    ("l2_sp", "norm: {kind: layer_norm}", "l2_sp: {weight: 0.1, fresh_weight: 0.01}"),
    ("mixout", "norm: {kind: layer_norm}", "mixout: 0.3"),
    ("bottleneck", "bottleneck: {width: 8, weight: 0.1}", ""),
    ("r_drop", "norm: {kind: kl_norm, noise: false}", "r_drop: 0.5"),
];

#[test]
fn each_trains_and_is_what_was_scored() {
    let dir = dir();
    for (name, model, train) in EVERY {
        dir.write("recipe.yaml", from_start(6, model, train));
        dir.klang(["check", "recipe.yaml"]).succeeds();
        dir.klang(["train", "recipe.yaml", "--run", name]).succeeds();
        let lines = timeless(&dir, name);
        let last = lines.iter().rfind(|line| line["kind"] == "train").expect("a line");
        if let "l2_sp" | "bottleneck" | "r_drop" = name {
            assert!(last["regularisers"][name].as_f64() > Some(0.0), "{name}: {last}");
        }
        let best = lines.iter().rfind(|line| line["kind"] == "dev" && line["best"] == true).expect("a best one");
        let scored = dir.klang_on_cpu(["evaluate", name, "dev.jsonl", "--json"]).succeeds();
        let scored: serde_json::Value = serde_json::from_str(&scored.stdout).expect("JSON");
        assert_eq!(scored["cer"], best["score"]["cer"], "{name}");
    }
    // Of these, export has to refuse those that equal no LayerNorm.
    for (name, stock) in [("batch_norm", false), ("rms_norm", false), ("kl_norm in full", false), ("bottleneck", true)]
    {
        let exported = dir.klang(["export", name, &format!("out {name}")]);
        if stock {
            exported.succeeds();
            assert!(!dir.text(&format!("out {name}/config.json")).contains("bottleneck"));
        } else {
            exported.refused_with(2).says(&["cannot be folded", "--as-is"]);
        }
    }
}

#[test]
fn all_of_it_together_resumes_exactly() {
    let dir = dir();
    let model = "norm: {kind: kl_norm, statistics: batch, rank: 2, sigma_rank: 2, cycles: 2, warmup: [0, 0.5]}\n  bottleneck: {width: 8, weight: 0.1}";
    let train = "l2_sp: {weight: 0.1, fresh_weight: 0.01}\n  mixout: 0.3\n  r_drop: 0.5";
    let text = from_start(50, model, train)
        .replace("evaluate_every: 2", "evaluate_every: 10")
        .replace("threads: 1", "threads: 2");
    dir.write("recipe.yaml", text);
    dir.klang(["train", "recipe.yaml", "--run", "whole"]).succeeds();
    let update = start_and_kill(&dir, "train", "stopped");
    assert!((10..50).contains(&update), "{update}");
    dir.klang(["train", "recipe.yaml", "--run", "stopped", "--resume"]).succeeds();
    for model in ["best", "last"] {
        let weights = |run: &str| dir.bytes(&format!("{run}/{model}/model.safetensors"));
        assert!(weights("whole") == weights("stopped"), "the weights of {model} differ after a stop at {update}");
    }
    assert_eq!(timeless(&dir, "whole"), timeless(&dir, "stopped"));
}

#[test]
fn what_cannot_be_is_refused_with_a_hint() {
    let dir = dir();
    let cases = [
        ("", "mixout: 1", "train.mixout"),
        ("", "r_drop: 1\n  gradient_checkpointing: true", "train.r_drop"),
        ("bottleneck: {width: 8}\n  keep_head: true", "", "model.keep_head"),
        ("norm: {kind: group_norm, groups: 3}", "", "model.norm.groups"),
        ("norm: {kind: batch_norm, momentum: 0}", "", "norm.momentum"),
        ("norm: {kind: kl_norm, cycles: 0}", "", "model.norm.cycles"),
    ];
    for (model, train, key) in cases {
        dir.write("recipe.yaml", from_start(2, model, train));
        dir.klang(["check", "recipe.yaml"]).refused_with(2).says(&[key]);
    }
    let random = recipe(2, "", "", "mixout: 0.1");
    dir.write("recipe.yaml", random);
    dir.klang(["check", "recipe.yaml"]).refused_with(2).says(&["train.mixout", "pretrained weights"]);
}
