//! stdout for results, stderr for everything else.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use klang_corpus::Manifest;
use klang_trainer::{Compute, DecodeMethod, DecodeSettings, Decoder, ModelSource, ModelSpec, WordList, find_model};
use klang_transcript::RenderOptions;

use crate::args::decoding::{DecodingArguments, SearchArguments};
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

/// Prints a part of a line, at once.
pub fn text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
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

/// The largest list of words, or text of one recording, that is read, in bytes.
pub const MOST_BYTES: u64 = 64 << 20;

/// Nats of a hot word that has none of its own.
const HOT_WORD: f64 = 5.0;

/// How a model's folder says that it is to be read; says so where that was meant for another language.
pub fn of_model(model: &ModelSource) -> Result<DecodeSettings> {
    let (settings, other) = DecodeSettings::of_model(&model.path)?.for_language(model.language.as_deref());
    other.iter().for_each(|text| warning(text));
    Ok(settings)
}

/// How a model's output is to be read: as its folder says, with what was typed on top.
pub fn decoding(arguments: &DecodingArguments, model: &ModelSource) -> Result<DecodeSettings> {
    let DecodingArguments { greedy, search, lm_weight, word_score, unknown_score } = arguments;
    let of_model = of_model(model)?;
    let was_tuned_so = |method| of_model.method == method && of_model.confidence.is_some();
    if *greedy {
        // Confidence was learnt of another reading.
        let confidence = of_model.confidence.filter(|_| was_tuned_so(DecodeMethod::Greedy));
        return Ok(DecodeSettings { method: DecodeMethod::Greedy, confidence, ..of_model });
    }
    let weights = [("--lm-weight", lm_weight), ("--word-score", word_score), ("--unknown-score", unknown_score)];
    let typed = weights.iter().find(|(_, weight)| weight.is_some());
    let SearchArguments { beam, lm, words, hot_words } = search;
    if typed.is_none() && beam.is_none() && lm.is_none() && words.is_none() && hot_words.is_none() {
        return Ok(of_model);
    }
    let mut settings = searching(search, of_model)?;
    if let (Some((name, _)), None) = (typed, &settings.lm) {
        return Err(
            Usage(format!("{name} says how much a language model counts, and there is none; add --lm FILE")).into()
        );
    }
    settings.lm_weight = lm_weight.unwrap_or(settings.lm_weight);
    settings.word_score = word_score.unwrap_or(settings.word_score);
    settings.unknown_score = unknown_score.unwrap_or(settings.unknown_score);
    settings.check()?;
    Ok(settings)
}

/// A search as it was typed. Weights that were tuned for another language model do not hold for this one, nor does a confidence
/// that was learnt of another search.
pub fn searching(arguments: &SearchArguments, of_model: DecodeSettings) -> Result<DecodeSettings> {
    let SearchArguments { beam, lm, words, hot_words } = arguments;
    let mut settings = DecodeSettings { method: DecodeMethod::Beam, confidence: None, ..of_model };
    if let Some(lm) = lm {
        let DecodeSettings { lm_weight, word_score, unknown_score, .. } = DecodeSettings::default();
        let words = WordList::Open;
        settings = DecodeSettings { lm: Some(lm.clone()), lm_weight, word_score, unknown_score, words, ..settings };
    }
    settings.width = beam.map_or(settings.width, usize::from);
    settings.words = words.map_or(settings.words, Into::into);
    if let Some(path) = hot_words {
        settings.hot_words = read_hot_words(path)?;
    }
    settings.check()?;
    Ok(settings)
}

/// The decoder of settings; says what it is, and what is odd about its language model.
pub fn decoder(settings: DecodeSettings, model: &ModelSpec) -> Result<Decoder> {
    let decoder = Decoder::new(settings, model)?;
    if decoder.settings().method == DecodeMethod::Beam {
        note(&decoder.describe());
    }
    decoder.warnings().iter().for_each(|text| warning(text));
    Ok(decoder)
}

fn read_hot_words(path: &Path) -> Result<BTreeMap<String, f64>> {
    let text = klang_wav2vec2::checkpoint::read_text(path, MOST_BYTES)?;
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

/// An audio file, and what of its path is to be kept below a folder of results.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioFile {
    /// The file.
    pub path: PathBuf,
    /// Its name, behind the folder that was given.
    pub name: PathBuf,
}

impl AudioFile {
    /// A file as it was typed.
    pub fn of(path: &Path) -> Result<AudioFile> {
        let name = path.file_name().with_context(|| format!("{}: not a file name", path.display()))?;
        Ok(AudioFile { path: path.into(), name: name.into() })
    }
}

/// The audio files of what was typed: files as they are, and of folders all that are below them.
pub fn audio_files(given: &[PathBuf]) -> Result<Vec<AudioFile>> {
    let mut files = Vec::new();
    for path in given {
        if path.is_dir() {
            let below = Manifest::of_folder(path)?.utterances;
            files.extend(below.into_iter().map(|utterance| AudioFile {
                name: utterance.audio.strip_prefix(path).unwrap_or(&utterance.audio).to_owned(),
                path: utterance.audio,
            }));
        } else {
            files.push(AudioFile::of(path)?);
        }
    }
    Ok(files)
}

/// A file in `folder` for each audio file, in the same tree; two of one name would overwrite each other, and are refused.
pub fn targets(audio: &[AudioFile], folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut taken: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let mut targets = Vec::new();
    for AudioFile { path, name } in audio {
        let stem = name.file_stem().with_context(|| format!("{}: not a file name", path.display()))?;
        let target = folder.join(name).with_file_name(format!("{}.{extension}", stem.to_string_lossy()));
        if let Some(other) = taken.insert(target.clone(), path) {
            let (a, b, target) = (other.display(), path.display(), target.display());
            return Err(Usage(format!("{a} and {b} would both be written to {target}; give them two folders")).into());
        }
        targets.push(target);
    }
    Ok(targets)
}

/// What a transcript's file says of its audio and its date.
pub fn render_options(audio: &Path, target: Option<&Path>) -> RenderOptions {
    RenderOptions { date: SystemTime::now(), relative_audio: relative(audio, target), language: None }
}

/// The way from a transcript's folder to its audio, for a format that names it; none where it cannot be told.
fn relative(audio: &Path, target: Option<&Path>) -> Option<String> {
    let folder = match target.and_then(Path::parent) {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The folder may not be there yet: what is above it is.
    let above = folder.ancestors().find(|above| above.as_os_str().is_empty() || above.exists())?;
    let rest = folder.strip_prefix(above).ok()?;
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let folder = std::fs::canonicalize(above).ok()?.join(rest);
    let audio = std::fs::canonicalize(audio).ok()?;
    let common = folder.components().zip(audio.components()).take_while(|(one, other)| one == other).count();
    let up = folder.components().skip(common).map(|_| "..".into());
    let down = audio.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    Some(up.chain(down).collect::<Vec<String>>().join("/"))
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
