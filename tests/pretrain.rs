//! Learning from speech that nobody transcribed, and from what that gave.

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Dir, SENTENCES, recipe, start_and_kill, timeless};

const UPDATES: u64 = 40;

/// Utterances without transcripts in `speech.jsonl`, and a recipe that learns from them.
fn dir(updates: u64, pretrain: &str) -> Dir {
    let dir = Dir::with_recipe(1);
    let unlabelled: String = dir
        .json_lines("train.jsonl")
        .into_iter()
        .map(|mut line| {
            line.as_object_mut().expect("an object").remove("text");
            format!("{line}\n")
        })
        .collect();
    dir.write("speech.jsonl", unlabelled);
    let text = recipe(updates, "", "dev_share: 0.3", "")
        .replace("train: [train.jsonl]\n  dev: dev.jsonl", "train: [speech.jsonl]")
        + "pretrain:\n  mask: {share: 0.5, length: 3}\n"
        + pretrain;
    dir.write("recipe.yaml", text);
    dir
}

const BEST_RQ: &str = "  best_rq: {codes: 16, code_dimension: 4, codebooks: 2}\n";
const WAV2VEC2: &str = "  objective: wav2vec2\n";
const SMALL_CODEBOOK: &str = "--set=model.architecture={num_codevectors_per_group: 4, codevector_dim: 8, proj_codevector_dim: 8, num_negatives: 5, ";

/// The recipe's architecture is replaced as a whole: a small codebook beside the small model.
fn architecture() -> String {
    format!("{SMALL_CODEBOOK}{}}}", crate::harness::ARCHITECTURE)
}

fn last<'a>(lines: &'a [Value], kind: &str) -> &'a Value {
    lines.iter().rfind(|line| line["kind"] == kind).unwrap_or_else(|| panic!("no line of {kind}"))
}

#[test]
fn both_objectives_learn_and_say_what_they_learn() {
    for (objective, more) in [(BEST_RQ, vec![]), (WAV2VEC2, vec![architecture()])] {
        let dir = dir(UPDATES, objective);
        let arguments = ["pretrain", "recipe.yaml", "--run", "run", "--set=train.learning_rate=0.02"];
        let finished = dir.klang(arguments.into_iter().chain(more.iter().map(String::as_str))).succeeds();
        finished.says(&["held-out speech after update", "spread"]).prints(&["best loss on held-out speech", "run"]);
        let lines = timeless(&dir, "run");
        // Of telling masked frames alone: the features' penalty would fall by itself.
        let told = lines.iter().filter(|line| line["kind"] == "pretrain").map(|line| &line["measures"]["prediction"]);
        let losses: Vec<f64> = told.map(|loss| loss.as_f64().expect("a number")).collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (first, end) = (mean(&losses[..4]), mean(&losses[losses.len() - 4..]));
        assert!(end < 0.9 * first, "{objective}: {first} to {end}");
        let line = last(&lines, "pretrain");
        assert!(line["masked"].as_f64() > Some(0.2) && line["masked"].as_f64() < Some(0.8), "{line}");
        // Of 16 codes, or of twice 4; a collapsed codebook has 1, or a code of either group.
        let least = if objective == WAV2VEC2 { 2.5 } else { 2.0 };
        assert!(line["measures"]["perplexity"].as_f64() > Some(least), "{line}");
        assert_eq!(line["measures"]["temperature"].is_number(), objective == WAV2VEC2, "{line}");
        assert_eq!(line["measures"]["penalty"].is_number(), objective == WAV2VEC2, "{line}");
        let held_out = &last(&lines, "held_out")["held_out"];
        assert!(held_out["spread"].as_f64() > Some(0.01) && held_out["loss"].is_number(), "{held_out}");
        let page = dir.text("run/report.html");
        assert!(page.contains("Held-out speech") && page.contains("spread"), "{page}");
    }
}

