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
