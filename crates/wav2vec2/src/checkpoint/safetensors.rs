//! safetensors files: read by memory map with every offset checked, written whole or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors, View};
use tch::{Kind, Tensor};

use super::{Entry, Place};
use crate::error::{Error, Result};

/// Elements that are copied at a time: few, so that they leave nothing behind in the allocator.
const PIECE: usize = 1 << 16;

/// A tensor in a mapped file.
struct Located<'a> {
    kind: Kind,
    shape: Vec<i64>,
    bytes: &'a [u8],
    /// Where they begin in the file.
    start: usize,
}

/// A mapped safetensors file, whose header has been checked.
#[derive(Debug)]
pub(super) struct Mapped {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors' bytes begin.
    data: usize,
    metadata: Metadata,
}

impl Mapped {
    /// Maps a file; header, offsets, overlaps and sizes are checked against it.
    pub(super) fn open(path: &Path) -> Result<Mapped> {
        let io = |source| Error::Io { path: path.into(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is only read, and every range is checked against its length before use. A file that another
        // process shortens meanwhile ends this one with SIGBUS; klang's own files are replaced by rename, never cut.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let refuse = |source| Error::Safetensors { path: path.into(), source };
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(refuse)?;
        let data = header + size_of::<u64>(); // which stands before the header
        Ok(Mapped { path: path.into(), map, data, metadata })
    }

    /// Every tensor by name, as one of source `number`.
    pub(super) fn entries(&self, number: usize) -> Vec<(String, Entry)> {
        let entry = |(name, info): (String, &TensorInfo)| {
            let entry = Entry {
                source: number,
                original: name.clone(),
                shape: info.shape.iter().map(|&size| size as i64).collect(),
                kind: kind_of(info.dtype),
                dtype: format!("{:?}", info.dtype),
                place: Place::Safetensors,
            };
            (name, entry)
        };
        self.metadata.tensors().into_iter().map(entry).collect()
    }

    /// A copy of one tensor, on the CPU.
    pub(super) fn tensor(&self, name: &str) -> Result<Tensor> {
        let Located { kind, shape, bytes, start } = self.locate(name)?;
        let tensor = Tensor::f_from_data_size(bytes, &shape, kind)?;
        self.forget(start, bytes.len());
        Ok(tensor)
    }

    /// Copies one tensor into `target`, contiguous and of as many elements, piece by piece: a whole one would stand in
    /// memory three times, in the file's pages, in a copy and in its place.
    pub(super) fn copy(&self, name: &str, target: &Tensor) -> Result<()> {
        let Located { kind, bytes, mut start, .. } = self.locate(name)?;
        let target = target.f_view(-1)?;
        let mut done = 0;
        for piece in bytes.chunks(PIECE * kind.elt_size_in_bytes()) {
            let count = (piece.len() / kind.elt_size_in_bytes()) as i64;
            target.f_narrow(0, done, count)?.f_copy_(&Tensor::f_from_data_size(piece, &[count], kind)?)?;
            self.forget(start, piece.len());
            done += count;
            start += piece.len();
        }
        Ok(())
    }

    fn locate(&self, name: &str) -> Result<Located<'_>> {
        let problem =
            |what: &str| Error::Mismatch { path: self.path.clone(), problems: vec![format!("{name}: {what}")] };
        let info = self.metadata.info(name).ok_or_else(|| problem("missing"))?;
        let kind =
            kind_of(info.dtype).ok_or_else(|| problem(&format!("type {:?} is not one klang reads", info.dtype)))?;
        let (start, end) = (self.data + info.data_offsets.0, self.data + info.data_offsets.1);
        let bytes = self.map.get(start..end).ok_or_else(|| problem("lies beyond the end of the file"))?;
        Ok(Located { kind, shape: info.shape.iter().map(|&size| size as i64).collect(), bytes, start })
    }

    /// Gives the pages of a range back, and some around it, which the system brings along: a model's weights would
    /// otherwise stand in memory twice.
    fn forget(&self, start: usize, length: usize) {
        const AROUND: usize = 1 << 21;
        let end = (start + length + AROUND).min(self.map.len());
        let start = start.saturating_sub(AROUND);
        let length = end - start;
        // SAFETY: the map is of a file and never written: a page that is wanted again is read again.
        #[cfg(unix)]
        #[allow(unsafe_code)]
        let _ = unsafe { self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, length) };
        #[cfg(not(unix))]
        let _ = (start, length);
    }
}

/// libtorch's kind for a file's type, where klang has a use for it.
fn kind_of(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::U8 => Kind::Uint8,
        Dtype::BOOL => Kind::Bool,
        _ => return None,
    })
}

fn dtype_of(kind: Kind) -> Option<Dtype> {
    [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::I64, Dtype::I32, Dtype::U8, Dtype::BOOL]
        .into_iter()
        .find(|&dtype| kind_of(dtype) == Some(kind))
}

/// Every tensor of a safetensors file by name, on the CPU.
///
/// # Errors
/// A file that is unreadable, malformed, or holds a type that libtorch has no place for.
pub fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let mapped = Mapped::open(path)?;
    let names = mapped.metadata.tensors().into_keys();
    names.map(|name| Ok((name.clone(), mapped.tensor(&name)?))).collect()
}

