//! `cargo xtask growth`: how time and memory grow with the corpus, the length of a file, threads and batches.
//!
//! What is measured and how stands in docs/benchmarks.md.

mod batch;
mod chart;
mod corpus;
mod length;
mod options;
mod planning;
mod simulate;
mod sizes;
mod table;
mod threads;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

pub use self::options::Options;

use self::options::PartName;
use self::table::Growth;
use crate::bench::machine::{Machine, Occasion};
use crate::bench::process::{self, Finished, run_within};
use crate::bench::record::{Common, Record};
use crate::bench::training::{self, Epoch, Lesson};
use crate::bench::workshop::{Utterance, Workshop};
use crate::bench::{free_folder, shown};
use crate::project::Project;

/// Where records go, by date and machine.
const RECORDS: &str = "docs/results/growth";

/// One part's file.
#[derive(Serialize)]
struct PartFile<'a> {
    #[serde(flatten)]
    common: &'a Common,
    #[serde(flatten)]
    growth: &'a Growth,
}

/// Runs the parts, printing a table and writing table, figures and charts after each. A size that fails is a result;
/// a part of which every size fails is an error.
pub fn run(project: &Project, options: &Options) -> Result<()> {
    let machine = Machine::probe();
    let parts = options.parts();
    // The corpus needs neither models nor Python.
    let workshop = match parts.as_slice() {
        [PartName::Corpus] => Workshop::bare(project, options.klang.as_deref(), options.threads())?,
        _ => Workshop::open(project, options.klang.as_deref(), options.threads())?,
    };
    let version = process::run(workshop.klang().arg("--version"), &workshop.scratch, "")?.stdout;
    let occasion = Occasion::now(project, version.trim().into());
    let folder = match &options.out {
        Some(folder) => std::env::current_dir().context("no current folder")?.join(folder),
        None => free_folder(&project.root.join(RECORDS), &occasion, &machine),
    };
    let materials = if parts == [PartName::Corpus] { Value::Null } else { workshop.made_with()? };
    let common = Common {
        occasion,
        threads: workshop.threads,
        quick: options.quick,
        matrix_gflops: Value::Null,
        materials,
        machine,
    };
    let mut record = Record::new("How cost grows:", folder, &common);
    let (mut failures, mut nothing) = (Vec::new(), Vec::new());
    for part in parts {
        let growth = match part {
            PartName::Corpus => corpus::measure(&workshop, options.quick)?,
            PartName::Length => length::measure(&workshop, options.quick)?,
            PartName::Threads => threads::measure(&workshop, options.quick)?,
            PartName::Batch => batch::measure(&workshop, options.quick)?,
            PartName::Sizes => sizes::measure(&workshop, options.quick)?,
        };
        for chart in &growth.charts {
            if let Some(svg) = chart::draw(&growth, chart)? {
                record.attach(&format!("{}-{}.svg", part.name(), chart.name), &svg)?;
            }
        }
        let text = growth.markdown();
        record.add(part.name(), &PartFile { common: &common, growth: &growth }, &text)?;
        println!("## {}\n\n{text}", part.name());
        failures.extend(growth.failures());
        if growth.is_failed() {
            nothing.push(part.name());
        }
    }
    record.name_failures(&failures)?;
    println!("figures: {}", shown(project, record.folder()).display());
    if !nothing.is_empty() {
        bail!("nothing could be measured of {}: {}", nothing.join(", "), failures.join("\n"));
    }
    Ok(())
}

/// Trains once from the Base model, with `settings` (KEY=VALUE) beside the recipe's, and returns what the process did, and
/// its whole epochs.
fn train(
    workshop: &Workshop,
    utterances: &[Utterance],
    lesson: Lesson,
    settings: &[&str],
) -> Result<(Finished, Vec<Epoch>)> {
    learn(workshop, "train", utterances, lesson, settings)
}

/// As [`train`], by `klang train` or `klang pretrain`; the run is left in the folder `run` of the scratch.
fn learn(
    workshop: &Workshop,
    command: &str,
    utterances: &[Utterance],
    lesson: Lesson,
    settings: &[&str],
) -> Result<(Finished, Vec<Epoch>)> {
    let run = workshop.scratch.join("run");
    if run.exists() {
        std::fs::remove_dir_all(&run).with_context(|| format!("cannot remove {}", run.display()))?;
    }
    let mut klang = workshop.klang();
    klang.arg(command).arg(training::write_recipe(workshop, utterances, lesson)?);
    klang.arg("--run").arg(&run).args(["--set", "device=cpu"]);
    settings.iter().for_each(|setting| _ = klang.args(["--set", setting]));
    let done = process::run(&mut klang, &workshop.scratch, "")?;
    let audio_seconds = utterances.iter().map(|utterance| utterance.seconds).sum();
    Ok((done, training::klang_epochs(&run, audio_seconds, lesson.epochs)?))
}

/// `klang transcribe` of some files, to its end.
fn transcribe(
    workshop: &Workshop,
    klang: &mut std::process::Command,
    files: &[&std::path::Path],
    threads: usize,
    limit: Option<Duration>,
) -> Result<Finished> {
    transcribe_with(workshop, &workshop.materials.join("base"), klang, files, threads, limit)
}

/// As [`transcribe`], with another model than Base.
fn transcribe_with(
    workshop: &Workshop,
    model: &std::path::Path,
    klang: &mut std::process::Command,
    files: &[&std::path::Path],
    threads: usize,
    limit: Option<Duration>,
) -> Result<Finished> {
    klang.arg("transcribe").arg(model).args(files);
    klang.args(["--format", "json", "--device", "cpu", "--threads", &threads.to_string()]);
    run_within(klang, &workshop.scratch, "", limit)
}
