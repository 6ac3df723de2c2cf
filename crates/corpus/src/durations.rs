//! Durations from the audio files' own headers, on all cores.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Utterance;

/// What one file's header says.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Seconds of audio in the file.
    pub duration: f64,
    /// What is odd about the file, though it can be read.
    pub warnings: Vec<String>,
}

/// What is wrong with a file that can be told without opening it: missing, no file, or empty.
pub(crate) fn fault(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) => Some(format!("{}: {error}", path.display())),
        Ok(metadata) if !metadata.is_file() => Some(format!("{}: no regular file", path.display())),
        Ok(metadata) if metadata.len() == 0 => Some(format!("{}: an empty file (0 bytes)", path.display())),
        Ok(_) => None,
    }
}

/// Looks at one file's header.
///
/// # Errors
/// Why the file cannot be used, naming it.
pub fn probe(path: &Path) -> Result<Probe, String> {
    if let Some(fault) = fault(path) {
        return Err(fault);
    }
    let info = klang_audio::probe(path).map_err(|error| {
        let chain = chain(&error);
        let name = path.display().to_string();
        if chain.contains(&name) { chain } else { format!("{name}: {chain}") }
    })?;
    if !(info.duration.is_finite() && info.duration > 0.0) {
        return Err(format!("{}: no samples", path.display()));
    }
    let warnings = info.warnings.iter().map(|warning| warning.to_string()).collect();
    Ok(Probe { duration: info.duration, warnings })
}

/// Probes every file that `utterances` refer to, each once.
pub fn probe_all<'a>(utterances: impl IntoIterator<Item = &'a Utterance>) -> HashMap<PathBuf, Result<Probe, String>> {
    let mut paths: Vec<&Path> = utterances.into_iter().map(|utterance| utterance.audio.as_path()).collect();
    paths.sort();
    paths.dedup();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(paths.len().max(1));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((path.to_path_buf(), probe(path)));
        }
        done
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all: HashMap<PathBuf, Result<Probe, String>> = work().into_iter().collect();
        for worker in workers {
            all.extend(worker.join().unwrap_or_default());
        }
        // A decoder that panicked took its worker's results with it; say so rather than lose the files.
        for path in &paths {
            all.entry(path.to_path_buf()).or_insert_with(|| Err(format!("{}: the decoder failed", path.display())));
        }
        all
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
