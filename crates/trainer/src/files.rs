//! Writing small files whole or not at all.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Writes `bytes` to a sibling temporary file, syncs it, and renames it to `path`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = parent(path);
    let attempt = || {
        let mut file =
            tempfile::Builder::new().prefix(".klang-").suffix(".tmp").permissions(shared()).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    attempt().map(drop).map_err(Error::io(path))
}

/// Copies a file, however large, to a sibling temporary file of its new place, syncs it, and renames it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).map_err(Error::io(from))?;
    let mut attempt = || {
        let mut file =
            tempfile::Builder::new().prefix(".klang-").suffix(".tmp").permissions(shared()).tempfile_in(parent(to))?;
        std::io::copy(&mut source, file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(to).map_err(|error| error.error)
    };
    attempt().map(drop).map_err(Error::io(to))
}

/// Writes values as JSON lines, as [`write`] does.
pub(crate) fn write_lines<T: Serialize>(path: &Path, values: impl IntoIterator<Item = T>) -> Result<()> {
    let mut text = String::new();
    for value in values {
        text += &serde_json::to_string(&value).map_err(|error| Error::io(path)(error.into()))?;
        text.push('\n');
    }
    write(path, text.as_bytes())
}

/// Reads what a file of JSON lines of at most `limit` bytes holds; lines that cannot be read, or the whole file, are passed
/// over.
pub(crate) fn read_lines<T: DeserializeOwned>(path: &Path, limit: u64) -> Vec<T> {
    let text = klang_wav2vec2::checkpoint::read_text(path, limit).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The folder that a file or folder is in.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Temporary files are made for their owner alone; a run is for whoever may read its folder.
fn shared() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

/// Makes a folder and its parents.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(Error::io(path))
}

/// Whether a folder can be written to, or made first where it is not there; nothing is left behind.
pub(crate) fn try_folder(path: &Path) -> std::io::Result<()> {
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        let message = format!("{} is not a folder", there.display());
        return Err(std::io::Error::new(std::io::ErrorKind::NotADirectory, message));
    }
    tempfile::tempfile_in(there).map(drop)
}

/// Removes what a process that was killed while it saved has left in `folder`.
pub(crate) fn clear_leftovers(folder: &Path) {
    const UNFINISHED: [&str; 5] = [".klang-", ".model-", ".old-", ".state-", ".weights-"];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(".tmp") && UNFINISHED.iter().any(|prefix| name.starts_with(prefix)) {
            // Nothing reads them: what cannot be removed takes room, and does no other harm.
            let path = entry.path();
            let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
    }
}

/// A folder's lock. It is its process's, and ends with it, however that ends.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    _file: Option<Arc<File>>,
}

/// Keeps other processes out of a folder while the lock lives; `message` is for whoever comes second.
pub(crate) fn lock(folder: &Path, message: &str) -> Result<Lock> {
    let path = folder.join(".lock");
    let file = File::options().create(true).append(true).open(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: Some(Arc::new(file)) }),
        Err(TryLockError::WouldBlock) => Err(Error::Run { path: folder.into(), message: message.into() }),
        // Some network file systems have no locks; a run there is not to be refused for it.
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => Ok(Lock { _file: None }),
        Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
    }
}

/// Puts a finished temporary folder where there is none.
pub(crate) fn place_folder(fresh: tempfile::TempDir, folder: &Path) -> Result<()> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(fresh.path(), mode).map_err(Error::io(folder))?;
    sync_folder(fresh.path()).map_err(Error::io(folder))?;
    // The system refuses this where something has come there meanwhile.
    std::fs::rename(fresh.path(), folder).map_err(Error::io(folder))?;
    let _ = fresh.keep();
    sync_folder(parent(folder)).map_err(Error::io(folder))
}

/// Moves what a finished temporary folder inside `folder` holds up into it, `last` behind all the others: somebody's shell
/// may stand in an empty folder, or a disk be mounted on it.
pub(crate) fn empty_into(fresh: tempfile::TempDir, folder: &Path, last: &str) -> Result<()> {
    let entries = std::fs::read_dir(fresh.path()).map_err(Error::io(fresh.path()))?;
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort_by_key(|name| name == last);
    for name in names {
        let target = folder.join(&name);
        std::fs::rename(fresh.path().join(&name), &target).map_err(Error::io(target))?;
    }
    sync_folder(folder).map_err(Error::io(folder))
}

