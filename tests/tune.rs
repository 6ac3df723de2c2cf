//! `model.tune`: only what the recipe chooses learns, and `klang check` says how much that is.

use std::collections::BTreeSet;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::harness::{Dir, recipe, start_and_kill};

/// A folder with a model `run` to start from, of pre-norm blocks.
fn dir() -> Dir {
    let dir = Dir::with_recipe(1);
    let start = recipe(1, "size: tiny", "", "learning_rate: 1.0e-9")
        .replace("hidden_size: 16", "do_stable_layer_norm: true, hidden_size: 16");
    let start = start.replace("num_hidden_layers: 1", "num_hidden_layers: 2");
    dir.write("start.yaml", start);
    dir.klang(["train", "start.yaml", "--run", "run"]).succeeds();
    dir
}

fn write_recipe(dir: &Dir, updates: u64, model: &str) {
    let text = recipe(updates, &format!("init: run\n  {model}"), "", "learning_rate: 0.01\n  clip: 0");
    // The checkpoint says its own shape.
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("architecture:")).collect();
    dir.write("recipe.yaml", without.join("\n"));
}

/// Which tensors of two models' weights differ, or are in the second one alone.
fn changed(dir: &Dir, before: &str, after: &str) -> BTreeSet<String> {
    let (before, after) = (dir.bytes(before), dir.bytes(after));
    let (before, after) =
        (SafeTensors::deserialize(&before).expect("one"), SafeTensors::deserialize(&after).expect("two"));
    let differs =
        |name: &&str| before.tensor(name).map_or(true, |old| old.data() != after.tensor(name).expect(name).data());
    after.names().into_iter().filter(differs).map(str::to_string).collect()
}

#[test]
fn each_choice_changes_its_own_parameters_and_no_others() {
    let dir = dir();
    type Chosen = fn(&str) -> bool;
    let cases: [(&str, Chosen); 6] = [
        ("head", |_| false),
        ("norms", |name| name.contains("layer_norm") && !name.contains("feature_extractor")),
        ("adapters", |name| name.contains("adapter_layer")),
        ("lora", |name| name.contains("q_proj.weight") || name.contains("v_proj.weight")),
        ("top, layers: 1", |name| name.contains("encoder.layers.1.") || name.contains("encoder.layer_norm")),
        ("all", |name| !name.contains("feature_extractor")),
    ];
    for (number, (kind, chosen)) in cases.into_iter().enumerate() {
        write_recipe(&dir, 3, &format!("tune: {{kind: {kind}}}"));
        let run = format!("run{number}");
        dir.klang(["train", "recipe.yaml", "--run", &run]).succeeds();
        let changed = changed(&dir, "run/best/model.safetensors", &format!("{run}/last/model.safetensors"));
        assert!(changed.contains("lm_head.weight"), "{kind}: {changed:?}");
        let strangers: Vec<_> = changed.iter().filter(|name| !name.starts_with("lm_head") && !chosen(name)).collect();
        assert!(strangers.is_empty(), "{kind}: {strangers:?}");
        let own = changed.iter().filter(|name| chosen(name)).count();
        assert_eq!(own == 0, kind == "head", "{kind}: {changed:?}");
    }
    // Low-rank factors are merged wherever a model is written: it is a stock model.
    let config = dir.json("run3/last/config.json");
    assert_eq!(config["adapter_attn_dim"], Value::Null);
    let lora = dir.bytes("run3/last/model.safetensors");
    let start = dir.bytes("run/best/model.safetensors");
    let names = |bytes: &[u8]| {
        let file = SafeTensors::deserialize(bytes).expect("safetensors");
        file.names().into_iter().map(str::to_string).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&lora), names(&start));
    assert_eq!(dir.json("run2/last/config.json")["adapter_attn_dim"], 16);
}

#[test]
fn factors_and_adapters_resume_as_if_never_interrupted() {
    let dir = dir();
    for kind in ["lora", "adapters"] {
        write_recipe(&dir, 60, &format!("tune: {{kind: {kind}}}"));
        let (whole, stopped) = (format!("{kind}-whole"), format!("{kind}-stopped"));
        dir.klang(["train", "recipe.yaml", "--run", &whole]).succeeds();
        let update = start_and_kill(&dir, "train", &stopped);
        assert!(update < 60, "{update}");
        dir.klang(["train", "recipe.yaml", "--run", &stopped, "--resume"]).succeeds();
        let weights = |run: &str| dir.bytes(&format!("{run}/last/model.safetensors"));
        assert!(weights(&whole) == weights(&stopped), "{kind}, stopped after update {update}");
    }
}

#[test]
fn check_prints_what_each_choice_learns() {
    let dir = dir();
    write_recipe(&dir, 1, "tune: {kind: lora, rank: 2}");
    let stdout = dir.klang(["check", "recipe.yaml"]).succeeds().stdout;
    let learnt = |kind: &str| -> u64 {
        let line = stdout.lines().find(|line| line[1..].trim_start().starts_with(&format!("{kind} "))).expect(kind);
        line[1..].split_whitespace().nth(1).expect("a number").parse().expect(line)
    };
    // 7 tokens of 16 channels and their biases.
    let head = 7 * 16 + 7;
    assert_eq!(learnt("head"), head);
    // Two blocks: factors of rank 2 beside query and value; adapters of 16 channels with a norm.
    assert_eq!(learnt("lora"), head + 2 * 2 * (2 * 16 + 16 * 2));
    assert_eq!(learnt("adapters"), head + 2 * (2 * 16 + 2 * (16 * 16 + 16)));
    // Two norms a block, the encoder's own, and the projection's over 4 features.
    assert_eq!(learnt("norms"), head + 2 * (2 * 2 * 16) + 2 * 16 + 2 * 4);
    assert!(stdout.contains("* lora"), "{stdout}");
    assert!(learnt("all") > learnt("top"), "{stdout}");
}

#[test]
fn adapters_where_no_other_tool_would_find_them_are_refused() {
    let dir = Dir::with_recipe(1);
    dir.write(
        "recipe.yaml",
        recipe(1, "", "", "").replace("{hidden_size", "{do_stable_layer_norm: false, hidden_size"),
    );
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    write_recipe(&dir, 1, "tune: {kind: adapters}");
    let said = ["adapter_attn_dim", "pre-norm"];
    dir.klang(["train", "recipe.yaml", "--run", "second"]).refused_with(2).says(&said);
    assert!(
        dir.klang(["check", "recipe.yaml", "--set", "model.tune.kind=head"]).succeeds().stdout.contains("not here:")
    );
}
