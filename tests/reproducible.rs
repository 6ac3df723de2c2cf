//! What a training gives follows from its recipe and its seed, and from nothing else.

use crate::harness::{Dir, recipe};

fn weights(dir: &Dir, run: &str, settings: &[&str]) -> Vec<u8> {
    let mut arguments = vec!["train", "recipe.yaml", "--run", run];
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    dir.klang(arguments).succeeds();
    dir.bytes(&format!("{run}/last/model.safetensors"))
}

fn noisy() -> Dir {
    let dir = Dir::with_recipe(1);
    let augment = "augment: {speed: [0.8, 1.25], noise_db: [10, 40]}";
    dir.write(
        "recipe.yaml",
        recipe(
            8,
            "norm: {kind: kl_norm}",
            augment,
            "mask: {time: {share: 0.2, length: 2}, channel: {share: 0.1, length: 2}}",
        ),
    );
    dir
}

#[test]
fn the_seed_decides() {
    let dir = noisy();
    let first = weights(&dir, "first", &[]);
    assert!(first == weights(&dir, "again", &[]), "the same seed gives other weights");
    assert!(first != weights(&dir, "other", &["seed=2"]), "another seed gives the same weights");
}

#[test]
fn the_number_of_workers_and_the_cache_do_not() {
    let dir = noisy();
    let one = weights(&dir, "one", &["data.workers=1"]);
    assert!(one == weights(&dir, "four", &["data.workers=4"]));
    assert!(one == weights(&dir, "uncached", &["data.workers=3", "data.cache_mib=0"]));
}

#[test]
fn bf16_learns_what_fp32_learns() {
    let dir = noisy();
    let losses = |precision: &str| -> Vec<f64> {
        let run = format!("in-{precision}");
        let settings = [format!("--set=precision={precision}"), "--set=train.updates=50".into()];
        dir.klang(["train", "recipe.yaml", "--run", &run].map(String::from).into_iter().chain(settings)).succeeds();
        let lines = dir.json_lines(&format!("{run}/metrics.jsonl"));
        lines.iter().filter(|line| line["kind"] == "train").map(|line| line["loss"].as_f64().expect("a loss")).collect()
    };
    let (fp32, bf16) = (losses("fp32"), losses("bf16"));
    assert_eq!(fp32.len(), 25);
    assert!(fp32[24] < 0.8 * fp32[0], "nothing was learnt that could differ: {fp32:?}");
    // bf16 keeps 8 bits: 2⁻⁹ a rounding, some 30 of them one after another through the model and back, if all leant one
    // way: 6 %. Updates do not add to it: AdamW's steps are as long whatever the gradient's size, and the loss corrects them.
    let worst = fp32.iter().zip(&bf16).map(|(fp32, bf16)| (bf16 / fp32 - 1.0).abs()).fold(0.0, f64::max);
    println!("largest difference of losses: {worst:.4}");
    assert!(worst > 0.0 && worst < 0.06, "{worst}: {fp32:?}, {bf16:?}");
}
