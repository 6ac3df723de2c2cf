//! The bytes of a checkpoint: a memory map of the file, or memory.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// Bytes that copies share.
#[derive(Clone)]
pub(crate) enum Source {
    Mapped(Arc<Mmap>),
    Memory(Arc<[u8]>),
}

impl AsRef<[u8]> for Source {
    fn as_ref(&self) -> &[u8] {
        match self {
            Source::Mapped(map) => map,
            Source::Memory(bytes) => bytes,
        }
    }
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Source> {
        let io = |source| Error::Open { path: path.into(), source };
        // Asked before opening: to open a pipe would wait for its other end.
        if !fs::metadata(path).map_err(io)?.is_file() {
            return Err(Error::NotAFile { path: path.into() });
        }
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.len() == 0 {
            return Err(Error::Empty { path: path.into() });
        }
        // SAFETY: the map is only read, and every range is checked against its length before use. A file that another
        // process shortens meanwhile ends this one with SIGBUS; whoever fetches models replaces them by rename.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Source::Mapped(Arc::new(map)))
    }

    /// Gives the map's pages back to the system, which brings them again where they are read again.
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        if let Source::Mapped(map) = self {
            // SAFETY: the map is of a file and never written: a page that is wanted again is read again.
            #[allow(unsafe_code)]
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}
