//! Installing a folder whole or not at all.
//!
//! The work happens in a sibling `NAME.PID.tmp` under a lock, ends with a marker, reaches the disk, and is renamed
//! into place. Whoever holds the lock knows that any other such sibling was left by a process that died.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Lies in a folder that was installed whole.
const MARKER: &str = "klang-complete";

/// Whether an installation was finished in `folder`.
pub fn is_complete(folder: &Path) -> bool {
    folder.join(MARKER).is_file()
}

/// Makes sure that `folder` is a complete installation, and returns whether anything had to be installed.
///
/// `check` says whether a tree is all there; a folder that passes without a marker (someone put it there) is adopted.
/// `install` is given an empty working folder and fills the `tree` in it; the rest of the working folder is its own.
pub fn ensure(
    folder: &Path,
    check: impl Fn(&Path) -> Result<()>,
    install: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<bool> {
    if is_complete(folder) {
        return Ok(false);
    }
    let parent = folder.parent().context("an installation needs a parent folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let _lock = lock(folder)?;
    remove_leftovers(folder)?;
    if is_complete(folder) {
        return Ok(false);
    }
    if folder.is_dir() && check(folder).is_ok() {
        mark(folder)?;
        return Ok(false);
    }

    let working = Working::new(folder)?;
    let tree = working.0.join("tree");
    fs::create_dir(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    install(&working.0, &tree)?;
    check(&tree)?;
    write_to_disk(&tree)?;
    mark(&tree)?;
    if folder.symlink_metadata().is_ok() {
        let old = working.0.join("old");
        fs::rename(folder, &old).with_context(|| format!("cannot move {} away", folder.display()))?;
    }
    fs::rename(&tree, folder).with_context(|| format!("cannot move {} into place", folder.display()))?;
    sync_folder(parent)?;
    Ok(true)
}

/// Waits for the lock beside `folder`; the kernel gives it back when its holder ends, however it ends.
fn lock(folder: &Path) -> Result<File> {
    let path = sibling(folder, ".lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            eprintln!("{}: another set-up is installing it, waiting", folder.display());
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// The folder that an installation works in: removed when it ends, or by the next one.
struct Working(PathBuf);

impl Working {
    fn new(folder: &Path) -> Result<Working> {
        let path = sibling(folder, &format!(".{}.tmp", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Working(path))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next set-up, and is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn remove_leftovers(folder: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else { return Ok(()) };
    let prefix = format!("{}.", name.to_string_lossy());
    for entry in fs::read_dir(parent).with_context(|| format!("cannot list {}", parent.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && name.ends_with(".tmp") {
            eprintln!("{}: left by a set-up that was interrupted, removing it", entry.path().display());
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                eprintln!("{}: {error}; going on without", entry.path().display());
            }
        }
    }
    Ok(())
}

fn sibling(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    folder.with_file_name(name)
}

fn mark(tree: &Path) -> Result<()> {
    let marker = tree.join(MARKER);
    let temporary = tree.join("klang-complete.tmp");
    let write = || {
        fs::write(&temporary, concat!("installed whole by klang ", env!("CARGO_PKG_VERSION"), "\n"))?;
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, &marker)
    };
    write().with_context(|| format!("cannot write {}", marker.display()))?;
    sync_folder(tree)
}

/// Flushes the file system that `tree` lies on: one call instead of an fsync for each of thousands of files.
fn write_to_disk(tree: &Path) -> Result<()> {
    let status = Command::new("sync").arg("--file-system").arg(tree).status().context("cannot start sync")?;
    anyhow::ensure!(status.success(), "sync --file-system {}: {status}", tree.display());
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<()> {
    let sync = || File::open(folder)?.sync_all();
    sync().with_context(|| format!("cannot write {} to disk", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{bail, ensure as require};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn check(tree: &Path) -> Result<()> {
        require!(tree.join("library").is_file(), "no library");
        Ok(())
    }

    fn install(working: &Path, tree: &Path) -> Result<()> {
        fs::write(working.join("log"), "")?;
        fs::write(tree.join("library"), "new")?;
        Ok(())
    }

    /// Names in `folder`, sorted, without the lock.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.ends_with(".lock"));
        names.sort();
        names
    }

    #[test]
    fn an_installation_leaves_one_whole_folder_and_is_made_once() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("cache/klang/libtorch");
        let installs = Cell::new(0);
        let count = |working: &Path, tree: &Path| {
            installs.set(installs.get() + 1);
            assert!(!folder.exists(), "the folder may appear only when it is whole");
            install(working, tree)
        };
        assert!(ensure(&folder, check, count).unwrap());
        assert!(!ensure(&folder, check, count).unwrap());
        assert_eq!(installs.get(), 1);
        assert_eq!(names(folder.parent().unwrap()), ["libtorch"]);
        assert_eq!(names(&folder), ["klang-complete", "library"]);
    }

    #[test]
    fn a_failing_installer_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("libtorch");
        let fail = |_: &Path, tree: &Path| -> Result<()> {
            fs::write(tree.join("library"), "half")?;
            bail!("no network")
        };
        assert_eq!(ensure(&folder, check, fail).unwrap_err().to_string(), "no network");
        assert!(names(parent.path()).is_empty());
    }

    #[test]
    fn a_tree_that_is_not_all_there_is_never_renamed_into_place() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("libtorch");
        assert_eq!(ensure(&folder, check, |_, _| Ok(())).unwrap_err().to_string(), "no library");
        assert!(names(parent.path()).is_empty());
    }

    #[test]
    fn what_dead_processes_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("libtorch-cpu");
        fs::create_dir_all(parent.path().join("libtorch-cpu.123.tmp/tree/deep")).unwrap();
        fs::create_dir(parent.path().join("libtorch-cuda.124.tmp")).unwrap();
        assert!(ensure(&folder, check, install).unwrap());
        assert_eq!(names(parent.path()), ["libtorch-cpu", "libtorch-cuda.124.tmp"]);
    }

    #[test]
    fn a_whole_folder_without_a_marker_is_adopted_and_a_broken_one_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("libtorch");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("stale"), "").unwrap();
        assert!(ensure(&folder, check, install).unwrap());
        assert_eq!(names(&folder), ["klang-complete", "library"]);

        fs::remove_file(folder.join(MARKER)).unwrap();
        fs::write(folder.join("library"), "theirs").unwrap();
        assert!(!ensure(&folder, check, install).unwrap());
        assert!(is_complete(&folder));
        assert_eq!(fs::read_to_string(folder.join("library")).unwrap(), "theirs");
    }

    #[test]
    fn two_at_once_install_once() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("libtorch");
        let installs = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    ensure(&folder, check, |working, tree| {
                        installs.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        install(working, tree)
                    })
                    .unwrap()
                });
            }
        });
        assert_eq!(installs.load(Ordering::SeqCst), 1);
        assert_eq!(names(parent.path()), ["libtorch"]);
    }
}
