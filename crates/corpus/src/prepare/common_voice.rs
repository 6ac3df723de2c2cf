//! `common-voice`: `clips/`, and lists `train.tsv`, `dev.tsv`, `test.tsv`, or else `validated.tsv`.
//! `client_id` is the speaker; `clip_durations.tsv`, where there is one, states milliseconds.

use std::collections::HashMap;
use std::path::Path;

use super::Corpus;
use crate::manifest::At;
use crate::{Error, Utterance, files, rows};

/// The folder of one language.
pub(super) fn import(source: &Path) -> Result<Corpus, Error> {
    let durations = durations(&source.join("clip_durations.tsv"))?;
    let mut parts = Vec::new();
    for name in ["train", "dev", "test"] {
        let path = source.join(format!("{name}.tsv"));
        if path.is_file() {
            parts.push((name.to_owned(), list(source, &path, &durations)?));
        }
    }
    if parts.is_empty() {
        let path = source.join("validated.tsv");
        if !path.is_file() {
            return Err(Error::Layout {
                path: source.to_path_buf(),
                format: "common-voice",
                what: "neither train.tsv, dev.tsv, test.tsv nor validated.tsv is in it".to_owned(),
                hint: "give the folder of one language, such as cv-corpus-22.0/sw, with its clips/ folder",
            });
        }
        parts.push(("validated".to_owned(), list(source, &path, &durations)?));
    }
    let mut corpus = Corpus { parts, warnings: Vec::new(), left_out: Vec::new() };
    super::unique_ids(source, &mut corpus)?;
    Ok(corpus)
}

fn list(source: &Path, path: &Path, durations: &HashMap<String, f64>) -> Result<Vec<Utterance>, Error> {
    let mut utterances = Vec::new();
    rows::read(path, &mut |mut row| {
        let at = At { path, line: row.line, form: row.form };
        let found = row.names();
        let missing =
            |field| Error::MissingField { path: path.to_path_buf(), line: at.line, field, found: found.clone() };
        let clip = at.text(row.take(&["path"]).ok_or_else(|| missing("path"))?)?;
        // Early releases leave the extension out.
        let clip = if files::extension(Path::new(&clip)).is_empty() { format!("{clip}.mp3") } else { clip };
        let text = at.text(row.take_text(&["sentence"]).ok_or_else(|| missing("sentence"))?)?;
        let speaker = row.take(&["client_id"]).map(|field| at.text(field)).transpose()?;
        let duration = durations.get(&clip).copied();
        let audio = source.join("clips").join(&clip);
        let id = files::stem(&audio);
        let columns = at.columns(row);
        utterances.push(Utterance {
            id,
            audio,
            text: Some(text),
            speaker,
            duration,
            offset: None,
            columns,
            line: at.line,
        });
        Ok(())
    })?;
    Ok(utterances)
}

/// Seconds by clip; nothing if there is no such list.
fn durations(path: &Path) -> Result<HashMap<String, f64>, Error> {
    let mut durations = HashMap::new();
    if path.is_file() {
        rows::read(path, &mut |mut row| {
            let at = At { path, line: row.line, form: row.form };
            if let (Some(clip), Some(milliseconds)) = (row.take(&["clip"]), row.take(&["duration[ms]"])) {
                let seconds = at.seconds(milliseconds)? / 1000.0;
                // A clip of no length is better looked up than believed.
                if seconds > 0.0 {
                    durations.insert(at.text(clip)?, seconds);
                }
            }
            Ok(())
        })?;
    }
    Ok(durations)
}
