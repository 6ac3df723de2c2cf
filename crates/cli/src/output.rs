//! stdout for results, stderr for everything else.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use klang_trainer::{Compute, DecodeMethod, DecodeSettings, ModelSource, find_model};

use crate::args::decoding::DecodingArguments;
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

/// Nats of a hot word that has none of its own.
const HOT_WORD: f64 = 5.0;

/// How a model's output is to be read: as its folder says, with what was typed on top.
pub fn decoding(arguments: &DecodingArguments, model: &ModelSource) -> Result<DecodeSettings> {
    let of_model = DecodeSettings::of_model(&model.path)?;
    if arguments.greedy {
        return Ok(DecodeSettings { method: DecodeMethod::Greedy, ..of_model });
    }
    let DecodingArguments { beam, lm, lm_weight, word_score, unknown_score, words, hot_words, .. } = arguments;
    let mut settings = of_model.clone();
    settings.width = beam.map_or(settings.width, usize::from);
    settings.lm = lm.clone().or(settings.lm);
    settings.lm_weight = lm_weight.unwrap_or(settings.lm_weight);
    settings.word_score = word_score.unwrap_or(settings.word_score);
    settings.unknown_score = unknown_score.unwrap_or(settings.unknown_score);
    settings.words = words.map_or(settings.words, Into::into);
    if let Some(path) = hot_words {
        settings.hot_words = read_hot_words(path)?;
    }
    if beam.is_some() || settings != of_model {
        settings.method = DecodeMethod::Beam;
    }
    settings.check()?;
    Ok(settings)
}

fn read_hot_words(path: &Path) -> Result<BTreeMap<String, f64>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut words = BTreeMap::new();
    for (line, number) in text.lines().zip(1..) {
        let (phrase, weight) = line.split_once('\t').unwrap_or((line, ""));
        if phrase.trim().is_empty() {
            continue;
        }
        let wrong = || {
            let place = format!("{}, line {number}", path.display());
            Usage(format!("{place}: `{weight}` is no number of nats; allowed: PHRASE, or PHRASE, a tab and a number"))
        };
        let weight = if weight.trim().is_empty() { HOT_WORD } else { weight.trim().parse().map_err(|_| wrong())? };
        words.insert(phrase.trim().to_owned(), weight);
    }
    if words.is_empty() {
        return Err(Usage(format!("{}: no words in it; one a line is expected", path.display())).into());
    }
    Ok(words)
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
