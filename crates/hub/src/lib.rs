//! Pretrained models by name: brings what klang needs of a model repository onto the disk, and trusts no byte unchecked.
//!
//! [`fetch`] takes a [`ModelName`] such as `facebook/wav2vec2-base` or `facebook/wav2vec2-base@REVISION` and gives the
//! folder that holds its files. The folder lies in the cache that Python's `huggingface_hub` keeps
//! (`models--owner--name/{refs,blobs,snapshots}`): what either has downloaded serves both. [`Settings`] holds all that
//! the environment says.
//!
//! The `hf-hub` crate does the talking. It writes to a folder of klang's own inside the model's; only what has the
//! announced length and digest moves from there into the shared part, so that a broken download is never taken for a
//! model, by klang or by Python.
//!
//! ```no_run
//! let settings = klang_hub::Settings::from_environment()?;
//! let name = "facebook/wav2vec2-base".parse()?;
//! let fetched = klang_hub::fetch(&settings, &name, None, &mut ())?;
//! println!("{} at {}", fetched.folder.display(), fetched.revision);
//! # Ok::<(), klang_hub::Error>(())
//! ```

mod cache;
mod choice;
mod digest;
mod error;
mod fetch;
mod name;
mod progress;
mod remote;
mod settings;
mod watch;

pub use error::Error;
pub use fetch::{Fetched, fetch};
pub use name::ModelName;
pub use progress::Progress;
pub use settings::Settings;
