//! PyTorch's checkpoints (`torch.save`), read without running anything.
//!
//! A checkpoint is a pickle, and a pickle is a program: PyTorch's own loader has to be told not to run it. Here there is
//! nothing that could run it. Globals are names; the few that make tensors and containers are understood, those that
//! fairseq's configuration needs are kept as inert objects, and every other one refuses the file ([`Error::Forbidden`]).
//! What a file claims is checked before it is used, and bounded: the size of its pickle and of what is unpacked, its
//! values, and every tensor's place in its storage.
//!
//! ```text
//! zip archive (PyTorch ≥ 1.6) ─┬► pickle ─► Value (what was saved) ─► TensorInfo ─► bytes, in C order
//! legacy file (before)        ─┘
//! ```
//!
//! ```no_run
//! # fn main() -> klang_pickle::Result<()> {
//! let file = klang_pickle::TorchFile::open("wav2vec_small.pt".as_ref())?;
//! let layers = file.root().path(&["args", "encoder_layers"]).and_then(|layers| layers.as_i64());
//! for (name, tensor) in file.tensors(&["model"])? {
//!     println!("{name}: {} {:?}, {} bytes", tensor.dtype(), tensor.shape(), file.read(&tensor)?.len());
//! }
//! # Ok(()) }
//! ```

mod archive;
mod dtype;
mod error;
mod file;
mod globals;
mod legacy;
mod machine;
mod pickled;
mod reader;
mod rebuild;
mod source;
mod stack;
mod tensor;
mod text;
mod value;

pub use dtype::DType;
pub use error::{Error, Result};
pub use file::TorchFile;
pub use tensor::TensorInfo;
pub use value::{Global, Kind, Value};
