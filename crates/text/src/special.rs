//! Which tokens of a vocabulary are not text, and what else transformers' tokenizer files state.

use std::path::Path;

use serde_json::{Map, Value};

use crate::Error;
use crate::error::excerpt;

/// The names of the special tokens, as transformers' `tokenizer_config.json` and `special_tokens_map.json` give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `pad_token`, which is the CTC blank. Default: `<pad>`.
    pub pad: String,
    /// `unk_token`: a character outside the vocabulary. Default: `<unk>`.
    pub unknown: Option<String>,
    /// `word_delimiter_token`: the space between words. Default: `|`.
    pub delimiter: Option<String>,
    /// `bos_token`: the start of a sentence, which CTC does not use. Default: `<s>`.
    pub start: Option<String>,
    /// `eos_token`: the end of a sentence, which CTC does not use. Default: `</s>`.
    pub end: Option<String>,
    /// Further tokens that are not text: `additional_special_tokens`, `extra_special_tokens` and every other key in `_token`.
    pub others: Vec<String>,
}

impl Default for SpecialTokens {
    fn default() -> Self {
        Self {
            pad: "<pad>".to_owned(),
            unknown: Some("<unk>".to_owned()),
            delimiter: Some("|".to_owned()),
            start: Some("<s>".to_owned()),
            end: Some("</s>".to_owned()),
            others: Vec::new(),
        }
    }
}

/// The keys of [`SpecialTokens`]' own fields.
const ROLES: [&str; 5] = ["pad_token", "unk_token", "word_delimiter_token", "bos_token", "eos_token"];

impl SpecialTokens {
    /// The names that a `tokenizer_config.json` or `special_tokens_map.json` states; where it is silent, the default.
    /// A token is a string or an object with `content`. `null` means that there is none; for `pad_token`, the default.
    ///
    /// # Errors
    /// [`Error::Json`] if it is no JSON object, [`Error::TokenizerField`] if a token is none.
    pub fn from_json(json: &[u8], file: &Path) -> Result<Self, Error> {
        let mut settings = Settings::default();
        settings.overlay(json, file)?;
        Self::from_settings(&settings)
    }

    pub(crate) fn from_settings(settings: &Settings<'_>) -> Result<Self, Error> {
        let default = Self::default();
        let mut others = Vec::new();
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            match settings.get(key) {
                Some((Value::Array(tokens), _)) => others.extend(tokens.iter().filter_map(content)),
                // transformers 5 also knows names for them.
                Some((Value::Object(tokens), _)) => others.extend(tokens.values().filter_map(content)),
                _ => {}
            }
        }
        // Not all such keys are tokens: add_bos_token is a switch.
        others.extend(settings.keys().filter(|key| key.ends_with("_token") && !ROLES.contains(key)).filter_map(
            |key| {
                let (value, _) = settings.get(key)?;
                content(value)
            },
        ));
        Ok(Self {
            pad: settings.token("pad_token", None)?.unwrap_or(default.pad),
            unknown: settings.token("unk_token", default.unknown)?,
            delimiter: settings.token("word_delimiter_token", default.delimiter)?,
            start: settings.token("bos_token", default.start)?,
            end: settings.token("eos_token", default.end)?,
            others: others.into_iter().map(str::to_owned).collect(),
        })
    }

    /// All names, in the order in which transformers adds those that a vocabulary lacks.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let roles = [self.start.as_ref(), self.end.as_ref(), self.unknown.as_ref(), Some(&self.pad)];
        roles.into_iter().chain([self.delimiter.as_ref()]).flatten().chain(&self.others).map(String::as_str)
    }
}

/// The keys of one or several JSON objects, a later one over the earlier.
#[derive(Default)]
pub(crate) struct Settings<'a> {
    layers: Vec<(Map<String, Value>, &'a Path)>,
}

