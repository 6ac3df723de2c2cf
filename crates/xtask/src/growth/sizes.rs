//! The part `sizes`: the named sizes of models, from random weights.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::table::{Chart, Column, Growth, Point};
use super::{learn, transcribe_with};
use crate::bench::training::Lesson;
use crate::bench::workshop::{Utterance, Workshop};

/// The sizes, as `model.size` names them.
const SIZES: [&str; 3] = ["tiny", "small", "base"];
/// Audio in a batch.
const BATCH_SECONDS: f64 = 30.0;

/// Trains, pretrains and transcribes with each size.
pub fn measure(workshop: &Workshop, quick: bool) -> Result<Growth> {
    let (folder, lesson, epochs) = if quick { ("trial", "train-trial", 1) } else { ("folder-quick", "train-quick", 1) };
    let (folder, utterances) = (workshop.set(folder)?, workshop.set(lesson)?);
    let sizes = &SIZES[..if quick { 1 } else { SIZES.len() }];
    let lesson = Lesson { epochs, batch_seconds: BATCH_SECONDS, threads: workshop.threads };
    let mut points = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        // The size is the model's; its number of parameters takes its place where it is known.
        let mut point = Point::new((number + 1) as f64, *size);
        if let Err(error) = one(workshop, size, (folder, utterances), lesson, &mut point) {
            point.error = Some(workshop.said(&error));
        }
        point.size = point.figures.get("parameters").copied().unwrap_or(point.size);
        eprintln!("sizes, {size}: {:?}", point.figures);
        points.push(point);
    }
    let column = |key, name, digits| Column { key, name, digits };
    let audio = |set: &[Utterance]| set.iter().map(|utterance| utterance.seconds).sum::<f64>();
    Ok(Growth {
        part: "sizes",
        about: format!(
            "An epoch of `klang train`, of `klang pretrain` by `best_rq` and of `klang pretrain` by `wav2vec2` over {} files ({:.0} s) in batches of {BATCH_SECONDS:.0} s, each from random weights of the size, everything learning; and `klang transcribe` of {} files ({:.0} s) from the start of the process to its end. Parameters are those of the model with its CTC head.",
            utterances.len(),
            audio(utterances),
            folder.len(),
            audio(folder),
        ),
        size: "`model.size`",
        columns: vec![
            column("parameters", "parameters, millions", 2),
            column("file_mib", "model file, MiB", 1),
            column("train_rate", "train, audio s/s", 1),
            column("train_mib", "train, MiB", 0),
            column("best_rq_rate", "best_rq, audio s/s", 1),
            column("best_rq_mib", "best_rq, MiB", 0),
            column("wav2vec2_rate", "wav2vec2, audio s/s", 1),
            column("wav2vec2_mib", "wav2vec2, MiB", 0),
            column("transcribe_rate", "transcribe, audio s/s", 1),
            column("transcribe_mib", "transcribe, MiB", 0),
        ],
        powers: vec!["train_rate", "train_mib"],
        charts: vec![
            Chart {
                name: "rate",
                unit: "seconds of audio a second",
                keys: vec!["transcribe_rate", "train_rate", "best_rq_rate", "wav2vec2_rate"],
            },
            Chart {
                name: "memory",
                unit: "highest memory, MiB",
                keys: vec!["transcribe_mib", "train_mib", "best_rq_mib", "wav2vec2_mib"],
            },
        ],
        points,
    })
}

fn one(
    workshop: &Workshop,
    size: &str,
    (folder, utterances): (&[Utterance], &[Utterance]),
    lesson: Lesson,
    point: &mut Point,
) -> Result<()> {
    let size = format!("model.size={size}");
    let random = ["model.init=random", "model.keep_head=null", &size];
    for (objective, rate, mib) in
        [("best_rq", "best_rq_rate", "best_rq_mib"), ("wav2vec2", "wav2vec2_rate", "wav2vec2_mib")]
    {
        let objective = format!("pretrain.objective={objective}");
        let settings = [&random[..], &[&objective]].concat();
        let (done, epochs) = learn(workshop, "pretrain", utterances, lesson, &settings)?;
        point.set(rate, epochs.last().map(|epoch| epoch.audio_seconds / epoch.seconds));
        point.set(mib, done.peak_mib);
    }
    let (done, epochs) = learn(workshop, "train", utterances, lesson, &random)?;
    point.set("train_rate", epochs.last().map(|epoch| epoch.audio_seconds / epoch.seconds));
    point.set("train_mib", done.peak_mib);
    let run = workshop.scratch.join("run");
    point.set("parameters", parameters(&run)? / 1e6);
    let file = run.join("best/model.safetensors");
    let bytes = std::fs::metadata(&file).with_context(|| format!("no {}", file.display()))?.len();
    point.set("file_mib", bytes as f64 / f64::from(1 << 20));
    let files: Vec<_> = folder.iter().map(|utterance| utterance.path.as_path()).collect();
    let audio: f64 = folder.iter().map(|utterance| utterance.seconds).sum();
    let done = transcribe_with(workshop, &run, &mut workshop.klang(), &files, workshop.threads, None)?;
    point.set("transcribe_rate", audio / done.seconds);
    point.set("transcribe_mib", done.peak_mib);
    Ok(())
}

/// What a run says of its model.
fn parameters(run: &Path) -> Result<f64> {
    let path = run.join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let run = lines.into_iter().find(|line| line["kind"] == "run");
    run.and_then(|line| line["parameters"].as_f64()).with_context(|| format!("{}: no line of the run", path.display()))
}
