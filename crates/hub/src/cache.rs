//! One model's folder in the cache: `refs/REVISION` holds a commit, `blobs/ETAG` a file's content, and
//! `snapshots/COMMIT/FILE` links to a blob. Python's `huggingface_hub` reads and writes the same.
//!
//! klang adds `.klang`, which Python passes over: `incoming` for what is not yet checked, `lock`, and a record of each
//! commit that was fetched.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::name::is_commit;
use crate::{Error, ModelName};

/// No list of files is longer, in bytes.
const LARGEST_RECORD: u64 = 16 << 20;

/// A model's folder.
pub(crate) struct Cache {
    pub root: PathBuf,
}

/// What a snapshot has under a file's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing, or a link to nothing.
    Absent,
    /// A link to the blob of this etag.
    Blob(String),
    /// A file that is no link into the blobs, as on a disk without links: nothing says what it should hold.
    Plain,
}

/// What is known of a commit from an earlier fetch. Without it nothing breaks: more is asked and hashed anew.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The names of all files in the repository.
    pub names: Vec<String>,
    /// The files that were checked, by name.
    pub files: BTreeMap<String, Known>,
}

/// A file when its content was compared with its etag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub etag: String,
    /// In bytes.
    pub size: u64,
    /// In nanoseconds since 1970.
    pub modified: u64,
}

impl Known {
    /// The file as it lies on the disk.
    pub fn of(path: &Path, etag: &str) -> Result<Self, Error> {
        let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.and_then(|time| u64::try_from(time.as_nanos()).ok()).unwrap_or_default();
        Ok(Self { etag: etag.into(), size: metadata.len(), modified })
    }
}

impl Cache {
    pub fn new(cache: &Path, model: &ModelName) -> Self {
        // Links are relative to it, and hf-hub wants its folder absolute.
        let cache = std::path::absolute(cache).unwrap_or_else(|_| cache.into());
        Self { root: cache.join(model.folder()) }
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// Where the content with this etag lies.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// klang's own part, in which nothing is trusted.
    pub fn incoming(&self) -> PathBuf {
        self.root.join(".klang").join("incoming")
    }

    /// The commit that a revision was at when it was last fetched.
    pub fn resolve(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.into());
        }
        let commit = read_bounded(&self.root.join("refs").join(revision), 100).ok()?;
        let commit = String::from_utf8(commit).ok()?.trim().to_owned();
        is_commit(&commit).then_some(commit)
    }

    /// Notes where a revision is now.
    pub fn note(&self, revision: &str, commit: &str) -> Result<(), Error> {
        if is_commit(revision) || self.resolve(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        write(&self.root.join("refs").join(revision), commit.as_bytes())
    }

    /// The names in a snapshot's folder.
    pub fn names(&self, commit: &str) -> Vec<String> {
        let entries = fs::read_dir(self.snapshot(commit)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// What a snapshot has under a plain file name.
    pub fn held(&self, commit: &str, file: &str) -> Held {
        let path = self.snapshot(commit).join(file);
        if !path.is_file() {
            return Held::Absent;
        }
        let blob = || {
            let target = path.canonicalize().ok()?;
            let in_blobs = target.parent()? == self.root.join("blobs").canonicalize().ok()?;
            in_blobs.then(|| target.file_name()?.to_str().map(str::to_owned))?
        };
        blob().map_or(Held::Plain, Held::Blob)
    }

    /// Moves a checked file to the blobs. It is on the disk before it has its name.
    pub fn adopt(&self, incoming: &Path, etag: &str) -> Result<(), Error> {
        let blob = self.blob(etag);
        File::open(incoming).and_then(|file| file.sync_all()).map_err(Error::io("write", incoming))?;
        create_parent(&blob)?;
        fs::rename(incoming, &blob).map_err(Error::io("create", &blob))?;
        sync_parent(&blob);
        Ok(())
    }

    /// Puts a blob under its name into a snapshot, over whatever was there.
    pub fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), Error> {
        let path = self.snapshot(commit).join(file);
        create_parent(&path)?;
        let folder = self.snapshot(commit);
        let made = tempfile::Builder::new().prefix(".klang-").make_in(&folder, |link| self.make_link(etag, link));
        let made = made.map_err(Error::io("create", &path))?;
        made.into_temp_path().persist(&path).map_err(|error| Error::io("create", &path)(error.error))
    }

    #[cfg(unix)]
    fn make_link(&self, etag: &str, link: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), link)
    }

    #[cfg(not(unix))]
    fn make_link(&self, etag: &str, link: &Path) -> io::Result<()> {
        fs::copy(self.blob(etag), link).map(drop)
    }

    /// Removes a file's name from a snapshot and, where given, its blob; says how that went.
    pub fn remove(&self, commit: &str, file: &str, etag: Option<&str>) -> String {
        let paths = [Some(self.snapshot(commit).join(file)), etag.map(|etag| self.blob(etag))];
        for path in paths.into_iter().flatten() {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return format!("could not be removed ({error}): delete {} yourself", path.display());
                }
                _ => {}
            }
        }
        "was removed".into()
    }

    /// What is known of a commit; nothing where that cannot be read.
    pub fn record(&self, commit: &str) -> Record {
        let content = read_bounded(&self.record_path(commit), LARGEST_RECORD).ok();
        content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default()
    }

    /// Keeps what is known of a commit.
    pub fn keep(&self, commit: &str, record: &Record) -> Result<(), Error> {
        let path = self.record_path(commit);
        let content = serde_json::to_vec(record).map_err(|error| Error::io("write", &path)(error.into()))?;
        write(&path, &content)
    }

    fn record_path(&self, commit: &str) -> PathBuf {
        self.root.join(".klang").join(format!("{commit}.json"))
    }

    /// Keeps other klangs from fetching this model, for as long as the file lives. `None`: another holds it.
    pub fn lock(&self, patience: Duration) -> Result<Option<File>, Error> {
        let path = self.lock_path();
        create_parent(&path)?;
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < patience => thread::sleep(Duration::from_millis(50)),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
        }
    }

    /// The lock file.
    pub fn lock_path(&self) -> PathBuf {
        self.root.join(".klang").join("lock")
    }
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let length = fs::metadata(path)?.len();
    if length > limit {
        let why = format!("it holds {length} bytes, at most {limit} are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    fs::read(path)
}

/// Writes a small file whole or not at all.
fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = create_parent(path)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io("create", path))?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(Error::io("write", path))?;
    file.persist(path).map(drop).map_err(|error| Error::io("create", path)(error.error))
}

