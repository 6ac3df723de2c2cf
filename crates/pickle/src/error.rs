//! What can go wrong between a checkpoint and its tensors.

use std::io;
use std::path::PathBuf;

/// An error of this crate. Each names its file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened: missing, forbidden, …
    #[error("{}: cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, a pipe or a device was given.
    #[error("{}: is not a regular file; checkpoints are read from regular files only", path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// The file has zero bytes.
    #[error("{}: is empty (0 bytes); fetch it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The first bytes are of no container that is read here.
    #[error(
        "{}: is not a checkpoint that torch.save wrote: it starts with {found}; readable are torch's zip format \
         (since 1.6) and the pickles that it wrote before",
        path.display()
    )]
    NotTorch {
        /// The file.
        path: PathBuf,
        /// Its first bytes, escaped.
        found: String,
    },
    /// A container of torch's that is deliberately not read.
    #[error("{}: {what}, which is not read; load it with PyTorch where you trust its source and save its state_dict as \
             safetensors", path.display())]
    Container {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A container that contradicts itself or what the file holds.
    #[error("{}: the checkpoint is damaged or was tampered with: {what}; fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, what was found and what is allowed.
        what: String,
    },
    /// A pickle that names something no checkpoint needs. Nothing of it was run.
    #[error(
        "{}: {part} asks at byte {offset} for `{global}`, which a checkpoint has no need of; nothing was run. Fetch the \
         model's model.safetensors instead, or load this file with PyTorch where you trust its source and save it as \
         safetensors",
        path.display()
    )]
    Forbidden {
        /// The file.
        path: PathBuf,
        /// The pickle within it.
        part: String,
        /// Where in that pickle; where in the file if the pickle is no entry of an archive.
        offset: u64,
        /// The module and the name asked for.
        global: String,
    },
    /// A pickle that cannot be understood.
    #[error("{}: {part} cannot be read at byte {offset}: {what}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// The pickle within it.
        part: String,
        /// Where in that pickle; where in the file if the pickle is no entry of an archive.
        offset: u64,
        /// What was found, and what is allowed.
        what: String,
    },
    /// Something larger than an honest checkpoint has.
    #[error("{}: {what} is {given}; at most {limit} is read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large.
        what: String,
        /// Its size.
        given: u64,
        /// The limit.
        limit: u64,
    },
    /// The dict of tensors is not where it was looked for.
    #[error("{}: there is no dict at {at}; {found}", path.display())]
    NoDict {
        /// The file.
        path: PathBuf,
        /// The keys that were followed.
        at: String,
        /// What there is instead.
        found: String,
    },
    /// Entries of a dict of tensors that are none, or none that can be read.
    #[error("{}: {at} holds what cannot be read as tensors:\n  {}", path.display(), problems.join("\n  "))]
    NotTensors {
        /// The file.
        path: PathBuf,
        /// The keys that were followed.
        at: String,
        /// One line an entry: its name, and what is wrong.
        problems: Vec<String>,
    },
    /// A tensor that its storage does not hold.
    #[error("{}: a tensor cannot be read: {what}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;
