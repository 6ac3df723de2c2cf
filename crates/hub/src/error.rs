//! Why a model could not be had: which model and file, what was expected, what came, what to do.

use std::io;
use std::path::PathBuf;

/// Everything this crate refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that is no model's name.
    #[error(
        "`{given}` is no model name: {why}; a name is owner/name or owner/name@revision, such as facebook/wav2vec2-base"
    )]
    Name {
        /// What was given.
        given: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// An environment variable that cannot be meant.
    #[error("the environment variable {variable} is {given}; allowed: {allowed}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// Its value, or what is wrong with a value that is secret.
        given: String,
        /// What it may hold.
        allowed: &'static str,
    },
    /// Nowhere to put the files.
    #[error(
        "no folder is known for downloaded models: none of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME is set; set HF_HOME"
    )]
    NoFolder,
    /// The server knows no such model, or does not say so to everybody.
    #[error(
        "{endpoint} has no model {model}, or it is private; check the spelling, and for a private one set HF_TOKEN (now {token})"
    )]
    NoSuchModel {
        /// The model.
        model: String,
        /// The server that was asked.
        endpoint: String,
        /// Whether a token was sent: `set` or `not set`.
        token: &'static str,
    },
    /// The model is there, but not for this caller.
    #[error(
        "{endpoint} refuses {model} with status {status}: {why}; accept its conditions at {endpoint}/{model} where it has any, and set HF_TOKEN to a token that may read it (now {token})"
    )]
    Refused {
        /// The model.
        model: String,
        /// The server that was asked.
        endpoint: String,
        /// 401 or 403.
        status: u16,
        /// What the server says.
        why: String,
        /// Whether a token was sent: `set` or `not set`.
        token: &'static str,
    },
    /// The model has no such branch, tag or commit.
    #[error(
        "{model} has no revision {revision} at {endpoint}; give a branch, a tag or a full commit after the @, or none"
    )]
    NoSuchRevision {
        /// The model.
        model: String,
        /// What was asked for.
        revision: String,
        /// The server that was asked.
        endpoint: String,
    },
    /// A repository that lacks what every model has.
    #[error(
        "{model} has no {missing}, so it is no model that klang can read; name one that has config.json and weights as model.safetensors or pytorch_model.bin, whole or in parts"
    )]
    NotAModel {
        /// The model and the commit.
        model: String,
        /// What it lacks.
        missing: &'static str,
    },
    /// The model has no adapter for the language.
    #[error("{model} has no adapter for the language {language:?}; it has {available}")]
    NoSuchLanguage {
        /// The model and the commit.
        model: String,
        /// What was asked for.
        language: String,
        /// The languages it has.
        available: String,
    },
    /// An index of shards that cannot be followed.
    #[error("{file} of {model} {why}; name another model, or another revision of this one")]
    Index {
        /// The model and the commit.
        model: String,
        /// The index.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// No connection, or one that broke before anything was fetched.
    #[error(
        "cannot reach {endpoint} for {model}: {why}; check the connection and run the command again, or set HF_ENDPOINT to a mirror"
    )]
    Network {
        /// The model.
        model: String,
        /// The server that was asked.
        endpoint: String,
        /// What happened.
        why: String,
    },
    /// The server answered something that cannot be used.
    #[error(
        "{endpoint} gave no usable answer about {what} of {model}: {why}; run the command again later, or check HF_ENDPOINT"
    )]
    Answer {
        /// The model.
        model: String,
        /// The server that was asked.
        endpoint: String,
        /// A file, or the model's list of files.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A download that did not come to its end.
    #[error(
        "{file} of {model} came only in part, {got} of {expected} bytes: {why}; run the command again, and it goes on from there"
    )]
    Interrupted {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// How many bytes are kept for the next run.
        got: u64,
        /// How many it has.
        expected: u64,
        /// What happened.
        why: String,
    },
    /// A file that is not what its server or its name in the cache says.
    #[error(
        "{file} of {model} is not what it should be: expected {expected}, got {got}; it {removed}; run the command again to download it anew"
    )]
    Corrupt {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// The length or digest that was announced.
        expected: String,
        /// The length or digest that it has.
        got: String,
        /// What became of it: `was removed`, or why that failed.
        removed: String,
    },
    /// No connection may be made, and the file is not here.
    #[error("HF_HUB_OFFLINE is set, and {what} of {model} is not in {}; to get it, run the command once without HF_HUB_OFFLINE, or copy that folder from a machine that has it", folder.display())]
    Offline {
        /// The model.
        model: String,
        /// The file, or the revision.
        what: String,
        /// The model's folder in the cache.
        folder: PathBuf,
    },
    /// Another process is fetching the same model.
    #[error("another process is fetching {model} (it holds {}); wait until it is done and run the command again", lock.display())]
    Busy {
        /// The model.
        model: String,
        /// The lock file.
        lock: PathBuf,
    },
    /// The operating system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: what was tried, and on which path.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
