//! The part `threads`: one, two, four, up to the cores.

use anyhow::Result;

use super::table::{Chart, Column, Growth, Point};
use super::{train, transcribe};
use crate::bench::training::Lesson;
use crate::bench::workshop::{Utterance, Workshop};

/// The benchmarks' own length of a batch.
const BATCH_SECONDS: f64 = 30.0;

/// Transcribes a folder and trains an epoch on every number of threads.
pub fn measure(workshop: &Workshop, quick: bool) -> Result<Growth> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (folder, lesson) = if quick { ("trial", "train-trial") } else { ("folder-quick", "train-quick") };
    let (folder, lesson) = (workshop.set(folder)?, workshop.set(lesson)?);
    let mut points: Vec<Point> = Vec::new();
    for threads in counts(cores) {
        let mut point = Point::new(threads as f64, threads.to_string());
        if let Err(error) = one(workshop, folder, lesson, threads, &mut point) {
            point.error = Some(workshop.said(&error));
        }
        for (seconds, gain) in [("transcribe_seconds", "transcribe_gain"), ("train_seconds", "train_gain")] {
            let alone = points.first().unwrap_or(&point).figures.get(seconds).copied();
            let gained = alone.zip(point.figures.get(seconds).copied()).map(|(alone, these)| alone / these);
            point.set(gain, gained);
        }
        eprintln!("threads, {threads}: {:?}", point.figures);
        points.push(point);
    }
    let column = |key, name, digits| Column { key, name, digits };
    let audio = |set: &[Utterance]| set.iter().map(|utterance| utterance.seconds).sum::<f64>();
    Ok(Growth {
        part: "threads",
        about: format!(
            "`klang transcribe` of {} files ({:.0} s), from the start of the process to its end, and an epoch of `klang train` over {} files ({:.0} s), both with a Base model. Gain: seconds on one thread over those on so many.",
            folder.len(),
            audio(folder),
            lesson.len(),
            audio(lesson),
        ),
        size: "threads",
        columns: vec![
            column("transcribe_seconds", "transcribe, s", 2),
            column("transcribe_gain", "gain", 2),
            column("transcribe_mib", "transcribe, MiB", 0),
            column("train_seconds", "train an epoch, s", 2),
            column("train_gain", "gain", 2),
            column("train_mib", "train, MiB", 0),
        ],
        powers: Vec::new(),
        charts: vec![Chart { name: "seconds", unit: "seconds", keys: vec!["transcribe_seconds", "train_seconds"] }],
        points,
    })
}

fn one(
    workshop: &Workshop,
    folder: &[Utterance],
    lesson: &[Utterance],
    threads: usize,
    point: &mut Point,
) -> Result<()> {
    let files: Vec<_> = folder.iter().map(|utterance| utterance.path.as_path()).collect();
    let done = transcribe(workshop, &mut workshop.klang(), &files, threads, None)?;
    point.set("transcribe_seconds", done.seconds);
    point.set("transcribe_mib", done.peak_mib);
    let settings = Lesson { epochs: 1, batch_seconds: BATCH_SECONDS, threads };
    let (done, epochs) = train(workshop, lesson, settings, &[])?;
    point.set("train_seconds", epochs.last().map(|epoch| epoch.seconds));
    point.set("train_mib", done.peak_mib);
    Ok(())
}

/// The powers of two up to the cores, and the cores.
fn counts(cores: usize) -> Vec<usize> {
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |count| Some(2 * count)).take_while(|&n| n < cores).collect();
    counts.push(cores);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_double_up_to_the_cores() {
        assert_eq!(counts(1), [1]);
        assert_eq!(counts(2), [1, 2]);
        assert_eq!(counts(6), [1, 2, 4, 6]);
        assert_eq!(counts(8), [1, 2, 4, 8]);
    }
}
