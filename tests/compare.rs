//! `klang compare`: arms of a recipe against one another.

use std::fs;

use serde_json::Value;

use crate::harness::{Dir, recipe, signal, signal_group, timeless, wait_until};

const EXPERIMENT: &str = "about: a test
recipe: recipe.yaml
arms:
- {name: plain}
- {name: kl, set: {model.norm: {kind: kl_norm}}}
- {name: mixed, set: {train.learning_rate: 0.002}}
seeds: [1, 2]
budgets: [0.03, all]
conditions: {noisy: {noise_db: 5}}
statistics: {draws: 500}
";

fn dir() -> Dir {
    let dir = Dir::with_recipe(2);
    dir.corpus("test.jsonl", &crate::harness::SENTENCES[4..]);
    dir.write("recipe.yaml", recipe(4, "size: tiny", "test: {new: test.jsonl}\n  allow_overlap: true", ""));
    dir.write("experiment.yaml", EXPERIMENT);
    dir
}

fn results(dir: &Dir, out: &str) -> Value {
    dir.json(&format!("{out}/report.json"))
}

#[test]
fn every_run_is_trained_scored_and_compared() {
    let dir = dir();
    let listed = dir.klang(["compare", "experiment.yaml", "--dry-run"]).succeeds();
    assert_eq!(listed.stdout.lines().count(), 12, "{listed}");
    assert!(!dir.path("runs").exists());
    let done = dir.klang(["compare", "experiment.yaml", "--out", "out", "--jobs", "2", "--threads", "2"]).succeeds();
    done.prints(&["0.03 min", "new, noisy", "WER − control", "report: out/report.html"]);
    let results = results(&dir, "out");
    let scores = results["scores"].as_array().expect("scores");
    // Two budgets, two tests, three arms.
    assert_eq!(scores.len(), 12);
    for scored in scores {
        assert_eq!(scored["seeds"], serde_json::json!([1, 2]));
        assert_eq!(scored["wer_difference"].is_null(), scored["arm"] == "plain", "{scored}");
        assert!(scored["wer"]["ci95"].is_array(), "{scored}");
    }
    // What a run's own metrics say of the test is what is averaged.
    let wer = |seed: u64| {
        let lines = dir.json_lines(&format!("out/runs/kl.all.seed-{seed}/metrics.jsonl"));
        let test = lines.iter().find(|line| line["kind"] == "test" && line["name"] == "new, noisy").expect("a test");
        test["score"]["wer"].as_f64().expect("a rate")
    };
    let scored = scores.iter().find(|scored| {
        (&scored["budget"], &scored["test"], &scored["arm"]) == (&"all".into(), &"new, noisy".into(), &"kl".into())
    });
    let mean = scored.expect("kl's")["wer"]["rate"].as_f64().expect("a rate");
    assert!((mean - (wer(1) + wer(2)) / 2.0).abs() < 1e-12);
    // The same initial weights and the same order of data: before the first step nothing differs but the arm.
    let first = |run: &str| {
        let lines = dir.json_lines(&format!("out/runs/{run}/metrics.jsonl"));
        lines.iter().find(|line| line["kind"] == "train").expect("a line")["initial_loss"].as_f64().expect("a loss")
    };
    assert_eq!(first("plain.all.seed-1"), first("mixed.all.seed-1"));
    assert_ne!(first("plain.all.seed-1"), first("plain.all.seed-2"));
    // KL-Norm's noise is small at the start, and all else is the same.
    assert!((first("kl.all.seed-1") / first("plain.all.seed-1") - 1.0).abs() < 0.05);
    assert!(results["missing"].as_array().expect("a list").is_empty());
    assert!(dir.text("out/report.html").contains(">kl<") && dir.text("out/report.md").contains("| kl |"));

    // The same runs against another arm: the difference turns round.
    let metrics = dir.bytes("out/runs/kl.all.seed-1/metrics.jsonl");
    let command = ["compare", "experiment.yaml", "--out", "out", "--jobs", "2", "--threads", "2", "--control", "kl"];
    dir.klang(command).succeeds().prints(&["report: out/against-kl/report.html"]);
    let turned = dir.json("out/against-kl/report.json");
    let difference = |results: &Value, arm: &str| {
        let scores = results["scores"].as_array().expect("scores");
        let of = |scored: &&Value| {
            (&scored["budget"], &scored["test"], &scored["arm"]) == (&"all".into(), &"new".into(), &arm.into())
        };
        scores.iter().find(of).expect("a score")["wer_difference"]["difference"].as_f64()
    };
    let (there, back) =
        (difference(&results, "kl").expect("a number"), difference(&turned, "plain").expect("a number"));
    assert!((there + back).abs() < 1e-12, "{there} {back}");
    assert_eq!(difference(&turned, "kl"), None);
    assert!(turned["command"].as_str().expect("a command").contains("--control 'kl'"));
    assert!(dir.bytes("out/runs/kl.all.seed-1/metrics.jsonl") == metrics, "it was trained again");
    let unknown = ["compare", "experiment.yaml", "--out", "out", "--control", "nobody"];
    dir.klang(unknown).refused_with(2).says(&["--control: `nobody`", "plain, kl, mixed"]);
}

