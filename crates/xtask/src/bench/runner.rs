//! One contender, once: its command, what it is given, and what comes of it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::contender::{Contender, Program, Setting};
use super::gpu::{self, GpuUse};
use super::part::{Clock, Job, Part};
use super::process::{self, Finished, shortened};
use super::training::{self, Epoch, Lesson};
use super::workshop::{Utterance, Workshop};
use crate::process::typed;

/// Files that peers warm up with.
const WARM_UP_FILES: usize = 4;

/// What a contender did once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// From the start of the process to its end, less a warm-up in it.
    pub whole_seconds: f64,
    /// Of the work alone; absent where it cannot be told.
    pub work_seconds: Option<f64>,
    /// Peak of resident memory.
    pub peak_mib: Option<f64>,
    /// Cores that other processes kept busy meanwhile, on the mean.
    pub others: Option<f64>,
    /// What it did with the GPU, where contenders compute on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuUse>,
    /// Of training.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub epochs: Vec<Epoch>,
    /// What was read, file by file.
    #[serde(skip)]
    pub texts: Vec<String>,
}

impl Measurement {
    /// The seconds that count.
    pub fn counted(&self, clock: Clock, is_klang: bool) -> f64 {
        match clock {
            Clock::KlangWhole if is_klang => self.whole_seconds,
            Clock::Whole => self.whole_seconds,
            Clock::KlangWhole | Clock::Work => self.work_seconds.unwrap_or(self.whole_seconds),
        }
    }
}

/// A peer's answer: benches/peers/protocol.py.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// One a repetition.
    pub seconds: Vec<f64>,
    warm_up_seconds: f64,
    peak_mib: f64,
    /// Of the packages that it used.
    pub versions: BTreeMap<String, String>,
    #[serde(default)]
    texts: Vec<String>,
    #[serde(default)]
    epochs: Vec<Epoch>,
    /// Of the matrix product alone.
    pub gflops: Option<f64>,
}

/// What a peer is to do.
pub struct PeerJob<'a> {
    /// Folder of a model.
    pub model: &'a str,
    /// What to work on.
    pub utterances: &'a [Utterance],
    /// What to warm up on.
    pub warm_up: &'a [Utterance],
    /// How often.
    pub repetitions: usize,
}

/// Runs a peer; also what its process did.
pub fn run_peer(
    workshop: &Workshop,
    contender: &Contender,
    script: &str,
    setting: &Setting,
    job: &PeerJob,
) -> Result<(Answer, Finished)> {
    let mut command = workshop.peer(script);
    command.envs(contender.environment.iter().copied());
    let input = json!({
        "model": workshop.materials.join(job.model), "utterances": job.utterances, "warm_up": job.warm_up,
        "setting": setting, "repetitions": job.repetitions, "threads": workshop.threads,
        "device": workshop.device.name(), "training": training::for_peer(workshop.device),
    });
    let done = process::run(&mut command, &workshop.scratch, &input.to_string())?;
    let answer = serde_json::from_str(done.stdout.trim())
        .with_context(|| format!("{script}: its answer is not what protocol.py describes"))?;
    Ok((answer, done))
}

/// Runs a contender of a part once; also the versions that it named.
pub fn run_once(
    workshop: &Workshop,
    part: &Part,
    contender: &Contender,
    setting: Option<&Setting>,
) -> Result<(Measurement, BTreeMap<String, String>)> {
    match &contender.program {
        Program::Peer { script, .. } => {
            let setting = setting.context("a peer needs a setting")?;
            let job = peer_job(workshop, part)?;
            let ((answer, done), gpu) =
                gpu::watched(workshop.device, || run_peer(workshop, contender, script, setting, &job))?;
            let epochs: f64 = answer.epochs.iter().map(|epoch| epoch.seconds).sum();
            let work = if answer.epochs.is_empty() { answer.seconds.iter().sum() } else { epochs };
            let measurement = Measurement {
                whole_seconds: done.seconds - answer.warm_up_seconds,
                work_seconds: Some(work),
                peak_mib: Some(answer.peak_mib),
                others: done.others,
                gpu,
                epochs: answer.epochs,
                texts: answer.texts,
            };
            Ok((measurement, answer.versions))
        }
        Program::Klang { .. } | Program::Python(_) => {
            Ok((run_outside(workshop, &part.job, contender)?, BTreeMap::new()))
        }
    }
}

/// What a peer of a part is given.
fn peer_job<'a>(workshop: &'a Workshop, part: &Part) -> Result<PeerJob<'a>> {
    let (model, set, trial) = match part.job {
        Job::Start => bail!("a peer has nothing to do in the part {}", part.name.name()),
        Job::Transcribe { model, set, trial } => (model, set, trial),
        Job::Train { set, trial } => ("base", set, trial),
    };
    let trial = workshop.set(trial)?;
    let warm_up = if part.peers_warm_up { &trial[..trial.len().min(WARM_UP_FILES)] } else { &[] };
    Ok(PeerJob { model, utterances: workshop.set(set)?, warm_up, repetitions: 1 })
}

