//! Manifests and statistics into a folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Part;
use crate::{Error, Statistics, files, manifest};

/// Writes `NAME.jsonl` for each part and `statistics.json`; nothing is written unless everything can be.
pub(super) fn write(out: &Path, parts: &[Part], overwrite: bool) -> Result<Vec<(String, PathBuf, Statistics)>, Error> {
    fs::create_dir_all(out).map_err(|error| Error::io("create", out, error))?;
    let mut manifests = Vec::new();
    let mut contents = Vec::new();
    for (name, utterances) in parts {
        let path = out.join(format!("{}.jsonl", file_name(out, name)?));
        contents.push((path.clone(), manifest::to_json_lines(&path, utterances)?));
        manifests.push((name.clone(), path, Statistics::of(utterances)));
    }
    let statistics: BTreeMap<&str, &Statistics> =
        manifests.iter().map(|(name, _, statistics)| (name.as_str(), statistics)).collect();
    let json = serde_json::to_vec_pretty(&statistics)
        .map_err(|error| Error::io("write", &out.join("statistics.json"), error.into()))?;
    if !overwrite {
        for (path, bytes) in &contents {
            if path.exists() && !holds(path, bytes)? {
                return Err(Error::Exists { path: path.clone() });
            }
        }
    }
    for (path, bytes) in &contents {
        files::write(path, bytes)?;
    }
    files::write(&out.join("statistics.json"), &json)?;
    Ok(manifests)
}

fn holds(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    let failed = |error| Error::io("read", path, error);
    // The size first: what is there may be anything.
    Ok(fs::metadata(path).map_err(failed)?.len() == bytes.len() as u64 && fs::read(path).map_err(failed)? == bytes)
}

/// A part's name comes from the corpus, so it must not lead out of the folder.
fn file_name<'a>(out: &Path, name: &'a str) -> Result<&'a str, Error> {
    let allowed = |character: char| character.is_alphanumeric() || "-_. ".contains(character);
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(allowed) {
        let what = format!("the split `{}` cannot name a file", crate::error::shortened(name, 40));
        let hint = "splits are named with letters, digits, `-`, `_` and `.`";
        return Err(Error::Layout { path: out.to_path_buf(), format: "a set of manifests", what, hint });
    }
    Ok(name)
}
