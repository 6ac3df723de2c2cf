//! A checkpoint that `torch.save` wrote, open.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::archive::{self, Archive};
use crate::error::{Error, Result};
use crate::legacy::{self, Storages};
use crate::machine::Parsed;
use crate::source::Source;
use crate::tensor::{Layout, TensorInfo};
use crate::text;
use crate::value::{Kind, Value};

/// Lines of an error that lists entries.
const MAX_PROBLEMS: usize = 20;

/// Keys that a message lists.
const MAX_KEYS: usize = 8;

enum Container {
    Archive(Box<Archive>),
    Legacy(Storages),
}

/// A checkpoint whose values have been read and whose storages have not.
pub struct TorchFile {
    path: PathBuf,
    source: Source,
    container: Container,
    values: Parsed,
}

impl std::fmt::Debug for TorchFile {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("TorchFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TorchFile {
    /// Opens a checkpoint and reads its values; nothing in it is run. The file stays mapped, and must not be shortened
    /// meanwhile.
    ///
    /// # Errors
    /// A file that is unreadable, no checkpoint, damaged, or that asks for anything but data ([`Error::Forbidden`]).
    pub fn open(path: &Path) -> Result<TorchFile> {
        TorchFile::new(path, Source::open(path)?)
    }

    /// The same from memory; `name` stands for the path in messages.
    ///
    /// # Errors
    /// As [`TorchFile::open`].
    pub fn from_bytes(name: &Path, bytes: &[u8]) -> Result<TorchFile> {
        TorchFile::new(name, Source::Memory(bytes.into()))
    }

    fn new(path: &Path, source: Source) -> Result<TorchFile> {
        let bytes = source.as_ref();
        let (container, values) = if bytes.is_empty() {
            return Err(Error::Empty { path: path.into() });
        } else if bytes.starts_with(archive::MAGIC) {
            let (archive, values) = Archive::open(path, &source)?;
            (Container::Archive(Box::new(archive)), values)
        } else if legacy::is_legacy(bytes) {
            let (storages, values) = legacy::open(path, bytes)?;
            (Container::Legacy(storages), values)
        } else if bytes.get(257..262) == Some(b"ustar") {
            return Err(Error::Container {
                path: path.into(),
                what: "is a tar archive, as the first releases of PyTorch wrote",
            });
        } else {
            let found = bytes.get(..16).unwrap_or(bytes).escape_ascii().to_string();
            return Err(Error::NotTorch { path: path.into(), found });
        };
        Ok(TorchFile { path: path.into(), source, container, values })
    }

    /// What was saved.
    pub fn root(&self) -> Value<'_> {
        Value { arena: &self.values.arena, id: self.values.root }
    }

    /// The tensors of the dict at `keys`, as `[]` or `["model"]`, by name; each is checked against its storage.
    ///
    /// # Errors
    /// Where there is no dict ([`Error::NoDict`]), and where its entries are not all readable tensors under texts
    /// ([`Error::NotTensors`], naming them).
    pub fn tensors(&self, keys: &[&str]) -> Result<BTreeMap<String, TensorInfo>> {
        let at = || match keys {
            [] => "its top".to_string(),
            keys => format!("{:?}", keys.join(".")),
        };
        let mut dict = self.root();
        for key in keys {
            let found = || format!("{key:?} is no entry of {}", listing(dict));
            dict = dict.get(key).ok_or_else(|| Error::NoDict { path: self.path.clone(), at: at(), found: found() })?;
        }
        if !matches!(dict.kind(), Kind::Dict) {
            let found = format!("there is {}", dict.describe());
            return Err(Error::NoDict { path: self.path.clone(), at: at(), found });
        }
        let mut tensors = BTreeMap::new();
        let mut problems = Vec::new();
        for (key, value) in dict.pairs() {
            let named = match (key.as_str(), value.as_tensor()) {
                (None, _) => Err("a name must be a text".to_string()),
                (_, None) => Err(format!("is {}", value.describe())),
                (Some(name), Some(tensor)) => self.layout(tensor).map(|_| (name, tensor)),
            };
            match named {
                Ok((name, tensor)) => drop(tensors.insert(name.to_string(), tensor.clone())),
                Err(problem) => problems.push(format!("{}: {problem}", shown(key))),
            }
        }
        if problems.is_empty() {
            return Ok(tensors);
        }
        let more = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        Err(Error::NotTensors { path: self.path.clone(), at: at(), problems })
    }

    /// Gives back the memory that what was read so far of the file takes; it is read again where it is wanted again. Whoever
    /// copies one tensor after the other would else have the whole file in memory beside the copies.
    pub fn release(&self) {
        self.source.release();
    }

    /// The elements of a tensor of this file, little-endian, in C order whatever its strides. They are borrowed from the
    /// file where they lie there so; a compressed storage is unpacked anew at every call.
    ///
    /// # Errors
    /// A tensor that its storage does not hold, of a type that is not read, or whose storage is missing or damaged.
    pub fn read(&self, tensor: &TensorInfo) -> Result<Cow<'_, [u8]>> {
        let refused = |what: String| Error::Tensor { path: self.path.clone(), what };
        let layout = self.layout(tensor).map_err(refused)?;
        let outside = || refused(format!("storage {:?} is shorter than it claims", tensor.storage()));
        let storage = match &self.container {
            Container::Archive(archive) => archive.storage(&self.path, &self.source, tensor.storage())?,
            Container::Legacy(storages) => storages
                .get(tensor.storage())
                .and_then(|range| self.source.as_ref().get(range.clone()))
                .map(Cow::Borrowed),
        };
        let storage = storage.ok_or_else(outside)?;
        match layout {
            Layout::Strided { bytes } => tensor.gather(&storage, bytes).map(Cow::Owned).ok_or_else(outside),
            Layout::Contiguous { start, end } => match storage {
                Cow::Borrowed(bytes) => bytes.get(start..end).map(Cow::Borrowed),
                Cow::Owned(bytes) => bytes.get(start..end).map(|bytes| Cow::Owned(bytes.to_vec())),
            }
            .ok_or_else(outside),
        }
    }

    /// A tensor's place, checked against what the file holds of its storage.
    fn layout(&self, tensor: &TensorInfo) -> Result<Layout, String> {
        let key = tensor.storage();
        let held = match &self.container {
            Container::Archive(archive) => archive.storage_len(key),
            Container::Legacy(storages) => storages.get(key).map(|range| range.len() as u64),
        };
        let held = held.ok_or_else(|| format!("its storage {key:?} is not in the file"))?;
        match tensor.claimed() {
            Some(claimed) if claimed <= held => {}
            _ => {
                let (claimed, size) = (tensor.storage.elements, tensor.storage.dtype.size());
                return Err(format!(
                    "its storage {key:?} claims {claimed} elements of {size} bytes and has {held} bytes"
                ));
            }
        }
        let available = tensor.window().map_or(held, |end| end.min(held));
        tensor.layout(usize::try_from(available).map_err(|_| format!("its storage {key:?} is beyond this machine"))?)
    }
}

/// A key, for messages.
fn shown(key: Value<'_>) -> String {
    key.as_str().map_or_else(|| key.describe(), text::shown)
}

/// A dict and the first of its keys, for messages.
fn listing(value: Value<'_>) -> String {
    let count = value.pairs().count();
    let mut keys: Vec<String> = value.pairs().take(MAX_KEYS).map(|(key, _)| shown(key)).collect();
    match count {
        0 => return value.describe(),
        1..=MAX_KEYS => {}
        _ => keys.push(format!("and {} more", count - MAX_KEYS)),
    }
    format!("{}: {}", value.describe(), keys.join(", "))
}
