//! `librispeech`: `SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt`, audio beside it; the subsets are the
//! parts. Multilingual corpora and home-made ones in this layout have other audio formats or no subsets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Corpus;
use crate::{Error, Utterance, files};

const AUDIO: [&str; 5] = ["flac", "wav", "ogg", "opus", "mp3"];

/// The corpus's folder, one that holds it, or one subset.
pub(super) fn import(source: &Path) -> Result<Corpus, Error> {
    let lists = files::walk(source, |path| path.to_string_lossy().ends_with(".trans.txt"))?;
    let mut parts: BTreeMap<String, Vec<Utterance>> = BTreeMap::new();
    let mut left_out = Vec::new();
    for list in &lists {
        let (subset, speaker) = place(source, list)?;
        let part = parts.entry(subset).or_default();
        for (line, text) in files::lines(list)? {
            let (id, text) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
            match audio(files::folder_of(list), id) {
                Some(audio) => part.push(Utterance {
                    text: Some(text.trim().to_owned()),
                    speaker: Some(speaker.clone()),
                    line,
                    ..Utterance::new(id, audio)
                }),
                None => left_out.push(format!("{}, line {line}: no audio for `{id}`", list.display())),
            }
        }
    }
    if lists.is_empty() {
        let what = "no .trans.txt below it".to_owned();
        return Err(layout(source, what));
    }
    if parts.len() > 1 && parts.contains_key("") {
        let what = "some speakers are in a subset's folder, others are not".to_owned();
        return Err(layout(source, what));
    }
    let parts = parts.into_iter().map(|(name, part)| (if name.is_empty() { "all".to_owned() } else { name }, part));
    let mut corpus = Corpus { parts: parts.collect(), warnings: Vec::new(), left_out };
    super::unique_ids(source, &mut corpus)?;
    Ok(corpus)
}

/// Subset (empty if there is none) and speaker of a list, from the folders above it.
fn place(source: &Path, list: &Path) -> Result<(String, String), Error> {
    let below = list.strip_prefix(source).unwrap_or(list);
    let mut folders =
        below.ancestors().skip(1).filter_map(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match (folders.next(), folders.next(), folders.next()) {
        (Some(_chapter), Some(speaker), subset) => Ok((subset.unwrap_or_default(), speaker)),
        _ => Err(layout(source, format!("{} is not in SPEAKER/CHAPTER", below.display()))),
    }
}

fn audio(folder: &Path, id: &str) -> Option<PathBuf> {
    // The id names a file in this folder and nowhere else.
    if id.contains(['/', '\\']) {
        return None;
    }
    AUDIO.iter().map(|extension| folder.join(format!("{id}.{extension}"))).find(|path| path.is_file())
}

fn layout(source: &Path, what: String) -> Error {
    let hint = "SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt, with lines `ID TEXT` and ID.flac beside it";
    Error::Layout { path: source.to_path_buf(), format: "librispeech", what, hint }
}
