//! The part `batch`: more audio in a batch.

use anyhow::Result;

use super::planning::{Planning, mean};
use super::simulate::Simulation;
use super::table::{Chart, Column, Growth, Point};
use super::train;
use crate::bench::training::Lesson;
use crate::bench::workshop::{Utterance, Workshop};

const SECONDS: [f64; 6] = [5.0, 10.0, 20.0, 40.0, 60.0, 80.0];
const QUICK: [f64; 3] = [5.0, 20.0, 80.0];
/// Hours of the corpus whose padding is planned.
const HOURS: f64 = 1.0;

/// Trains with batches of every length, and plans whole epochs of an hour with them.
pub fn measure(workshop: &Workshop, quick: bool) -> Result<Growth> {
    let (lengths, set, epochs) = if quick { (&QUICK[..], "train-trial", 1) } else { (&SECONDS[..], "train-quick", 2) };
    let utterances = workshop.set(set)?;
    let simulation = Simulation::open(&workshop.root)?;
    let (manifest, recipe) = simulation.write(&workshop.scratch, simulation.count(HOURS))?;
    // Preparing asks for no audio: durations are stated.
    let planning = Planning::run(workshop, &manifest, &recipe, lengths)?;
    let mut points = Vec::new();
    for &batch_seconds in lengths {
        let mut point = Point::new(batch_seconds, format!("{batch_seconds:.0}"));
        let planned = planning.epochs(batch_seconds);
        point.set("planned_padding_percent", mean(&planned, |epoch| Some(100.0 * epoch.padding)));
        point.set("met_again_percent", mean(&planned, |epoch| Some(100.0 * epoch.met_again?)));
        let lesson = Lesson { epochs, batch_seconds, threads: workshop.threads };
        if let Err(error) = one(workshop, utterances, lesson, &mut point) {
            point.error = Some(workshop.said(&error));
        }
        eprintln!("batch, {batch_seconds} s: {:?}", point.figures);
        points.push(point);
    }
    let column = |key, name, digits| Column { key, name, digits };
    let audio: f64 = utterances.iter().map(|utterance| utterance.seconds).sum();
    Ok(Growth {
        part: "batch",
        about: format!(
            "The last of {epochs} epoch{} of `klang train` over {} files ({audio:.0} s) from a Base model. Planned: three whole epochs of a simulated hour, without computing; with fewer files a batch holds more unequal ones. Checkpointed: with `train.gradient_checkpointing`. Met again: see `corpus`.",
            if epochs == 1 { "" } else { "s" },
            utterances.len(),
        ),
        size: "batch, s",
        columns: vec![
            column("audio_rate", "audio s/s", 2),
            column("peak_mib", "peak, MiB", 0),
            column("checkpointed_rate", "checkpointed, audio s/s", 2),
            column("checkpointed_mib", "checkpointed, MiB", 0),
            column("updates", "updates", 0),
            column("padding_percent", "padding, %", 1),
            column("planned_padding_percent", "planned padding of 1 h, %", 2),
            column("met_again_percent", "met again, %", 1),
        ],
        powers: vec!["peak_mib", "checkpointed_mib"],
        charts: vec![
            Chart { name: "rate", unit: "seconds of audio a second", keys: vec!["audio_rate", "checkpointed_rate"] },
            Chart { name: "memory", unit: "highest memory, MiB", keys: vec!["peak_mib", "checkpointed_mib"] },
            Chart { name: "padding", unit: "padding, %", keys: vec!["padding_percent", "planned_padding_percent"] },
        ],
        points,
    })
}

fn one(workshop: &Workshop, utterances: &[Utterance], lesson: Lesson, point: &mut Point) -> Result<()> {
    let (done, epochs) = train(workshop, utterances, lesson, &["train.gradient_checkpointing=true"])?;
    point.set("checkpointed_mib", done.peak_mib);
    if let Some(last) = epochs.last() {
        point.set("checkpointed_rate", last.audio_seconds / last.seconds);
    }
    let (done, epochs) = train(workshop, utterances, lesson, &[])?;
    point.set("peak_mib", done.peak_mib);
    if let Some(last) = epochs.last() {
        point.set("audio_rate", last.audio_seconds / last.seconds);
        point.set("updates", last.updates as f64);
        point.set("padding_percent", 100.0 * last.padding);
    }
    Ok(())
}
