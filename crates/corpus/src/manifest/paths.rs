//! Audio paths as a manifest writes them.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::Error;

/// Turns paths into ones that start at a folder.
#[derive(Debug)]
pub struct RelativePaths {
    folder: PathBuf,
    /// Folders of audio files, resolved once.
    resolved: HashMap<PathBuf, PathBuf>,
}

impl RelativePaths {
    /// Paths that start at `folder`, which must exist: links are resolved, since `..` goes by the real folders.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn to(folder: &Path) -> Result<RelativePaths, Error> {
        let folder = fs::canonicalize(folder).map_err(|error| Error::io("write to", folder, error))?;
        Ok(RelativePaths { folder, resolved: HashMap::new() })
    }

    /// `path` from the folder; absolute where the two share nothing but the root.
    pub fn of(&mut self, path: &Path) -> PathBuf {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return path.to_path_buf();
        };
        let real = self.resolved.entry(parent.to_path_buf()).or_insert_with(|| {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            fs::canonicalize(parent).or_else(|_| std::path::absolute(parent)).unwrap_or_else(|_| parent.to_path_buf())
        });
        between(&self.folder, real).join(name)
    }
}

fn between(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b);
    let shared: Vec<Component<'_>> = shared.map(|(component, _)| component).collect();
    if !shared.iter().any(|component| matches!(component, Component::Normal(_))) {
        return to.to_path_buf();
    }
    let up = from.components().skip(shared.len()).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_where_a_folder_is_shared() {
        let from = Path::new("/home/ana/out");
        assert_eq!(between(from, Path::new("/home/ana/out/wav")), Path::new("wav"));
        assert_eq!(between(from, Path::new("/home/ana/speech")), Path::new("../speech"));
        assert_eq!(between(from, Path::new("/mnt/speech")), Path::new("/mnt/speech"));
        assert_eq!(between(from, from), Path::new(""));
    }
}
