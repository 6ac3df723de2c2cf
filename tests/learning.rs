//! That the parts together learn to read speech.

use crate::harness::{Dir, SENTENCES, hypotheses, recipe};

/// Letters are tones, so a model of some thousand weights can learn them by heart.
#[test]
fn a_tiny_model_learns_to_read_tones() {
    let dir = Dir::with_recipe(1);
    let updates = 300;
    let train = "learning_rate: 1.0e-2\n  flat_start_updates: 50";
    let recipe = recipe(updates, "norm: {kind: kl_norm, weight: 0.001}", "", train)
        .replace("evaluate_every: 2", "evaluate_every: 100")
        .replace("hidden_size: 16", "hidden_dropout: 0.0, attention_dropout: 0.0, activation_dropout: 0.0, feat_proj_dropout: 0.0, final_dropout: 0.0, layerdrop: 0.0, initializer_range: 0.1, hidden_size: 16");
    dir.write("recipe.yaml", recipe);
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    let evaluate = ["evaluate", "run", "train.jsonl", "--json", "--out", "out"];
    let score = dir.klang_on_cpu(evaluate).succeeds().json();
    assert!(score["cer"].as_f64() < Some(0.2), "{score:#}");
    let read = hypotheses(&dir, "out/train.hypotheses.jsonl");
    let right = SENTENCES[..6].iter().filter(|(id, _, text)| read[*id] == *text).count();
    assert!(right >= 3, "{read:?}");
}
