//! Manifests: lists of utterances as files.
//!
//! A manifest is JSON lines, or a table with a header as CSV (quoted as RFC 4180 says) or TSV (never
//! quoted). `.jsonl`, `.ndjson`, `.json`, `.csv` and `.tsv` state the form; for any other name the first
//! line shows it.
//!
//! | field | other accepted names | |
//! |---|---|---|
//! | `audio` | `audio_filepath` (NeMo), `path` | required; relative paths start at the manifest's folder |
//! | `id` | | unique; missing ids come from the file name |
//! | `text` | | the transcript; missing is unlabelled |
//! | `speaker` | | |
//! | `duration` | `seconds` | seconds |
//! | `offset` | | seconds from the file's start, for several utterances in one file |
//!
//! Every other field is kept as text and can be selected by.

mod ids;
mod paths;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Map, Value};

use crate::error::shortened;
use crate::rows::{self, Form, Row};
use crate::utterance::FIELDS;
use crate::{Error, Utterance, files};

pub(crate) use ids::fill as fill_ids;
pub use paths::RelativePaths;

/// The accepted names of the audio field, in order of preference.
const AUDIO: [&str; 3] = ["audio", "audio_filepath", "path"];

/// A list of utterances and the file it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The file.
    pub path: PathBuf,
    /// Its utterances in the file's order; at least one.
    pub utterances: Vec<Utterance>,
}

impl Manifest {
    /// Reads a manifest of at most 1 GiB with lines of at most 1 MiB. A byte-order mark, CRLF and blank
    /// lines are tolerated. The audio files themselves are not looked at.
    ///
    /// # Errors
    /// When the file cannot be read, a line is malformed, too long or not UTF-8, a line has no audio
    /// field or a value of the wrong type, two lines have one id, or there is no utterance.
    pub fn read(path: &Path) -> Result<Manifest, Error> {
        let manifest = Manifest::read_unchecked(path)?;
        ids::unique(path, &manifest.utterances)?;
        Ok(manifest)
    }

    /// As [`Manifest::read`], for whoever lists what is wrong: two lines may have one id.
    ///
    /// # Errors
    /// As [`Manifest::read`], but for that.
    pub fn read_unchecked(path: &Path) -> Result<Manifest, Error> {
        let folder = files::folder_of(path);
        let mut utterances = Vec::new();
        rows::read(path, &mut |row| {
            utterances.push(utterance(path, folder, row)?);
            Ok(())
        })?;
        if utterances.is_empty() {
            return Err(Error::Empty { path: path.to_path_buf() });
        }
        ids::derive(path, &mut utterances);
        Ok(Manifest { path: path.to_path_buf(), utterances })
    }

    /// The audio files of a folder and of those within it, in the order of their names, as utterances without transcripts; ids
    /// are paths below the folder without their endings, or with them where two would be the same.
    ///
    /// # Errors
    /// When a folder cannot be listed, or none of them holds an audio file.
    pub fn of_folder(folder: &Path) -> Result<Manifest, Error> {
        let audio = files::walk(folder, files::is_audio)?;
        if audio.is_empty() {
            return Err(Error::NoAudio { path: folder.to_path_buf() });
        }
        let name = |path: &Path| path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
        let stem = |path: &Path| name(&path.with_extension(""));
        let mut stems: BTreeMap<String, usize> = BTreeMap::new();
        audio.iter().for_each(|path| *stems.entry(stem(path)).or_default() += 1);
        let id = |path: &Path| if stems.get(&stem(path)) == Some(&1) { stem(path) } else { name(path) };
        let utterances = audio.iter().map(|path| Utterance::new(id(path), path.as_path())).collect();
        Ok(Manifest { path: folder.to_path_buf(), utterances })
    }

    /// Writes JSON lines: `id`, `audio`, then whatever is known. An audio path is written relative to the
    /// manifest's folder where both share a folder below the root, otherwise absolute.
    ///
    /// # Errors
    /// When the file cannot be written, an audio path is not UTF-8, or a number is not finite.
    pub fn write(path: &Path, utterances: &[Utterance]) -> Result<(), Error> {
        files::write(path, &to_json_lines(path, utterances)?)
    }
}

