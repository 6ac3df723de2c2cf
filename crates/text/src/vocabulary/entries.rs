//! The entries of `vocab.json` and `added_tokens.json` as they stand: a token and its id, in some files by language.

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::Error;

/// Tokens and their ids, in the order of the file.
pub(super) type Entries = Vec<(String, u64)>;

/// What a `vocab.json` holds.
pub(super) enum VocabJson {
    /// One vocabulary.
    Flat(Entries),
    /// One vocabulary per language, as in MMS.
    Nested(Vec<(String, Entries)>),
}

/// Reads either kind of `vocab.json`.
pub(super) fn read_vocab_json(json: &[u8], file: &Path) -> Result<VocabJson, Error> {
    let mut parser = serde_json::Deserializer::from_slice(json);
    parser.deserialize_map(VocabVisitor).and_then(|found| parser.end().map(|()| found)).map_err(|source| Error::Json {
        file: file.to_owned(),
        expected: "a JSON object of tokens and their ids, or of languages and such objects",
        source,
    })
}

/// Reads an object of tokens and ids.
pub(super) fn read_flat(json: &[u8], file: &Path) -> Result<Entries, Error> {
    match read_vocab_json(json, file)? {
        VocabJson::Flat(entries) => Ok(entries),
        VocabJson::Nested(languages) => {
            let names = languages.iter().map(|(language, _)| language.as_str());
            Err(super::languages::missing(names, file))
        }
    }
}

/// Keeps every entry in its order; a map would silently keep the last of two equal tokens.
struct VocabVisitor;

impl<'de> Visitor<'de> for VocabVisitor {
    type Value = VocabJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tokens and ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VocabJson, A::Error> {
        let (mut entries, mut languages) = (Vec::new(), Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            match map.next_value()? {
                Value::Id(id) => entries.push((key, id)),
                Value::Language(own) if languages.iter().all(|(language, _)| *language != key) => {
                    languages.push((key, own));
                }
                Value::Language(_) => return Err(A::Error::custom(format_args!("language {key:?} is given twice"))),
            }
            if !entries.is_empty() && !languages.is_empty() {
                return Err(A::Error::custom("some entries are ids and some are languages; they must all be one kind"));
            }
        }
        Ok(if languages.is_empty() { VocabJson::Flat(entries) } else { VocabJson::Nested(languages) })
    }
}

enum Value {
    Id(u64),
    Language(Entries),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id (a whole number, at least 0) or a language's object of tokens and ids")
    }

    fn visit_u64<E>(self, id: u64) -> Result<Value, E> {
        Ok(Value::Id(id))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Language(entries))
    }
}
