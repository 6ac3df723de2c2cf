//! A vocabulary from all the files that transformers' Wav2Vec2CTCTokenizer keeps in a model folder.
//!
//! Which file counts is as in transformers (tried with 5.23): if `tokenizer_config.json` has `added_tokens_decoder`, it stands
//! alone. Otherwise, as before 4.34, the keys of `special_tokens_map.json` go over its own, and `added_tokens.json` is read.
//!
//! Three differences: `word_delimiter_token` in `tokenizer_config.json` counts, which transformers 5 loses and 4 does not;
//! an added token with `special: true` is never text; and ids contradicting `vocab.json` are refused.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use super::Vocabulary;
use super::assemble::{Parts, assemble, in_id_order};
use super::entries::{VocabJson, read_flat, read_vocab_json};
use super::languages::choose;
use crate::special::{Settings, content, refusal};
use crate::{Error, SpecialTokens};

/// How many rows of a head may lack a token.
const UNNAMED_ROWS: usize = 1024;

/// A file's text, and its path for messages.
#[derive(Clone, Copy, Debug)]
pub struct TokenizerFile<'a> {
    /// What is in it.
    pub text: &'a str,
    /// Where it is. It is not opened.
    pub path: &'a Path,
}

/// The files of a tokenizer, already read, and what to take from them.
#[derive(Clone, Copy, Debug)]
pub struct TokenizerFiles<'a> {
    /// `vocab.json`: tokens and ids, or one such object per language (MMS).
    pub vocab: TokenizerFile<'a>,
    /// `tokenizer_config.json`, if there is one.
    pub tokenizer_config: Option<TokenizerFile<'a>>,
    /// `special_tokens_map.json`, if there is one.
    pub special_tokens_map: Option<TokenizerFile<'a>>,
    /// `added_tokens.json`, if there is one.
    pub added_tokens: Option<TokenizerFile<'a>>,
    /// Which language's vocabulary, if there are several; `target_lang` of `tokenizer_config.json` if this is `None`.
    pub language: Option<&'a str>,
    /// How many rows the head has that the vocabulary is for, if it is to fit one. Published heads may lack the special tokens
    /// that were added behind, or have rows for those that transformers adds by itself.
    pub head_rows: Option<usize>,
}

impl<'a> TokenizerFiles<'a> {
    /// A `vocab.json` alone.
    #[must_use]
    pub fn new(vocab: TokenizerFile<'a>) -> Self {
        let (tokenizer_config, special_tokens_map, added_tokens) = (None, None, None);
        Self { vocab, tokenizer_config, special_tokens_map, added_tokens, language: None, head_rows: None }
    }
}

/// A token behind those of `vocab.json`.
struct Added {
    token: String,
    id: u64,
    special: bool,
}

impl Vocabulary {
    /// The vocabulary of a model folder, from its files' texts. What a file does not state has transformers' default.
    ///
    /// Added tokens stand behind those of `vocab.json`, as text unless they are special; one that repeats a token with its id
    /// adds nothing. Of several languages, the added tokens are those of `target_lang`, so another language has none.
    ///
    /// With `head_rows`, special tokens behind the head's last row are left out, and rows behind the last token get the
    /// special tokens that are named but lack an id, in transformers' order, then names of their own.
    ///
    /// # Errors
    /// Those of [`Vocabulary::from_vocab_json`], with the added tokens' file where these contradict the vocabulary or leave a
    /// hole; [`Error::TokenizerField`]; [`Error::LanguageMissing`], [`Error::UnknownLanguage`], [`Error::OneVocabulary`];
    /// [`Error::HeadTooSmall`], [`Error::HeadTooLarge`].
    pub fn from_files(files: &TokenizerFiles<'_>) -> Result<Self, Error> {
        let TokenizerFile { text, path } = files.vocab;
        let settings = settings(files)?;
        let specials = SpecialTokens::from_settings(&settings)?;
        let stated = settings.text("target_lang")?;
        let mut added = added_tokens(files, &settings, &specials)?;
        let own = match (read_vocab_json(text.as_bytes(), path)?, files.language) {
            (VocabJson::Flat(entries), None) => in_id_order(entries, path)?,
            (VocabJson::Flat(_), Some(language)) => {
                return Err(Error::OneVocabulary { file: path.to_owned(), language: language.to_owned() });
            }
            (VocabJson::Nested(languages), language) => {
                let own = in_id_order(choose(languages, language.or(stated), path)?, path)?;
                // They were numbered behind the language that the tokenizer was saved with. Even there some may be left of
                // another: the language's own tokens then win, as in transformers.
                let same = language.is_none() || language == stated;
                let known: HashSet<&str> = own.iter().map(String::as_str).collect();
                added.tokens.retain(|new| {
                    let taken = usize::try_from(new.id).is_ok_and(|id| id < own.len());
                    same && !taken && !known.contains(new.token.as_str())
                });
                own
            }
        };
        let space = settings.text("replace_word_delimiter_char")?.unwrap_or(" ").to_owned();
        let mut parts = Parts { lower_case: settings.switch("do_lower_case")?, space, ..Parts::own(own) };
        extend(&mut parts, added)?;
        if let Some(rows) = files.head_rows {
            fit_to_head(&mut parts, rows, &specials, path)?;
        }
        assemble(parts, &specials, path)
    }
}

