//! `audiofolder`: Hugging Face's layout, `metadata.csv` (or `.tsv`, `.jsonl`) with `file_name` and a
//! transcript, at the top or in each split's folder; without one, a `.txt` beside each audio file.

use std::fs;
use std::path::{Path, PathBuf};

use super::Corpus;
use crate::manifest::At;
use crate::{Error, Utterance, files, rows};

const SPLITS: [&str; 7] = ["train", "training", "dev", "validation", "valid", "val", "test"];
const FILE: [&str; 4] = ["file_name", "audio", "audio_filepath", "path"];
const TEXT: [&str; 5] = ["transcription", "text", "sentence", "transcript", "normalized_text"];
const SPEAKER: [&str; 4] = ["speaker", "speaker_id", "client_id", "speaker_name"];
/// No transcript of one utterance is longer, in bytes.
const TEXT_LIMIT: u64 = 1 << 16;

/// A folder with metadata, folders with metadata, or audio files with transcripts beside them.
pub(super) fn import(source: &Path) -> Result<Corpus, Error> {
    let mut corpus = Corpus { parts: Vec::new(), warnings: Vec::new(), left_out: Vec::new() };
    if let Some(path) = metadata(source)? {
        let utterances = with_metadata(&path, source)?;
        corpus.parts = if utterances.iter().any(|utterance| utterance.columns.contains_key("split")) {
            super::table::by_split(utterances)
        } else {
            by_folder(source, utterances)
        };
    } else {
        for folder in files::entries(source)?.into_iter().filter(|path| path.is_dir()) {
            if let Some(path) = metadata(&folder)? {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                corpus.parts.push((name, with_metadata(&path, source)?));
            }
        }
    }
    if corpus.parts.is_empty() {
        let utterances = side_by_side(source, &mut corpus)?;
        corpus.parts = by_folder(source, utterances);
    }
    super::unique_ids(source, &mut corpus)?;
    Ok(corpus)
}

fn metadata(folder: &Path) -> Result<Option<PathBuf>, Error> {
    let mut found = ["csv", "tsv", "jsonl"].map(|extension| folder.join(format!("metadata.{extension}"))).into_iter();
    let is_file = |path: &PathBuf| path.is_file();
    match (found.find(is_file), found.find(is_file)) {
        (Some(first), Some(second)) => {
            let what = format!("{} and {} are both there", first.display(), second.display());
            Err(layout(folder, what))
        }
        (first, _) => Ok(first),
    }
}

fn with_metadata(path: &Path, source: &Path) -> Result<Vec<Utterance>, Error> {
    let folder = files::folder_of(path);
    let mut utterances = Vec::new();
    rows::read(path, &mut |mut row| {
        let at = At { path, line: row.line, form: row.form };
        let found = row.names();
        let file = row.take(&FILE).ok_or_else(|| Error::MissingField {
            path: path.to_path_buf(),
            line: at.line,
            field: "file_name",
            found,
        })?;
        let audio = folder.join(at.text(file)?);
        let id = row.take(&["id"]).map(|field| at.name(field)).transpose()?;
        let id = id.unwrap_or_else(|| name_below(source, &audio));
        let text = row.take_text(&TEXT).map(|field| at.text(field)).transpose()?;
        let speaker = row.take(&SPEAKER).map(|field| at.name(field)).transpose()?;
        let duration = row.take(&["duration", "seconds"]).map(|field| at.seconds(field)).transpose()?;
        let columns = at.columns(row);
        utterances.push(Utterance { id, audio, text, speaker, duration, offset: None, columns, line: at.line });
        Ok(())
    })?;
    Ok(utterances)
}

fn side_by_side(source: &Path, corpus: &mut Corpus) -> Result<Vec<Utterance>, Error> {
    let audio = files::walk(source, files::is_audio)?;
    if audio.is_empty() {
        return Err(layout(source, "neither metadata nor an audio file is in it".to_owned()));
    }
    let mut utterances = Vec::new();
    for path in audio {
        let beside = path.with_extension("txt");
        let text = if beside.is_file() { Some(transcript(&beside)?) } else { None };
        utterances.push(Utterance { text, ..Utterance::new(name_below(source, &path), path) });
    }
    let unlabelled = utterances.iter().filter(|utterance| utterance.text.is_none()).count();
    if unlabelled == utterances.len() {
        corpus.warnings.push("no audio file has a .txt beside it: all utterances are unlabelled".to_owned());
    } else {
        let (kept, dropped): (Vec<_>, Vec<_>) = utterances.into_iter().partition(|utterance| utterance.text.is_some());
        corpus.left_out.extend(dropped.iter().map(|one| format!("{}: no .txt beside it", one.audio.display())));
        utterances = kept;
    }
    Ok(utterances)
}

fn transcript(path: &Path) -> Result<String, Error> {
    let bytes = fs::metadata(path).map_err(|error| Error::io("read", path, error))?.len();
    if bytes > TEXT_LIMIT {
        return Err(Error::TooLarge { path: path.to_path_buf(), bytes, limit: TEXT_LIMIT });
    }
    let lines: Vec<String> = files::lines(path)?.into_iter().map(|(_, line)| line.trim().to_owned()).collect();
    Ok(lines.join(" "))
}

/// One part per top folder, if all are named as splits are.
fn by_folder(source: &Path, utterances: Vec<Utterance>) -> Vec<(String, Vec<Utterance>)> {
    let split = |utterance: &Utterance| {
        let below = utterance.audio.strip_prefix(source).ok()?;
        let mut folders =
            files::folder_of(below).components().map(|part| part.as_os_str().to_string_lossy().into_owned());
        folders.find(|name| SPLITS.contains(&name.as_str()))
    };
    let splits: Option<Vec<String>> = utterances.iter().map(split).collect();
    let Some(splits) = splits else { return vec![("all".to_owned(), utterances)] };
    let mut parts: Vec<(String, Vec<Utterance>)> = Vec::new();
    for (name, utterance) in splits.into_iter().zip(utterances) {
        match parts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, part)) => part.push(utterance),
            None => parts.push((name, vec![utterance])),
        }
    }
    parts
}

/// The path below the corpus's folder without extension: file names alone repeat from folder to folder.
fn name_below(source: &Path, audio: &Path) -> String {
    audio.strip_prefix(source).unwrap_or(audio).with_extension("").to_string_lossy().replace('\\', "/")
}

fn layout(source: &Path, what: String) -> Error {
    let hint = "metadata.csv with file_name and transcription, or a .txt beside each audio file";
    Error::Layout { path: source.to_path_buf(), format: "audiofolder", what, hint }
}
