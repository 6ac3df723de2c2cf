//! The part `corpus`: from ten minutes to a thousand hours.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::planning::{Planning, mean};
use super::simulate::Simulation;
use super::table::{Chart, Column, Growth, Point};
use crate::bench::process;
use crate::bench::workshop::Workshop;

/// Sizes in hours.
const HOURS: [f64; 6] = [1.0 / 6.0, 1.0, 10.0, 100.0, 300.0, 1000.0];
/// Of those, how many a quick look takes.
const QUICK: usize = 3;
/// The usual length of a batch.
pub const BATCH_SECONDS: f64 = 60.0;

/// Checks, reads and plans simulated corpora.
pub fn measure(workshop: &Workshop, quick: bool) -> Result<Growth> {
    let simulation = Simulation::open(&workshop.root)?;
    let folder = workshop.scratch.join("corpus");
    remove(&folder)?;
    let hours = &HOURS[..if quick { QUICK } else { HOURS.len() }];
    let (mut points, mut linked) = (Vec::new(), 0);
    for &hours in hours {
        let count = simulation.count(hours);
        let label = if hours < 1.0 { format!("{:.0} min", hours * 60.0) } else { format!("{hours:.0} h") };
        let mut point = Point::new(count as f64, format!("{count} ({label})"));
        simulation.link_audio(&folder, linked, count)?;
        linked = linked.max(count);
        if let Err(error) = one(workshop, &simulation, &folder, count, &mut point) {
            point.error = Some(workshop.said(&error));
        }
        eprintln!("corpus, {label}: {:?}", point.figures);
        points.push(point);
    }
    remove(&folder)?;
    let column = |key, name, digits| Column { key, name, digits };
    Ok(Growth {
        part: "corpus",
        about: format!(
            "Simulated corpora with the lengths of benches/durations/mboshi.txt, durations stated in the manifest. `check` is `klang check --quick`, which opens every audio file, from the start of the process to its end; the files are in the system's cache. The other stages are one process after another's end: reading the manifest alone; all that `klang train` does before its first tensor (which reads it again); planning an epoch in batches of {BATCH_SECONDS:.0} s with `augment.speed` 0.9 to 1.1, the mean of three. Memory is the process's highest up to the stage's end. Met again: of the pairs of utterances that share a batch in one epoch, those that do in the next."
        ),
        size: "utterances",
        columns: vec![
            column("manifest_mib", "manifest, MiB", 1),
            column("check_seconds", "check, s", 2),
            column("check_mib", "check, MiB", 0),
            column("read_seconds", "read, s", 3),
            column("read_mib", "read, MiB", 0),
            column("prepare_seconds", "prepare, s", 3),
            column("prepare_mib", "prepare, MiB", 0),
            column("plan_seconds", "plan an epoch, s", 4),
            column("plan_mib", "plan, MiB", 0),
            column("batches", "batches", 0),
            column("padding_percent", "padding, %", 2),
            column("met_again_percent", "met again, %", 1),
        ],
        powers: vec!["check_seconds", "read_seconds", "prepare_seconds", "plan_seconds", "check_mib", "plan_mib"],
        charts: vec![
            Chart {
                name: "seconds",
                unit: "seconds",
                keys: vec!["check_seconds", "prepare_seconds", "read_seconds", "plan_seconds"],
            },
            Chart {
                name: "memory",
                unit: "highest memory, MiB",
                keys: vec!["check_mib", "prepare_mib", "read_mib", "plan_mib"],
            },
        ],
        points,
    })
}

fn one(workshop: &Workshop, simulation: &Simulation, folder: &Path, count: usize, point: &mut Point) -> Result<()> {
    let (manifest, recipe) = simulation.write(folder, count)?;
    let bytes = fs::metadata(&manifest).with_context(|| format!("no {}", manifest.display()))?.len();
    point.set("manifest_mib", bytes as f64 / f64::from(1 << 20));
    let check = process::run(workshop.klang().arg("check").arg("--quick").arg(&recipe), &workshop.scratch, "")?;
    point.set("check_seconds", check.seconds);
    point.set("check_mib", check.peak_mib);
    let planning = Planning::run(workshop, &manifest, &recipe, &[BATCH_SECONDS])?;
    let stages = [("read", "read_seconds", "read_mib"), ("prepare", "prepare_seconds", "prepare_mib")];
    for (name, seconds, peak) in stages {
        point.set(seconds, planning.stage(name).map(|stage| stage.seconds));
        point.set(peak, planning.stage(name).and_then(|stage| stage.peak_mib));
    }
    let epochs = planning.epochs(BATCH_SECONDS);
    point.set("plan_seconds", mean(&epochs, |epoch| Some(epoch.seconds)));
    point.set("plan_mib", epochs.last().and_then(|epoch| epoch.peak_mib));
    point.set("batches", epochs.first().map(|epoch| epoch.batches as f64));
    point.set("padding_percent", mean(&epochs, |epoch| Some(100.0 * epoch.padding)));
    point.set("met_again_percent", mean(&epochs, |epoch| Some(100.0 * epoch.met_again?)));
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