/// What [`Manifest::write`] writes to `path`.
pub(crate) fn to_json_lines(path: &Path, utterances: &[Utterance]) -> Result<Vec<u8>, Error> {
    let mut paths = RelativePaths::to(files::folder_of(path))?;
    let mut bytes = Vec::new();
    for utterance in utterances {
        let unwritable = |what: String| Error::Unwritable { id: utterance.id.clone(), what };
        let audio = paths.of(&utterance.audio);
        let audio = audio
            .to_str()
            .ok_or_else(|| unwritable(format!("the path {} is not UTF-8; hint: rename the file", audio.display())))?;
        let mut object = Map::new();
        object.insert("id".into(), utterance.id.as_str().into());
        object.insert("audio".into(), audio.into());
        if let Some(text) = &utterance.text {
            object.insert("text".into(), text.as_str().into());
        }
        if let Some(speaker) = &utterance.speaker {
            object.insert("speaker".into(), speaker.as_str().into());
        }
        for (name, seconds) in [("duration", utterance.duration), ("offset", utterance.offset)] {
            let Some(seconds) = seconds else { continue };
            let number = serde_json::Number::from_f64(seconds)
                .ok_or_else(|| unwritable(format!("{name} is {seconds}; allowed: a finite number of seconds")))?;
            object.insert(name.into(), Value::Number(number));
        }
        for (name, value) in &utterance.columns {
            if !FIELDS.contains(&name.as_str()) {
                object.insert(name.clone(), value.as_str().into());
            }
        }
        bytes.extend_from_slice(Value::Object(object).to_string().as_bytes());
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn utterance(path: &Path, folder: &Path, mut row: Row) -> Result<Utterance, Error> {
    let (line, form) = (row.line, row.form);
    let found = row.names();
    let Some(audio) = row.take(&AUDIO) else {
        let field = "audio (or `audio_filepath`, `path`)";
        return Err(Error::MissingField { path: path.to_path_buf(), line, field, found });
    };
    let at = At { path, line, form };
    let audio = folder.join(at.text(audio)?);
    let id = row.take(&["id"]).map(|field| at.name(field)).transpose()?.unwrap_or_default();
    let text = row.take_text(&["text"]).map(|field| at.text(field)).transpose()?;
    let speaker = row.take(&["speaker"]).map(|field| at.name(field)).transpose()?;
    let duration = row.take(&["duration", "seconds"]).map(|field| at.seconds(field)).transpose()?;
    let offset = row.take(&["offset"]).map(|field| at.seconds(field)).transpose()?;
    if let Some(given) = offset.filter(|offset| *offset < 0.0) {
        return Err(at.wrong("offset", given.to_string(), "seconds from the file's start, at least 0"));
    }
    let columns = at.columns(row);
    Ok(Utterance { id, audio, text, speaker, duration, offset, columns, line })
}

/// Where a value stands, for a message, and what it may be there.
pub(crate) struct At<'a> {
    pub(crate) path: &'a Path,
    pub(crate) line: usize,
    pub(crate) form: Form,
}

impl At<'_> {
    fn wrong(&self, field: &str, given: String, allowed: &'static str) -> Error {
        Error::WrongValue { path: self.path.to_path_buf(), line: self.line, field: field.to_owned(), given, allowed }
    }

    pub(crate) fn text(&self, (field, value): (Rc<str>, Value)) -> Result<String, Error> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(&field, rows::kind(&other), "a text in quotation marks")),
        }
    }

    /// A text, or a whole number: ids and speakers are often numbered.
    pub(crate) fn name(&self, (field, value): (Rc<str>, Value)) -> Result<String, Error> {
        match value {
            Value::String(text) => Ok(text),
            Value::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
            other => Err(self.wrong(&field, rows::kind(&other), "a text or a whole number")),
        }
    }

    pub(crate) fn seconds(&self, (field, value): (Rc<str>, Value)) -> Result<f64, Error> {
        let allowed = "a finite number of seconds, with a decimal point";
        let number = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) if self.form != Form::JsonLines => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|seconds| seconds.is_finite()).ok_or_else(|| {
            let given = match &value {
                Value::String(text) if self.form != Form::JsonLines => format!("`{}`", shortened(text, 40)),
                other => rows::kind(other),
            };
            self.wrong(&field, given, allowed)
        })
    }

    /// What was not taken, as text.
    pub(crate) fn columns(&self, row: Row) -> BTreeMap<String, String> {
        let text = |(name, value): (Rc<str>, Value)| match value {
            Value::String(text) => (name.to_string(), text),
            other => (name.to_string(), other.to_string()),
        };
        row.rest().map(text).collect()
    }
}

#[cfg(test)]
mod tests;
