//! safetensors files: read by memory map with every offset checked, written whole or not at all.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, View};
use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// A mapped safetensors file.
pub(super) struct Mapped {
    map: Mmap,
}

impl Mapped {
    pub(super) fn open(path: &Path) -> Result<Mapped> {
        let io = |source| Error::Io { path: path.into(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is only read, and every range is checked against its length before use. A file that another
        // process shortens meanwhile ends this one with SIGBUS; klang's own files are replaced by rename, never cut.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Mapped { map })
    }

    /// The tensors, after the reader has checked header, offsets, overlaps and sizes.
    pub(super) fn tensors(&self, path: &Path) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map).map_err(|source| Error::Safetensors { path: path.into(), source })
    }
}

/// libtorch's kind for a file's type, where klang has a use for it.
pub(super) fn kind_of(dtype: Dtype) -> Option<Kind> {
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
    let file = mapped.tensors(path)?;
    file.iter().map(|(name, view)| Ok((name.to_string(), tensor(path, name, &view)?))).collect()
}

/// A copy of one tensor of a file, on the CPU.
pub(super) fn tensor(path: &Path, name: &str, view: &safetensors::tensor::TensorView) -> Result<Tensor> {
    let problem = |what: String| Error::Mismatch { path: path.into(), problems: vec![what] };
    let kind = kind_of(view.dtype())
        .ok_or_else(|| problem(format!("{name}: type {:?} is not one klang reads", view.dtype())))?;
    let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
    Ok(Tensor::f_from_data_size(view.data(), &shape, kind)?)
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

/// Writes tensors to a safetensors file: to a sibling temporary file, synced, then renamed.
///
/// # Errors
/// A tensor of a type that the format lacks, or a failing file system; the old file then still stands.
pub fn write_safetensors(path: &Path, tensors: &[(String, Tensor)], metadata: &[(&str, String)]) -> Result<()> {
    let io = |source| Error::Io { path: path.into(), source };
    let views = tensors
        .iter()
        .map(|(name, tensor)| {
            let tensor = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_contiguous()?;
            let dtype = dtype_of(tensor.kind()).ok_or_else(|| Error::Mismatch {
                path: path.into(),
                problems: vec![format!("{name}: type {:?} cannot be written", tensor.kind())],
            })?;
            let shape = tensor.size().iter().map(|&size| size as usize).collect();
            Ok((name.as_str(), Outgoing { tensor, dtype, shape }))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new().prefix(".weights-").suffix(".tmp").tempfile_in(folder).map_err(io)?;
    safetensors::serialize_to_file(views, Some(metadata), temporary.path())
        .map_err(|source| Error::Safetensors { path: path.into(), source })?;
    // serialize_to_file renames a file of its own over this one: what is synced must be opened anew.
    File::open(temporary.path()).and_then(|file| file.sync_all()).map_err(io)?;
    share(temporary.path()).map_err(io)?;
    temporary.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}
