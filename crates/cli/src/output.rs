//! stdout for results, stderr for everything else.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use klang_trainer::{Compute, ModelSource, find_model};

use crate::args::{ComputeArguments, ModelArguments};
use crate::console::{Console, clock};

/// A mistake in the command: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Prints a line of results. A reader that has seen enough and closed the pipe is no error.
pub fn line(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.context("cannot write to stdout"),
    }
}

/// Prints JSON as results.
pub fn json(value: &serde_json::Value) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Says something on stderr.
pub fn note(text: &str) {
    eprintln!("klang: {text}");
}

/// Says what a training took.
pub fn took(updates: u64, seconds: f64, processor_seconds: Option<f64>) {
    let used =
        processor_seconds.map_or(String::new(), |used| format!(", {} of one core's time in this process", clock(used)));
    note(&format!("{updates} updates in {}{used}", clock(seconds)));
}

/// Says something odd on stderr.
pub fn warning(text: &str) {
    eprintln!("klang: warning: {text}");
}

/// Says an error and what caused it, without repeating what a cause's own message already holds.
pub fn error(error: &anyhow::Error) {
    let mut said = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !said.contains(&text) {
            if !said.is_empty() {
                said.push_str(": ");
            }
            said.push_str(&text);
        }
    }
    eprintln!("klang: error: {said}");
}

/// Decides where and in what to compute, and says it.
pub fn compute(arguments: &ComputeArguments) -> Result<Compute> {
    let compute = Compute::decide(arguments.device, arguments.precision.into(), arguments.threads.map(usize::from))?;
    note(&format!("computing on {compute}"));
    Ok(compute)
}

/// Finds the model that a command means.
pub fn model(arguments: &ModelArguments) -> Result<ModelSource> {
    Ok(find_model(&arguments.model, arguments.language.as_deref(), &mut Console::new())?)
}

/// A file in `folder` for each audio file, named after it; two of one name would overwrite each other, and are refused.
pub fn targets(audio: &[PathBuf], folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut taken: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let mut targets = Vec::new();
    for audio in audio {
        let stem = audio.file_stem().with_context(|| format!("{}: not a file name", audio.display()))?;
        let target = folder.join(format!("{}.{extension}", stem.to_string_lossy()));
        if let Some(other) = taken.insert(target.clone(), audio) {
            let (a, b, target) = (other.display(), audio.display(), target.display());
            return Err(Usage(format!("{a} and {b} would both be written to {target}; give them two folders")).into());
        }
        targets.push(target);
    }
    Ok(targets)
}

/// Writes a file whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> Result<()> {
        std::fs::create_dir_all(folder)?;
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}
