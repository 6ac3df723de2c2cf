//! Which files hold a model's weights, and of what format they are.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::read_text;
use crate::error::{Error, Result};

/// Where transformers writes weights, in the order in which klang prefers them.
const WHOLE: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// An index names the shards that stand beside it.
const INDEX: &str = ".index.json";
/// The largest models' indices take some hundred kilobytes.
const INDEX_BYTES: u64 = 16 << 20;

/// The files that hold the weights of a folder in transformers' layout.
pub(super) fn of_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    for name in WHOLE {
        let whole = folder.join(name);
        if whole.is_file() {
            return Ok(vec![whole]);
        }
        let index = folder.join(format!("{name}{INDEX}"));
        if index.is_file() {
            return shards(folder, &index);
        }
    }
    let looked_for = WHOLE.iter().map(|name| format!("{name}, {name}{INDEX}")).collect::<Vec<_>>().join(", ");
    Err(Error::NoWeights { path: folder.into(), looked_for })
}

/// The shards that an index names, each in its folder.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let refuse = |problem: String| Error::Index { path: index.into(), problem };
    let json: Value =
        serde_json::from_str(&read_text(index, INDEX_BYTES)?).map_err(|error| refuse(error.to_string()))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| refuse("no object `weight_map` of tensor and file in it".into()))?;
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        let name = file.as_str().filter(|name| !name.contains(['/', '\\']) && !matches!(*name, "" | "." | ".."));
        names.insert(name.ok_or_else(|| refuse(format!("{tensor}: {file} is no name of a file beside the index")))?);
    }
    if names.is_empty() {
        return Err(refuse("it names no file".into()));
    }
    let files: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    match files.iter().find(|file| !file.is_file()) {
        Some(missing) => Err(refuse(format!("{} is not there; fetch the model again", missing.display()))),
        None => Ok(files),
    }
}

/// Whether a file is to be read as safetensors, and not as one of torch's, by how it begins.
pub(super) fn is_safetensors(file: &Path) -> Result<bool> {
    let io = |source| Error::Io { path: file.into(), source };
    let mut start = [0; 9];
    let mut read = 0;
    let mut opened = File::open(file).map_err(io)?;
    while read < start.len() {
        match opened.read(&mut start[read..]).map_err(io)? {
            0 => break,
            more => read += more,
        }
    }
    if start.starts_with(b"version h") {
        return Err(Error::LfsPointer { path: file.into() });
    }
    // A zip archive, or a pickle's protocol mark; a safetensors file has its header's length there, and then `{`.
    Ok(start[8] == b'{' || !(start.starts_with(b"PK") || start[0] == 0x80))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn safetensors_are_preferred_and_a_whole_file_to_shards() {
        let both =
            folder(&[("pytorch_model.bin", ""), ("model.safetensors", ""), ("model.safetensors.index.json", "")]);
        assert_eq!(of_folder(both.path()).unwrap(), [both.path().join("model.safetensors")]);
        let message = of_folder(folder(&[]).path()).unwrap_err().to_string();
        assert!(message.contains("pytorch_model.bin.index.json"), "{message}");
    }

    #[test]
    fn an_index_names_each_shard_once() {
        let index = r#"{"weight_map": {"a": "x-1.bin", "b": "x-2.bin", "c": "x-1.bin"}}"#;
        let shards = folder(&[("pytorch_model.bin.index.json", index), ("x-1.bin", ""), ("x-2.bin", "")]);
        assert_eq!(of_folder(shards.path()).unwrap(), ["x-1.bin", "x-2.bin"].map(|name| shards.path().join(name)));
        std::fs::remove_file(shards.path().join("x-2.bin")).unwrap();
        assert!(of_folder(shards.path()).unwrap_err().to_string().contains("x-2.bin"));
    }

    #[test]
    fn an_index_that_leads_elsewhere_is_refused() {
        for index in [
            r#"{"weight_map": {"a": "../secret.bin"}}"#,
            r#"{"weight_map": {"a": "/etc/passwd"}}"#,
            r#"{"weight_map": {"a": 7}}"#,
            r#"{"weight_map": {}}"#,
            r#"{"weights": {}}"#,
            "[",
        ] {
            let shards = folder(&[("model.safetensors.index.json", index)]);
            let message = of_folder(shards.path()).expect_err(index).to_string();
            assert!(message.contains("model.safetensors.index.json"), "{message}");
        }
    }
}