fn settings<'a>(files: &TokenizerFiles<'a>) -> Result<Settings<'a>, Error> {
    let mut settings = Settings::default();
    if let Some(TokenizerFile { text, path }) = files.tokenizer_config {
        settings.overlay(text.as_bytes(), path)?;
    }
    if let (None, Some(TokenizerFile { text, path })) = (settings.get("added_tokens_decoder"), files.special_tokens_map)
    {
        settings.overlay(text.as_bytes(), path)?;
    }
    Ok(settings)
}

/// Added tokens and the file that has them.
struct AddedTokens<'a> {
    tokens: Vec<Added>,
    path: &'a Path,
}

fn added_tokens<'a>(
    files: &TokenizerFiles<'a>,
    settings: &Settings<'a>,
    specials: &SpecialTokens,
) -> Result<AddedTokens<'a>, Error> {
    if let Some((value, path)) = settings.get("added_tokens_decoder") {
        let refuse = |allowed| refusal(path, "added_tokens_decoder", value, allowed);
        let entries = value.as_object().ok_or_else(|| refuse("an object of ids and tokens"))?;
        let read = |(id, value): (&String, &Value)| {
            let key = || format!("added_tokens_decoder: {id}");
            let allowed = "a token with content, under an id that is a whole number";
            let refuse = || refusal(path, &key(), value, allowed);
            let token = content(value).ok_or_else(refuse)?.to_owned();
            let special = value.get("special").and_then(Value::as_bool).unwrap_or(false);
            Ok(Added { token, id: id.parse().map_err(|_| refuse())?, special })
        };
        return Ok(AddedTokens { tokens: entries.iter().map(read).collect::<Result<_, Error>>()?, path });
    }
    let Some(TokenizerFile { text, path }) = files.added_tokens else {
        return Ok(AddedTokens { tokens: Vec::new(), path: files.vocab.path });
    };
    let special: HashSet<&str> = specials.names().collect();
    let read = |(token, id): (String, u64)| Added { special: special.contains(token.as_str()), token, id };
    Ok(AddedTokens { tokens: read_flat(text.as_bytes(), path)?.into_iter().map(read).collect(), path })
}

fn extend(parts: &mut Parts, added: AddedTokens<'_>) -> Result<(), Error> {
    let mut entries: Vec<(String, u64)> = std::mem::take(&mut parts.tokens).into_iter().zip(0..).collect();
    let mut special = HashSet::new();
    for Added { token, id, special: flag } in added.tokens {
        special.extend(flag.then_some(id));
        let known = usize::try_from(id).ok().and_then(|id| entries.get(id)).filter(|_| id < parts.own as u64);
        if known.is_none_or(|(known, _)| *known != token) {
            entries.push((token, id));
        }
    }
    parts.tokens = in_id_order(entries, added.path)?;
    parts.flagged = (0..parts.tokens.len() as u64).map(|id| special.contains(&id)).collect();
    Ok(())
}

fn fit_to_head(parts: &mut Parts, rows: usize, specials: &SpecialTokens, file: &Path) -> Result<(), Error> {
    let count = parts.tokens.len();
    let named: HashSet<&str> = specials.names().collect();
    let behind = parts.tokens.iter().zip(&parts.flagged).enumerate().skip(rows);
    for (id, (token, flagged)) in behind {
        if id < parts.own || !(*flagged || named.contains(token.as_str())) {
            return Err(Error::HeadTooSmall { file: file.to_owned(), tokens: count, rows, token: token.clone(), id });
        }
    }
    if rows > count.saturating_add(UNNAMED_ROWS) {
        return Err(Error::HeadTooLarge { file: file.to_owned(), tokens: count, rows, limit: UNNAMED_ROWS });
    }
    parts.tokens.truncate(rows);
    parts.flagged.truncate(rows);
    let mut known: HashSet<String> = parts.tokens.iter().cloned().collect();
    let own_names = (0..).map(|number| format!("<row {number}>"));
    let mut names = specials.names().filter(|name| !name.is_empty()).map(str::to_owned).chain(own_names);
    while parts.tokens.len() < rows
        && let Some(name) = names.next()
    {
        if known.insert(name.clone()) {
            parts.tokens.push(name);
        }
    }
    parts.flagged.resize(rows, true);
    Ok(())
}