/// What runs a contender that is timed from outside.
fn command(workshop: &Workshop, job: &Job, contender: &Contender) -> Result<Command> {
    let mut command = match (&contender.program, job) {
        (Program::Python(arguments), _) => {
            let mut python = workshop.python();
            python.args(arguments);
            python
        }
        (Program::Klang { arguments, .. }, Job::Start) => {
            let mut klang = workshop.klang();
            klang.args(arguments);
            klang
        }
        (Program::Klang { arguments, .. }, Job::Transcribe { model, set, .. }) => {
            let mut klang = workshop.klang();
            klang.arg("transcribe").arg(workshop.materials.join(model));
            klang.args(workshop.set(set)?.iter().map(|utterance| &utterance.path));
            klang.args(["--format", "json", "--device", workshop.device.name()]);
            klang.args(["--threads", &workshop.threads.to_string()]);
            klang.args(arguments);
            klang
        }
        (Program::Klang { arguments, .. }, Job::Train { set, .. }) => {
            let mut klang = workshop.klang();
            klang.arg("train").arg(training::write_recipe(
                workshop,
                workshop.set(set)?,
                Lesson::of_bench(workshop.threads, workshop.device),
            )?);
            klang.arg("--run").arg(workshop.scratch.join("run"));
            klang.args(["--set", &format!("device={}", workshop.device.name())]).args(arguments);
            klang
        }
        (Program::Peer { script, .. }, _) => workshop.peer(script),
    };
    command.envs(contender.environment.iter().copied());
    Ok(command)
}

fn run_outside(workshop: &Workshop, job: &Job, contender: &Contender) -> Result<Measurement> {
    let run = workshop.scratch.join("run");
    if run.exists() {
        fs::remove_dir_all(&run).with_context(|| format!("cannot remove {}", run.display()))?;
    }
    let mut command = command(workshop, job, contender)?;
    let (done, gpu) = gpu::watched(workshop.device, || process::run(&mut command, &workshop.scratch, ""))?;
    let Finished { seconds, peak_mib, others, stdout } = done;
    let (texts, epochs) = match (job, contender.is_klang()) {
        (Job::Transcribe { .. }, true) => (texts(&stdout)?, Vec::new()),
        (Job::Train { set, .. }, true) => {
            let audio_seconds = workshop.set(set)?.iter().map(|utterance| utterance.seconds).sum();
            (Vec::new(), training::klang_epochs(&run, audio_seconds, training::EPOCHS)?)
        }
        _ => (Vec::new(), Vec::new()),
    };
    let work_seconds = (!epochs.is_empty()).then(|| epochs.iter().map(|epoch| epoch.seconds).sum());
    Ok(Measurement { whole_seconds: seconds, work_seconds, peak_mib, others, gpu, epochs, texts })
}

/// The command as it could be typed, without the middle of its files.
pub fn shown(workshop: &Workshop, part: &Part, contender: &Contender) -> Result<String> {
    let typed =
        typed(&command(workshop, &part.job, contender)?).replace(&workshop.klang.display().to_string(), "klang");
    Ok(shortened(&typed.replace(&format!("{}/", workshop.root.display()), "")))
}

/// The texts of `klang transcribe --format json`.
fn texts(stdout: &str) -> Result<Vec<String>> {
    let objects = serde_json::Deserializer::from_str(stdout).into_iter::<Value>();
    objects
        .map(|object| {
            let object = object.context("klang printed what is not JSON")?;
            let text = object["text"].as_str().with_context(|| format!("klang printed no text: {object}"))?;
            Ok(text.to_string())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_decides_which_seconds_count() {
        let both = Measurement {
            whole_seconds: 9.0,
            work_seconds: Some(4.0),
            peak_mib: None,
            others: None,
            gpu: None,
            epochs: vec![],
            texts: vec![],
        };
        let counted = |clock, is_klang| both.counted(clock, is_klang);
        assert_eq!([counted(Clock::Whole, true), counted(Clock::Whole, false)], [9.0, 9.0]);
        assert_eq!([counted(Clock::KlangWhole, true), counted(Clock::KlangWhole, false)], [9.0, 4.0]);
        assert_eq!([counted(Clock::Work, true), counted(Clock::Work, false)], [4.0, 4.0]);
    }

    #[test]
    fn texts_are_read_in_their_order_and_an_odd_answer_is_refused() {
        let found = texts("{\"audio\":\"a\",\"text\":\"one\"}\n{\"audio\":\"b\",\"text\":\"\"}\n").unwrap();
        assert_eq!(found, ["one", ""]);
        assert!(texts("{\"audio\":\"a\"}").is_err());
        assert!(texts("one\n").is_err());
    }
}
