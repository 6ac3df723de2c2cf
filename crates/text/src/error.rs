//! What can be wrong with a text, a vocabulary or a pair of transcript files.

use std::path::PathBuf;

/// An error of this crate: what is wrong, where, what was given and what is allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `text.locale` is no language tag.
    #[error(
        "text.locale is {given:?}, which is no language tag: allowed is a BCP 47 tag that starts with an ISO 639 code of two or three letters, such as en, tr, pt-BR or mdw{hint}"
    )]
    Locale {
        /// The locale as given.
        given: String,
        /// A further sentence, or nothing.
        hint: &'static str,
    },

    /// A transcript holds a special token's spelling, so that labels and text would be confused.
    #[error(
        "text {number} holds {token:?}, which is a special token of the vocabulary: {excerpt:?} (hint: punctuation: remove takes it out; otherwise correct the transcript)"
    )]
    SpecialInText {
        /// Which text, counted from 1 in the order given.
        number: usize,
        /// The special token found.
        token: String,
        /// The text, shortened.
        excerpt: String,
    },

    /// The texts hold no character to build a vocabulary from.
    #[error(
        "no vocabulary can be built: {texts} texts hold no character but white space (hint: are the transcripts empty, or in another column?)"
    )]
    NoCharacters {
        /// How many texts were read.
        texts: usize,
    },

    /// A JSON file is malformed or of another shape than expected.
    #[error("{}: not {expected}: {source}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// The parser's complaint, with line and column.
        source: serde_json::Error,
    },

    /// A vocabulary file gives one token twice.
    #[error("{}: token {token:?} is given twice, as id {first} and as id {second}; each token has one id", file.display())]
    DuplicateToken {
        /// The file.
        file: PathBuf,
        /// The token.
        token: String,
        /// The id at its first place.
        first: u64,
        /// The id at its second place.
        second: u64,
    },

    /// A vocabulary file gives one id to two tokens.
    #[error("{}: id {id} is given to both {first:?} and {second:?}; ids are 0 to {last}, each used once", file.display())]
    DuplicateTokenId {
        /// The file.
        file: PathBuf,
        /// The id.
        id: u64,
        /// One token.
        first: String,
        /// The other.
        second: String,
        /// The largest id allowed.
        last: usize,
    },

    /// A vocabulary file's ids leave a hole.
    #[error("{}: token {token:?} has id {id}, but with {tokens} tokens the ids are 0 to {} without a hole", file.display(), tokens.saturating_sub(1))]
    TokenIdRange {
        /// The file.
        file: PathBuf,
        /// The token.
        token: String,
        /// Its id.
        id: u64,
        /// How many tokens there are.
        tokens: usize,
    },

    /// A vocabulary without the token that serves as CTC blank.
    #[error("{}: the padding token {pad:?}, which is the CTC blank, is not among the {tokens} tokens (hint: pad_token in tokenizer_config.json or special_tokens_map.json names it)", file.display())]
    NoBlank {
        /// The file.
        file: PathBuf,
        /// The name looked for.
        pad: String,
        /// How many tokens there are.
        tokens: usize,
    },

    /// One token in two special roles.
    #[error("{}: token {token:?} is both {first} and {second}; they must be different tokens", file.display())]
    SpecialsCollide {
        /// The file.
        file: PathBuf,
        /// The token.
        token: String,
        /// One role.
        first: &'static str,
        /// The other role.
        second: &'static str,
    },

    /// A key of a tokenizer file has a value that means nothing.
    #[error("{}: {key} is {given}; allowed is {allowed}", file.display())]
    TokenizerField {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// Its value, shortened.
        given: String,
        /// What it may be.
        allowed: &'static str,
    },

    /// A file with one vocabulary per language, of which none was named.
    #[error("{}: holds {count} vocabularies, one per language ({}); which one is not said (hint: give one language, or target_lang in tokenizer_config.json)", file.display(), list(first, *count))]
    LanguageMissing {
        /// The file.
        file: PathBuf,
        /// How many languages there are.
        count: usize,
        /// The first few.
        first: Vec<String>,
    },

    /// A language that a file with one vocabulary per language lacks.
    #[error("{}: there is no vocabulary of the language {given:?}; allowed is one of the {count} there are, of which the nearest by spelling: {}", file.display(), list(nearest, *count))]
    UnknownLanguage {
        /// The file.
        file: PathBuf,
        /// The language as given.
        given: String,
        /// How many languages there are.
        count: usize,
        /// A few of them, nearest first.
        nearest: Vec<String>,
    },

    /// A language where there are none to choose from.
    #[error("{}: the language {language:?} was given, but the checkpoint has one vocabulary, of no stated language; leave the language out", file.display())]
    OneVocabulary {
        /// The file.
        file: PathBuf,
        /// The language as given.
        language: String,
    },

    /// A head with fewer rows than there are tokens of text.
    #[error("{}: there are {tokens} tokens, but the head has {rows} rows: none for {token:?}, id {id}; only special tokens that were added may lack one (hint: do these files belong to this checkpoint?)", file.display())]
    HeadTooSmall {
        /// The file.
        file: PathBuf,
        /// How many tokens there are.
        tokens: usize,
        /// How many rows the head has.
        rows: usize,
        /// The first token without a row.
        token: String,
        /// Its id.
        id: usize,
    },

    /// A head with many more rows than there are tokens.
    #[error("{}: there are {tokens} tokens, but the head has {rows} rows; at most {limit} rows may lack a token (hint: do these files belong to this checkpoint, and to this language?)", file.display())]
    HeadTooLarge {
        /// The file.
        file: PathBuf,
        /// How many tokens there are.
        tokens: usize,
        /// How many rows the head has.
        rows: usize,
        /// How many may lack a token.
        limit: usize,
    },

    /// A line of a transcript file cannot be read.
    #[error("{}: line {line}: {what}: {given:?}; allowed is {allowed}", file.display())]
    TranscriptLine {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
        /// The line, shortened.
        given: String,
        /// What a line may be.
        allowed: &'static str,
    },

    /// A transcript file gives one id twice.
    #[error("{}: id {id:?} is on line {first} and again on line {second}; each id may occur once", file.display())]
    DuplicateLine {
        /// The file.
        file: PathBuf,
        /// The id.
        id: String,
        /// Its first line, counted from 1.
        first: usize,
        /// Its second line.
        second: usize,
    },

    /// References or hypotheses give one id twice.
    #[error("id {id:?} occurs twice among the {side}; each id may occur once")]
    DuplicateId {
        /// "references" or "hypotheses".
        side: &'static str,
        /// The id.
        id: String,
    },

    /// There is nothing to score against.
    #[error(
        "there are no references to score against, but {hypotheses} hypotheses (hint: were the files given in the order REFERENCES HYPOTHESES?)"
    )]
    NoReferences {
        /// How many hypotheses were given.
        hypotheses: usize,
    },

    /// Hypotheses whose ids no reference has.
    #[error("{count} hypotheses have no reference: {}; reference ids look like {example:?} (hint: do both files come from the same test set, and name utterances alike?)", list(first, *count))]
    UnknownHypotheses {
        /// How many.
        count: usize,
        /// The first few ids.
        first: Vec<String>,
        /// A reference's id.
        example: String,
    },

    /// The runs of one system, or the results of two, are not of the same utterances.
    #[error("utterance {number} cannot be compared: {what}: {first} and {second}")]
    Uncomparable {
        /// Which utterance, counted from 1 in the order given.
        number: usize,
        /// What differs, and what is allowed.
        what: &'static str,
        /// How it is here, or in the first of two.
        first: String,
        /// How it is elsewhere, or in the second.
        second: String,
    },
}

fn list(first: &[String], count: usize) -> String {
    let more = if count > first.len() { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}

/// At most 60 characters of a text, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 60;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
