//! Files, distrusted on the way in and whole on the way out.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// The largest list of utterances that is read, in bytes: some millions of lines.
pub(crate) const FILE_LIMIT: u64 = 1 << 30;
/// The longest line that is read, in bytes.
pub(crate) const LINE_LIMIT: usize = 1 << 20;
/// How many entries of a corpus's folders are looked at.
const ENTRY_LIMIT: usize = 20_000_000;

/// Opens a regular file of at most [`FILE_LIMIT`] bytes, and reads no more than that even if it grows.
///
/// # Errors
/// When it is missing, no regular file, or too large.
pub(crate) fn open(path: &Path) -> Result<impl Read + use<>, Error> {
    let metadata = fs::metadata(path).map_err(|error| Error::io("read", path, error))?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "it is a folder" } else { "it is no regular file" };
        return Err(Error::io("read", path, std::io::Error::other(what)));
    }
    if metadata.len() > FILE_LIMIT {
        return Err(Error::TooLarge { path: path.to_path_buf(), bytes: metadata.len(), limit: FILE_LIMIT });
    }
    let file = File::open(path).map_err(|error| Error::io("read", path, error))?;
    Ok(file.take(FILE_LIMIT))
}

/// The lines of a UTF-8 file with their numbers from 1: without line ends, byte-order mark and blank lines.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    path: PathBuf,
    line: usize,
}

impl<R: Read> Lines<R> {
    /// Lines of `reader`; `path` is for messages.
    pub(crate) fn new(reader: R, path: &Path) -> Lines<R> {
        Lines { reader: BufReader::new(reader), path: path.to_path_buf(), line: 0 }
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    /// When reading fails, a line is longer than [`LINE_LIMIT`] or is not UTF-8.
    pub(crate) fn next_line(&mut self) -> Result<Option<(usize, String)>, Error> {
        loop {
            let mut bytes = Vec::new();
            let read = (&mut self.reader)
                .take(LINE_LIMIT as u64 + 1)
                .read_until(b'\n', &mut bytes)
                .map_err(|error| Error::io("read", &self.path, error))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if bytes.len() > LINE_LIMIT {
                return Err(Error::LineTooLong { path: self.path.clone(), line: self.line, limit: LINE_LIMIT });
            }
            let text =
                String::from_utf8(bytes).map_err(|_| Error::NotUtf8 { path: self.path.clone(), line: self.line })?;
            let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { &text };
            let text = text.trim_end_matches(['\n', '\r']);
            if !text.trim().is_empty() {
                return Ok(Some((self.line, text.to_owned())));
            }
        }
    }
}

/// All lines of a small file; see [`Lines`].
pub(crate) fn lines(path: &Path) -> Result<Vec<(usize, String)>, Error> {
    let mut lines = Lines::new(open(path)?, path);
    let mut all = Vec::new();
    while let Some(line) = lines.next_line()? {
        all.push(line);
    }
    Ok(all)
}

/// The text of a file of at most [`FILE_LIMIT`] bytes, or of a pipe: a list may come from another command.
pub(crate) fn text(path: &Path) -> Result<String, Error> {
    let failed = |error| Error::io("read", path, error);
    let too_large = |bytes| Error::TooLarge { path: path.to_path_buf(), bytes, limit: FILE_LIMIT };
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > FILE_LIMIT {
        return Err(too_large(bytes));
    }
    let mut text = String::new();
    file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_LIMIT { Err(too_large(text.len() as u64)) } else { Ok(text) }
}

/// Writes a file through a sibling temporary file, synced and renamed: whole or not at all.
///
/// # Errors
/// When the folder cannot be written to.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::io("write", path, error);
    let folder = folder_of(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".klang-");
    // A temporary file is private by default; what is written here is meant to be shared, as the umask says.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// The folder that holds `path`; `.` for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The entries of a folder, sorted, hidden ones left out.
///
/// # Errors
/// When the folder cannot be listed.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::io("list", folder, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Every file below a folder that `wanted` accepts, sorted by path.
///
/// # Errors
/// When a folder cannot be listed or there are absurdly many entries.
pub(crate) fn walk(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    // A link may lead back to a parent, or two links to one folder: each folder is looked at once.
    let mut visited = HashSet::new();
    let mut seen = 0;
    while let Some(folder) = pending.pop() {
        let canonical = fs::canonicalize(&folder).map_err(|error| Error::io("list", &folder, error))?;
        if !visited.insert(canonical) {
            continue;
        }
        for path in entries(&folder)? {
            seen += 1;
            if seen > ENTRY_LIMIT {
                let error = std::io::Error::other(format!("more than {ENTRY_LIMIT} entries below it"));
                return Err(Error::io("list", &folder, error));
            }
            if path.is_dir() {
                pending.push(path);
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Names that audio files end with.
const AUDIO: [&str; 9] = ["wav", "flac", "mp3", "ogg", "oga", "opus", "m4a", "aac", "aiff"];

/// Whether a file is audio by its name.
pub(crate) fn is_audio(path: &Path) -> bool {
    AUDIO.contains(&extension(path).as_str())
}

/// The extension in lower case, empty if there is none.
pub(crate) fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// The file name without its extension.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_at_the_limit_is_read_and_one_beyond_it_is_not() {
        let path = Path::new("x.jsonl");
        let exact = format!("{}\n", "a".repeat(LINE_LIMIT - 1));
        assert!(matches!(Lines::new(exact.as_bytes(), path).next_line(), Ok(Some((1, _)))));
        let long = format!("b\n{}\n", "a".repeat(LINE_LIMIT));
        let mut lines = Lines::new(long.as_bytes(), path);
        assert!(matches!(lines.next_line(), Ok(Some((1, _)))));
        assert!(matches!(lines.next_line(), Err(Error::LineTooLong { line: 2, .. })));
    }

    #[test]
    fn a_written_file_replaces_the_old_one_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        write(&path, b"old, and longer").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(&folder.path().join("missing/a.jsonl"), b"").is_err());
    }

    #[test]
    fn walking_survives_a_link_to_the_parent() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.wav"), b"").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        let found = walk(folder.path(), |path| extension(path) == "wav").unwrap();
        assert_eq!(found, [folder.path().join("a.wav")]);
    }
}
