//! Checkpoints in transformers' layout: reading is strict and distrusts the file, writing is all or nothing.

mod names;
mod safetensors;
mod weights;

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

pub use self::safetensors::{read_safetensors, write_safetensors};
pub use self::weights::{Head, LoadReport, holds_head, load_weights, save_weights};

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// A file that cannot be read, is larger, or is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let io = |source| Error::Io { path: path.into(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > limit {
        let bytes = std::fs::metadata(path).map_or(limit + 1, |data| data.len());
        return Err(Error::TooLarge { path: path.into(), bytes, limit });
    }
    Ok(text)
}
