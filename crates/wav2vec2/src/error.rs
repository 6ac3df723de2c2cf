//! What can go wrong with a model, a configuration or a checkpoint.

use std::path::PathBuf;

use tch::TchError;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model configuration that cannot be built.
    #[error("model configuration: `{key}` is {given}; allowed: {allowed}")]
    Config {
        /// The key, by its name in transformers' config.json.
        key: &'static str,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// A config.json whose values cannot be built.
    #[error("{}: {source}", path.display())]
    ConfigValue {
        /// The file.
        path: PathBuf,
        /// Which value, and what is allowed.
        source: Box<Error>,
    },
    /// A config.json that does not parse.
    #[error("{}: not a Wav2Vec2 configuration: {source}", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// The parser's message, with line and column.
        source: serde_json::Error,
    },
    /// A libtorch without 8-bit products.
    #[error("this libtorch has no 8-bit products for this processor; compute in fp32 or bf16")]
    NoInt8,
    /// An 8-bit operation that libtorch refused.
    #[error("libtorch could not {what} in 8 bits; compute in fp32 or bf16")]
    Int8 {
        /// What it was to do.
        what: &'static str,
    },
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's message.
        source: std::io::Error,
    },
    /// A file larger than its kind can honestly be.
    #[error("{}: {bytes} bytes; a file of this kind has at most {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A safetensors file that is truncated, overlapping, or not one at all.
    #[error(
        "{}: not a readable safetensors file ({source}); if it was downloaded, fetch it again",
        path.display()
    )]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The reader's message.
        source: safetensors::SafeTensorError,
    },
    /// A folder without weights.
    #[error("{}: no weights in it; looked for {looked_for}", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// The files that would have done.
        looked_for: String,
    },
    /// What stands in a clone for a file that git did not bring.
    #[error("{}: a pointer of Git LFS and not the file itself; `git lfs pull` in its folder brings it", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// An index of shards that cannot be followed.
    #[error("{}: not a usable index of shards: {problem}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of torch's that is damaged, or holds more than data.
    #[error(transparent)]
    Pickle(#[from] klang_pickle::Error),
    /// A fairseq checkpoint whose shape cannot be read.
    #[error("{}: a fairseq checkpoint that {problem}", path.display())]
    Fairseq {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Weights that do not fit the configuration.
    #[error("{}: the weights do not fit the configuration:\n  {}", path.display(), problems.join("\n  "))]
    Mismatch {
        /// The checkpoint.
        path: PathBuf,
        /// One line a tensor: missing, unexpected, or of another shape or type.
        problems: Vec<String>,
    },
    /// What was written cannot be read back as it was.
    #[error(
        "{}: what can be read of it is not what was written; what stood there before still stands. Look after disk and memory:\n  {}", path.display(), problems.join("\n  ")
    )]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// One line a tensor.
        problems: Vec<String>,
    },
    /// An utterance too short for one frame.
    #[error(
        "utterance {index} of the batch has {samples} samples; the feature encoder needs at least {minimum} for one frame"
    )]
    TooShort {
        /// Position in the batch.
        index: usize,
        /// Its length in samples.
        samples: i64,
        /// Samples that one frame needs.
        minimum: i64,
    },
    /// A batch whose tensor and lengths disagree.
    #[error(
        "batch of {rows} rows of {samples} samples given with lengths {lengths:?}; each length must lie in 1..={samples}, one a row"
    )]
    BatchLengths {
        /// Rows of the tensor.
        rows: i64,
        /// Samples a row.
        samples: i64,
        /// The lengths that came with it.
        lengths: Vec<i64>,
    },
    /// A store of parameters that does not fit the model built on it.
    #[error("parameter {name} {problem}; please report this as a bug of klang")]
    Store {
        /// The parameter.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;
