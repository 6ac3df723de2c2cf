//! What stays of a run: figures part by part, and a summary to read.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::cargo_bench::Bench;
use super::machine::{Machine, Occasion};
use super::part::Clock;
use super::rounds::Outcome;

/// What all parts have in common.
#[derive(Clone, Debug, Serialize)]
pub struct Common {
    /// When, of what, by which command.
    pub occasion: Occasion,
    /// On what.
    pub machine: Machine,
    /// Threads of every contender.
    pub threads: usize,
    /// Whether it was a quick look.
    pub quick: bool,
    /// Rates of a large matrix product by precision, in 10⁹ operations a second, or why there is none.
    pub matrix_gflops: Value,
    /// Seed and versions that made models and audio.
    pub materials: Value,
}

/// One part's file.
#[derive(Serialize)]
pub struct PartFile<'a> {
    /// What all parts have in common.
    #[serde(flatten)]
    pub common: &'a Common,
    /// Its name.
    pub part: &'static str,
    /// Which clock counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    /// Audio that each contender got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_seconds: Option<f64>,
    /// Who took part.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub outcomes: &'a [Outcome],
    /// For parts that are cargo's benches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bench: Option<&'a Bench>,
}

/// The folder of a run's figures.
pub struct Record {
    folder: PathBuf,
    summary: String,
}

impl Record {
    /// Begins with what all parts have in common.
    pub fn new(title: &str, folder: PathBuf, common: &Common) -> Record {
        let Common { occasion, machine, threads, quick, matrix_gflops, .. } = common;
        let rates = matrix_gflops.as_object().into_iter().flatten().map(|(precision, rate)| match rate.as_f64() {
            Some(rate) => format!("{precision} {rate:.0} Gflop/s"),
            None => format!("{precision} not measured"),
        });
        let rates: Vec<String> = rates.collect();
        let quick = if *quick { "\nA quick look: too few files and rounds to quote from.\n" } else { "" };
        let summary = format!(
            "# {title} of {}\n\n`{}`\n\n{}, revision {}, on {}: {} cores ({}), {:.0} GiB, Linux {}; {threads} threads unless said otherwise; load {} at the start. Large matrix product: {}.\n{quick}",
            occasion.date,
            occasion.command,
            occasion.klang,
            occasion.revision,
            machine.model,
            machine.cores,
            machine.flags.join(" "),
            machine.memory_gib,
            machine.system,
            machine.load,
            if rates.is_empty() { "not measured".into() } else { rates.join(", ") },
        );
        Record { folder, summary }
    }

    /// Writes a part's figures, and the summary as far as it goes: what is stopped later has lost nothing.
    pub fn add(&mut self, part: &str, file: &impl Serialize, tables: &str) -> Result<()> {
        self.summary += &format!("\n## {part}\n\n{tables}");
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        let figures = format!("{}\n", serde_json::to_string_pretty(file).context("figures that are no JSON")?);
        write_whole(&self.folder.join(format!("{part}.json")), &figures)?;
        self.write_summary()
    }

    /// Writes a file of another kind beside them.
    pub fn attach(&self, name: &str, text: &str) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        write_whole(&self.folder.join(name), text)
    }

    /// Names what failed, at the summary's end.
    pub fn name_failures(&mut self, failures: &[String]) -> Result<()> {
        if failures.is_empty() {
            return Ok(());
        }
        let lines = failures.iter().map(|failure| format!("- {}\n", failure.replace('\n', "; ")));
        self.summary += &format!("\n## Failed\n\n{}", lines.collect::<String>());
        self.write_summary()
    }

    fn write_summary(&self) -> Result<()> {
        write_whole(&self.folder.join("summary.md"), &self.summary)
    }

    /// Where the figures are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Writes a sibling, syncs it, and renames it into place.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_grows_part_by_part_and_leaves_nothing_half_written() {
        let folder = tempfile::tempdir().unwrap();
        let occasion = Occasion {
            date: "2026-01-02T03:04:05Z".into(),
            revision: "abc+".into(),
            klang: "klang 0.1.0".into(),
            command: "cargo xtask bench cold".into(),
        };
        let common = Common {
            occasion,
            machine: Machine::default(),
            threads: 2,
            quick: true,
            matrix_gflops: json!({"fp32": 160.2, "bf16": "no such hardware"}),
            materials: json!({}),
        };
        let mut record = Record::new("Benchmarks", folder.path().join("new"), &common);
        let file =
            PartFile { common: &common, part: "cold", clock: None, audio_seconds: None, outcomes: &[], bench: None };
        record.add("cold", &file, "| a table |\n").unwrap();
        record.name_failures(&["cold, peer: it\nbroke".into()]).unwrap();
        let summary = fs::read_to_string(record.folder().join("summary.md")).unwrap();
        for part in
            ["fp32 160 Gflop/s, bf16 not measured", "quick look", "## cold\n\n| a table |", "- cold, peer: it; broke"]
        {
            assert!(summary.contains(part), "{part}: {summary}");
        }
        let figures: Value =
            serde_json::from_str(&fs::read_to_string(record.folder().join("cold.json")).unwrap()).unwrap();
        assert_eq!(figures["occasion"]["revision"], "abc+");
        let mut names: Vec<_> =
            fs::read_dir(record.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["cold.json", "summary.md"]);
    }
}
