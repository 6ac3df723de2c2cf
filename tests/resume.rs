//! A run that was stopped, and goes on.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Dir, recipe, signal, start_and_kill, timeless, wait_until};

pub const UPDATES: u64 = 50;

/// Everything random that a training has: augmentation, joining, masking, dropout, dropped layers, KL-Norm's noise; and
/// updates of several batches, which an epoch's end cuts short.
pub fn full_recipe() -> String {
    recipe(
        UPDATES,
        "norm: {kind: kl_norm, warmup: [0.0, 0.5]}",
        "augment: {speed: [0.8, 1.25], noise_db: [10, 40], noise_chance: 0.5, colour_db: 4, silence: 0.1, join_chance: 0.3}",
        "accumulate: 2\n  mask: {time: {share: 0.2, length: 2}, channel: {share: 0.1, length: 2}}\n  flat_start_updates: 15",
    )
    .replace("evaluate_every: 2", "evaluate_every: 10")
    .replace("threads: 1", "threads: 2")
    .replace("hidden_size: 16", "hidden_dropout: 0.2, attention_dropout: 0.1, layerdrop: 0.2, hidden_size: 16")
}

#[test]
fn a_killed_run_ends_as_if_it_had_never_been_stopped() {
    let dir = Dir::with_recipe(1);
    dir.write("recipe.yaml", full_recipe());
    dir.klang(["train", "recipe.yaml", "--run", "whole"]).succeeds();
    let update = start_and_kill(&dir, "train", "stopped");
    assert!((10..UPDATES).contains(&update), "{update}");
    let resumed = dir.klang(["train", "recipe.yaml", "--run", "stopped", "--resume"]).succeeds();
    resumed.says(&[&format!("resuming after update {update}")]);

    for model in ["best", "last"] {
        let weights = |run: &str| dir.bytes(&format!("{run}/{model}/model.safetensors"));
        assert!(weights("whole") == weights("stopped"), "the weights of {model} differ after a stop at {update}");
    }
    assert_eq!(timeless(&dir, "whole"), timeless(&dir, "stopped"));
    for file in ["dev.hypotheses.jsonl", "dev.emissions.jsonl"] {
        assert_eq!(dir.text(&format!("whole/{file}")), dir.text(&format!("stopped/{file}")), "{file}");
    }
    // The comparison is of a run in which everything took part.
    let lines = timeless(&dir, "whole");
    let last = lines.iter().rfind(|line| line["kind"] == "train").expect("a line");
    assert!(last["masked"].as_f64() > Some(0.0) && last["rate_weight"].as_f64() > Some(0.0), "{last}");
    assert!(last["epoch"].as_u64() > Some(10), "{last}");
}

#[test]
fn a_crash_while_the_state_was_being_replaced_loses_nothing() {
    let dir = Dir::with_recipe(1);
    dir.write("recipe.yaml", full_recipe());
    let update = start_and_kill(&dir, "train", "run");
    // What a crash between the two renames of a save leaves behind.
    fs::rename(dir.path("run/state"), dir.path("run/.old-state.tmp")).expect("a rename");
    dir.write("run/best.old/model.safetensors", "mine");
    dir.write("run/.state-a1.tmp/weights.safetensors", "half");
    dir.write("run/.klang-b2.tmp", "half");
    dir.write("run/.notes.tmp", "mine");
    let resumed = dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"]).succeeds();
    resumed.says(&[&format!("resuming after update {update}")]);
    assert_eq!(dir.json("run/state/progress.json")["update"], UPDATES);
    let left = |name: &str| dir.path(name).exists();
    assert!(!left("run/.old-state.tmp") && !left("run/.state-a1.tmp") && !left("run/.klang-b2.tmp"));
    assert!(left("run/.notes.tmp") && left("run/best.old/model.safetensors"), "what klang did not write stays");
}

#[test]
fn a_finished_run_is_resumed_to_no_effect() {
    let dir = Dir::with_recipe(3);
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    let weights = dir.bytes("run/last/model.safetensors");
    dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"]).succeeds().says(&["resuming after update 3"]);
    assert!(dir.bytes("run/last/model.safetensors") == weights);
}

