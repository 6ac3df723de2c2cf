//! `cargo xtask demo`: from a fresh checkout to a trained, tested model, with the corpus in data/digits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::{self, cargo};
use crate::project::{Project, free_name};
use crate::setup;

const KLANG: &str = "target/release/klang";
const RECIPE: &str = "configs/digits.yaml";
const RUNS: &str = "runs";
const RUN_NAME: &str = "digits";
const CORPUS: &str = "data/digits";
const TEST_MANIFESTS: [&str; 2] = ["test.jsonl", "test-flite.jsonl"];

/// Trains, evaluates and transcribes, echoing every command so that it can be repeated.
pub fn run(project: &Project, options: &setup::Options) -> Result<()> {
    let mut stages = Stages::default();
    stages.time("set-up", || setup::run(project, options))?;
    let build = ["build", "--release", "--package", "klang"];
    stages.time("build", || process::run(project, cargo().args(build)))?;

    let run = Path::new(RUNS).join(free_name(RUN_NAME, |name| project.root.join(RUNS).join(name).exists()));
    stages.time("train", || process::run(project, klang().args(["train", RECIPE, "--run"]).arg(&run)))?;

    let results = run.join("evaluation");
    let manifests = TEST_MANIFESTS.map(|name| Path::new(CORPUS).join(name));
    stages.time("evaluate", || {
        process::run(project, klang().arg("evaluate").arg(&run).args(&manifests).arg("--out").arg(&results))
    })?;

    let sample = Sample::first(&project.root.join(&manifests[0]))?;
    let audio = Path::new(CORPUS).join(&sample.audio);
    stages.time("transcribe", || process::run(project, klang().arg("transcribe").arg(&run).arg(&audio)))?;
    println!("reference: {}", sample.text);

    print!("\n{}", stages.table());
    println!("run folder: {}", run.display());
    println!("report:     {}", run.join("report.html").display());
    println!("results:    {}", results.display());
    Ok(())
}

fn klang() -> Command {
    Command::new(KLANG)
}

/// An utterance to show: its audio, from the manifest's folder, and what is said in it.
#[derive(Debug, PartialEq, Eq)]
struct Sample {
    audio: PathBuf,
    text: String,
}

impl Sample {
    fn first(manifest: &Path) -> Result<Sample> {
        let text = fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        let line = text.lines().next().unwrap_or_default();
        Sample::parse(line).with_context(|| format!("{}, line 1: no utterance with audio and text", manifest.display()))
    }

    fn parse(line: &str) -> Option<Sample> {
        let row: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(Sample { audio: row["audio"].as_str()?.into(), text: row["text"].as_str()?.into() })
    }
}

/// How long each stage took.
#[derive(Default)]
struct Stages(Vec<(&'static str, Duration)>);

impl Stages {
    fn time(&mut self, name: &'static str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        let start = Instant::now();
        let done = stage().with_context(|| format!("the demo stopped at: {name}"));
        self.0.push((name, start.elapsed()));
        done
    }

    fn table(&self) -> String {
        let total = ("total", self.0.iter().map(|(_, duration)| *duration).sum());
        let rows = self.0.iter().chain(std::iter::once(&total));
        rows.map(|(name, duration)| format!("{name:<11} {:>8.1} s\n", duration.as_secs_f64())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_comes_with_its_reference() {
        let line = r#"{"id": "a-1", "audio": "audio/a/a-1.flac", "text": "three one"}"#;
        let sample = Sample { audio: "audio/a/a-1.flac".into(), text: "three one".into() };
        assert_eq!(Sample::parse(line), Some(sample));
        assert_eq!(Sample::parse("{}"), None);
        assert_eq!(Sample::parse(""), None);
    }

    #[test]
    fn a_failing_stage_is_named_and_the_table_adds_up() {
        let mut stages = Stages(vec![("train", Duration::from_millis(1500)), ("evaluate", Duration::from_millis(500))]);
        assert_eq!(stages.table(), "train            1.5 s\nevaluate         0.5 s\ntotal            2.0 s\n");
        let error = stages.time("build", || anyhow::bail!("no compiler")).unwrap_err();
        assert_eq!(format!("{error:#}"), "the demo stopped at: build: no compiler");
    }
}
