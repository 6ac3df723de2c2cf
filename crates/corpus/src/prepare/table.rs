//! `table`: a manifest, perhaps with a `split` column.

use std::path::{Path, PathBuf};

use super::Corpus;
use crate::{Error, Manifest, Utterance, files};

/// A manifest, or a folder with `utterances.tsv` (or another name, if it is the only table there).
pub(super) fn import(source: &Path) -> Result<Corpus, Error> {
    let manifest = Manifest::read(&find(source)?)?;
    Ok(Corpus { parts: by_split(manifest.utterances), warnings: Vec::new(), left_out: Vec::new() })
}

fn find(source: &Path) -> Result<PathBuf, Error> {
    if !source.is_dir() {
        return Ok(source.to_path_buf());
    }
    let is_table =
        |path: &PathBuf| ["tsv", "csv", "jsonl"].contains(&files::extension(path).as_str()) && path.is_file();
    let mut tables: Vec<PathBuf> = files::entries(source)?.into_iter().filter(is_table).collect();
    let several = tables.len() > 1;
    if several {
        tables.retain(|path| files::stem(path) == "utterances");
    }
    match (tables.pop(), tables.pop()) {
        (Some(table), None) => Ok(table),
        _ => Err(Error::Layout {
            path: source.to_path_buf(),
            format: "table",
            what: if several { "it holds several tables" } else { "it holds no utterances.tsv" }.to_owned(),
            hint: "name the table itself, or a folder with one table or an utterances.tsv (path, text, speaker, split)",
        }),
    }
}

/// One part per value of the `split` column, in order of appearance; utterances without one are `unsplit`.
pub(super) fn by_split(utterances: Vec<Utterance>) -> Vec<(String, Vec<Utterance>)> {
    let mut parts: Vec<(String, Vec<Utterance>)> = Vec::new();
    for utterance in utterances {
        let name = utterance.columns.get("split").map_or("unsplit", String::as_str);
        match parts.iter_mut().find(|(known, _)| known == name) {
            Some((_, part)) => part.push(utterance),
            None => parts.push((name.to_owned(), vec![utterance])),
        }
    }
    parts
}