#[test]
fn a_resume_elsewhere_says_what_is_not_the_same() {
    let dir = Dir::with_recipe(3);
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    let resume = || dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"]).succeeds();
    assert!(!resume().stderr.contains("computed otherwise"), "the same is no news");
    // As another machine would have saved it.
    let mut progress = dir.json("run/state/progress.json");
    assert_eq!((&progress["parts"], &progress["made_by"]["device"]), (&json!(1), &json!("cpu")));
    progress["made_by"]["klang"] = "0.0.1".into();
    progress["made_by"]["libtorch"] = "1.4.0".into();
    progress["made_by"]["gpu"] = "another".into();
    progress["made_by"]["precision"] = "bf16".into();
    progress["made_by"]["processor"] = "abacus".into();
    dir.write("run/state/progress.json", progress.to_string());
    seal(&dir, "run");
    let resumed = resume();
    resumed.says(&[
        "klang 0.0.1, now 0.",
        "libtorch 1.4.0, now 2.",
        "precision bf16, now fp32",
        "processor abacus, now ",
    ]);
    assert!(!resumed.stderr.contains("device cpu"), "what is the same is not listed\n{resumed}");
    assert!(!resumed.stderr.contains("GPU another"), "a GPU counts where it computes\n{resumed}");
}

/// Writes the sums of a state that was changed by hand, by the tool that the format is of.
fn seal(dir: &Dir, run: &str) {
    let state = || dir.path(format!("{run}/state"));
    let mut command = std::process::Command::new("sha256sum");
    command.args(["weights.safetensors", "optimiser.safetensors", "progress.json"]);
    let sums = command.current_dir(state()).output().expect("sha256sum");
    assert!(sums.status.success());
    dir.write(&format!("{run}/state/SHA256SUMS"), sums.stdout);
}

#[test]
fn a_run_goes_on_with_its_own_masks_and_noise_on_another_number_of_cores() {
    let dir = Dir::with_recipe(1);
    let recipe = full_recipe();
    dir.write("recipe.yaml", recipe.replace("threads: 2\n", ""));
    assert!(recipe.contains("threads: 2\n"));
    let train = |cores: &str, run: &str, more: &[&str]| {
        let command = dir.klang(["train", "recipe.yaml", "--run", run].iter().chain(more));
        command.env("OMP_NUM_THREADS", cores)
    };
    train("2", "whole", &[]).succeeds().says(&["2 threads"]);
    let mut training = train("2", "moved", &[]).start();
    wait_until("a state is saved", || dir.path("moved/state/progress.json").exists());
    training.kill().expect("SIGKILL");
    assert!(!training.wait().expect("an end").success(), "it ended before it could be stopped");
    train("1", "moved", &["--resume"]).succeeds().says(&["threads 2, now 1"]);
    assert_eq!(dir.json("moved/state/progress.json")["parts"], 2);
    let lines = |run: &str| {
        let lines = dir.json_lines(&format!("{run}/metrics.jsonl")).into_iter();
        let number = |line: &serde_json::Value, key: &str| line[key].as_f64().expect("a number");
        let train = lines.filter(|line| line["kind"] == "train");
        train.map(|line| (number(&line, "masked"), number(&line, "loss"))).collect::<Vec<_>>()
    };
    let (whole, moved) = (lines("whole"), lines("moved"));
    assert_eq!((whole.len(), moved.len()), (25, 25));
    for (place, (whole, moved)) in whole.iter().zip(&moved).enumerate() {
        assert_eq!(whole.0, moved.0, "other frames are masked at line {place}");
        // A single thread sums in another order: 2⁻²⁴ a sum, which forty updates may carry on a thousandfold.
        assert!((whole.1 / moved.1 - 1.0).abs() < 1e-4, "line {place}: loss {} and {}", whole.1, moved.1);
    }
}

#[test]
fn a_run_is_not_resumed_with_another_recipe() {
    let dir = Dir::with_recipe(3);
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    let other = ["train", "recipe.yaml", "--run", "run", "--resume", "--set", "train.learning_rate=0.002"];
    let refused = dir.klang(other).refused_with(2);
    refused.says(&["run folder run", "- learning_rate: 0.001", "+ learning_rate: 0.002", "--run DIR"]);
    assert!(!refused.stderr.contains("updates:"), "only what differs is listed\n{refused}");
    // A run of a klang that did not know a key has its default.
    let resolved = dir.text("run/recipe.yaml");
    let older = resolved.replace("    mean: affine\n", "");
    assert_ne!(resolved, older);
    dir.write("run/recipe.yaml", older);
    dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"]).succeeds();
    dir.klang(["train", "recipe.yaml", "--run", "run", "--resume", "--set", "model.norm.mean=scale"])
        .refused_with(2)
        .says(&["- mean: affine", "+ mean: scale"]);
}

#[test]
fn where_there_is_no_run_there_is_nothing_to_resume() {
    let dir = Dir::with_recipe(1);
    dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"])
        .refused_with(2)
        .says(&["run folder run", "--resume"]);
    assert!(!dir.path("run").exists());
}

