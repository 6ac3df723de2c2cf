//! A vocabulary as files that transformers' Wav2Vec2CTCTokenizer opens with the very same tokens.
//!
//! transformers adds by itself every special token that is named, by a file or by default, and not in the vocabulary: its
//! tokenizer would be larger than the head. So every role without a token is written as null.

use serde_json::{Map, Value, json};

use super::Vocabulary;

/// The delimiter of nearly every vocabulary, and transformers' default.
const PIPE: &str = "|";

impl Vocabulary {
    /// All tokens, added ones included, in the form of a `vocab.json`: an object of token and id, by id, indented by two spaces.
    /// [`Vocabulary::tokenizer_files`] keeps apart what was added.
    #[must_use]
    pub fn to_vocab_json(&self) -> String {
        json_of_ids((0..).zip(&self.tokens))
    }

    /// The files of a model folder that hold this vocabulary, by name: `vocab.json`, `tokenizer_config.json`,
    /// `special_tokens_map.json` and, if tokens were added, `added_tokens.json`. [`Vocabulary::from_files`] reads them back.
    #[must_use]
    pub fn tokenizer_files(&self) -> Vec<(&'static str, String)> {
        let mut files = vec![
            ("vocab.json", json_of_ids((0..).zip(&self.tokens).take(self.own))),
            ("tokenizer_config.json", format!("{:#}\n", self.tokenizer_config())),
            ("special_tokens_map.json", format!("{:#}\n", self.special_tokens_map())),
        ];
        if self.own < self.tokens.len() {
            files.push(("added_tokens.json", json_of_ids((0..).zip(&self.tokens).skip(self.own))));
        }
        files
    }

    /// `tokenizer_config.json`: the class, the special tokens, the casing, and the added tokens.
    #[must_use]
    pub fn tokenizer_config(&self) -> Value {
        let mut config = self.roles();
        config.insert("tokenizer_class".into(), json!("Wav2Vec2CTCTokenizer"));
        config.insert("word_delimiter_token".into(), json!(self.delimiter_name()));
        config.insert("replace_word_delimiter_char".into(), json!(self.space));
        config.insert("do_lower_case".into(), json!(self.lower_case));
        config.insert("clean_up_tokenization_spaces".into(), json!(false));
        let others = self.other_specials();
        if !others.is_empty() {
            // transformers 5 calls them extra_special_tokens, and reads this name; 4 knows no other.
            config.insert("additional_special_tokens".into(), json!(others));
        }
        // transformers 5 takes another delimiter only from special_tokens_map.json, which added_tokens_decoder would silence.
        if self.own < self.tokens.len() && self.delimiter_name() == PIPE {
            let added = self.added_tokens().map(|(id, token)| {
                let special = self.is_special(id) || Some(id) == self.delimiter;
                let token = json!({
                    "content": token, "special": special,
                    "lstrip": false, "normalized": false, "rstrip": false, "single_word": false,
                });
                (id.to_string(), token)
            });
            config.insert("added_tokens_decoder".into(), Value::Object(added.collect()));
        }
        Value::Object(config)
    }

    /// `special_tokens_map.json`: the special tokens, `null` for a role without one.
    #[must_use]
    pub fn special_tokens_map(&self) -> Value {
        let mut map = self.roles();
        if self.delimiter_name() != PIPE {
            map.insert("word_delimiter_token".into(), json!(self.delimiter_name()));
        }
        Value::Object(map)
    }

    /// The delimiter's token. "" if there is none: transformers spells null out, as the letters N, o, n, e.
    fn delimiter_name(&self) -> &str {
        self.delimiter.and_then(|id| self.token(id)).unwrap_or_default()
    }

    fn roles(&self) -> Map<String, Value> {
        let roles = [
            ("pad_token", Some(self.blank)),
            ("unk_token", self.unknown),
            ("bos_token", self.start),
            ("eos_token", self.end),
        ];
        roles.into_iter().map(|(key, id)| (key.to_owned(), json!(id.and_then(|id| self.token(id))))).collect()
    }

    /// Special tokens without a role of their own.
    fn other_specials(&self) -> Vec<&str> {
        let roles = [Some(self.blank), self.unknown, self.start, self.end];
        let other = |&(id, _): &(u32, &String)| self.is_special(id) && !roles.contains(&Some(id));
        (0..).zip(&self.tokens).filter(other).map(|(_, token)| token.as_str()).collect()
    }
}

fn json_of_ids<'a>(tokens: impl Iterator<Item = (u32, &'a String)>) -> String {
    let entries = tokens.map(|(id, token)| (token.clone(), Value::from(id)));
    format!("{:#}\n", Value::Object(entries.collect()))
}
