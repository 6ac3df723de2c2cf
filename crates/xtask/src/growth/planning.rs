//! What the bench `planning` of the trainer tells, line by line.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::bench::process;
use crate::bench::workshop::Workshop;
use crate::process::cargo;

/// A line of crates/trainer/benches/planning.rs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Stage {
    /// `read`, `prepare` or `plan`.
    pub stage: String,
    /// What it took.
    pub seconds: f64,
    /// Highest memory of the process so far.
    pub peak_mib: Option<f64>,
    /// Length of a batch.
    pub batch_seconds: f64,
    /// Batches of the epoch.
    pub batches: usize,
    /// Share of the epoch's batches that is padding.
    pub padding: f64,
    /// Seconds of the fullest batch of more than one row, padding included.
    pub fullest: f64,
    /// Of the pairs of utterances that shared a batch in the epoch before, the share that do again.
    pub met_again: Option<f64>,
}

/// The stages of a process that reads a manifest, then prepares a recipe, then plans epochs.
#[derive(Clone, Debug)]
pub struct Planning(Vec<Stage>);

impl Planning {
    /// Runs the bench.
    pub fn run(workshop: &Workshop, manifest: &Path, recipe: &Path, batches: &[f64]) -> Result<Planning> {
        let mut command = workshop.linked(cargo());
        command.args(["bench", "--quiet", "--package", "klang-trainer", "--bench", "planning", "--"]);
        command.arg(manifest).arg(recipe).args(batches.iter().map(f64::to_string));
        let stdout = process::run(&mut command, &workshop.scratch, "")?.stdout;
        Planning::parse(&stdout, batches)
    }

    fn parse(stdout: &str, batches: &[f64]) -> Result<Planning> {
        let lines = stdout.lines().filter(|line| line.starts_with('{'));
        let stages: Vec<Stage> =
            lines.map(serde_json::from_str).collect::<Result<_, _>>().context("a line of the bench `planning`")?;
        let planning = Planning(stages);
        for &batch in batches {
            let epochs = planning.epochs(batch);
            if epochs.is_empty() {
                bail!("the bench `planning` told no epoch with batches of {batch} s");
            }
            if let Some(over) = epochs.iter().find(|epoch| epoch.fullest > batch) {
                bail!("a batch of {} s where {batch} s are allowed", over.fullest);
            }
        }
        Ok(planning)
    }

    /// A stage by its name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.0.iter().find(|stage| stage.stage == name)
    }

    /// The epochs planned with batches of this length.
    pub fn epochs(&self, batch_seconds: f64) -> Vec<&Stage> {
        self.0.iter().filter(|stage| stage.stage == "plan" && stage.batch_seconds == batch_seconds).collect()
    }
}

/// The mean over epochs.
pub fn mean(epochs: &[&Stage], figure: impl Fn(&Stage) -> Option<f64>) -> Option<f64> {
    let figures: Vec<f64> = epochs.iter().filter_map(|epoch| figure(epoch)).collect();
    (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = r#"{"stage":"read","seconds":0.5,"utterances":7,"peak_mib":10.0}
{"stage":"plan","seconds":0.2,"epoch":0,"batch_seconds":60.0,"batches":3,"padding":0.04,"fullest":59.0,"met_again":null,"peak_mib":20.5}
{"stage":"plan","seconds":0.4,"epoch":1,"batch_seconds":60.0,"batches":3,"padding":0.02,"fullest":58.0,"met_again":0.25,"peak_mib":20.5}
"#;

    #[test]
    fn stages_are_read_and_epochs_averaged() {
        let planning = Planning::parse(TOLD, &[60.0]).unwrap();
        assert_eq!(planning.stage("read").unwrap().peak_mib, Some(10.0));
        let epochs = planning.epochs(60.0);
        assert_eq!(mean(&epochs, |epoch| Some(epoch.padding)), Some(0.03));
        // The first epoch has none before it.
        assert_eq!(mean(&epochs, |epoch| epoch.met_again), Some(0.25));
    }

    #[test]
    fn what_is_missing_or_over_full_is_refused() {
        assert!(Planning::parse(TOLD, &[30.0]).unwrap_err().to_string().contains("batches of 30 s"));
        assert!(Planning::parse(&TOLD.replace("59.0", "60.5"), &[60.0]).unwrap_err().to_string().contains("60.5 s"));
        assert!(Planning::parse("{\"stage\":", &[]).is_err());
    }
}
