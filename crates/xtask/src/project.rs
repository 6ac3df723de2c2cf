//! Where the project lies.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout this errand runs for.
pub struct Project {
    /// The folder of the workspace's Cargo.toml.
    pub root: PathBuf,
}

impl Project {
    /// Cargo names this package's folder when it runs the binary; a binary started by hand remembers where it was built.
    pub fn find() -> Result<Project> {
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&package).join("../..");
        let root = root.canonicalize().with_context(|| format!("{}: no project there", root.display()))?;
        Ok(Project { root })
    }

    /// The git-ignored link to libtorch that `.cargo/config.toml` and the binaries' runpath name.
    pub fn libtorch_link(&self) -> PathBuf {
        self.root.join(".libtorch")
    }
}