impl<'a> Settings<'a> {
    /// Lays a file's keys over those read so far.
    pub(crate) fn overlay(&mut self, json: &[u8], file: &'a Path) -> Result<(), Error> {
        let fields = serde_json::from_slice(json).map_err(|source| Error::Json {
            file: file.to_owned(),
            expected: "a JSON object with pad_token, unk_token and word_delimiter_token",
            source,
        })?;
        self.layers.push((fields, file));
        Ok(())
    }

    /// A key's value and the file that states it.
    pub(crate) fn get(&self, key: &str) -> Option<(&Value, &'a Path)> {
        self.layers.iter().rev().find_map(|(fields, file)| Some((fields.get(key)?, *file)))
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().flat_map(|(fields, _)| fields.keys()).map(String::as_str)
    }

    fn token(&self, key: &str, default: Option<String>) -> Result<Option<String>, Error> {
        match self.get(key) {
            None => Ok(default),
            Some((Value::Null, _)) => Ok(None),
            Some((value, file)) => match content(value) {
                Some(name) => Ok(Some(name.to_owned())),
                None => Err(refusal(file, key, value, "a string, an object with content, or null")),
            },
        }
    }

    /// A key that is a string; `None` if it is not stated or null.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.get(key) {
            None | Some((Value::Null, _)) => Ok(None),
            Some((Value::String(text), _)) => Ok(Some(text)),
            Some((value, file)) => Err(refusal(file, key, value, "a string or null")),
        }
    }

    /// A key that is true or false; not stated or null is false.
    pub(crate) fn switch(&self, key: &str) -> Result<bool, Error> {
        match self.get(key) {
            None | Some((Value::Null, _)) => Ok(false),
            Some((Value::Bool(on), _)) => Ok(*on),
            Some((value, file)) => Err(refusal(file, key, value, "true, false or null")),
        }
    }
}

/// A token written as a string or as an object with `content`.
pub(crate) fn content(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

pub(crate) fn refusal(file: &Path, key: &str, value: &Value, allowed: &'static str) -> Error {
    Error::TokenizerField { file: file.to_owned(), key: excerpt(key), given: excerpt(&value.to_string()), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<SpecialTokens, Error> {
        SpecialTokens::from_json(json.as_bytes(), Path::new("a/b.json"))
    }

    #[test]
    fn both_spellings_and_silence_are_read() {
        let json = r#"{"pad_token": "[PAD]", "unk_token": {"content": "[UNK]", "lstrip": false}, "bos_token": null, "do_lower_case": false}"#;
        let expected = SpecialTokens {
            pad: "[PAD]".to_owned(),
            unknown: Some("[UNK]".to_owned()),
            delimiter: Some("|".to_owned()),
            start: None,
            end: Some("</s>".to_owned()),
            others: vec![],
        };
        assert_eq!(read(json).unwrap(), expected);
    }

    #[test]
    fn further_special_tokens_are_found_under_every_key() {
        let json = r#"{"additional_special_tokens": ["<x>", {"content": "<y>"}, "<x>"], "mask_token": "<mask>",
            "add_bos_token": false, "cls_token": null}"#;
        assert_eq!(read(json).unwrap().others, ["<x>", "<y>", "<x>", "<mask>"]);
        assert_eq!(read(r#"{"extra_special_tokens": {"noise_token": "<noise>"}}"#).unwrap().others, ["<noise>"]);
    }

    #[test]
    fn what_is_no_token_is_refused_with_its_key() {
        let message = read(r#"{"unk_token": 3}"#).unwrap_err().to_string();
        assert_eq!(message, "a/b.json: unk_token is 3; allowed is a string, an object with content, or null");
    }

    #[test]
    fn malformed_files_are_named() {
        for json in [&b""[..], b"[]", b"{", b"\xff"] {
            let message = SpecialTokens::from_json(json, Path::new("a/b.json")).unwrap_err().to_string();
            assert!(message.starts_with("a/b.json: "), "{message}");
        }
    }
}
