//! Features kept on disk, from one training to the next: one file a model, to which records are only ever added.
//!
//! One process at a time writes to a file, the one that holds its lock; others read what was there when they came. A
//! record counts only whole and with the hash it was written with: what a killed process left half done is cut off, and
//! what went bad on the disk is computed anew.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::Mmap;
use tch::Tensor;

use super::KeptFeatures;
use super::digest::{Hash, Heard, bytes_of, hash};
use super::record::{Entry, Header};
use crate::error::{Error, Result};
use crate::files;

/// A model's file.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    header: Header,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    map: Arc<Mmap>,
    /// Where the last whole record ends.
    end: u64,
    places: HashMap<Heard, Place>,
    /// Whether records may be added: the lock is this process's, and no write has failed.
    writes: bool,
    at_hand: u64,
    written: u64,
    /// Whether a damaged record was met.
    damaged: bool,
    warnings: Vec<String>,
}

/// Where a row lies.
#[derive(Clone, Debug)]
struct Place {
    numbers: Range<usize>,
    frames: u32,
    checksum: Hash,
    /// Whether it was not there before this training, or was counted among what was.
    counted: bool,
}

impl Disk {
    /// Opens, or makes, the file in `folder` of the model that `header` describes; `limit` is in bytes.
    ///
    /// # Errors
    /// A folder or file that cannot be opened, or a file with another header.
    pub(super) fn open(folder: &Path, header: Header, limit: u64) -> Result<Disk> {
        files::make_folder(folder)?;
        let path = folder.join(header.name());
        let mut warnings = Vec::new();
        let mut may = true;
        let file = match OpenOptions::new().read(true).append(true).create(true).open(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
                // Someone else's, perhaps: what it holds is as good.
                may = false;
                File::open(&path).inspect(|_| warnings.push(failed(&path, &error)))
            }
            opened => opened,
        };
        let file = file.map_err(Error::io(&path))?;
        let mut writes = match file.try_lock() {
            _ if !may => false,
            Ok(()) => true,
            Err(why) => {
                let why = match why {
                    TryLockError::WouldBlock => "another training writes to it".to_string(),
                    TryLockError::Error(error) => format!("it cannot be locked ({error})"),
                };
                warnings.push(format!("{}: {why}; this training reads from it only", path.display()));
                false
            }
        };
        let io = |source| Error::Io { path: path.clone(), source };
        let map = || map(&file).map_err(io);
        let begun = map()?;
        let expected = header.to_bytes();
        if begun.len() < Header::BYTES && expected.starts_with(&begun) {
            // New, or made by a process that was killed at once.
            if writes && let Err(error) = (&file).write_all(&expected[begun.len()..]) {
                warnings.push(failed(&path, &error));
                writes = false;
            }
        } else if !begun.starts_with(&expected) {
            let message = "its header is not what its name promises: damaged, or no file of klang's; delete it, and the features are computed anew";
            return Err(Error::Features { path, message: message.into() });
        }
        let length = file.metadata().map_err(io)?.len();
        let (places, end) = scan(&file, length, &header).map_err(io)?;
        let rest = length.saturating_sub(end);
        if writes && rest > 0 {
            warnings.push(format!(
                "{}: {rest} bytes behind its last whole record, of a training that was stopped or damaged since, are cut off; what they held is computed anew",
                path.display()
            ));
            if let Err(error) = file.set_len(end) {
                warnings.push(failed(&path, &error));
                writes = false;
            }
        }
        let map = Arc::new(map()?);
        let state = State { file, map, end, places, writes, at_hand: 0, written: 0, damaged: false, warnings };
        Ok(Disk { path, header, limit, state: Mutex::new(state) })
    }

    /// A row (frame, feature), if it is there and whole.
    ///
    /// # Errors
    /// libtorch's own.
    pub(super) fn get(&self, heard: &Heard) -> Result<Option<Tensor>> {
        let Some((map, place)) = self.find(heard) else { return Ok(None) };
        // Other threads read meanwhile: a page may have to come from the disk.
        let numbers = map.get(place.numbers).filter(|numbers| hash(numbers) == place.checksum);
        let mut state = self.state();
        let Some(numbers) = numbers else {
            state.places.remove(heard);
            if !std::mem::replace(&mut state.damaged, true) {
                state.warnings.push(format!(
                    "{}: a record is damaged (there may be more); what it held is computed anew",
                    self.path.display()
                ));
            }
            return Ok(None);
        };
        if let Some(place) = state.places.get_mut(heard).filter(|place| !place.counted) {
            place.counted = true;
            state.at_hand += 1;
        }
        drop(state);
        let shape = [i64::from(place.frames), self.header.width];
        Ok(Some(Tensor::f_from_data_size(numbers, &shape, self.header.kind)?))
    }

    fn find(&self, heard: &Heard) -> Option<(Arc<Mmap>, Place)> {
        let mut state = self.state();
        let place = state.places.get(heard)?.clone();
        if place.numbers.end > state.map.len() {
            // Written by this training since the file was mapped.
            match map(&state.file) {
                Ok(map) => state.map = Arc::new(map),
                Err(error) => {
                    state.places.remove(heard);
                    if std::mem::replace(&mut state.writes, false) {
                        state.warnings.push(failed(&self.path, &error));
                    }
                    return None;
                }
            }
        }
        Some((state.map.clone(), place))
    }

    /// Adds a row to the file, if it may be written to and has room; returns whether the row is in it.
    ///
    /// # Errors
    /// libtorch's own.
    pub(super) fn keep(&self, heard: Heard, row: &Tensor) -> Result<bool> {
        let (frames, width) = row.size2()?;
        let Ok(frames) = u32::try_from(frames) else { return Ok(false) };
        if frames == 0 || width != self.header.width || row.kind() != self.header.kind {
            return Ok(false);
        }
        let mut state = self.state();
        if state.places.contains_key(&heard) {
            return Ok(true); // of another thread's, at the same time
        }
        let length = row.numel() * self.header.kind.elt_size_in_bytes();
        let begin = state.end + Entry::BYTES as u64;
        let end = begin + length as u64;
        let (Ok(first), Ok(last)) = (usize::try_from(begin), usize::try_from(end)) else { return Ok(false) };
        if !state.writes || end > self.limit {
            return Ok(false);
        }
        let numbers = bytes_of(row)?;
        let entry = Entry::new(heard, frames, &numbers);
        let record = [&entry.to_bytes(&self.header)[..], &numbers].concat();
        if let Err(error) = (&state.file).write_all(&record) {
            // Half a record; if it stays, the next training cuts it off.
            let _ = state.file.set_len(state.end);
            state.writes = false;
            state.warnings.push(failed(&self.path, &error));
            return Ok(false);
        }
        state.end = end;
        state.written += 1;
        let place = Place { numbers: first..last, frames, checksum: entry.checksum, counted: true };
        state.places.insert(heard, place);
        Ok(true)
    }

    /// Bytes of the file, up to its last whole record.
    pub(super) fn bytes(&self) -> u64 {
        self.state().end
    }

    /// What came of it, where features were computed so many times.
    pub(super) fn kept(&self, computed: u64) -> KeptFeatures {
        let state = self.state();
        let file = self.path.display().to_string();
        KeptFeatures { file, at_hand: state.at_hand, computed, written: state.written }
    }

    /// What was not said yet.
    pub(super) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.state().warnings)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The records of a file of so many bytes, the last of each utterance's, and where the last whole one ends.
///
/// Read, not mapped: what is behind the last whole record may be cut off at this moment by the process that writes.
fn scan(file: &File, length: u64, header: &Header) -> std::io::Result<(HashMap<Heard, Place>, u64)> {
    let mut places = HashMap::new();
    let mut end = Header::BYTES as u64;
    let mut bytes = [0; Entry::BYTES];
    while let Some(left) = length.checked_sub(end + bytes.len() as u64) {
        match file.read_exact_at(&mut bytes, end) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        let Some((Entry { heard, frames, checksum }, size)) = Entry::read(&bytes, left, header) else { break };
        let begin = end + bytes.len() as u64;
        end = begin + size;
        // Where addresses are too short for the file, its far part is of no use.
        if let (Ok(begin), Ok(end)) = (begin.try_into(), end.try_into()) {
            places.insert(heard, Place { numbers: begin..end, frames, checksum, counted: false });
        }
    }
    Ok((places, end))
}

fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is only read, and every range is checked against its length before use. A file that another process
    // shortens meanwhile ends this one with SIGBUS; klang cuts off only what lies behind the last whole record, where
    // no map is read.
    #[allow(unsafe_code)]
    unsafe {
        Mmap::map(file)
    }
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}; no more features are kept in it, and training goes on", path.display())
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
