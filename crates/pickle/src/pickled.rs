//! Where a pickle lies, and its faults with the file's name.

use std::path::Path;

use crate::error::Error;
use crate::machine::{Parsed, parse};
use crate::reader::Fault;

/// The largest pickle that is read, in bytes. One with an optimiser's state has a few hundred kilobytes.
pub(crate) const MAX_PICKLE: usize = 64 << 20;

/// A pickle within a file.
pub(crate) struct Part<'a> {
    pub(crate) path: &'a Path,
    /// Its name in messages.
    pub(crate) name: &'a str,
    /// What is added to its offsets in messages.
    pub(crate) start: usize,
}

impl Part<'_> {
    /// Reads the pickle at the front of `bytes`, whatever follows it.
    pub(crate) fn parse(&self, bytes: &[u8]) -> Result<Parsed, Error> {
        let whole = bytes.len() <= MAX_PICKLE;
        let bytes = bytes.get(..MAX_PICKLE).unwrap_or(bytes);
        parse(bytes).map_err(|(offset, fault)| {
            let (path, part) = (self.path.to_path_buf(), self.name.to_string());
            let offset = (self.start + offset) as u64;
            match fault {
                Fault::Forbidden(global) => Error::Forbidden { path, part, offset, global },
                Fault::Malformed(what) if whole => Error::Pickle { path, part, offset, what },
                Fault::Malformed(what) => {
                    let what = format!("{what} (of a pickle, at most {MAX_PICKLE} bytes are read)");
                    Error::Pickle { path, part, offset, what }
                }
            }
        })
    }
}
