//! `cargo xtask torture`: kills, failing disks, damaged files and long runs, in full, with figures.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::bench::machine::{Machine, Occasion};
use crate::bench::{free_folder, shown};
use crate::process::{self, cargo};
use crate::project::Project;
use crate::setup;

/// Where records go, by date and machine.
const RECORDS: &str = "docs/results/torture";
/// The tests append their figures to the file that it names, and are long where it names one.
const FIGURES: &str = "KLANG_TORTURE_FIGURES";

/// What was typed after `cargo xtask torture`.
#[derive(clap::Args)]
#[group(id = "torture")]
pub struct Options {
    #[command(flatten)]
    setup: setup::Options,
    /// Folder for the record, instead of a new one under docs/results/torture
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only the parts whose names hold this: kill, disk, data or memory
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// Passed on to `cargo test`
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// A figure that a test reports.
#[derive(Debug, Deserialize, Serialize)]
struct Figure {
    part: String,
    what: String,
    value: String,
}

#[derive(Serialize)]
struct Record<'a> {
    occasion: &'a Occasion,
    machine: &'a Machine,
    figures: &'a [Figure],
}

/// Runs the tests of faults in full and writes their figures. Each fails where anything is lost: figures stand only for what
/// was kept.
pub fn run(project: &Project, options: &Options) -> Result<()> {
    setup::run(project, &options.setup)?;
    let machine = Machine::probe();
    let figures = tempfile::NamedTempFile::new().context("no temporary file")?;
    let filter = options.only.as_ref().map_or("torture::".to_string(), |part| format!("torture::{part}"));
    let mut command = cargo();
    command.args(["test", "--package", "klang", "--test", "integration"]).args(&options.arguments);
    command.args(["--", &filter, "--nocapture", "--test-threads", "1"]).env(FIGURES, figures.path());
    let passed = process::run(project, &mut command);
    let text = fs::read_to_string(figures.path()).context("no figures")?;
    let figures = text.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<Figure>>>()?;
    let table = table(&figures);
    println!("\n{table}");
    passed.context("something was lost, or a test could not be done: no record is written")?;
    if figures.is_empty() {
        bail!("no test has the name {filter}");
    }
    println!("lost: 0");
    let occasion = Occasion::now(project, env!("CARGO_PKG_VERSION").into());
    let folder = match &options.out {
        Some(folder) => env::current_dir().context("no current folder")?.join(folder),
        None => free_folder(&project.root.join(RECORDS), &occasion, &machine),
    };
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let record = Record { occasion: &occasion, machine: &machine, figures: &figures };
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {}", folder.join(name).display()))
    };
    write("figures.json", serde_json::to_string_pretty(&record)? + "\n")?;
    let Occasion { date, revision, command, .. } = &occasion;
    let made = format!("{}, {} cores, {date}, commit {revision}: `{command}`", machine.model, machine.cores);
    let loss = "Lost: 0. A run that loses anything writes no record.";
    write("summary.md", format!("# Torture\n\n{made}\n\n{table}\n{loss}\n"))?;
    println!("figures: {}", shown(project, &folder).display());
    Ok(())
}

/// The figures part by part, in Markdown; of tests that report the same, each.
fn table(figures: &[Figure]) -> String {
    let mut parts: BTreeMap<&str, Vec<&Figure>> = BTreeMap::new();
    figures.iter().for_each(|figure| parts.entry(&figure.part).or_default().push(figure));
    let mut text = String::from("| part | what | figure |\n|---|---|--:|\n");
    for Figure { part, what, value } in parts.into_values().flatten() {
        let _ = writeln!(text, "| {part} | {what} | {value} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_part_by_part() {
        let figure = |part: &str, value: &str| Figure { part: part.into(), what: "w".into(), value: value.into() };
        let table = table(&[figure("kills", "50"), figure("disk", "4"), figure("kills", "2")]);
        assert!(table.ends_with("| disk | w | 4 |\n| kills | w | 50 |\n| kills | w | 2 |\n"), "{table}");
    }
}
