//! The format before PyTorch 1.6: a magic number, a version, the writer's system, the values and the storages' keys, a
//! pickle each; then the storages themselves, a count of elements and the elements each.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::machine::Parsed;
use crate::pickled::Part;
use crate::value::{Kind, Node, Value};

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

const VERSION: i64 = 1001;

/// What is allowed before the magic number's end: it is the first pickle, and a few bytes long.
const MAX_MAGIC: usize = 64;

/// The storages of a legacy file, by key: where their bytes lie.
pub(crate) type Storages = HashMap<Arc<str>, Range<usize>>;

/// Whether the file starts with the magic number, in whatever protocol it was pickled.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    crate::machine::parse(bytes.get(..MAX_MAGIC).unwrap_or(bytes)).is_ok_and(|parsed| match root(&parsed).kind() {
        Kind::BigInt(number) => number == MAGIC,
        _ => false,
    })
}

fn root(parsed: &Parsed) -> Value<'_> {
    Value { arena: &parsed.arena, id: parsed.root }
}

/// Reads the pickles and finds the storages.
pub(crate) fn open(path: &Path, bytes: &[u8]) -> Result<(Storages, Parsed)> {
    let damaged = |what: String| Error::Damaged { path: path.into(), what };
    let mut position = 0;
    let mut next = |name: &str| -> Result<(Parsed, usize)> {
        let rest = bytes.get(position..).unwrap_or_default();
        let parsed = Part { path, name, start: position }.parse(rest)?;
        position += parsed.length;
        Ok((parsed, position))
    };
    next("its magic number")?;
    let (version, _) = next("its version")?;
    if root(&version).as_i64() != Some(VERSION) {
        let found = root(&version).describe();
        return Err(damaged(format!("its version is {found}; the only one there is, is {VERSION}")));
    }
    let (system, _) = next("its description of the system")?;
    if root(&system).get("little_endian").and_then(Value::as_bool) == Some(false) {
        return Err(Error::Container { path: path.into(), what: "was written on a big-endian machine" });
    }
    let (values, _) = next("its pickle")?;
    let (keys, start) = next("its list of storages")?;
    let storages = storages(bytes, start, &values, root(&keys)).map_err(damaged)?;
    Ok((storages, values))
}

fn storages(bytes: &[u8], mut position: usize, values: &Parsed, keys: Value<'_>) -> Result<Storages, String> {
    let mut sizes: HashMap<&str, usize> = HashMap::new(); // bytes an element
    for node in &values.arena.nodes {
        if let Node::Storage(storage) = node {
            sizes.entry(&storage.key).or_insert(storage.dtype.size());
        }
    }
    let mut storages = Storages::new();
    for key in keys.items() {
        let key = key.as_str().ok_or_else(|| format!("its list of storages has {}", key.describe()))?;
        let size =
            sizes.get(key).ok_or_else(|| format!("it has a storage {key:?} of which its pickle says nothing"))?;
        let count = bytes.get(position..).and_then(|rest| rest.first_chunk::<8>());
        let count = u64::from_le_bytes(*count.ok_or_else(|| format!("it ends before storage {key:?}"))?);
        let start = position + 8; // within the file, as the count was
        let end = usize::try_from(count)
            .ok()
            .and_then(|count| start.checked_add(count.checked_mul(*size)?))
            .filter(|&end| end <= bytes.len())
            .ok_or_else(|| {
                format!(
                    "storage {key:?} claims {count} elements of {size} bytes at {start}; the file ends at {}",
                    bytes.len()
                )
            })?;
        if storages.insert(key.into(), start..end).is_some() {
            return Err(format!("storage {key:?} comes twice"));
        }
        position = end;
    }
    Ok(storages)
}
