//! The zip format (PyTorch 1.6 and later): `NAME/data.pkl` and one entry `NAME/data/KEY` a storage.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use crate::error::{Error, Result};
use crate::machine::Parsed;
use crate::pickled::{MAX_PICKLE, Part};
use crate::source::Source;

/// How often its own size a compressed entry may have once it is unpacked, beyond [`MAX_UNPACKED`]. Weights shrink by a
/// tenth; deflate's limit, which only bombs reach, is a thousand.
const MAX_RATIO: u64 = 100;

/// What any compressed entry may unpack to, in bytes.
const MAX_UNPACKED: u64 = 64 << 20;

/// The first bytes of a zip file.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// An entry: where its bytes lie in the file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    index: usize,
    start: usize,
    end: usize,
    unpacked: u64,
    stored: bool,
}

/// A torch archive.
pub(crate) struct Archive {
    zip: ZipArchive<Cursor<Source>>,
    entries: HashMap<String, Entry>, // by name, without the folder
}

impl Archive {
    /// Reads the directory and the pickle.
    pub(crate) fn open(path: &Path, source: &Source) -> Result<(Archive, Parsed)> {
        let damaged = |what: String| Error::Damaged { path: path.into(), what };
        let zip_error = |error: zip::result::ZipError| damaged(format!("as a zip archive: {error}"));
        let mut zip = ZipArchive::new(Cursor::new(source.clone())).map_err(zip_error)?;
        let mut names = Vec::with_capacity(zip.len());
        for name in zip.file_names() {
            names.push(name.map_err(zip_error)?.into_owned());
        }
        let mut folders = names.iter().filter_map(|name| name.strip_suffix("/data.pkl"));
        let folder = match (folders.next(), folders.next()) {
            (Some(folder), None) => format!("{folder}/"),
            (None, _) => return Err(damaged("it is a zip archive without a data.pkl".into())),
            _ => return Err(damaged("it has more than one data.pkl".into())),
        };
        let mut entries = HashMap::new();
        for (index, name) in names.iter().enumerate() {
            let Some(name) = name.strip_prefix(&folder) else { continue };
            let entry =
                entry(&mut zip, index, source.as_ref().len()).map_err(|what| damaged(format!("{name}: {what}")))?;
            entries.insert(name.to_string(), entry);
        }
        if entries.contains_key("constants.pkl") {
            return Err(Error::Container { path: path.into(), what: "is a TorchScript program" });
        }
        let archive = Archive { zip, entries };
        if let Some(order) = archive.bytes(path, source, "byteorder", 16)?
            && &*order != b"little"
        {
            return Err(Error::Container { path: path.into(), what: "was written on a big-endian machine" });
        }
        let Some(pickle) = archive.bytes(path, source, "data.pkl", MAX_PICKLE as u64)? else {
            return Err(damaged("it is a zip archive without a data.pkl".into()));
        };
        let parsed = Part { path, name: "its data.pkl", start: 0 }.parse(&pickle)?;
        Ok((archive, parsed))
    }

    /// The bytes of a storage; `None` if there is no such entry.
    pub(crate) fn storage<'a>(&self, path: &Path, source: &'a Source, key: &str) -> Result<Option<Cow<'a, [u8]>>> {
        self.bytes(path, source, &format!("data/{key}"), u64::MAX)
    }

    /// The bytes that a storage has, or claims to have if it is compressed.
    pub(crate) fn storage_len(&self, key: &str) -> Option<u64> {
        Some(self.entries.get(&format!("data/{key}"))?.unpacked)
    }

    fn bytes<'a>(&self, path: &Path, source: &'a Source, name: &str, limit: u64) -> Result<Option<Cow<'a, [u8]>>> {
        let damaged = |what: String| Error::Damaged { path: path.into(), what: format!("{name}: {what}") };
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        if entry.unpacked > limit {
            return Err(Error::TooLarge { path: path.into(), what: name.into(), given: entry.unpacked, limit });
        }
        let bytes =
            source.as_ref().get(entry.start..entry.end).ok_or_else(|| damaged("lies outside the file".into()))?;
        if entry.stored {
            return Ok(Some(Cow::Borrowed(bytes)));
        }
        // The archive shares its directory and its bytes with copies of it.
        let mut zip = self.zip.clone();
        let reader = zip.by_index(entry.index).map_err(|error| damaged(error.to_string()))?;
        let mut unpacked = Vec::new(); // grows by what comes, not by what is claimed
        reader.take(entry.unpacked + 1).read_to_end(&mut unpacked).map_err(|error| damaged(error.to_string()))?;
        if unpacked.len() as u64 != entry.unpacked {
            return Err(damaged(format!("claims {} bytes and has others", entry.unpacked)));
        }
        Ok(Some(Cow::Owned(unpacked)))
    }
}

/// An entry's place, checked against the file's length.
fn entry(zip: &mut ZipArchive<Cursor<Source>>, index: usize, length: usize) -> Result<Entry, String> {
    let file = zip.by_index_raw(index).map_err(|error| error.to_string())?;
    if file.encrypted() {
        return Err("is encrypted, which torch.save never does".into());
    }
    let (packed, unpacked) = (file.compressed_size(), file.size());
    let stored = match file.compression() {
        CompressionMethod::Stored if packed == unpacked => true,
        CompressionMethod::Stored => return Err(format!("is stored, and claims {packed} bytes to be {unpacked}")),
        CompressionMethod::Deflated => false,
        method => return Err(format!("is compressed with {method}; read are stored and deflated entries")),
    };
    let start = file.data_start().and_then(|start| usize::try_from(start).ok()).ok_or("has no place in the file")?;
    let end = usize::try_from(packed).ok().and_then(|packed| start.checked_add(packed)).filter(|&end| end <= length);
    let end = end.ok_or_else(|| format!("claims {packed} bytes at {start}, and the file ends at {length}"))?;
    let limit = packed.saturating_mul(MAX_RATIO).max(MAX_UNPACKED);
    if !stored && unpacked > limit {
        return Err(format!("would unpack from {packed} bytes to {unpacked}; at most {limit} are read"));
    }
    Ok(Entry { index, start, end, unpacked, stored })
}
