//! Checkpoints: reading is strict and distrusts the file, writing is all or nothing.
//!
//! ```text
//! files ─► Checkpoint (named tensors) ─► Fit (which goes where, and what is wrong) ─► a model's parameters
//! ```

mod fairseq;
mod files;
mod fit;
mod names;
mod safetensors;
mod torch;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use klang_pickle::{TensorInfo, TorchFile};
use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use safetensors::Mapped;

pub use fairseq::FairseqModel;
pub use fit::{Fit, Head};
pub use safetensors::{forget, read_safetensors, write_safetensors};
pub use write::{Own, save_weights};

/// The named tensors of a model, whatever files hold them; nothing but their names and shapes is read yet.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    sources: Vec<Source>,
    tensors: BTreeMap<String, Entry>,
    fairseq: Option<FairseqModel>,
}

/// A file with tensors.
#[derive(Debug)]
enum Source {
    Safetensors(Mapped),
    Torch(Box<TorchFile>),
}

/// Where a tensor is, and what it is there.
#[derive(Clone, Debug)]
struct Entry {
    source: usize,
    /// Its name in the file.
    original: String,
    shape: Vec<i64>,
    /// None for a type that klang has no use for.
    kind: Option<Kind>,
    /// The type as the file calls it.
    dtype: String,
    place: Place,
}

/// What a file needs to find a tensor again.
#[derive(Clone, Debug)]
enum Place {
    /// Its name.
    Safetensors,
    /// Its storage there.
    Torch(TensorInfo),
}

impl Checkpoint {
    /// Opens the weights of a folder in transformers' layout (`model.safetensors`, `pytorch_model.bin`, or either in
    /// shards with an index), a safetensors file, or a file of torch's, fairseq's among them.
    ///
    /// # Errors
    /// No weights there, or a file that is damaged or holds what klang will not read; by its name.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        let files = if path.is_dir() { files::of_folder(path)? } else { vec![path.to_path_buf()] };
        // Messages name the file where there is but one.
        let named = if let [file] = files.as_slice() { file } else { path };
        let mut checkpoint =
            Checkpoint { path: named.into(), sources: Vec::new(), tensors: BTreeMap::new(), fairseq: None };
        for file in &files {
            for (name, entry) in checkpoint.entries(file)? {
                let original = entry.original.clone();
                if let Some(other) = checkpoint.tensors.insert(name, entry) {
                    let problem =
                        format!("{original}: the same parameter as {} of this or another file", other.original);
                    return Err(Error::Mismatch { path: file.clone(), problems: vec![problem] });
                }
            }
        }
        Ok(checkpoint)
    }

    /// Puts the adapters and the head of another file in the place of those that are there: MMS keeps each language's so.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; a file that has other tensors, or not all of these: half a language's adapters would leave
    /// another language's in the other half.
    pub fn lay_over(&mut self, file: &Path) -> Result<()> {
        let language = self.entries(file)?;
        let belongs = |name: &str| names::is_adapter(name) || names::is_head(name);
        let strangers = language.iter().filter(|(name, _)| !belongs(name));
        let mut problems: Vec<String> =
            strangers.map(|(name, _)| format!("{name}: neither an adapter's nor the head's")).collect();
        let given: BTreeSet<&str> = language.iter().map(|(name, _)| name.as_str()).collect();
        let lacking = self.names().filter(|name| belongs(name) && !given.contains(name));
        problems.extend(lacking.map(|name| format!("{name}: missing, and the model has it for another language")));
        if !problems.is_empty() {
            return Err(Error::Mismatch { path: file.into(), problems });
        }
        self.tensors.extend(language);
        Ok(())
    }

    /// Opens a file and gives its tensors by name.
    fn entries(&mut self, file: &Path) -> Result<Vec<(String, Entry)>> {
        let number = self.sources.len();
        Ok(if files::is_safetensors(file)? {
            let mapped = Mapped::open(file)?;
            let entries = mapped.entries(number);
            self.sources.push(Source::Safetensors(mapped));
            entries
        } else {
            let torch = TorchFile::open(file)?;
            let (entries, fairseq) = torch::entries(&torch, file, number)?;
            self.fairseq = fairseq.or(self.fairseq.take());
            self.sources.push(Source::Torch(Box::new(torch)));
            entries
        })
    }

    /// The file, or the folder of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Outputs of its CTC head; none where it holds no head.
    pub fn head_rows(&self) -> Option<usize> {
        let head = self.tensors.iter().find(|(name, _)| names::is_head(name))?;
        head.1.shape.first().and_then(|&rows| usize::try_from(rows).ok())
    }

    /// The shape of a tensor, where there is one of this name.
    pub fn shape(&self, name: &str) -> Option<&[i64]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Leaves out every tensor whose name starts with `prefix`.
    pub fn leave_out(&mut self, prefix: &str) {
        self.tensors.retain(|name, _| !name.starts_with(prefix));
    }

    /// The model's shape, where the file itself states it as fairseq's do.
    pub fn fairseq(&self) -> Option<&FairseqModel> {
        self.fairseq.as_ref()
    }

    /// A copy of a tensor, on the CPU, in the type it has in the file.
    ///
    /// # Errors
    /// A name that there is not, a type that klang does not read, or a file that cannot be read any more.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let (entry, kind) = self.entry(name)?;
        match &self.sources[entry.source] {
            Source::Safetensors(mapped) => mapped.tensor(&entry.original),
            Source::Torch(file) => torch::tensor(file, entry, kind),
        }
    }

    /// Copies a tensor into `target` of the same shape, in its type and to its device.
    fn copy(&self, name: &str, target: &Tensor) -> Result<()> {
        let (entry, kind) = self.entry(name)?;
        tch::no_grad(|| match &self.sources[entry.source] {
            Source::Safetensors(mapped) => mapped.copy(&entry.original, target),
            Source::Torch(file) => {
                target.shallow_clone().f_copy_(&torch::tensor(file, entry, kind)?)?;
                file.release();
                Ok(())
            }
        })
    }

    fn entry(&self, name: &str) -> Result<(&Entry, Kind)> {
        let problem = |what: String| Error::Mismatch { path: self.path.clone(), problems: vec![what] };
        let entry = self.tensors.get(name).ok_or_else(|| problem(format!("{name}: missing")))?;
        let kind = entry
            .kind
            .ok_or_else(|| problem(format!("{}: type {} is not one klang reads", entry.original, entry.dtype)))?;
        Ok((entry, kind))
    }
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// A file that cannot be read, is larger, or is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let io = |source| Error::Io { path: path.into(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > limit {
        let bytes = std::fs::metadata(path).map_or(limit + 1, |data| data.len());
        return Err(Error::TooLarge { path: path.into(), bytes, limit });
    }
    Ok(text)
}
