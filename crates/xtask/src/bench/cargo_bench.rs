//! The parts that are cargo's benches: pieces of klang alone, on one thread.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::options::PartName;
use super::process;
use super::workshop::Workshop;
use crate::process::{cargo, typed};

/// A line that a bench printed: benches/measure.rs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What was measured.
    pub what: String,
    /// The median of nine, as a multiple of real time.
    pub times_real_time: f64,
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
    let stdout = process::run(command, scratch, "")?.stdout;
    let lines: Vec<Line> = stdout.lines().filter_map(parse).collect();
    if lines.is_empty() {
        bail!("`{}` printed no figures", typed(command));
    }
    Ok(lines)
}

fn parse(line: &str) -> Option<Line> {
    let (what, figure) = line.strip_suffix("× real time")?.trim_end().rsplit_once(' ')?;
    Some(Line { what: what.trim().into(), times_real_time: figure.parse().context("a figure").ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_a_multiple_of_real_time() {
        let line = parse("resample 0.5 s, 8000 → 16000 Hz                    3181 × real time").unwrap();
        assert_eq!(line, Line { what: "resample 0.5 s, 8000 → 16000 Hz".into(), times_real_time: 3181.0 });
        assert_eq!(parse("running 3 tests"), None);
    }
}