#[test]
fn weights_that_are_not_finite_are_never_saved() {
    let dir = Dir::with_recipe(1);
    // Nothing is masked, so that the vector that stands for masked frames takes no part in any loss.
    dir.write(
        "recipe.yaml",
        recipe(UPDATES, "", "", "mask: {time: {share: 0, length: 2}, channel: {share: 0, length: 2}}"),
    );
    let update = start_and_kill(&dir, "train", "run");
    let name = "run/state/weights.safetensors";
    let mut bytes = dir.bytes(name);
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let (weight, _) = tensors.iter().find(|(name, _)| name.ends_with("masked_spec_embed")).expect("the vector");
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).expect("safetensors");
    let place = 8 + header + metadata.info(weight).expect("the vector").data_offsets.0;
    bytes[place..place + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    dir.write(name, bytes);
    seal(&dir, "run");
    let models = ["best", "last"].map(|model| dir.bytes(&format!("run/{model}/model.safetensors")));
    let ended = dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"]).ends_with(1);
    ended.says(&["masked_spec_embed holds a number that is not finite", "train.learning_rate"]);
    assert_eq!(dir.json("run/state/progress.json")["update"], update);
    assert!(["best", "last"].map(|model| dir.bytes(&format!("run/{model}/model.safetensors"))) == models);
}

#[test]
fn a_state_that_is_gone_is_no_reason_to_begin_anew() {
    let dir = Dir::with_recipe(4);
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    let best = dir.bytes("run/best/model.safetensors");
    fs::remove_dir_all(dir.path("run/state")).expect("a state");
    let refused = dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"]).refused_with(2);
    refused.says(&["run/state", "it is gone", "run/last as model.init"]);
    assert!(dir.bytes("run/best/model.safetensors") == best);
}

#[test]
fn a_damaged_state_is_named_and_nothing_panics() {
    let dir = Dir::with_recipe(2);
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    let check =
        std::process::Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(dir.path("run/state")).output();
    let check = check.expect("sha256sum");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    assert_eq!(String::from_utf8_lossy(&check.stdout).lines().filter(|line| line.ends_with(": OK")).count(), 3);
    for name in ["run/state/optimiser.safetensors", "run/state/weights.safetensors", "run/state/progress.json"] {
        let whole = dir.bytes(name);
        dir.write(name, &whole[..whole.len() / 2]);
        let resumed = dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"]).run();
        assert!(matches!(resumed.code, Some(1 | 2)), "\n{resumed}");
        resumed.says(&[name, "SHA256SUMS", "run/last as model.init"]);
        // Cut short before it was summed: what stands in it is looked at too.
        seal(&dir, "run");
        let resumed = dir.klang(["train", "recipe.yaml", "--run", "run", "--resume"]).run();
        assert!(matches!(resumed.code, Some(1 | 2)), "\n{resumed}");
        resumed.says(&[name]);
        dir.write(name, whole);
        seal(&dir, "run");
    }
}

#[test]
fn a_stop_is_saved_wherever_it_comes_and_a_resumed_run_is_the_same() {
    let dir = Dir::with_recipe(1);
    dir.write("recipe.yaml", full_recipe());
    dir.klang(["train", "recipe.yaml", "--run", "whole"]).succeeds();
    let metrics = || fs::read_to_string(dir.path("stopped/metrics.jsonl")).unwrap_or_default();
    let (mut stops, mut between) = (0, 0);
    for attempt in 0..20 {
        let mut arguments = vec!["train", "recipe.yaml", "--run", "stopped"];
        if dir.path("stopped").exists() {
            arguments.push("--resume");
        }
        let before = metrics();
        let mut training = dir.klang(arguments).start();
        // A little later each time, so that stops come within updates, evaluations and saves.
        let deadline = Instant::now() + Duration::from_secs(600);
        while metrics() == before && Instant::now() < deadline {
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_millis(10 + 13 * attempt));
        signal(&training, if attempt % 2 == 0 { "-INT" } else { "-TERM" });
        match training.wait().expect("an end").code() {
            Some(0) => break,
            Some(1) => {
                stops += 1;
                let update = dir.json("stopped/state/progress.json")["update"].as_u64().expect("a number");
                between += u64::from(!update.is_multiple_of(10));
            }
            // Before it listened.
            code => assert_eq!(code, None),
        }
    }
    assert!(stops > 2 && between > 0, "{stops} stops, {between} of them between evaluations");
    dir.klang(["train", "recipe.yaml", "--run", "stopped", "--resume"]).succeeds();
    for model in ["best", "last"] {
        let weights = |run: &str| dir.bytes(&format!("{run}/{model}/model.safetensors"));
        assert!(weights("whole") == weights("stopped"), "the weights of {model} differ after {stops} stops");
    }
    assert!(dir.bytes("whole/state/optimiser.safetensors") == dir.bytes("stopped/state/optimiser.safetensors"));
    assert_eq!(timeless(&dir, "whole"), timeless(&dir, "stopped"));
}

