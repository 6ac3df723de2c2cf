//! Training: the one recipe of both sides, and klang's epochs from its metrics.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::gpu::Device;
use super::workshop::{Utterance, Workshop};

/// Whole epochs.
pub const EPOCHS: usize = 2;
/// Random weights diverge from 1e-4 on without a rise of the rate.
const LEARNING_RATE: f64 = 3e-5;
const BETAS: [f64; 2] = [0.9, 0.98];
const EPSILON: f64 = 1e-8;
const WEIGHT_DECAY: f64 = 0.01;
const CLIP: f64 = 1.0;

/// One epoch of either side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Audio, padding not counted.
    pub audio_seconds: f64,
    /// Steps of the optimiser.
    pub updates: usize,
    /// Share of the batches that is padding.
    pub padding: f64,
    /// Mean of the updates' losses, nats a label.
    pub loss: f64,
    /// Loss of the last update.
    pub last_loss: f64,
}

/// How one training differs from another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lesson {
    /// Whole epochs.
    pub epochs: usize,
    /// Audio in a batch, padding included.
    pub batch_seconds: f64,
    /// Threads.
    pub threads: usize,
}

impl Lesson {
    /// That of the benchmarks.
    pub fn of_bench(threads: usize, device: Device) -> Lesson {
        Lesson { epochs: EPOCHS, batch_seconds: batch_seconds(device), threads }
    }
}

/// Audio in a batch, padding included: a GPU is not filled by what fills the caches of a processor.
fn batch_seconds(device: Device) -> f64 {
    match device {
        Device::Cpu => 30.0,
        Device::Cuda => 120.0,
    }
}

/// The recipe as a peer is given it.
pub fn for_peer(device: Device) -> Value {
    json!({
        "epochs": EPOCHS, "batch_seconds": batch_seconds(device), "learning_rate": LEARNING_RATE, "betas": BETAS,
        "epsilon": EPSILON, "weight_decay": WEIGHT_DECAY, "clip": CLIP,
    })
}