#[test]
fn one_broken_run_loses_nothing_else_and_the_same_command_goes_on() {
    let dir = dir();
    let text = EXPERIMENT.replace("budgets: [0.03, all]\n", "").replace("seeds: [1, 2]", "seeds: [1]");
    dir.write("experiment.yaml", text.replace("conditions: {noisy: {noise_db: 5}}\n", ""));
    let command = ["compare", "experiment.yaml", "--out", "out", "--threads", "1"];
    dir.klang(command).succeeds();
    fs::remove_dir_all(dir.path("out/runs/kl.seed-1")).expect("a removed run");
    fs::remove_file(dir.path("out/runs/kl.seed-1.made.json")).expect("a removed note");
    fs::remove_file(dir.path("out/report.html")).expect("a removed report");
    let moved = dir.path("audio.away");
    fs::rename(dir.path("audio"), &moved).expect("audio moved away");
    let weights = dir.bytes("out/runs/plain.seed-1/best/model.safetensors");
    let broken = dir.klang(command).ends_with(1);
    broken.says(&["kl.seed-1 broke", "1 runs are missing"]);
    let results_then = results(&dir, "out");
    assert_eq!(results_then["missing"][0]["run"], "kl.seed-1");
    assert_eq!(results_then["scores"].as_array().map(Vec::len), Some(2));
    assert!(dir.path("out/report.html").exists());
    fs::rename(&moved, dir.path("audio")).expect("audio brought back");
    dir.klang(command).succeeds();
    assert_eq!(results(&dir, "out")["scores"].as_array().map(Vec::len), Some(3));
    assert!(dir.bytes("out/runs/plain.seed-1/best/model.safetensors") == weights);
}

#[test]
fn a_stop_reaches_every_run_once_and_the_same_command_goes_on() {
    let dir = dir();
    let text = EXPERIMENT.replace("budgets: [0.03, all]\n", "set: {train.updates: 200, train.evaluate_every: 200}\n");
    dir.write("experiment.yaml", text.replace("conditions: {noisy: {noise_db: 5}}\n", ""));
    let command =
        |out: &'static str| dir.klang(["compare", "experiment.yaml", "--out", out, "--jobs", "2", "--threads", "2"]);
    command("whole").succeeds();
    let stopped = command("out").in_group().start_listened();
    wait_until("KL-Norm's run has begun", || {
        let metrics = fs::read_to_string(dir.path("out/runs/kl.seed-1/metrics.jsonl")).unwrap_or_default();
        metrics.contains("\"kind\":\"train\"")
    });
    // The trainings hear it twice: from the group, and from compare.
    signal_group(&stopped, "-INT");
    let stopped = stopped.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("of 6 runs done; the same command goes on from there"), "{said}");
    let log = dir.text("out/runs/kl.seed-1.log");
    assert!(log.contains("stopped after update"), "{log}");
    assert!(!dir.path("out/report.html").exists() && !dir.path("out/runs/mixed.seed-2").exists());
    // One that reaches compare alone is passed on.
    let stopped = command("out").start_listened();
    wait_until("another run has begun", || dir.path("out/runs/mixed.seed-1/metrics.jsonl").exists());
    signal(&stopped, "-TERM");
    let stopped = stopped.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("of 6 runs done; the same command goes on from there"), "{said}");
    command("out").succeeds();
    for run in ["plain.seed-1", "kl.seed-1", "mixed.seed-2"] {
        let [whole, stopped] = ["whole", "out"].map(|out| format!("{out}/runs/{run}"));
        let weights = |run: &str| dir.bytes(&format!("{run}/best/model.safetensors"));
        assert!(weights(&whole) == weights(&stopped), "the weights of {run} differ");
        assert_eq!(timeless(&dir, &whole), timeless(&dir, &stopped));
    }
}

