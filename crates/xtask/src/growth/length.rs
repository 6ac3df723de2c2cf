//! The part `length`: one file of a second, of an hour.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::table::{Chart, Column, Growth, Point};
use super::transcribe;
use crate::bench::statistics::Spread;
use crate::bench::workshop::Workshop;

const SECONDS: [f64; 6] = [1.0, 5.0, 30.0, 120.0, 600.0, 3600.0];
/// Of those, how many a quick look takes.
const QUICK: usize = 4;
/// Most that a process may take.
const LIMIT: Duration = Duration::from_secs(600);
/// The same of a quick look.
const QUICK_LIMIT: Duration = Duration::from_secs(60);
/// A length is measured so often,
const RUNS: usize = 3;
/// but not once more when it has taken so long.
const ENOUGH: Duration = Duration::from_secs(20);
/// Share of the memory that is free which a process may have as address space: the machine has to survive.
const SHARE: f64 = 0.8;

/// Transcribes files of growing length.
pub fn measure(workshop: &Workshop, quick: bool) -> Result<Growth> {
    let (lengths, limit, source) = match quick {
        true => (&SECONDS[..QUICK], QUICK_LIMIT, "long-quick"),
        false => (&SECONDS[..], LIMIT, "long"),
    };
    let cap = free_bytes().context("the system does not tell how much memory is free")? * SHARE;
    let recording = &workshop.set(source)?.first().context("a set without a file")?.path;
    let mut points = Vec::new();
    for &seconds in lengths {
        let mut point = Point::new(seconds, format!("{seconds:.0} s"));
        let file = workshop.scratch.join("length.wav");
        if let Err(error) =
            cut(recording, &file, seconds).and_then(|()| one(workshop, &file, cap, limit, quick, &mut point))
        {
            point.error = Some(workshop.said(&error));
        }
        eprintln!("length, {seconds} s: {:?} {}", point.figures, point.error.as_deref().unwrap_or_default());
        points.push(point);
        remove(&file)?;
    }
    let column = |key, name, digits| Column { key, name, digits };
    Ok(Growth {
        part: "length",
        about: format!(
            "`klang transcribe` of one file by a Base model of random weights, from the start of the process to its end: the median of {} (once only what takes more than {} s). A process may have {:.1} GiB of address space, {:.0} % of what was free, and {} s.",
            if quick { 1 } else { RUNS },
            ENOUGH.as_secs(),
            cap / f64::from(1 << 30),
            SHARE * 100.0,
            limit.as_secs(),
        ),
        size: "audio, s",
        columns: vec![
            column("seconds", "seconds", 2),
            column("times_real_time", "× real time", 1),
            column("peak_mib", "peak, MiB", 0),
            column("runs", "runs", 0),
        ],
        powers: vec!["seconds", "peak_mib"],
        charts: vec![
            Chart { name: "seconds", unit: "seconds", keys: vec!["seconds"] },
            Chart { name: "memory", unit: "highest memory, MiB", keys: vec!["peak_mib"] },
        ],
        points,
    })
}

fn one(workshop: &Workshop, file: &Path, cap: f64, limit: Duration, quick: bool, point: &mut Point) -> Result<()> {
    let (mut seconds, mut peak) = (Vec::new(), None);
    let start = Instant::now();
    while seconds.is_empty() || (!quick && seconds.len() < RUNS && start.elapsed() < ENOUGH) {
        // A process that asks for more than it may have is told so, instead of another one being ended by the system.
        let mut klang = workshop.linked(Command::new("prlimit"));
        klang.arg(format!("--as={cap:.0}")).arg(&workshop.klang);
        let done = transcribe(workshop, &mut klang, &[file], workshop.threads, Some(limit))?;
        seconds.push(done.seconds);
        peak = done.peak_mib.into_iter().chain(peak).reduce(f64::max);
    }
    let median = Spread::of(&seconds).map(|spread| spread.median);
    point.set("seconds", median);
    point.set("times_real_time", median.map(|median| point.size / median));
    point.set("peak_mib", peak);
    point.set("runs", seconds.len() as f64);
    Ok(())
}

/// Writes the first `seconds` of a recording, which is repeated where it is shorter.
fn cut(recording: &Path, file: &PathBuf, seconds: f64) -> Result<()> {
    let mut reader =
        hound::WavReader::open(recording).with_context(|| format!("cannot read {}", recording.display()))?;
    let spec = reader.spec();
    let samples: Vec<i16> =
        reader.samples().collect::<Result<_, _>>().with_context(|| format!("cannot read {}", recording.display()))?;
    if samples.is_empty() {
        bail!("{}: no samples", recording.display());
    }
    let wanted = (seconds * f64::from(spec.sample_rate)).round() as usize;
    let write = || -> hound::Result<()> {
        let mut writer = hound::WavWriter::create(file, spec)?;
        samples.iter().cycle().take(wanted).try_for_each(|&sample| writer.write_sample(sample))?;
        writer.finalize()
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

fn remove(file: &Path) -> Result<()> {
    if file.exists() {
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

fn free_bytes() -> Option<f64> {
    parse_free(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse_free(meminfo: &str) -> Option<f64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(rest.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_cut_or_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let [recording, file] = ["recording.wav", "cut.wav"].map(|name| folder.path().join(name));
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&recording, spec).unwrap();
        (0..16_i16).for_each(|sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
        for seconds in [0.5, 2.0, 5.0] {
            cut(&recording, &file, seconds).unwrap();
            let read: Vec<i16> = hound::WavReader::open(&file).unwrap().samples().map(|s| s.unwrap()).collect();
            let expected: Vec<i16> = (0..(8.0 * seconds) as i16).map(|sample| sample % 16).collect();
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn free_memory_is_read_in_bytes() {
        assert_eq!(parse_free("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2_097_152.0));
        assert_eq!(parse_free("MemTotal: 9 kB\n"), None);
    }
}
