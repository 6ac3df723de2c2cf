//! `model.keep_head`: whose vocabulary and head a training from a checkpoint has.

use crate::harness::{Dir, SENTENCES};

/// A folder with a model of the letters of the corpus, and training text that has others.
fn with_new_letters() -> Dir {
    let dir = Dir::with_model();
    let mut sentences = SENTENCES;
    sentences[0].2 = "añb";
    sentences[1].2 = "dxba";
    dir.corpus("train.jsonl", &sentences[..6]);
    dir
}

fn set(dir: &Dir, settings: &[&str]) -> crate::harness::TestCommand {
    let mut arguments = vec!["train", "recipe.yaml", "--run", "second", "--set", "model.init=run"];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    dir.klang(arguments)
}

#[test]
fn a_new_vocabulary_says_which_tokens_are_new() {
    let dir = with_new_letters();
    set(&dir, &["model.architecture={}"]).succeeds().says(&["the head starts afresh", "2 new tokens: x ñ"]);
    let vocabulary = dir.json("second/best/vocab.json");
    assert!(vocabulary["ñ"].is_u64(), "{vocabulary}");
}

#[test]
fn keeping_the_head_fails_with_the_tokens_it_lacks() {
    let dir = with_new_letters();
    set(&dir, &["model.keep_head=true"]).refused_with(2).says(&["model.keep_head", "2 new tokens: x ñ"]);
    assert!(!dir.path("second").exists());
}

#[test]
fn a_head_that_suffices_is_kept_unless_the_recipe_says_otherwise() {
    let dir = Dir::with_model();
    for (setting, said) in [
        ("model.keep_head=true", "vocabulary and head: the checkpoint's"),
        ("model.keep_head=null", "vocabulary and head: the checkpoint's"),
        ("model.keep_head=false", "the head starts afresh"),
        ("model.keep_head=false", "the same tokens"),
    ] {
        set(&dir, &[setting]).succeeds().says(&[said]);
        std::fs::remove_dir_all(dir.path("second")).expect("a run");
    }
}
