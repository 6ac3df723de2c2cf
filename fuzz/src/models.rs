//! What stands beside the weights: shape, vocabulary, language model.

use std::fs;
use std::path::Path;

use klang_lm::{NgramModel, ReadOptions};
use klang_text::{TokenizerFile, TokenizerFiles, Vocabulary};
use klang_wav2vec2::ModelConfig;

use crate::{file, folder, memory::bounded};

/// config.json.
pub fn config(bytes: &[u8]) {
    let path = file("config.json", bytes);
    bounded(64 << 20, || {
        let Ok(config) = ModelConfig::read(&path).map_err(|error| error.to_string()) else { return };
        let text = serde_json::to_string(&config.to_json()).expect("a configuration is JSON");
        let again = ModelConfig::read(&file("again.json", text.as_bytes())).expect("what was written can be read");
        assert_eq!(again.to_json(), config.to_json());
    });
}

/// vocab.json, tokenizer_config.json, special_tokens_map.json and added_tokens.json, parted by 0xff; an empty one is absent. The
/// first byte is how many rows the head has, 0 for no head.
pub fn vocabulary(bytes: &[u8]) {
    let Some((rows, bytes)) = bytes.split_first() else { return };
    let texts: Vec<String> =
        bytes.split(|&byte| byte == 0xff).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let part = |index: usize, name: &'static str| {
        let text = texts.get(index).filter(|text| !text.is_empty())?;
        Some(TokenizerFile { text, path: Path::new(name) })
    };
    let Some(vocab) = part(0, "vocab.json") else { return };
    let files = TokenizerFiles {
        tokenizer_config: part(1, "tokenizer_config.json"),
        special_tokens_map: part(2, "special_tokens_map.json"),
        added_tokens: part(3, "added_tokens.json"),
        head_rows: (*rows > 0).then_some(usize::from(*rows)),
        ..TokenizerFiles::new(vocab)
    };
    bounded(64 << 20, || {
        let _ = Vocabulary::languages(vocab.text, vocab.path).map_err(|error| error.to_string());
        let Ok(vocabulary) = Vocabulary::from_files(&files).map_err(|error| error.to_string()) else { return };
        let labels = vocabulary.encode("one two \u{1f600}").labels;
        assert!(labels.iter().all(|&label| vocabulary.token(label).is_some()));
        let _ = vocabulary.decode(&labels);
        let written = vocabulary.tokenizer_files();
        let file = |name: &str| {
            let (name, text) = written.iter().find(|(known, _)| *known == name)?;
            Some(TokenizerFile { text, path: Path::new(name) })
        };
        let again = TokenizerFiles {
            tokenizer_config: file("tokenizer_config.json"),
            special_tokens_map: file("special_tokens_map.json"),
            added_tokens: file("added_tokens.json"),
            ..TokenizerFiles::new(file("vocab.json").expect("vocab.json is always written"))
        };
        let again = Vocabulary::from_files(&again).expect("what was written can be read");
        assert_eq!(again, vocabulary);
    });
}

/// A language model in ARPA, plain or packed.
pub fn arpa(bytes: &[u8]) {
    let path = file("fuzz.arpa", bytes);
    // Capacity for a million n-grams an order is taken in advance where the header says so.
    bounded(512 << 20, || {
        let Ok(model) = NgramModel::read_arpa(&path, &ReadOptions::default()).map_err(|error| error.to_string()) else {
            return;
        };
        let score = model.score_sentence(["one", "two", "one"]);
        let _ = score;
        let again = folder().join("again.arpa");
        model.write_arpa(&again).expect("what was read can be written");
        let first = fs::read(&again).expect("what was written");
        let read = NgramModel::read_arpa(&again, &ReadOptions::default()).expect("what was written can be read");
        assert_eq!((read.order(), read.counts()), (model.order(), model.counts()));
        read.write_arpa(&again).expect("what was read can be written");
        assert_eq!(fs::read(&again).expect("what was written"), first, "a second time it is the same");
    });
}