fn create_parent(path: &Path) -> Result<&Path, Error> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    Ok(folder)
}

/// Makes a rename last. Not every file system lets a folder be synced: what was promised holds without.
fn sync_parent(path: &Path) {
    if let Some(folder) = path.parent() {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    fn cache(folder: &Path) -> Cache {
        Cache::new(folder, &"owner/name".parse().unwrap())
    }

    #[test]
    fn a_link_is_the_one_that_python_makes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        fs::create_dir_all(cache.root.join("blobs")).unwrap();
        fs::write(cache.blob("abc"), "{}").unwrap();
        cache.link(COMMIT, "config.json", "abc").unwrap();
        let link = folder.path().join("models--owner--name/snapshots").join(COMMIT).join("config.json");
        assert_eq!(fs::read_link(link).unwrap(), Path::new("../../blobs/abc"));
        assert_eq!(cache.held(COMMIT, "config.json"), Held::Blob("abc".into()));
        assert_eq!(cache.names(COMMIT), ["config.json"]);
    }

    #[test]
    fn a_link_to_nothing_is_absent_and_one_out_of_the_blobs_is_plain() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        cache.link(COMMIT, "config.json", "abc").unwrap();
        assert_eq!(cache.held(COMMIT, "config.json"), Held::Absent);
        fs::create_dir_all(cache.root.join("blobs")).unwrap();
        fs::write(folder.path().join("elsewhere"), "{}").unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), cache.snapshot(COMMIT).join("vocab.json")).unwrap();
        assert_eq!(cache.held(COMMIT, "vocab.json"), Held::Plain);
    }

    #[test]
    fn a_reference_is_kept_and_garbage_in_its_place_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        assert_eq!(cache.resolve("main"), None);
        cache.note("refs/pr/1", COMMIT).unwrap();
        assert_eq!(cache.resolve("refs/pr/1").as_deref(), Some(COMMIT));
        write(&cache.root.join("refs/main"), b"../../x").unwrap();
        assert_eq!(cache.resolve("main"), None);
    }

    #[test]
    fn a_record_that_cannot_be_read_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let record = Record { names: vec!["a".into()], ..Record::default() };
        cache.keep(COMMIT, &record).unwrap();
        assert_eq!(cache.record(COMMIT).names, ["a"]);
        fs::write(cache.record_path(COMMIT), "{").unwrap();
        assert!(cache.record(COMMIT).names.is_empty());
    }

    #[test]
    fn a_lock_keeps_others_out_while_it_lives() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let held = cache.lock(Duration::ZERO).unwrap();
        assert!(held.is_some() && cache.lock(Duration::ZERO).unwrap().is_none());
        drop(held);
        assert!(cache.lock(Duration::ZERO).unwrap().is_some());
    }
}