#[test]
fn an_update_that_takes_long_is_given_up_for_a_stop_and_computed_again_by_a_resume() {
    let dir = Dir::with_recipe(2);
    // Wide convolutions over the same recordings many times, all in one update: some ten seconds of a core.
    let lines = dir.json_lines("train.jsonl");
    let many = (0..60).flat_map(|time| lines.iter().map(move |line| (time, line.clone())));
    let many = many.map(|(time, mut line)| {
        line["id"] = json!(format!("{}-{time}", line["id"].as_str().expect("an id")));
        format!("{line}\n")
    });
    dir.write("train.jsonl", many.collect::<String>());
    let wide = [
        "--set=model.architecture.conv_dim=[256, 256, 256]",
        "--set=model.architecture.conv_kernel=[10, 8, 8]",
        "--set=model.architecture.conv_stride=[5, 8, 8]",
        "--set=train.accumulate=1000",
        "--set=train.log_every=1",
    ];
    let train = |run: &'static str, more: &[&'static str]| {
        let arguments = ["train", "recipe.yaml", "--run", run].into_iter().chain(wide).chain(more.iter().copied());
        dir.klang(arguments.collect::<Vec<_>>())
    };
    train("whole", &[]).succeeds();
    let in_second_update = |run: &'static str| {
        let training = train(run, &[]).start_listened();
        wait_until("an update is done", || {
            let metrics = fs::read_to_string(dir.path(format!("{run}/metrics.jsonl"))).unwrap_or_default();
            metrics.contains("\"kind\":\"train\"")
        });
        // Between the two a stop would be at once.
        sleep(Duration::from_millis(50));
        signal(&training, "-TERM");
        training
    };
    // A second signal ends it at once; within a second of the first it counts as the same.
    let impatient = in_second_update("impatient");
    signal(&impatient, "-TERM");
    sleep(Duration::from_millis(1100));
    signal(&impatient, "-TERM");
    let ended = impatient.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(!said.contains("stopped after update"), "{said}");

    let training = in_second_update("stopped");
    let stopped = training.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&stopped.stderr);
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("update 2 takes too long to wait for, and is given up"), "{said}");
    assert!(said.contains("stopped: stopped after update 1, which is saved; the same command with --resume"), "{said}");
    assert_eq!(dir.json("stopped/state/progress.json")["update"], 1);
    train("stopped", &["--resume"]).succeeds();
    for model in ["best", "last"] {
        let weights = |run: &str| dir.bytes(&format!("{run}/{model}/model.safetensors"));
        assert!(weights("whole") == weights("stopped"), "the weights of {model} differ");
    }
    assert!(dir.bytes("whole/state/optimiser.safetensors") == dir.bytes("stopped/state/optimiser.safetensors"));
    assert_eq!(timeless(&dir, "whole"), timeless(&dir, "stopped"));
}

#[test]
fn updates_that_are_not_finite_are_passed_over_as_often_as_the_recipe_says() {
    let dir = Dir::with_recipe(6);
    // One step of this length, and the noise is infinite.
    let wild = ["--set=train.learning_rate=10", "--set=model.norm={kind: kl_norm, learning_rate_scale: 10000}"];
    let train = |run: &'static str, more: &[&'static str]| {
        let arguments = ["train", "recipe.yaml", "--run", run].into_iter().chain(wild).chain(more.iter().copied());
        let ended = dir.klang(arguments.collect::<Vec<_>>()).ends_with(1);
        ended.says(&["the step was not applied", "train.learning_rate"]);
        let lines = dir.json_lines(&format!("{run}/metrics.jsonl"));
        (ended, lines.into_iter().filter(|line| line["kind"] == "not_finite").collect::<Vec<_>>())
    };
    assert_eq!(train("strict", &[]).1.len(), 0);
    let (ended, lines) = train("patient", &["--set=train.skip_not_finite=2"]);
    ended.says(&["passed over, 1 of 2", "passed over, 2 of 2"]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line["ids"].as_array().is_some_and(|ids| !ids.is_empty())), "{lines:?}");
}
