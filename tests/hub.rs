//! Models by a hub's name, through the binary, from a server of the test's own.

use crate::harness::{Dir, TestCommand};

#[allow(dead_code)] // of what the hub crate's own tests ask of it, little is needed here
#[path = "../crates/hub/tests/hub/server.rs"]
mod server;

use server::{COMMIT, Fault, MODEL, Server};

const FILES: [&str; 6] = [
    "config.json",
    "model.safetensors",
    "vocab.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
];

fn serve(dir: &Dir) -> Server {
    let files: Vec<(&str, Vec<u8>)> =
        FILES.iter().map(|name| (*name, dir.bytes(&format!("run/best/{name}")))).collect();
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    Server::new(&borrowed)
}

fn transcribe(dir: &Dir, server: &Server, model: &str, offline: bool) -> TestCommand {
    let command = dir.klang_on_cpu(["transcribe", model, "audio/u3.wav"]);
    let command = command.env("HF_ENDPOINT", &server.endpoint);
    if offline { command.env("HF_HUB_OFFLINE", "1") } else { command }
}

#[test]
fn a_hubs_model_is_fetched_once_and_then_works_without_the_hub() {
    let dir = Dir::with_model();
    let server = serve(&dir);
    let expected = dir.klang_on_cpu(["transcribe", "run", "audio/u3.wav"]).succeeds().stdout;
    let first = transcribe(&dir, &server, MODEL, false).succeeds();
    assert_eq!(first.stdout, expected);
    first.says(&["fetched model.safetensors"]);
    let asked = server.bodies();
    assert_eq!(transcribe(&dir, &server, MODEL, false).succeeds().stdout, expected);
    assert_eq!(server.bodies(), asked);
    let (log, pinned) = (server.state().log.len(), format!("{MODEL}@{COMMIT}"));
    assert_eq!(transcribe(&dir, &server, &pinned, true).succeeds().stdout, expected);
    assert_eq!(server.state().log.len(), log, "HF_HUB_OFFLINE asks nothing");
}

#[test]
fn a_recipe_starts_from_a_hubs_model_and_goes_on_from_the_same_commit() {
    let dir = Dir::with_model();
    let server = serve(&dir);
    let later = "fedcba9876543210fedcba9876543210fedcba98";
    for (number, name) in [MODEL.to_string(), format!("{MODEL}@main"), format!("{MODEL}@{COMMIT}")].iter().enumerate() {
        server.state().revisions.insert("main".into(), COMMIT.into());
        let (run, init) = (format!("run{number}"), format!("model.init={name}"));
        let train = |more: &[&str]| {
            let command: Vec<&str> =
                ["train", "recipe.yaml", "--run", &run, "--set", &init].iter().chain(more).copied().collect();
            dir.klang(command).env("HF_ENDPOINT", &server.endpoint)
        };
        let pinned = format!("{MODEL}@{COMMIT}");
        train(&[]).succeeds().says(&[&format!("starting from {pinned}")]);
        assert_eq!(dir.json_lines(&format!("{run}/metrics.jsonl"))[0]["start"], *pinned);
        assert!(dir.text(&format!("{run}/recipe.yaml")).contains(&format!("init: {pinned}")));
        // What the name means by then is another model.
        server.state().revisions.insert("main".into(), later.into());
        server.state().revisions.insert(later.into(), later.into());
        train(&["--resume"]).succeeds().says(&["resuming after update 1"]);
    }
}

#[test]
fn a_download_that_breaks_off_leaves_nothing_that_is_trusted() {
    let dir = Dir::with_model();
    let server = serve(&dir);
    server.fault("model.safetensors", Fault::Closes(1000));
    transcribe(&dir, &server, MODEL, false).refused_with(1).says(&["model.safetensors"]);
    transcribe(&dir, &server, MODEL, true).refused_with(1).says(&["HF_HUB_OFFLINE"]);
    server.state().faults.clear();
    transcribe(&dir, &server, MODEL, false).succeeds();
}

#[test]
fn a_model_that_there_is_not() {
    let dir = Dir::with_model();
    let server = serve(&dir);
    server.state().refuses = Some((404, "RepoNotFound"));
    transcribe(&dir, &server, "nobody/nothing", false).refused_with(2).says(&["nobody/nothing"]);
    dir.klang_on_cpu(["transcribe", "run", "audio/u3.wav", "--language", "tur"])
        .refused_with(2)
        .says(&["language `tur`", "no adapters"]);
}
