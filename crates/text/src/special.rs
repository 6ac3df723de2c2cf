//! Which tokens of a vocabulary are not text.

use std::path::Path;

use serde_json::Value;

use crate::Error;

/// The names of the special tokens, as transformers' `tokenizer_config.json` and `special_tokens_map.json` give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `pad_token`, which is the CTC blank. Default: `<pad>`.
    pub pad: String,
    /// `unk_token`: a character outside the vocabulary. Default: `<unk>`.
    pub unknown: Option<String>,
    /// `word_delimiter_token`: the space between words. Default: `|`.
    pub delimiter: Option<String>,
    /// Further tokens that are not text: `bos_token` and `eos_token`, which CTC does not use. Default: `<s>`, `</s>`.
    pub others: Vec<String>,
}

impl Default for SpecialTokens {
    fn default() -> Self {
        Self {
            pad: "<pad>".to_owned(),
            unknown: Some("<unk>".to_owned()),
            delimiter: Some("|".to_owned()),
            others: vec!["<s>".to_owned(), "</s>".to_owned()],
        }
    }
}

impl SpecialTokens {
    /// The names that a `tokenizer_config.json` or `special_tokens_map.json` states; where it is silent, the default.
    /// A token is a string or an object with `content`. `null` means that there is none; for `pad_token`, the default.
    ///
    /// # Errors
    /// [`Error::Json`] if it is no JSON object.
    pub fn from_json(json: &[u8], file: &Path) -> Result<Self, Error> {
        let fields: serde_json::Map<String, Value> = serde_json::from_slice(json).map_err(|source| Error::Json {
            file: file.to_owned(),
            expected: "a JSON object with pad_token, unk_token and word_delimiter_token",
            source,
        })?;
        let named = |key: &str, default: Option<String>| match fields.get(key) {
            None => default,
            Some(Value::String(name)) => Some(name.clone()),
            Some(other) => other.get("content").and_then(Value::as_str).map(str::to_owned),
        };
        let default = Self::default();
        Ok(Self {
            pad: named("pad_token", None).unwrap_or(default.pad),
            unknown: named("unk_token", default.unknown),
            delimiter: named("word_delimiter_token", default.delimiter),
            others: ["bos_token", "eos_token"]
                .into_iter()
                .zip(default.others)
                .filter_map(|(key, name)| named(key, Some(name)))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_and_silence_are_read() {
        let json = br#"{"pad_token": "[PAD]", "unk_token": {"content": "[UNK]", "lstrip": false}, "bos_token": null, "do_lower_case": false}"#;
        let names = SpecialTokens::from_json(json, Path::new("tokenizer_config.json")).unwrap();
        let expected = SpecialTokens {
            pad: "[PAD]".to_owned(),
            unknown: Some("[UNK]".to_owned()),
            delimiter: Some("|".to_owned()),
            others: vec!["</s>".to_owned()],
        };
        assert_eq!(names, expected);
    }

    #[test]
    fn malformed_files_are_named() {
        for json in [&b""[..], b"[]", b"{", b"\xff"] {
            let message = SpecialTokens::from_json(json, Path::new("a/b.json")).unwrap_err().to_string();
            assert!(message.starts_with("a/b.json: "), "{message}");
        }
    }
}