/// Puts a finished temporary folder in the place of `folder`, which is klang's own.
///
/// At every moment one whole folder stands under the name, the old one or the new. Where the file system cannot exchange two
/// names at once, a crash between two renames leaves the old folder [beside] its place, and [`put_back`] brings it there.
pub(crate) fn replace_folder(fresh: tempfile::TempDir, folder: &Path) -> Result<()> {
    let io = || Error::io(folder);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(fresh.path(), mode).map_err(io())?;
    sync_folder(fresh.path()).map_err(io())?;
    let exchanged = exchange(fresh.path(), folder).map_err(io())?;
    // From here on the name that `fresh` removes is the old folder's. It is only let go once the new one is known to stay.
    if let Err(error) = sync_folder(parent(folder)) {
        let _ = fresh.keep();
        return Err(io()(error));
    }
    if !exchanged {
        let _ = fresh.keep();
    }
    Ok(())
}

/// Brings `fresh` to the name `folder`; whether what stood there has the name of `fresh` now.
fn exchange(fresh: &Path, folder: &Path) -> std::io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    if !folder.exists() {
        return std::fs::rename(fresh, folder).map(|()| false);
    }
    match renameat_with(CWD, fresh, CWD, folder, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        // Of file systems without it, of old systems, and of containers that forbid it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => exchange_by_renames(fresh, folder),
        Err(error) => Err(error.into()),
    }
}

/// As [`exchange`], where there is a folder, in three steps.
fn exchange_by_renames(fresh: &Path, folder: &Path) -> std::io::Result<bool> {
    let old = beside(folder);
    let _ = std::fs::remove_dir_all(&old);
    std::fs::rename(folder, &old)?;
    if let Err(error) = std::fs::rename(fresh, folder) {
        let _ = std::fs::rename(&old, folder);
        return Err(error);
    }
    std::fs::rename(&old, fresh).map(|()| true)
}

/// Brings a folder back that a crash between the two renames of a replacement has left beside its place.
pub(crate) fn put_back(folder: &Path) -> Result<()> {
    let old = beside(folder);
    if old.exists() && !folder.exists() {
        std::fs::rename(&old, folder).map_err(Error::io(folder))?;
    }
    Ok(())
}

/// Where a folder stands while another takes its place: a name that nobody else gives.
fn beside(folder: &Path) -> std::path::PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".old-{name}.tmp"))
}

/// Has the system write what it holds of a file to the disk.
pub(crate) fn sync_file(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))
}

/// Has the system write a folder's names to the disk, where it knows how.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match File::open(path).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        synced => synced,
    }
}

/// The SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let attempt = || {
        let (mut file, mut digest) = (File::open(path)?, Sha256::new());
        std::io::copy(&mut file, &mut digest)?;
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    };
    attempt().map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with `old` and `fresh` in it, each with a file that names it.
    fn two() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for name in ["old", "fresh"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
            std::fs::write(place.path().join(name).join("who"), name).unwrap();
        }
        place
    }

    fn who(folder: &Path) -> String {
        std::fs::read_to_string(folder.join("who")).unwrap()
    }

    #[test]
    fn folders_change_places_in_one_step_or_in_three() {
        for by in [exchange, exchange_by_renames] {
            let place = two();
            let (old, fresh) = (place.path().join("old"), place.path().join("fresh"));
            // What an earlier crash has left is in nobody's way.
            std::fs::create_dir(beside(&old)).unwrap();
            std::fs::write(beside(&old).join("who"), "older").unwrap();
            assert!(by(&fresh, &old).unwrap());
            assert_eq!((who(&old), who(&fresh)), ("fresh".into(), "old".into()));
        }
    }

    #[test]
    fn what_cannot_be_replaced_stays() {
        let place = two();
        let (old, missing) = (place.path().join("old"), place.path().join("missing"));
        assert!(exchange_by_renames(&missing, &old).is_err());
        assert_eq!(who(&old), "old");
    }

    #[test]
    fn a_folder_left_beside_its_place_comes_back_and_a_strangers_stays() {
        let place = two();
        let (old, stranger) = (place.path().join("old"), place.path().join("old.old"));
        std::fs::create_dir(&stranger).unwrap();
        std::fs::rename(&old, beside(&old)).unwrap();
        put_back(&old).unwrap();
        assert_eq!(who(&old), "old");
        clear_leftovers(place.path());
        assert!(stranger.exists() && !beside(&old).exists());
    }
}