#[test]
fn a_killed_pretraining_ends_as_if_it_had_never_been_stopped() {
    for (objective, more) in [(BEST_RQ, None), (WAV2VEC2, Some(architecture()))] {
        let dir = dir(UPDATES, objective);
        // What is random takes part; the recipe holds it, for a killed run has no --set.
        let mut text = dir
            .text("recipe.yaml")
            .replace("evaluate_every: 2", "evaluate_every: 10")
            .replace("threads: 1", "threads: 2")
            .replace("dev_share: 0.3", "dev_share: 0.3\n  augment: {speed: [0.9, 1.1], noise_db: [10, 40]}")
            .replace("hidden_size: 16", "hidden_dropout: 0.2, layerdrop: 0.2, hidden_size: 16");
        if let Some(more) = more {
            let codebook = more.split_once('{').expect("a mapping").1.split_once("hidden_size").expect("a shape").0;
            text = text.replace("architecture: {", &format!("architecture: {{{codebook}"));
        }
        dir.write("recipe.yaml", text);
        dir.klang(["pretrain", "recipe.yaml", "--run", "whole"]).succeeds();
        let update = start_and_kill(&dir, "pretrain", "stopped");
        assert!((10..UPDATES).contains(&update), "{update}");
        let resumed = dir.klang(["pretrain", "recipe.yaml", "--run", "stopped", "--resume"]).succeeds();
        resumed.says(&[&format!("resuming after update {update}")]);
        for model in ["best", "last"] {
            let weights = |run: &str| dir.bytes(&format!("{run}/{model}/model.safetensors"));
            assert!(weights("whole") == weights("stopped"), "the weights of {model} differ after a stop at {update}");
        }
        assert_eq!(timeless(&dir, "whole"), timeless(&dir, "stopped"));
    }
}

#[test]
fn a_pretrained_encoder_is_trained_from_and_pretrained_further() {
    let dir = dir(4, BEST_RQ);
    dir.klang(["pretrain", "recipe.yaml", "--run", "speech"]).succeeds();
    // It has no head yet, and what to do about it is said.
    let transcribed = dir.klang_on_cpu(["transcribe", "speech", "audio/u0.wav"]).refused_with(1);
    transcribed.says(&["without a CTC head", "model.init"]);
    let config = dir.json("speech/best/config.json");
    assert_eq!(config["architectures"][0], "Wav2Vec2Model");
    assert!(!dir.path("speech/best/vocab.json").exists());

    // Further, by itself, by the other objective, and by a quantiser of another shape.
    let further = ["pretrain", "recipe.yaml", "--set=model.init=speech"];
    let same = dir.klang(further.into_iter().chain(["--run", "further"])).succeeds();
    assert!(!same.stderr.contains("drawn afresh"), "{same}");
    let shape = "--set=model.architecture={num_codevectors_per_group: 4, codevector_dim: 8, proj_codevector_dim: 8}";
    let other = further.into_iter().chain(["--run", "other", "--set=pretrain.objective=wav2vec2", shape]);
    dir.klang(other).succeeds().says(&["drawn afresh: project_hid.bias", "not used: best_rq."]);
    assert_eq!(dir.json("other/best/config.json")["architectures"][0], "Wav2Vec2ForPreTraining");

    let reshaped = further.into_iter().chain(["--run", "reshaped", "--set=pretrain.best_rq.codes=9"]);
    dir.klang(reshaped).succeeds().says(&["another shape than pretrain.best_rq", "drawn afresh: best_rq."]);

    let text = recipe(2, "init: speech", "", "learning_rate: 1.0e-9");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("architecture:")).collect();
    dir.write("train.yaml", lines.join("\n"));
    for start in ["speech", "other"] {
        let run = format!("from-{start}");
        let init = format!("--set=model.init={start}");
        dir.klang(["train", "train.yaml", "--run", &run, &init]).succeeds().says(&["drawn afresh: lm_head"]);
        // Its weights are those that it started from, but for a step of a billionth.
        let weights = |path: String| klang_wav2vec2::checkpoint::read_safetensors(&dir.path(path)).expect("weights");
        let (mut before, after) =
            (weights(format!("{start}/best/model.safetensors")), weights(format!("{run}/best/model.safetensors")));
        for (name, tensor) in after.iter().filter(|(name, _)| name.starts_with("wav2vec2.")) {
            let same = before.remove(name).unwrap_or_else(|| panic!("{name}"));
            let off = (tensor - same).abs().max().double_value(&[]);
            assert!(off < 1e-6, "{name}: {off}");
        }
    }
}

#[test]
fn a_probe_shows_whether_it_helps() {
    let dir = dir(4, &format!("{BEST_RQ}  probe: {{train: train.jsonl, dev: dev.jsonl, updates: 20}}\n"));
    let finished = dir.klang(["pretrain", "recipe.yaml", "--run", "run"]).succeeds();
    finished.says(&["probe's train: 6 utterances", "probe: CER"]);
    let probe = &last(&timeless(&dir, "run"), "held_out")["probe"].clone();
    assert!(probe["score"]["cer"].is_number() && probe["loss"].is_number(), "{probe}");
    assert!(dir.text("run/report.html").contains("Probe"));
    // The same each time: what differs from one evaluation to the next is the encoder.
    dir.klang(["pretrain", "recipe.yaml", "--run", "again"]).succeeds();
    assert_eq!(timeless(&dir, "run"), timeless(&dir, "again"));
    let unlabelled = ["pretrain", "recipe.yaml", "--run", "bad", "--set=pretrain.probe.train=speech.jsonl"];
    dir.klang(unlabelled).refused_with(2).says(&["speech.jsonl", "no transcript"]);
    assert!(!dir.path("bad").exists());
}

