//! `kaldi`: a data directory (`wav.scp`, `text`, `utt2spk`, `segments`, `utt2dur`), or a folder of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Corpus;
use crate::error::shortened;
use crate::{Error, Utterance, files};

/// A data directory, or a folder whose subfolders are data directories and its parts.
pub(super) fn import(source: &Path) -> Result<Corpus, Error> {
    let mut corpus = Corpus { parts: Vec::new(), warnings: Vec::new(), left_out: Vec::new() };
    if source.join("wav.scp").is_file() {
        let part = directory(source, source, &mut corpus)?;
        corpus.parts.push(("all".to_owned(), part));
    } else {
        for folder in files::entries(source)? {
            if folder.join("wav.scp").is_file() {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let part = directory(source, &folder, &mut corpus)?;
                corpus.parts.push((name, part));
            }
        }
    }
    if corpus.parts.is_empty() {
        return Err(Error::Layout {
            path: source.to_path_buf(),
            format: "kaldi",
            what: "no wav.scp in it or in a folder of it".to_owned(),
            hint: "a data directory with wav.scp, text and utt2spk, or a folder of such directories",
        });
    }
    super::unique_ids(source, &mut corpus)?;
    Ok(corpus)
}

/// What `segments` says of an utterance.
struct Segment {
    line: usize,
    utterance: String,
    recording: String,
    start: f64,
    /// `None` is the end of the recording.
    end: Option<f64>,
}

fn directory(source: &Path, folder: &Path, corpus: &mut Corpus) -> Result<Vec<Utterance>, Error> {
    let wav_scp = folder.join("wav.scp");
    let mut recordings = HashMap::new();
    let mut order = Vec::new();
    for Entry { line, id, value } in entries(&wav_scp)? {
        let path = recording(source, folder, &wav_scp, line, &id, &value)?;
        recordings.insert(id.clone(), path);
        order.push((line, id));
    }
    let optional = |name: &str| -> Result<Option<HashMap<String, String>>, Error> {
        let path = folder.join(name);
        let by_id = |entries: Vec<Entry>| entries.into_iter().map(|entry| (entry.id, entry.value)).collect();
        if path.is_file() { Ok(Some(by_id(entries(&path)?))) } else { Ok(None) }
    };
    let (text, speakers) = (optional("text")?, optional("utt2spk")?);
    let durations = durations(&folder.join("utt2dur"))?;
    let segments = segments(&folder.join("segments"))?;
    for (name, list) in [("text", &text), ("utt2spk", &speakers)] {
        if list.is_none() {
            corpus.warnings.push(format!("{} has no `{name}`", folder.display()));
        }
    }
    let mut untranscribed = 0;
    let mut utterances = Vec::new();
    let mut add = |line, id: String, segment: Option<&Segment>| {
        let recording = segment.map_or(&id, |segment| &segment.recording);
        let Some(audio) = recordings.get(recording) else {
            let what = format!(
                "{}, line {line}: `{id}` is of `{recording}`, which wav.scp lacks",
                folder.join("segments").display()
            );
            corpus.left_out.push(what);
            return;
        };
        let mut utterance = Utterance { line, ..Utterance::new(id, audio) };
        if let Some(segment) = segment {
            utterance.offset = Some(segment.start);
            utterance.duration = segment.end.map(|end| end - segment.start);
        }
        utterance.duration = utterance.duration.or_else(|| durations.get(&utterance.id).copied());
        utterance.speaker = speakers.as_ref().and_then(|speakers| speakers.get(&utterance.id)).cloned();
        if let Some(text) = &text {
            utterance.text = text.get(&utterance.id).cloned();
            // Kaldi's own tools drop what has no line in `text`.
            if utterance.text.is_none() {
                untranscribed += 1;
                return;
            }
        }
        utterances.push(utterance);
    };
    match &segments {
        Some(segments) => {
            segments.iter().for_each(|segment| add(segment.line, segment.utterance.clone(), Some(segment)))
        }
        None => order.into_iter().for_each(|(line, id)| add(line, id, None)),
    }
    if untranscribed > 0 {
        let what = format!("{}: {untranscribed} utterances have no line in `text` and are dropped", folder.display());
        corpus.warnings.push(what);
    }
    Ok(utterances)
}

/// The file of a `wav.scp` entry: as it stands if absolute, otherwise from the data directory or the folder
/// given, whichever has it.
fn recording(source: &Path, folder: &Path, list: &Path, line: usize, id: &str, value: &str) -> Result<PathBuf, Error> {
    if value.ends_with('|') {
        let (path, id, given) = (list.to_path_buf(), id.to_owned(), shortened(value, 60));
        return Err(Error::Pipe { path, line, id, given });
    }
    if value.is_empty() {
        return Err(Error::syntax(list, line, format!("`{id}` has no file; allowed: `ID FILE`")));
    }
    let candidates = [folder.join(value), source.join(value)];
    let found = candidates.iter().find(|path| path.is_file()).cloned();
    Ok(found.unwrap_or_else(|| folder.join(value)))
}

/// A line `ID VALUE`; the value may be empty.
struct Entry {
    line: usize,
    id: String,
    value: String,
}

fn entries(path: &Path) -> Result<Vec<Entry>, Error> {
    let mut first = HashMap::new();
    let mut entries = Vec::new();
    for (line, text) in files::lines(path)? {
        let text = text.trim();
        let (id, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if let Some(first) = first.insert(id.to_owned(), line) {
            return Err(Error::DuplicateId { path: path.to_path_buf(), id: id.to_owned(), first, second: line });
        }
        entries.push(Entry { line, id: id.to_owned(), value: value.trim().to_owned() });
    }
    Ok(entries)
}

fn durations(path: &Path) -> Result<HashMap<String, f64>, Error> {
    let mut durations = HashMap::new();
    if path.is_file() {
        for Entry { line, id, value } in entries(path)? {
            durations.insert(id, seconds(path, line, "duration", &value)?);
        }
    }
    Ok(durations)
}

fn segments(path: &Path) -> Result<Option<Vec<Segment>>, Error> {
    if !path.is_file() {
        return Ok(None);
    }
    let mut segments = Vec::new();
    for Entry { line, id, value } in entries(path)? {
        let mut fields = value.split_whitespace();
        let (Some(recording), Some(start), Some(end)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Error::syntax(path, line, "allowed: `UTTERANCE RECORDING START END`, in seconds"));
        };
        let start = seconds(path, line, "start", start)?;
        // Kaldi writes -1 for "to the end of the recording".
        let end = if end == "-1" { None } else { Some(seconds(path, line, "end", end)?) };
        if end.is_some_and(|end| end <= start) {
            return Err(Error::syntax(path, line, format!("`{id}` ends before it starts ({value})")));
        }
        segments.push(Segment { line, utterance: id, recording: recording.to_owned(), start, end });
    }
    Ok(Some(segments))
}

fn seconds(path: &Path, line: usize, field: &str, text: &str) -> Result<f64, Error> {
    let number = text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
    number.ok_or_else(|| Error::WrongValue {
        path: path.to_path_buf(),
        line,
        field: field.to_owned(),
        given: format!("`{}`", shortened(text, 40)),
        allowed: "seconds, at least 0, with a decimal point",
    })
}
