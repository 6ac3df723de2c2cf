//! Memory over long runs: flat.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use super::subject::Guarded;
use super::{alone, count, figure};
use crate::harness::Dir;

/// What allocators may hold more at a run's end than about its middle, MiB: libtorch keeps a kernel for each new shape, up to a
/// thousand and some, and batches are of many lengths. In full, over 1,000 updates or 5,000 files, 16 KiB lost an update or 3 KiB
/// a file come to that. The short form's heap still grows a little: 109 KiB lost an update, less than two of the model's
/// gradients, or 218 KiB a file, three and a half seconds of audio, would be seen there.
fn growth() -> f64 {
    count(32, 16) as f64
}

/// Resident memory of a process at many moments of its life, MiB.
fn watch(process: Child) -> Vec<f64> {
    let mut process = Guarded(process);
    let process = &mut process.0;
    let path = format!("/proc/{}/status", process.id());
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(3600);
    while Instant::now() < deadline {
        if let Some(status) = process.try_wait().expect("a process of ours") {
            assert!(status.success(), "{status}");
            return seen;
        }
        let status = fs::read_to_string(&path).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"));
        seen.extend(resident.and_then(|kib| kib.trim().parse::<f64>().ok()).map(|kib| kib / 1024.0));
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("not done within an hour");
}

/// The median of some moments, by their share of the whole.
fn median(seen: &[f64], from: f64, to: f64) -> f64 {
    let place = |share: f64| (share * seen.len() as f64) as usize;
    let mut part = seen[place(from)..place(to).min(seen.len())].to_vec();
    assert!(part.len() > 5, "{} moments are too few", seen.len());
    part.sort_by(f64::total_cmp);
    part[part.len() / 2]
}

fn is_flat(what: &str, seen: &[f64]) {
    let (early, late) = (median(seen, 0.4, 0.6), median(seen, 0.9, 1.0));
    figure("memory", what, format!("{early:.1} MiB about its middle, {late:.1} MiB at its end"));
    assert!(late - early < growth(), "{what}: from {early:.1} MiB to {late:.1} MiB");
}

#[test]
fn training_takes_no_more_memory_with_time() {
    let _turn = alone();
    let updates = count(600, 2000);
    let dir = Dir::with_recipe(updates as u64);
    // With two threads it takes longer until their heaps have all that they need.
    let recipe = crate::resume::full_recipe().replace("threads: 2", &format!("threads: {}", count(1, 2)));
    let recipe = recipe.replace("updates: 50", &format!("updates: {updates}"));
    dir.write("recipe.yaml", recipe.replace("evaluate_every: 10", &format!("evaluate_every: {}", updates / 20)));
    let seen = watch(dir.klang(["train", "recipe.yaml", "--run", "run"]).start());
    assert_eq!(dir.json("run/state/progress.json")["update"], updates);
    is_flat(&format!("training, {updates} updates"), &seen);
}

#[test]
fn transcribing_takes_no_more_memory_with_files() {
    let _turn = alone();
    let files = count(300, 10_000);
    let dir = Dir::with_model();
    fs::create_dir_all(dir.path("in")).expect("a folder");
    for number in 0..files {
        let source = dir.path(format!("audio/u{}.wav", number % 8));
        fs::hard_link(source, dir.path(format!("in/{number:05}.wav"))).expect("a link");
    }
    let command = dir.klang_on_cpu(["transcribe", "run", "in", "--out", "out", "--format", "txt"]);
    let seen = watch(command.start());
    assert_eq!(dir.names("out").len(), files);
    is_flat(&format!("transcribing, {files} files"), &seen);
}