#[test]
fn a_folder_of_long_recordings_is_cut_at_pauses() {
    let dir = dir(2, BEST_RQ);
    let words = SENTENCES.map(|(_, _, text)| text).join("   ");
    dir.speech("recordings/village/interview.wav", "anna", &words);
    dir.speech("recordings/short.wav", "ben", "dab cab");
    let arguments =
        ["pretrain", "recipe.yaml", "--run", "run", "--set=data.train=[recordings]", "--set=data.duration=[0.1, 3]"];
    let finished = dir.klang(arguments).succeeds();
    finished.says(&["train: cut at their pauses, being longer than 3 s: 1 recording; 3 pieces in all"]);
    assert!(!finished.stderr.contains("learnt from too"), "dev has the short recording: {finished}");
    let one = ["check", "recipe.yaml", "--set=data.train=[recordings/village]", "--set=data.duration=[0.1, 3]"];
    dir.klang(one).succeeds().prints(&["dev: its pieces are of recordings that are learnt from too"]);
    let check = ["check", "recipe.yaml", "--set=data.train=[recordings]", "--set=data.duration=[0.1, 3]"];
    dir.klang(check).succeeds().prints(&["cut at their pauses", "0 errors"]);
    // One bad file of a folder costs itself; one that a manifest asks for is an error.
    dir.write("recordings/bad.wav", "RIFF");
    dir.klang(check).succeeds().prints(&["1 utterances left out: `bad`:", "0 errors, 1 warnings"]);
    let line = |id: &str, audio: &str| format!("{{\"id\": \"{id}\", \"audio\": \"recordings/{audio}\"}}\n");
    dir.write("bad.jsonl", line("b", "bad.wav") + &line("c", "none.wav"));
    let bad = "--set=data.train=[bad.jsonl]";
    dir.klang(["pretrain", "recipe.yaml", "--run", "none", bad]).refused_with(2).says(&[
        "bad.jsonl",
        "line 1",
        "bad.wav",
    ]);
    // A check lists them all.
    dir.klang(["check", "recipe.yaml", bad]).ends_with(2).prints(&[
        "error: bad.jsonl, line 1, `b`",
        "error: bad.jsonl, line 2, `c`",
        "2 errors",
    ]);
    let empty = ["pretrain", "recipe.yaml", "--run", "none", "--set=data.train=[empty]"];
    std::fs::create_dir(dir.path("empty")).expect("a folder");
    dir.klang(empty).refused_with(2).says(&["empty", "no audio file", "WAV"]);
}

#[test]
fn what_cannot_be_pretrained_is_refused_before_work_starts() {
    let dir = dir(2, BEST_RQ);
    let refused = |arguments: &[&str], says: &[&str]| {
        let all = ["pretrain", "recipe.yaml", "--run", "run"].iter().chain(arguments);
        dir.klang(all).refused_with(2).says(says);
        assert!(!dir.path("run").exists());
    };
    dir.klang(["check", "recipe.yaml", "--set=pretrain.mask.share=0.4"]).succeeds();
    refused(&["--set=pretrain.objective=hubert"], &["hubert", "best_rq", "wav2vec2"]);
    refused(&["--set=pretrain.mask.length=1"], &["pretrain.mask.length", "2 to 10000"]);
    refused(&["--set=train.flat_start_updates=5"], &["train.flat_start_updates", "0"]);
    refused(&["--set=pretrain.mask.length=5000"], &["frames", "pretrain.mask.length"]);
    refused(&["--set=data.train=[absent.jsonl]"], &["absent.jsonl"]);
    refused(&["--set=train.choose_by=cer"], &["train.choose_by", "held-out speech"]);
    let groups = "--set=model.architecture.num_codevector_groups=3";
    refused(&["--set=pretrain.objective=wav2vec2", groups], &["num_codevector_groups", "codevector_dim"]);
    dir.klang(["check", "recipe.yaml", "--set=pretrain.objective=wav2vec2", groups]).refused_with(2);
    dir.klang(["check", "recipe.yaml", "--set=data.select={speaker: {not: [carla]}}"]).succeeds().prints(&["carla"]);
    dir.klang(["train", "recipe.yaml"]).refused_with(2).says(&["`pretrain`", "klang pretrain"]);
    dir.write("plain.yaml", recipe(2, "", "", ""));
    dir.klang(["pretrain", "plain.yaml"]).refused_with(2).says(&["`pretrain` is absent", "best_rq"]);
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../wav2vec2/tests/golden/hubert-large");
    let init = format!("--set=model.init={}", golden.display());
    let text = dir.text("recipe.yaml");
    let lines = text.lines().map(|line| if line.contains("architecture:") { "  size: tiny" } else { line });
    dir.write("recipe.yaml", lines.collect::<Vec<_>>().join("\n") + "\n");
    refused(&["--set=pretrain.objective=wav2vec2", &init], &["hubert", "best_rq for all"]);
    dir.klang(["pretrain", "recipe.yaml", "--run", "run", &init]).succeeds().says(&["not used: lm_head.bias"]);
    assert_eq!(dir.json("run/best/config.json")["architectures"][0], "HubertModel");
}