#[test]
fn a_stop_before_the_first_update_breaks_no_run() {
    let dir = dir();
    let text =
        EXPERIMENT.replace("budgets: [0.03, all]\n", "search: {tries: 1}\n").replace("seeds: [1, 2]", "seeds: [1]");
    dir.write("experiment.yaml", text.replace("conditions: {noisy: {noise_db: 5}}\n", ""));
    let command = ["compare", "experiment.yaml", "--out", "out", "--jobs", "3", "--threads", "3"];
    let stopped = dir.klang(command).in_group().start_listened();
    // All tries at once, none of which listens to signals yet.
    wait_until("a try has begun", || {
        let logs = ["plain", "kl", "mixed"].map(|arm| dir.path(format!("out/runs/{arm}.try-1.log")));
        logs.iter().all(|log| log.exists())
    });
    signal_group(&stopped, "-INT");
    let stopped = stopped.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("0 of 6 runs done; the same command goes on") && !said.contains("broke"), "{said}");
    dir.klang(command).succeeds();
}

#[test]
fn what_is_wrong_is_said_before_anything_runs() {
    let dir = dir();
    let cases = [
        ("colour: red\n", "colour"),
        ("control: none\n", "an arm's name: plain, kl, mixed"),
        ("set: {train.updates: 0}\n", "train.updates"),
        ("folds: {column: village}\n", "village"),
    ];
    for (line, said) in cases {
        dir.write("wrong.yaml", format!("{EXPERIMENT}{line}"));
        dir.klang(["compare", "wrong.yaml"]).refused_with(2).says(&[said, "wrong.yaml"]);
    }
    dir.klang(["compare", "nowhere.yaml"]).refused_with(2).says(&["nowhere.yaml"]);
    assert!(!dir.path("runs").exists());
}

#[test]
fn another_experiments_runs_are_not_taken_for_its_own() {
    let dir = dir();
    let small = EXPERIMENT.replace("budgets: [0.03, all]\n", "").replace("seeds: [1, 2]", "seeds: [1]");
    dir.write("experiment.yaml", &small);
    let command = ["compare", "experiment.yaml", "--out", "out", "--threads", "1"];
    dir.klang(command).succeeds();
    dir.write("experiment.yaml", small.replace("0.002", "0.003"));
    dir.klang(command).refused_with(2).says(&[
        "mixed.seed-1",
        "- learning_rate: 0.002",
        "+ learning_rate: 0.003",
        "--out",
    ]);
}

#[test]
fn held_out_speakers_are_learnt_from_in_no_run_that_is_scored_on_them() {
    let dir = dir();
    dir.corpus("all.jsonl", &crate::harness::SENTENCES);
    dir.write(
        "recipe.yaml",
        recipe(2, "size: tiny", "", "").replace("train.jsonl", "all.jsonl").replace("dev: dev.jsonl", "dev_share: 0.3"),
    );
    let text = "recipe: recipe.yaml\narms: [{name: plain}, {name: kl, set: {model.norm: {kind: kl_norm}}}]\nfolds: {column: speaker}\nstatistics: {draws: 100}\n";
    dir.write("experiment.yaml", text);
    dir.klang(["compare", "experiment.yaml", "--out", "out", "--threads", "1"]).succeeds().prints(&["held out"]);
    for (held, other) in [("anna", "ben"), ("ben", "anna")] {
        let run = format!("out/runs/kl.{held}.seed-1");
        let scored = dir.json_lines(&format!("{run}/tests/held-out.hypotheses.jsonl"));
        assert!(!scored.is_empty() && scored.iter().all(|line| line["speaker"] == held), "{scored:?}");
        let dev = dir.json_lines(&format!("{run}/metrics.jsonl"));
        let dev = dev.iter().find(|line| line["kind"] == "dev").expect("a line");
        assert_eq!(
            dev["score"]["speakers"].as_object().map(|map| map.keys().cloned().collect::<Vec<_>>()),
            Some(vec![other.to_string()])
        );
    }
    let results = results(&dir, "out");
    assert_eq!(results["folds"], serde_json::json!(["anna", "ben"]));
    assert_eq!(results["scores"][0]["utterances"], 8);
}
