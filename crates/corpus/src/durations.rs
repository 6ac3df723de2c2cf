//! Durations from the audio files' own headers, on all cores.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use klang_audio::Warning;

use crate::check::{Kind, fault_kind};
use crate::{Utterance, parallel};

/// What one file's header says.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Seconds of audio in the file.
    pub duration: f64,
    /// Samples per second, Hz.
    pub rate: u32,
    /// What is odd about the file, though it can be read.
    pub warnings: Vec<Warning>,
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What is wrong.
    pub kind: Kind,
    /// In words, naming the file.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// What is wrong with a file that can be told without opening it: missing, no file, or empty.
pub(crate) fn fault(path: &Path) -> Option<Fault> {
    let (kind, what) = match fs::metadata(path) {
        Err(error) => (Kind::Missing, error.to_string()),
        Ok(metadata) if !metadata.is_file() => (Kind::NotAudio, "no regular file".to_owned()),
        Ok(metadata) if metadata.len() == 0 => (Kind::Empty, "an empty file (0 bytes)".to_owned()),
        Ok(_) => return None,
    };
    Some(Fault { kind, what: format!("{}: {what}", path.display()) })
}

/// Looks at one file's header.
///
/// # Errors
/// Why the file cannot be used, naming it.
pub fn probe(path: &Path) -> Result<Probe, Fault> {
    if let Some(fault) = fault(path) {
        return Err(fault);
    }
    let info =
        klang_audio::probe(path).map_err(|error| Fault { kind: fault_kind(&error), what: named(path, &error) })?;
    if !(info.duration.is_finite() && info.duration > 0.0) {
        return Err(Fault { kind: Kind::Empty, what: format!("{}: no samples", path.display()) });
    }
    Ok(Probe { duration: info.duration, rate: info.sample_rate, warnings: info.warnings })
}

/// Probes every file that `utterances` refer to, each once.
pub fn probe_all<'a>(utterances: impl IntoIterator<Item = &'a Utterance>) -> HashMap<PathBuf, Result<Probe, Fault>> {
    let mut paths: Vec<&Path> = utterances.into_iter().map(|utterance| utterance.audio.as_path()).collect();
    paths.sort();
    paths.dedup();
    let gone =
        |path: &Path| Err(Fault { kind: Kind::Unreadable, what: format!("{}: the decoder failed", path.display()) });
    let probes = parallel::map(&paths, |path| probe(path));
    paths.iter().zip(probes).map(|(path, probe)| (path.to_path_buf(), probe.unwrap_or_else(|| gone(path)))).collect()
}

/// An error with its causes, naming the file it is about.
pub(crate) fn named(path: &Path, error: &klang_audio::Error) -> String {
    let (chain, name) = (chain(error), path.display().to_string());
    if chain.contains(&name) { chain } else { format!("{name}: {chain}") }
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
