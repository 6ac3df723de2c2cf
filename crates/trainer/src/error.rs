//! What can go wrong between a recipe and a model.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A recipe that does not parse, or holds a key that there is not.
    #[error("{}: {message}", path.display())]
    RecipeFile {
        /// The recipe.
        path: PathBuf,
        /// The parser's message, with line and column.
        message: String,
    },
    /// A value that a recipe may not have.
    #[error("recipe: `{key}` is {given}; allowed: {allowed}")]
    RecipeValue {
        /// The key, dotted.
        key: String,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// A `--set` that is not KEY=VALUE, or whose key there is not.
    #[error("--set {given}: {message}")]
    Set {
        /// What was given.
        given: String,
        /// What is wrong with it.
        message: String,
    },
    /// Something that a recipe names and that cannot be used, found before any work starts.
    #[error(transparent)]
    BeforeWork(Box<Error>),
    /// Data that cannot be trained or tested on.
    #[error("{}: {message}", path.display())]
    Data {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A device that is not there.
    #[error("device `{given}`: {message}")]
    Device {
        /// What was asked for.
        given: String,
        /// Why not, and what to do.
        message: String,
    },
    /// A folder that is no model.
    #[error("{}: {message}", path.display())]
    Model {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A model that cannot be exported as asked.
    #[error("export to {}: {message}", path.display())]
    Export {
        /// The folder to be written.
        path: PathBuf,
        /// Why not, and what to do.
        message: String,
    },
    /// A file of kept features that cannot be used.
    #[error("{}: {message}", path.display())]
    Features {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// A run folder that cannot be used as asked.
    #[error("run folder {}: {message}", path.display())]
    Run {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The loss or its gradient was NaN or infinite.
    #[error(
        "update {update}: {what} is {value}; the step was not applied. Utterances of this batch: {}. Lower train.learning_rate, or look at these recordings; the last saved state is whole",
        ids.join(", ")
    )]
    NonFinite {
        /// The update.
        update: u64,
        /// Loss or gradient.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The batch's utterances.
        ids: Vec<String>,
    },
    /// A weight that became NaN or infinite in an update whose loss and gradient were not.
    #[error(
        "update {update}: {name} holds a number that is not finite; nothing of it is saved, and the last saved state and models are whole. Start another run with a lower train.learning_rate or model.norm.learning_rate_scale"
    )]
    WeightsNotFinite {
        /// Updates done.
        update: u64,
        /// The parameter.
        name: String,
    },
    /// Whoever watches a training asked it to stop.
    #[error("{}: stopped after update {update}, which is saved; the same command with --resume goes on from there", path.display())]
    Stopped {
        /// The run folder.
        path: PathBuf,
        /// Updates done.
        update: u64,
    },
    /// Whoever watches an experiment asked it to stop.
    #[error("{}: stopped with {done} of {runs} runs done; the same command goes on from there", path.display())]
    ExperimentStopped {
        /// The folder of the experiment.
        path: PathBuf,
        /// Runs done, tries of searches among them.
        done: usize,
        /// Runs that there are.
        runs: usize,
    },
    /// Whoever watches asked to stop, and what was under way was given up; whoever called saves what there is to save.
    #[error("stopped before it was done")]
    StoppedEarly,
    /// A recording that cannot be used.
    #[error("{id}: {source}")]
    Audio {
        /// The utterance.
        id: String,
        /// The audio crate's message, which names the file.
        source: klang_audio::Error,
    },
    /// More audio of a data set cannot be read than a run is to go on without.
    #[error(
        "{set}: the audio of {count} of {utterances} utterances cannot be read, and at most {allowed} are skipped (data.bad_audio_limit: {limit}). \
         Mend or leave them out (klang check lists them), or raise the limit; the last: {why}"
    )]
    TooMuchBadAudio {
        /// The data set.
        set: String,
        /// Utterances that cannot be read so far.
        count: usize,
        /// Utterances of the set.
        utterances: usize,
        /// How many may be skipped.
        allowed: usize,
        /// The recipe's share.
        limit: f64,
        /// What is wrong with the last, naming its file.
        why: String,
    },
    /// A manifest or selection.
    #[error(transparent)]
    Corpus(#[from] klang_corpus::Error),
    /// Text, vocabulary or scoring.
    #[error(transparent)]
    Text(#[from] klang_text::Error),
    /// What the hub's side of klang says.
    #[error(transparent)]
    Hub(#[from] klang_hub::Error),
    /// A model that a hub was asked for, since no such path is there.
    #[error("there is no `{given}` here, so it was taken for a hub's name: {source}")]
    HubName {
        /// What was given.
        given: String,
        /// The hub's answer.
        source: Box<klang_hub::Error>,
    },
    /// The model.
    #[error(transparent)]
    Wav2Vec2(#[from] klang_wav2vec2::Error),
    /// Head, loss or decoding.
    #[error(transparent)]
    Ctc(#[from] klang_ctc::Error),
    /// A setting of decoding that there may not be.
    #[error("decoding: {key} is {given}; allowed: {allowed}")]
    DecodeValue {
        /// The setting.
        key: String,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// A language model that a recogniser has no use for.
    #[error("{}: {message}", path.display())]
    Decoding {
        /// Its file.
        path: PathBuf,
        /// Why not, and what to do.
        message: String,
    },
    /// A language model.
    #[error(transparent)]
    LanguageModel(#[from] klang_lm::Error),
    /// A transcript that no file could hold.
    #[error(transparent)]
    Transcript(#[from] klang_transcript::Error),
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's message.
        source: std::io::Error,
    },
    /// Memory does not suffice for utterances that are computed one by one.
    #[error(
        "out of memory, though each utterance is computed by itself: {}. Free memory and go on with --resume, or start another run with less to hold: a lower upper bound of data.duration, train.gradient_checkpointing: true, a smaller model.size ({message})",
        ids.join(", ")
    )]
    OutOfMemory {
        /// The batch's utterances.
        ids: Vec<String>,
        /// libtorch's message.
        message: String,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The worker threads ended before their work did.
    #[error("a worker thread stopped: {0}")]
    Worker(String),
}

impl Error {
    /// A system that gives no further thread.
    pub(crate) fn no_thread(error: &std::io::Error) -> Error {
        Error::Worker(format!("the system gives no further thread ({error}); lower the number of threads"))
    }

    /// Whether the command or the recipe was wrong, rather than the work.
    pub fn is_usage(&self) -> bool {
        use klang_hub::Error as Hub;
        match self {
            Error::RecipeFile { .. }
            | Error::RecipeValue { .. }
            | Error::Set { .. }
            | Error::BeforeWork(_)
            | Error::Device { .. }
            | Error::Run { .. }
            | Error::Export { .. }
            | Error::DecodeValue { .. }
            | Error::Decoding { .. }
            | Error::LanguageModel(_)
            | Error::Wav2Vec2(klang_wav2vec2::Error::Config { .. }) => true,
            Error::HubName { source, .. } => matches!(
                **source,
                Hub::Name { .. }
                    | Hub::Setting { .. }
                    | Hub::NoSuchModel { .. }
                    | Hub::NoSuchRevision { .. }
                    | Hub::NoSuchLanguage { .. }
            ),
            _ => false,
        }
    }

    /// libtorch's message that memory did not suffice, of a GPU or of the machine; any other error as it is.
    pub(crate) fn out_of_memory(self) -> std::result::Result<String, Error> {
        // Its allocators' words, and those of the libraries below it.
        const WORDS: [&str; 6] = [
            "out of memory",
            "can't allocate memory",
            "not enough memory",
            "std::bad_alloc",
            "CUBLAS_STATUS_ALLOC_FAILED",
            "CUDNN_STATUS_ALLOC_FAILED",
        ];
        let said = match &self {
            Error::Torch(error)
            | Error::Wav2Vec2(klang_wav2vec2::Error::Torch(error))
            | Error::Ctc(klang_ctc::Error::Torch(error)) => error.to_string(),
            _ => return Err(self),
        };
        if WORDS.iter().any(|words| said.contains(words)) { Ok(said) } else { Err(self) }
    }

    pub(crate) fn before_work(error: impl Into<Error>) -> Error {
        Error::BeforeWork(Box::new(error.into()))
    }

    /// A setting of decoding as the value of a recipe that it is.
    pub(crate) fn in_recipe(self) -> Error {
        match self {
            Error::DecodeValue { key, given, allowed } => match key.strip_prefix("the hot word ") {
                Some(phrase) => {
                    Error::RecipeValue { key: "decode.hot_words".into(), given: format!("{phrase}: {given}"), allowed }
                }
                None => Error::RecipeValue { key: format!("decode.{key}"), given, allowed },
            },
            other => other,
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;
