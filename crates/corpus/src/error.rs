//! What can be wrong with a corpus: which file, which line or id, what was given, what is allowed.

use std::io;
use std::path::{Path, PathBuf};

/// Everything this crate refuses. Lines count from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `list`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file that is no plausible list of utterances.
    #[error("{} holds {bytes} bytes, at most {limit} are read; is this a manifest?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The largest size that is read, in bytes.
        limit: u64,
    },
    /// A line or a CSV record beyond the bound.
    #[error("{}, line {line}: longer than {limit} bytes; in CSV, a quotation mark may lack its partner", path.display())]
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// Where the line starts.
        line: usize,
        /// The longest line that is read, in bytes.
        limit: usize,
    },
    /// Bytes that are no UTF-8.
    #[error("{}, line {line}: not UTF-8; hint: convert it, for example with `iconv -t UTF-8`", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A line that does not follow the file's format.
    #[error("{}, line {line}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What was found and what was expected.
        what: String,
    },
    /// An utterance without a field it needs.
    #[error("{}, line {line}: no {field}; the fields here are {found}", path.display())]
    MissingField {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The missing field and its other accepted names.
        field: &'static str,
        /// The fields that are there.
        found: String,
    },
    /// A value that is not what its field holds.
    #[error("{}, line {line}: {field} is {given}; allowed: {allowed}", path.display())]
    WrongValue {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The field.
        field: String,
        /// What was found.
        given: String,
        /// What is accepted.
        allowed: &'static str,
    },
    /// Two utterances with one id.
    #[error("{}: lines {first} and {second} have the same id `{id}`; hint: give each line an `id` of its own", path.display())]
    DuplicateId {
        /// The file.
        path: PathBuf,
        /// The id.
        id: String,
        /// The first line.
        first: usize,
        /// The second line.
        second: usize,
    },
    /// A file without a single utterance.
    #[error("{} holds no utterances", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A folder that was to be taken for its audio files, and has none.
    #[error("{}: no audio file is in this folder or below it; allowed: WAV, FLAC, MP3, Ogg Vorbis", path.display())]
    NoAudio {
        /// The folder.
        path: PathBuf,
    },
    /// A selection by a column that no utterance has.
    #[error("{}: select names the column `{column}`, which no utterance has; the columns are {columns}", path.display())]
    UnknownColumn {
        /// The manifest.
        path: PathBuf,
        /// The column asked for.
        column: String,
        /// The columns there are.
        columns: String,
    },
    /// A selection that leaves nothing.
    #[error("{}: select leaves none of the {utterances} utterances; `{column}` alone keeps {kept}, its values are {values}", path.display())]
    NothingSelected {
        /// The manifest.
        path: PathBuf,
        /// How many utterances there were.
        utterances: usize,
        /// The rule that keeps least.
        column: String,
        /// How many utterances that rule alone keeps.
        kept: usize,
        /// Values of that column, shortened.
        values: String,
    },
    /// Fractions that cannot be fulfilled.
    #[error("split: dev {dev} and test {test}; allowed: each at least 0 and finite, together less than 1")]
    Fractions {
        /// The dev fraction.
        dev: f64,
        /// The test fraction.
        test: f64,
    },
    /// Too few speakers or sentences for the parts asked for.
    #[error("split: {found} {unit}, at least {needed} are needed; hint: {hint}")]
    TooFew {
        /// `speakers` or `sentences`.
        unit: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        needed: usize,
        /// What to do instead.
        hint: &'static str,
    },
    /// An utterance whose speaker is not known, where speakers are to be kept apart.
    #[error("split: utterance `{id}` (line {line}) has no speaker; hint: add a `speaker` column, or split by sentence")]
    NoSpeaker {
        /// The utterance's id.
        id: String,
        /// Its line in the manifest.
        line: usize,
    },
    /// A format that is none of ours.
    #[error("`{given}` is no format; allowed: {allowed}")]
    UnknownFormat {
        /// What was given.
        given: String,
        /// The formats' names.
        allowed: String,
    },
    /// A folder that is not laid out as its format says.
    #[error("{} is not laid out as {format}: {what}; hint: {hint}", path.display())]
    Layout {
        /// The folder or file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
        /// What is missing or odd.
        what: String,
        /// What is expected.
        hint: &'static str,
    },
    /// A Kaldi `wav.scp` entry that is a command.
    #[error("{}, line {line}: `{id}` is a command (`{given}`), which is not run; hint: run it yourself, write its output to a WAV file and name that file here", path.display())]
    Pipe {
        /// The `wav.scp`.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The recording's id.
        id: String,
        /// The entry, shortened.
        given: String,
    },
    /// Every utterance was left out.
    #[error("{}: none of the {utterances} utterances can be used; the first: {first}", path.display())]
    NothingUsable {
        /// The corpus.
        path: PathBuf,
        /// How many utterances the corpus lists.
        utterances: usize,
        /// Why the first one was left out.
        first: String,
    },
    /// A file that is already there and holds something else.
    #[error("{} exists and holds something else; hint: choose another folder, or --overwrite", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file that is not to be written.
    #[error("{}: {what}", path.display())]
    Target {
        /// The file.
        path: PathBuf,
        /// Why not, and what to do.
        what: String,
    },
    /// A transcript file of another tool.
    #[error(transparent)]
    Text(#[from] klang_text::Error),
    /// A path or value that a manifest cannot hold.
    #[error("utterance `{id}`: {what}")]
    Unwritable {
        /// The utterance's id.
        id: String,
        /// What cannot be written and why.
        what: String,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { action, path: path.to_path_buf(), source }
    }

    pub(crate) fn syntax(path: &Path, line: usize, what: impl Into<String>) -> Error {
        Error::Syntax { path: path.to_path_buf(), line, what: what.into() }
    }
}

/// The first `limit` characters of what a file gave, for a message.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    let mut out: String = text.chars().take(limit).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// Longest name in a list, in characters: a path and what is wrong with it.
const NAME_LIMIT: usize = 400;

/// `a, b, c and 12 more`; `nothing` for an empty list.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, limit: usize) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let shown: Vec<String> = names.iter().take(limit).map(|name| shortened(name, NAME_LIMIT)).collect();
    match names.len().saturating_sub(limit) {
        0 => shown.join(", "),
        others => format!("{} and {others} more", shown.join(", ")),
    }
}
