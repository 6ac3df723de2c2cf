//! What each target does with its bytes, so that the targets themselves are a line each.
//!
//! Beyond that nothing may panic: what is read and written again reads the same, samples are finite, and no input may take
//! more memory than its target allows, whatever lengths it promises.

pub mod audio;
pub mod checkpoints;
pub mod corpus;
pub mod memory;
pub mod models;
pub mod runs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder of this process's own, in TMPDIR: best one in memory.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("klang-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the fuzzer's files");
        folder
    })
}

/// A file of these bytes in [`folder`]: readers take paths, and how they open them is under test too.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).expect("room for the fuzzer's files");
    path
}
