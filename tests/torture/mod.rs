//! What a disk, a machine and a corpus can do to klang: kills, full and failing disks, damaged files, long runs. Short among
//! the other tests; `cargo xtask torture` runs it in full and collects the figures.

mod data;
mod disk;
mod faults;
mod kill;
mod memory;
mod subject;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// Set by `cargo xtask torture`: the file that figures are appended to, a JSON line each.
const FIGURES: &str = "KLANG_TORTURE_FIGURES";

/// One number of the short form, another of the full one.
fn count(short: usize, full: usize) -> usize {
    if std::env::var_os(FIGURES).is_some() { full } else { short }
}

/// Reports a figure.
fn figure(part: &str, what: &str, value: impl ToString) {
    let value = value.to_string();
    println!("{part}: {what}: {value}");
    if let Some(path) = std::env::var_os(FIGURES).map(PathBuf::from) {
        let line = json!({"part": part, "what": what, "value": value}).to_string() + "\n";
        let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a file for figures");
        file.write_all(line.as_bytes()).expect("room for a figure");
    }
}

/// The same moments and damages in every run of the tests.
fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// What is timed from outside takes turns: kills are to fall all over a run.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
