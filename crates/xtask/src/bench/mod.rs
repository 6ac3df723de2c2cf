//! `cargo xtask bench`: klang beside what people would use instead, on the same machine in the same run.
//!
//! What is measured and how, and whom it favours, stands in docs/benchmarks.md.

mod cargo_bench;
mod contender;
pub mod gpu;
pub mod machine;
mod options;
mod part;
pub mod process;
pub mod record;
mod report;
mod rounds;
mod runner;
pub mod statistics;
pub mod table;
pub mod training;
pub mod workshop;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

pub use self::options::Options;

use self::contender::{Precision, Program};
use self::gpu::{Device, Gpu};
use self::machine::{Machine, Occasion};
use self::options::PartName;
use self::part::{Job, Part};
use self::record::{Common, PartFile, Record};
use self::runner::PeerJob;
use self::workshop::Workshop;
use crate::project::{Project, free_name};

/// Where records go, by date and machine.
const RECORDS: &str = "docs/results/bench";

/// Runs the parts, printing a table and writing the record after each.
pub fn run(project: &Project, options: &Options) -> Result<()> {
    let gpu = match options.device {
        Device::Cpu => None,
        Device::Cuda => Some(Gpu::probe()?),
    };
    let machine = Machine { gpu, ..Machine::probe() };
    let workshop = Workshop::open(project, options.klang.as_deref(), options.threads())?.on(options.device);
    let version = process::run(workshop.klang().arg("--version"), &workshop.scratch, "")?.stdout;
    let occasion = Occasion::now(project, version.trim().into());
    let folder = match &options.out {
        Some(folder) => std::env::current_dir().context("no current folder")?.join(folder),
        None => free_folder(&project.root.join(RECORDS), &occasion, &machine),
    };
    let mut failures = Vec::new();
    let common = Common {
        occasion,
        threads: workshop.threads,
        quick: options.quick,
        matrix_gflops: matrix_rates(&workshop, &machine, &mut failures),
        materials: workshop.made_with()?,
        machine,
    };
    let mut record = Record::new("Benchmarks", folder, &common);
    for name in options.parts() {
        let rounds = options.rounds(name);
        let tables = match Part::of(name, options, &common.machine) {
            Some(part) => compare(&workshop, &part, rounds, &common, &mut record, &mut failures)?,
            None => bench(&workshop, name, rounds, &common, &mut record, &mut failures)?,
        };
        println!("## {}\n\n{tables}", name.name());
    }
    record.name_failures(&failures)?;
    println!("figures: {}", shown(project, record.folder()).display());
    if !failures.is_empty() {
        bail!("failed: {}", failures.join("\nfailed: "));
    }
    Ok(())
}

fn compare(
    workshop: &Workshop,
    part: &Part,
    rounds: usize,
    common: &Common,
    record: &mut Record,
    failures: &mut Vec<String>,
) -> Result<String> {
    let audio_seconds = match part.job {
        Job::Start => None,
        Job::Transcribe { set, .. } | Job::Train { set, .. } => {
            Some(workshop.set(set)?.iter().map(|utterance| utterance.seconds).sum())
        }
    };
    let outcomes = rounds::run(workshop, part, rounds);
    let tables = report::part(part, &outcomes, rounds, audio_seconds);
    let (clock, part) = (Some(part.clock), part.name.name());
    let file = PartFile { common, part, clock, audio_seconds, outcomes: &outcomes, bench: None };
    record.add(part, &file, &tables)?;
    for outcome in &outcomes {
        let tried = outcome.trials.iter().filter_map(|trial| Some((Some(trial.setting), trial.error.as_ref()?)));
        for (setting, error) in tried.chain(outcome.error.iter().map(|error| (outcome.setting, error))) {
            let setting = setting.map(|setting| format!(" ({setting})")).unwrap_or_default();
            failures.push(format!("{part}, {}{setting}: {error}", outcome.name));
        }
    }
    Ok(tables)
}

fn bench(
    workshop: &Workshop,
    name: PartName,
    rounds: usize,
    common: &Common,
    record: &mut Record,
    failures: &mut Vec<String>,
) -> Result<String> {
    let Some(bench) = cargo_bench::run(workshop, name, rounds) else { return Ok(String::new()) };
    let tables = report::bench(&bench);
    let part = name.name();
    let file = PartFile { common, part, clock: None, audio_seconds: None, outcomes: &[], bench: Some(&bench) };
    record.add(part, &file, &tables)?;
    failures.extend(bench.error.iter().map(|error| format!("{part}: {error}")));
    Ok(tables)
}

/// How fast this machine multiplies, so that a share of its roof can be given.
fn matrix_rates(workshop: &Workshop, machine: &Machine, failures: &mut Vec<String>) -> Value {
    let mut rates = serde_json::Map::new();
    for precision in [Precision::Fp32, Precision::Bf16] {
        if precision == Precision::Bf16 && !machine.has_bf16() {
            continue;
        }
        let contender = contender::matrix(precision);
        let Program::Peer { script, settings } = &contender.program else { continue };
        let job = PeerJob { model: "base", utterances: &[], warm_up: &[], repetitions: 1 };
        let rate = match runner::run_peer(workshop, &contender, script, &settings[0], &job) {
            Ok((answer, _)) => json!(answer.gflops),
            Err(error) => {
                failures.push(format!("matrix product in {precision}: {}", workshop.said(&error)));
                Value::Null
            }
        };
        rates.insert(precision.to_string(), rate);
    }
    Value::Object(rates)
}

/// A folder for a record, by date and machine.
pub fn free_folder(records: &Path, occasion: &Occasion, machine: &Machine) -> PathBuf {
    let day = occasion.date.get(..10).unwrap_or("undated");
    let name = free_name(&format!("{day}-{}", machine.short_name()), |name| records.join(name).exists());
    records.join(name)
}

/// A path as it is read from the project's root.
pub fn shown<'a>(project: &Project, folder: &'a Path) -> &'a Path {
    folder.strip_prefix(&project.root).unwrap_or(folder)
}
