//! What can be wrong with an ARPA file, or with a text to estimate a model from.

use std::path::PathBuf;

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate: what is wrong, where, what was given and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read or write, or a gzip stream is broken.
    #[error("{}: {source}{hint}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
        /// A further sentence, or nothing.
        hint: &'static str,
    },

    /// A file with nothing in it.
    #[error("{}: the file is empty; a language model in ARPA format starts with \\data\\ (hint: was it written in full?)", file.display())]
    EmptyFile {
        /// The file.
        file: PathBuf,
    },

    /// A language model, or something else, in a format that is not read.
    #[error("{}: this is {format}, which klang does not read; {hint}", file.display())]
    OtherFormat {
        /// The file.
        file: PathBuf,
        /// What it is.
        format: &'static str,
        /// What to do.
        hint: &'static str,
    },

    /// A line that is not what the format demands at its place.
    #[error("{}: line {line}: {what}: {given:?}; allowed is {allowed}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong.
        what: &'static str,
        /// The line, or the part that is wrong, shortened.
        given: String,
        /// What it may be.
        allowed: String,
    },

    /// The file ends before the model does.
    #[error("{}: the file ends after line {line}, where {expected} was to come; the last line of a whole model is \\end\\ (hint: was the file copied or written in full?)", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// The last line there is, counted from 1.
        line: u64,
        /// What is missing.
        expected: String,
    },

    /// A section with fewer or more n-grams than the header says.
    #[error("{}: line {line}: the {order}-grams {found} {said}, which is what the header's line \"ngram {order}={said}\" promises (hint: was the file cut, joined or edited?)", file.display())]
    Count {
        /// The file.
        file: PathBuf,
        /// The line where it shows, counted from 1.
        line: u64,
        /// The order of the section.
        order: usize,
        /// How many the header says.
        said: u64,
        /// How many there are, in words that go before the header's number.
        found: String,
    },

    /// A word of a longer n-gram that is no unigram.
    #[error("{}: line {line}: {word:?} of the {order}-gram {gram:?} is not among the 1-grams, which must hold every word", file.display())]
    MissingWord {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The word.
        word: String,
        /// The order of the n-gram.
        order: usize,
        /// The n-gram.
        gram: String,
    },

    /// An n-gram whose context is not in the model.
    #[error("{}: line {line}: the {order}-gram {gram:?} extends {context:?}, which is not among the {}-grams; every n-gram's words but the last must be one (hint: when n-grams are pruned, those that they extend must stay)", file.display(), order - 1)]
    MissingContext {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The order of the n-gram.
        order: usize,
        /// The n-gram.
        gram: String,
        /// Its words but the last.
        context: String,
    },

    /// An n-gram given twice.
    #[error("{}: line {second} gives the {order}-gram of line {first} again; each may be given once", file.display())]
    Duplicate {
        /// The file.
        file: PathBuf,
        /// The order.
        order: usize,
        /// The first line, counted from 1.
        first: u64,
        /// The second line.
        second: u64,
    },

    /// A model without a token that marks a sentence's start or end.
    #[error("{}: {token} is not among the 1-grams; <s> and </s> must be, so that a sentence can start and end (hint: estimate the model from sentences, one a line, with klang, lmplz or SRILM)", file.display())]
    MissingSpecial {
        /// The file.
        file: PathBuf,
        /// The token.
        token: &'static str,
    },

    /// More n-grams than 32 bits can number.
    #[error("the language model has too many n-grams: at most {} of one order and as many contexts are possible; prune it, or lower its order", u32::MAX - 1)]
    TooLarge,

    /// A setting that means nothing.
    #[error("{setting} is {given}; allowed is {allowed}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        given: String,
        /// What it may be.
        allowed: String,
    },

    /// A text without a word.
    #[error(
        "no language model can be estimated: {sentences} sentences hold no word (hint: is the text empty, or in another file or column? a few hundred sentences are the least that helps)"
    )]
    NoWords {
        /// How many sentences were given.
        sentences: u64,
    },

    /// A special token in the text.
    #[error(
        "sentence {sentence} holds {token:?}, which a language model keeps for itself: sentences are given without marks of their start and end (hint: take it out, or have such tokens skipped)"
    )]
    SpecialInText {
        /// The sentence, counted from 1.
        sentence: u64,
        /// The token.
        token: String,
    },

    /// A word that an ARPA file cannot hold.
    #[error(
        "sentence {sentence} holds the word {word:?}; a word has at least one character, and no space, tab, line end or zero among them (hint: in a model of characters write another sign for the space, such as |)"
    )]
    BadWord {
        /// The sentence, counted from 1.
        sentence: u64,
        /// The word, shortened.
        word: String,
    },

    /// A text with more words than 32 bits can number.
    #[error("the text is too long: at most {} words and sentence ends are possible; take a part of it", u32::MAX - 1)]
    TextTooLong,
}

/// At most 60 characters of a text, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 60;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
