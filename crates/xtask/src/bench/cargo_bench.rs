//! The parts that are cargo's benches: pieces of klang alone, on one thread.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::options::PartName;
use super::process;
use super::workshop::Workshop;
use crate::process::{cargo, typed};

/// What criterion found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What was measured.
    pub what: String,
    /// The median of criterion's samples, as a multiple of real time.
    pub times_real_time: f64,
}

/// Of criterion's benchmark.json, what is read.
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Throughput,
}

/// Of one pass.
#[derive(Deserialize)]
struct Throughput {
    /// Milliseconds of audio.
    #[serde(rename = "Elements")]
    elements: f64,
}

/// Of criterion's estimates.json, what is read.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    /// Nanoseconds of one pass.
    point_estimate: f64,
}

/// What came of a bench.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// Its command.
    pub command: String,
    /// Its lines, a round each.
    pub rounds: Vec<Vec<Line>>,
    /// What ended it.
    pub error: Option<String>,
}

/// Runs the bench of a part; a failure is part of what came of it.
pub fn run(workshop: &Workshop, part: PartName, rounds: usize) -> Option<Bench> {
    let (package, bench) = match part {
        PartName::Load => ("klang-audio", "speed"),
        PartName::Decode => ("klang-ctc", "greedy"),
        _ => return None,
    };
    let command = || {
        let mut command = workshop.linked(cargo());
        command.args(["bench", "--quiet", "--package", package, "--bench", bench]);
        command
    };
    let mut done = Bench { command: typed(&command()), rounds: Vec::new(), error: None };
    for round in 1..=rounds {
        match once(&mut command(), &workshop.scratch) {
            Ok(lines) => done.rounds.push(lines),
            Err(error) => {
                done.error = Some(workshop.said(&error));
                break;
            }
        }
        eprintln!("{}, round {round}", part.name());
    }
    Some(done)
}

fn once(command: &mut Command, scratch: &Path) -> Result<Vec<Line>> {
    let home = scratch.join("criterion");
    match fs::remove_dir_all(&home) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", home.display()));
        }
        _ => {}
    }
    process::run(command.env("CRITERION_HOME", &home), scratch, "")?;
    let lines = lines(&home).with_context(|| format!("figures of `{}`", typed(command)))?;
    if lines.is_empty() {
        bail!("`{}` left no figures", typed(command));
    }
    Ok(lines)
}

/// What lies in a folder of criterion's, by name: it keeps each figure in a folder `new` below one of the name.
fn lines(home: &Path) -> Result<Vec<Line>> {
    let (mut folders, mut lines) = (vec![home.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        if folder.ends_with("new") {
            lines.push(line(&folder)?);
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    lines.sort_by(|one: &Line, other| one.what.cmp(&other.what));
    Ok(lines)
}

fn line(folder: &Path) -> Result<Line> {
    let benchmark: Benchmark = read(folder.join("benchmark.json"))?;
    let estimates: Estimates = read(folder.join("estimates.json"))?;
    // Milliseconds over nanoseconds.
    let times_real_time = benchmark.throughput.elements * 1e6 / estimates.median.point_estimate;
    Ok(Line { what: benchmark.full_id, times_real_time })
}

fn read<T: DeserializeOwned>(path: PathBuf) -> Result<T> {
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: not criterion's", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(folder: &Path, id: &str, milliseconds: u32, nanoseconds: f64) {
        fs::create_dir_all(folder).unwrap();
        let benchmark = format!(r#"{{"group_id":"g","throughput":{{"Elements":{milliseconds}}},"full_id":"{id}"}}"#);
        fs::write(folder.join("benchmark.json"), benchmark).unwrap();
        let estimates = format!(
            r#"{{"mean":{{"point_estimate":1.0}},"median":{{"point_estimate":{nanoseconds},"standard_error":1.0}},"slope":null}}"#
        );
        fs::write(folder.join("estimates.json"), estimates).unwrap();
    }

    #[test]
    fn a_figure_is_a_name_and_a_multiple_of_real_time() {
        let home = tempfile::tempdir().unwrap();
        // 5 s of audio in 2.5 ms; half a second of it in 0.1 ms.
        leave(&home.path().join("resample/5 s, 8000 → 16000 Hz/new"), "resample/5 s, 8000 → 16000 Hz", 5000, 2.5e6);
        leave(&home.path().join("decode/x.mp3/mono/new"), "decode/x.mp3/mono", 500, 1e5);
        // The same of a run before.
        leave(&home.path().join("decode/x.mp3/mono/base"), "decode/x.mp3/mono", 500, 1e9);
        let line = |what: &str, times_real_time| Line { what: what.into(), times_real_time };
        let expected = [line("decode/x.mp3/mono", 5000.0), line("resample/5 s, 8000 → 16000 Hz", 2000.0)];
        assert_eq!(lines(home.path()).unwrap(), expected);
    }

    #[test]
    fn a_figure_without_its_audio_is_refused_by_its_path() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("g/f/new");
        leave(&folder, "g/f", 1, 1.0);
        fs::write(folder.join("benchmark.json"), r#"{"throughput":null,"full_id":"g/f"}"#).unwrap();
        let message = format!("{:#}", lines(home.path()).unwrap_err());
        assert!(message.contains("g/f/new/benchmark.json") && message.contains("null"), "{message}");
    }
}
