//! Ids: checked where they are given, derived from the file name where they are not.

use std::collections::HashMap;
use std::path::Path;

use crate::{Error, Utterance, files};

/// Gives every utterance with an empty id one of its own, then checks that all are unique.
///
/// The id is the file name without its extension; where that is taken, `NAME-OFFSET` for an utterance with
/// an offset; where that is taken too, the path below the manifest's folder. It does not depend on the
/// order of the lines.
///
/// # Errors
/// When two lines have one id, naming both.
pub(crate) fn fill(path: &Path, utterances: &mut [Utterance]) -> Result<(), Error> {
    derive(path, utterances);
    unique(path, utterances)
}

/// The first half of [`fill`]: no id is empty, though two may be the same.
pub(super) fn derive(path: &Path, utterances: &mut [Utterance]) {
    let missing: Vec<usize> = utterances
        .iter()
        .enumerate()
        .filter(|(_, utterance)| utterance.id.is_empty())
        .map(|(index, _)| index)
        .collect();
    if !missing.is_empty() {
        let folder = files::folder_of(path);
        for derive in [by_stem, by_offset, by_path] {
            let mut uses: HashMap<String, usize> = HashMap::new();
            for (index, utterance) in utterances.iter().enumerate() {
                let open = missing.binary_search(&index).is_ok() && utterance.id.is_empty();
                let id = if open { derive(folder, utterance) } else { utterance.id.clone() };
                *uses.entry(id).or_default() += 1;
            }
            for index in &missing {
                let Some(utterance) = utterances.get_mut(*index) else { continue };
                if utterance.id.is_empty() {
                    let id = derive(folder, utterance);
                    if uses.get(&id) == Some(&1) {
                        utterance.id = id;
                    }
                }
            }
        }
        // What is still open shares its path and offset with another line: a check for uniqueness names both.
        for utterance in utterances.iter_mut().filter(|utterance| utterance.id.is_empty()) {
            utterance.id = by_path(folder, utterance);
        }
    }
}

fn by_stem(_: &Path, utterance: &Utterance) -> String {
    files::stem(&utterance.audio)
}

fn by_offset(_: &Path, utterance: &Utterance) -> String {
    with_offset(files::stem(&utterance.audio), utterance)
}

fn by_path(folder: &Path, utterance: &Utterance) -> String {
    let path = utterance.audio.strip_prefix(folder).unwrap_or(&utterance.audio);
    with_offset(path.with_extension("").to_string_lossy().into_owned(), utterance)
}

fn with_offset(name: String, utterance: &Utterance) -> String {
    match utterance.offset {
        Some(offset) => format!("{name}-{offset}"),
        None => name,
    }
}

/// Checks that no two utterances have one id.
pub(super) fn unique(path: &Path, utterances: &[Utterance]) -> Result<(), Error> {
    let mut lines: HashMap<&str, usize> = HashMap::with_capacity(utterances.len());
    for utterance in utterances {
        if let Some(first) = lines.insert(&utterance.id, utterance.line) {
            let (path, id, second) = (path.to_path_buf(), utterance.id.clone(), utterance.line);
            return Err(Error::DuplicateId { path, id, first, second });
        }
    }
    Ok(())
}