/// One tensor on its way into a file; its bytes are copied out only when their turn comes.
struct Outgoing {
    tensor: Tensor, // contiguous, on the CPU
    dtype: Dtype,
    shape: Vec<usize>,
}

impl View for Outgoing {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = vec![0u8; self.data_len()];
        self.tensor.copy_data_u8(&mut bytes, self.tensor.numel());
        bytes.into()
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.dtype.bitsize() / 8
    }
}

/// Temporary files are made for their owner alone; a model is for whoever may read its folder.
#[cfg(unix)]
fn share(path: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
}

#[cfg(not(unix))]
fn share(_: &Path) -> std::io::Result<()> {
    Ok(())
}

impl Outgoing {
    fn new(path: &Path, name: &str, tensor: &Tensor) -> Result<Outgoing> {
        let tensor = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_contiguous()?;
        let dtype = dtype_of(tensor.kind()).ok_or_else(|| Error::Mismatch {
            path: path.into(),
            problems: vec![format!("{name}: type {:?} cannot be written", tensor.kind())],
        })?;
        let shape = tensor.size().iter().map(|&size| size as usize).collect();
        Ok(Outgoing { tensor, dtype, shape })
    }
}

/// Demands that the file at `found` holds these tensors, each with every bit, before it takes the name `path`.
fn verify(found: &Path, path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let refuse = |problems| Error::NotWritten { path: path.into(), problems };
    // Once as a file: where the disk fails, that is an error, and in a map it would end the process.
    let read = File::open(found).and_then(|mut file| std::io::copy(&mut file, &mut std::io::sink()));
    read.map_err(|source| Error::Io { path: path.into(), source })?;
    let mapped = Mapped::open(found).map_err(|error| refuse(vec![error.to_string()]))?;
    let mut problems = Vec::new();
    for (name, tensor) in tensors {
        let Located { kind, shape, bytes, start } =
            mapped.locate(name).map_err(|error| refuse(vec![error.to_string()]))?;
        if kind != tensor.kind() || shape != tensor.size() || bytes != &*Outgoing::new(path, name, tensor)?.data() {
            problems.push(name.clone());
        }
        mapped.forget(start, bytes.len());
    }
    if problems.is_empty() { Ok(()) } else { Err(refuse(problems)) }
}

/// Asks the system to read a file that is on the disk from there when it is read next, and not from memory. A hint: where it is
/// not taken, what is read comes from memory.
pub fn forget(file: &File) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

/// Writes tensors to a safetensors file: to a sibling temporary file, synced, read back and compared bit by bit, then renamed.
///
/// # Errors
/// A tensor of a type that the format lacks, a failing file system, or a file that is not what was written; the old file then
/// still stands.
pub fn write_safetensors(path: &Path, tensors: &[(String, Tensor)], metadata: &[(&str, String)]) -> Result<()> {
    write_through(path, tensors, metadata, |_| {})
}

/// [`write_safetensors`] on a disk that does `between` to the file before it is read back.
fn write_through(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: &[(&str, String)],
    between: impl FnOnce(&Path),
) -> Result<()> {
    let io = |source| Error::Io { path: path.into(), source };
    let views = tensors
        .iter()
        .map(|(name, tensor)| Ok((name.as_str(), Outgoing::new(path, name, tensor)?)))
        .collect::<Result<Vec<_>>>()?;
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new().prefix(".weights-").suffix(".tmp").tempfile_in(folder).map_err(io)?;
    safetensors::serialize_to_file(views, Some(metadata), temporary.path())
        .map_err(|source| Error::Safetensors { path: path.into(), source })?;
    // serialize_to_file renames a file of its own over this one: what is synced must be opened anew.
    let file = File::open(temporary.path()).map_err(io)?;
    file.sync_all().map_err(io)?;
    forget(&file);
    between(temporary.path());
    verify(temporary.path(), path, tensors)?;
    share(temporary.path()).map_err(io)?;
    temporary.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_flipped_bit_never_takes_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let tensors = [1.0f32, 2.0].map(|value| (format!("t{value}"), Tensor::from_slice(&[value; 5])));
        write_safetensors(&path, &tensors, &[]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let header = whole.len() - 2 * 5 * size_of::<f32>();
        for place in header..whole.len() {
            let damages = |file: &Path| {
                let mut damaged = std::fs::read(file).unwrap();
                damaged[place] ^= 1;
                std::fs::write(file, damaged).unwrap();
            };
            let error = write_through(&path, &tensors, &[], damages).unwrap_err().to_string();
            let name = if place < header + 5 * size_of::<f32>() { "t1" } else { "t2" };
            assert!(error.contains("model.safetensors") && error.ends_with(name), "byte {place}: {error}");
            assert!(std::fs::read(&path).unwrap() == whole, "what stood there still stands");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(matches!(verify(&path, &path, &tensors), Err(Error::NotWritten { .. })));
        // What is there is not enough: it has to be all that was written.
        std::fs::write(&path, &whole).unwrap();
        let more = [("t3".to_string(), Tensor::from_slice(&[3.0f32]))];
        assert!(matches!(verify(&path, &path, &more), Err(Error::NotWritten { .. })));
    }
}
