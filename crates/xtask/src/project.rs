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

/// `base`, or the first of `base-2`, `base-3`, … that is not taken: nothing is written over what an earlier call left.
pub fn free_name(base: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let mut names = std::iter::once(base.to_string()).chain(numbered);
    names.find(|name| !taken(name)).unwrap_or_else(|| base.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_name_is_taken() {
        let taken = |names: &'static [&'static str]| move |name: &str| names.contains(&name);
        assert_eq!(free_name("digits", taken(&[])), "digits");
        assert_eq!(free_name("digits", taken(&["digits"])), "digits-2");
        assert_eq!(free_name("digits", taken(&["digits", "digits-2", "digits-4"])), "digits-3");
    }
}
