//! Vocabularies against transformers' Wav2Vec2CTCTokenizer: reading, labels, text, and writing. See golden/vocabulary.py.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use klang_text::{TokenizerFile, TokenizerFiles, Vocabulary};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    files: BTreeMap<PathBuf, Value>,
    language: Option<String>,
    tokens: Vec<String>,
    special: Vec<u32>,
    encoded: Vec<(String, Vec<u32>)>,
    decoded: Vec<(Vec<u32>, String)>,
    written: BTreeMap<PathBuf, Value>,
}

fn cases() -> Vec<Case> {
    let golden: Golden = serde_json::from_str(include_str!("golden/vocabulary.json")).unwrap();
    assert_eq!(golden.cases.len(), 15);
    golden.cases
}

/// Reads a folder; `rows` is the size of transformers' tokenizer, with what it adds by itself.
fn read(files: &BTreeMap<PathBuf, Value>, language: Option<&str>, rows: Option<usize>) -> Vocabulary {
    let texts: BTreeMap<&Path, String> =
        files.iter().map(|(path, value)| (path.as_path(), value.to_string())).collect();
    let file = |name: &str| {
        let (path, text) = texts.get_key_value(Path::new(name))?;
        Some(TokenizerFile { text, path })
    };
    let files = TokenizerFiles {
        tokenizer_config: file("tokenizer_config.json"),
        special_tokens_map: file("special_tokens_map.json"),
        added_tokens: file("added_tokens.json"),
        language,
        head_rows: rows,
        ..TokenizerFiles::new(file("vocab.json").unwrap())
    };
    Vocabulary::from_files(&files).unwrap()
}

fn read_case(case: &Case) -> Vocabulary {
    read(&case.files, case.language.as_deref(), Some(case.tokens.len()))
}

#[test]
fn tokens_are_those_of_transformers() {
    for case in cases() {
        let vocabulary = read_case(&case);
        assert_eq!(vocabulary.tokens(), case.tokens, "{}", case.name);
        let special: Vec<u32> = (0..100).filter(|id| vocabulary.is_special(*id)).collect();
        assert_eq!(special, case.special, "{}", case.name);
    }
}

#[test]
fn labels_and_text_are_those_of_transformers() {
    for case in cases() {
        let vocabulary = read_case(&case);
        for (text, labels) in &case.encoded {
            assert_eq!(vocabulary.encode(text).labels, *labels, "{}: {text}", case.name);
        }
        for (labels, text) in &case.decoded {
            assert_eq!(vocabulary.decode(labels), *text, "{}: {labels:?}", case.name);
        }
    }
}

#[test]
fn what_is_written_is_what_transformers_reads_back() {
    for case in cases() {
        let vocabulary = read_case(&case);
        let written: BTreeMap<PathBuf, Value> = vocabulary
            .tokenizer_files()
            .into_iter()
            .map(|(name, text)| (name.into(), serde_json::from_str(&text).unwrap()))
            .collect();
        assert_eq!(written, case.written, "{}", case.name);
        // Without a head to fit: nothing is named that lacks a token.
        assert_eq!(read(&written, None, None), vocabulary, "{}", case.name);
    }
}