#[test]
fn an_encoder_is_exported_for_others_with_what_it_heard() {
    let dir = dir(4, BEST_RQ);
    dir.klang(["pretrain", "recipe.yaml", "--run", "speech", "--set=model.norm.kind=kl_norm"]).succeeds();
    let lines = dir.json_lines("speech/metrics.jsonl");
    let rates: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "rates").collect();
    assert!(!rates.is_empty() && rates[0]["sites"]["0.attention"].is_array(), "{rates:?}");
    dir.klang(["export", "speech", "out", "--bf16"]).succeeds().prints(&["out"]);
    assert_eq!(dir.names("out"), ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]);
    let weights = |path: &str| klang_wav2vec2::checkpoint::read_safetensors(&dir.path(path)).expect("weights");
    let (whole, exported) = (weights("speech/best/model.safetensors"), weights("out/model.safetensors"));
    assert!(whole.keys().any(|name| name.starts_with("best_rq.")) && whole.keys().any(|name| name.contains("kl_norm")));
    assert!(exported.keys().all(|name| name.starts_with("wav2vec2.") && !name.contains("kl_norm")));
    for (name, tensor) in &exported {
        assert_eq!(tensor.kind(), tch::Kind::BFloat16, "{name}");
        let off = (whole[name].to_kind(tch::Kind::BFloat16) - tensor).abs().max().double_value(&[]);
        assert_eq!(off, 0.0, "{name}");
    }
    let config = dir.json("out/config.json");
    assert_eq!((&config["dtype"], &config["klang_norm"]), (&Value::from("bfloat16"), &Value::Null));
    let card = dir.text("out/README.md");
    for part in ["learnt from speech without transcripts", "On held-out speech", "| train |", "best_rq", "FILL IN"] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert!(
        !card.contains(env!("CARGO_MANIFEST_DIR")) && !card.contains(dir.path("").to_str().expect("UTF-8")),
        "{card}"
    );
    // It is trained from.
    let text = recipe(2, "init: out", "", "");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("architecture:")).collect();
    dir.write("train.yaml", lines.join("\n"));
    dir.klang(["train", "train.yaml", "--run", "run"]).succeeds().says(&["drawn afresh: lm_head"]);
}

#[test]
fn a_file_that_holds_less_than_its_manifest_says_ends_nothing() {
    let dir = dir(4, &format!("{BEST_RQ}  probe: {{train: train.jsonl, dev: dev.jsonl, updates: 5}}\n"));
    // 10 ms of u0, u5 and u6: of what is learnt from, of what the probe learns from, and of what it is scored on.
    for id in ["u0", "u5", "u6"] {
        let whole = dir.bytes(&format!("audio/{id}.wav"));
        dir.write(&format!("audio/{id}.wav"), &whole[..44 + 320]);
    }
    let dev = dir.text("dev.jsonl");
    dir.write(
        "held-out.jsonl",
        dev.clone() + &dir.text("speech.jsonl").lines().next().expect("u0").replace("u0\"", "again\""),
    );
    let arguments = ["pretrain", "recipe.yaml", "--run", "run", "--set=data.dev=held-out.jsonl"];
    let finished = dir.klang(arguments).succeeds();
    finished.says(&["u0: its file holds less than one frame", "u6: its file holds less than one frame", "probe: CER"]);
    assert_eq!(finished.stderr.matches("u0: its file holds").count(), 1, "{finished}");
    // What is scored is never left out.
    let probe = &last(&timeless(&dir, "run"), "held_out")["probe"]["score"].clone();
    assert_eq!(probe["utterances"], 2, "{probe}");
}