/// Writes klang's recipe and its manifests, and returns the recipe's path.
pub fn write_recipe(workshop: &Workshop, utterances: &[Utterance], lesson: Lesson) -> Result<std::path::PathBuf> {
    let folder = &workshop.scratch;
    let manifest = |name: &str, utterances: &[Utterance]| {
        let lines = utterances.iter().enumerate().map(|(number, utterance)| {
            let Utterance { path, seconds, text } = utterance;
            let id = format!("{number:03}");
            format!("{}\n", json!({"id": id, "audio": path, "text": text, "speaker": "a", "duration": seconds}))
        });
        let path = folder.join(name);
        fs::write(&path, lines.collect::<String>()).with_context(|| format!("cannot write {}", path.display()))
    };
    manifest("train.jsonl", utterances)?;
    manifest("dev.jsonl", workshop.set("dev")?)?;
    let updates = updates(utterances, lesson);
    let recipe = json!({
        "seed": 1,
        "threads": lesson.threads,
        "model": {"init": workshop.materials.join("base"), "keep_head": true, "norm": {"kind": "layer_norm"}},
        "data": {"train": ["train.jsonl"], "dev": "dev.jsonl"},
        "train": {
            "updates": updates, "batch_seconds": lesson.batch_seconds, "learning_rate": LEARNING_RATE, "phases": [0, 1, 0],
            "betas": BETAS, "epsilon": EPSILON, "weight_decay": WEIGHT_DECAY, "clip": CLIP,
            "evaluate_every": updates, "log_every": 1,
        },
    });
    // JSON is YAML.
    let path = folder.join("recipe.yaml");
    fs::write(&path, format!("{recipe:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Enough updates for the whole epochs and one more, which shows that the last one is whole: klang counts in
/// updates, and the jitter of its batches makes one more or less of them in an epoch.
fn updates(utterances: &[Utterance], lesson: Lesson) -> usize {
    let mut seconds: Vec<f64> = utterances.iter().map(|utterance| utterance.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let (mut batches, mut rows) = (1, 0);
    for length in seconds {
        if rows > 0 && length * (rows + 1) as f64 > lesson.batch_seconds {
            batches += 1;
            rows = 0;
        }
        rows += 1;
    }
    lesson.epochs * (batches + 1 + batches / 16) + 1
}

#[derive(Deserialize)]
struct Update {
    update: usize,
    epoch: usize,
    loss: f64,
    padding: f64,
    seconds: f64,
}

/// klang's whole epochs, from a run's metrics.jsonl.
pub fn klang_epochs(run: &Path, audio_seconds: f64, epochs: usize) -> Result<Vec<Epoch>> {
    let path = run.join("metrics.jsonl");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse_epochs(&text, audio_seconds, epochs).with_context(|| format!("{}", path.display()))
}

fn parse_epochs(metrics: &str, audio_seconds: f64, epochs: usize) -> Result<Vec<Epoch>> {
    let mut updates: Vec<Update> = Vec::new();
    for (number, line) in metrics.lines().enumerate() {
        let value: Value = serde_json::from_str(line).with_context(|| format!("line {}: not JSON", number + 1))?;
        if value["kind"] == "train" || value["kind"] == "pretrain" {
            updates.push(serde_json::from_value(value).with_context(|| format!("line {}: no update", number + 1))?);
        }
    }
    let mut start = 0.0;
    (0..epochs)
        .map(|epoch| {
            let of: Vec<&Update> = updates.iter().filter(|update| update.epoch == epoch).collect();
            let Some(last) = of.last() else { bail!("no update of epoch {epoch}") };
            if !updates.iter().any(|update| update.update == last.update + 1) {
                bail!("epoch {epoch} is not known to be whole: training ended in it");
            }
            let mean = |value: fn(&Update) -> f64| of.iter().map(|update| value(update)).sum::<f64>() / of.len() as f64;
            let (loss, padding) = (mean(|update| update.loss), mean(|update| update.padding));
            let seconds = last.seconds - start;
            start = last.seconds;
            Ok(Epoch { seconds, audio_seconds, updates: of.len(), padding, loss, last_loss: last.loss })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(update: usize, epoch: usize, loss: f64, seconds: f64) -> String {
        let kind = "train";
        format!(
            "{}\n",
            json!({"kind": kind, "update": update, "epoch": epoch, "loss": loss, "padding": 0.1, "seconds": seconds})
        )
    }

    #[test]
    fn epochs_are_timed_from_the_end_of_the_one_before() {
        let metrics = [
            "{\"kind\":\"run\",\"klang\":\"0.1.0\"}\n".into(),
            line(1, 0, 12.0, 10.0),
            line(2, 0, 8.0, 18.0),
            line(3, 1, 6.0, 25.0),
            line(4, 1, 5.0, 30.0),
            line(5, 2, 4.0, 36.0),
            "{\"kind\":\"dev\",\"update\":5}\n".into(),
        ];
        let epochs = parse_epochs(&metrics.concat(), 60.0, 2).unwrap();
        let summary: Vec<_> = epochs.iter().map(|e| (e.seconds, e.updates, e.loss, e.last_loss)).collect();
        assert_eq!(summary, [(18.0, 2, 10.0, 8.0), (12.0, 2, 5.5, 5.0)]);
    }

    #[test]
    fn an_epoch_that_may_be_cut_short_is_refused() {
        let cut = line(1, 0, 12.0, 10.0) + &line(2, 1, 8.0, 18.0);
        assert!(format!("{:#}", parse_epochs(&cut, 60.0, 2).unwrap_err()).contains("epoch 1 is not known to be whole"));
        assert!(format!("{:#}", parse_epochs("", 60.0, 2).unwrap_err()).contains("no update of epoch 0"));
    }

    #[test]
    fn there_are_updates_for_two_epochs_and_one_more() {
        let utterance = |seconds| Utterance { path: "a.wav".into(), seconds, text: "a".into() };
        // Ten files of 6 s: batches of five, two an epoch, three with jitter.
        assert_eq!(updates(&vec![utterance(6.0); 10], Lesson::of_bench(1, Device::Cpu)), 2 * 3 + 1);
        // One of 40 s is a batch by itself.
        assert_eq!(updates(&[utterance(40.0)], Lesson::of_bench(1, Device::Cpu)), 2 * 2 + 1);
    }
}
