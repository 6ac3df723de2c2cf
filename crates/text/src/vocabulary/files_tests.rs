//! What each file of a tokenizer states, and what is wrong with it.

use super::*;

const CONFIG: &str = "tokenizer_config.json";

/// The vocabulary of `vocab.json` and other files by name.
fn read(vocab: &str, others: &[(&str, &str)]) -> Result<Vocabulary, Error> {
    read_as(vocab, others, None, None)
}

fn read_as(
    vocab: &str,
    others: &[(&str, &str)],
    language: Option<&str>,
    head_rows: Option<usize>,
) -> Result<Vocabulary, Error> {
    let file = |wanted: &str| {
        let (name, text) = others.iter().find(|(name, _)| *name == wanted)?;
        Some(TokenizerFile { text, path: Path::new(*name) })
    };
    Vocabulary::from_files(&TokenizerFiles {
        tokenizer_config: file(CONFIG),
        special_tokens_map: file("special_tokens_map.json"),
        added_tokens: file("added_tokens.json"),
        language,
        head_rows,
        ..TokenizerFiles::new(TokenizerFile { text: vocab, path: Path::new("vocab.json") })
    })
}

fn message(result: Result<Vocabulary, Error>) -> String {
    result.unwrap_err().to_string()
}

const SMALL: &str = r#"{"<pad>": 0, "<unk>": 1, "|": 2, "a": 3, "n": 4, "g": 5}"#;
const CAPITALS: &str = r#"{"<pad>": 0, "<unk>": 1, "|": 2, "A": 3, "S": 4, "ŋ": 5, "NG": 6}"#;
const NESTED: &str = r#"{"eng": {"<pad>": 0, "|": 1, "a": 2}, "tur": {"<pad>": 0, "|": 1, "ı": 2, "ç": 3}}"#;

#[test]
fn added_tokens_are_text_unless_special() {
    let config = r#"{"added_tokens_decoder": {"6": {"content": "ng"}, "7": {"content": "<s>", "special": true},
        "8": {"content": "<x>", "special": true}, "0": {"content": "<pad>", "special": true}}}"#;
    let old = r#"{"ng": 6, "<s>": 7, "<x>": 8, "<pad>": 0}"#;
    for (others, x_is_special) in [((CONFIG, config), true), (("added_tokens.json", old), false)] {
        let vocabulary = read(SMALL, &[others]).unwrap();
        assert_eq!(vocabulary.added_tokens().collect::<Vec<_>>(), [(6, "ng"), (7, "<s>"), (8, "<x>")]);
        assert_eq!(vocabulary.encode("anga").labels, [3, 6, 3]);
        assert_eq!((vocabulary.start(), vocabulary.is_special(7), vocabulary.is_special(6)), (Some(7), true, false));
        // The old file does not say so; only a named token is special there.
        assert_eq!(vocabulary.is_special(8), x_is_special);
        assert_eq!(vocabulary.decode(&[6, 7, 3]), "nga");
    }
}

#[test]
fn a_blank_may_be_an_added_token() {
    let config = r#"{"pad_token": "[PAD]", "added_tokens_decoder": {"1": {"content": "[PAD]", "special": true}}}"#;
    assert_eq!(read(r#"{"a": 0}"#, &[(CONFIG, config)]).unwrap().blank(), 1);
}

#[test]
fn contradicting_ids_are_refused_with_the_added_tokens_file() {
    let decoder = |entries: &str| format!("{{\"added_tokens_decoder\": {{{entries}}}}}");
    let cases = [
        (r#""3": {"content": "ng"}"#, r#"id 3 is given to both "a" and "ng""#),
        (r#""6": {"content": "a"}"#, r#""a" is given twice, as id 3 and as id 6"#),
        (r#""7": {"content": "ng"}"#, r#""ng" has id 7, but with 7 tokens the ids are 0 to 6"#),
        (r#""x": {"content": "ng"}"#, "added_tokens_decoder: x is"),
        (r#""-1": {"content": "ng"}"#, "added_tokens_decoder: -1 is"),
        (r#""6": {"special": true}"#, "a token with content"),
        (r#""6": {"content": "ng"}, "06": {"content": "gn"}"#, "id 6 is given to both"),
    ];
    for (entries, part) in cases {
        let message = message(read(SMALL, &[(CONFIG, &decoder(entries))]));
        assert!(message.starts_with("tokenizer_config.json: ") && message.contains(part), "{entries}: {message}");
    }
    let message = message(read(SMALL, &[("added_tokens.json", r#"{"ng": 3}"#)]));
    assert!(message.starts_with("added_tokens.json: id 3 is given to both"), "{message}");
}

#[test]
fn fields_of_the_wrong_kind_are_refused_with_their_key() {
    for (config, part) in [
        (r#"{"do_lower_case": "yes"}"#, "do_lower_case is \"yes\"; allowed is true, false or null"),
        (r#"{"target_lang": 3}"#, "target_lang is 3; allowed is a string or null"),
        (r#"{"replace_word_delimiter_char": []}"#, "replace_word_delimiter_char is []"),
        (r#"{"added_tokens_decoder": [1]}"#, "added_tokens_decoder is [1]; allowed is an object of ids and tokens"),
        (r#"{"word_delimiter_token": {}}"#, "word_delimiter_token is {}"),
        ("[]", "not a JSON object"),
    ] {
        let message = message(read(SMALL, &[(CONFIG, config)]));
        assert!(message.starts_with("tokenizer_config.json: ") && message.contains(part), "{message}");
    }
}

#[test]
fn the_delimiter_and_its_text_are_taken_from_the_configuration() {
    let config = r#"{"word_delimiter_token": "g", "replace_word_delimiter_char": "·"}"#;
    let vocabulary = read(SMALL, &[(CONFIG, config)]).unwrap();
    assert_eq!((vocabulary.delimiter(), vocabulary.space()), (Some(5), "·"));
    assert_eq!(vocabulary.encode("a n").labels, [3, 5, 4]);
    assert_eq!(vocabulary.decode(&[3, 5, 4]), "a·n");
    let spaced = read(SMALL, &[(CONFIG, r#"{"replace_word_delimiter_char": null}"#)]).unwrap();
    assert_eq!(spaced.decode(&[3, 2, 2, 4]), "a n");
}

#[test]
fn a_written_vocabulary_without_a_delimiter_has_none_again() {
    let vocabulary = read(SMALL, &[(CONFIG, r#"{"word_delimiter_token": null, "bos_token": null}"#)]).unwrap();
    assert_eq!((vocabulary.delimiter(), vocabulary.encode("|").labels), (None, vec![2]));
    let files = vocabulary.tokenizer_files();
    let others: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert_eq!(read(&files[0].1, &others).unwrap(), vocabulary);
}

#[test]
fn a_written_vocabulary_of_words_is_the_same_again() {
    let vocabulary = Vocabulary::of_units(crate::Units::Words, ["two one"]).unwrap();
    let files = vocabulary.tokenizer_files();
    let others: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert_eq!(read(&files[0].1, &others).unwrap(), vocabulary);
}

#[test]
fn lower_case_looks_for_capitals_and_decodes_small_letters() {
    let vocabulary = read(CAPITALS, &[(CONFIG, r#"{"do_lower_case": true}"#)]).unwrap();
    assert!(vocabulary.lower_cases());
    assert_eq!(vocabulary.encode("as A").labels, [3, 4, 2, 3]);
    // The capital of ß is two letters. One without its capital here is itself, and a digraph is as it is written.
    assert_eq!(vocabulary.encode("ß").labels, [4, 4]);
    assert_eq!(vocabulary.encode("ŋNG"), Encoded { labels: vec![5, 6], unknown: vec![] });
    assert_eq!(vocabulary.encode("aŒng").unknown, ['Œ', 'n', 'g']);
    assert_eq!(vocabulary.decode(&[3, 6, 2, 4, 5]), "ang sŋ");
    let plain = read(CAPITALS, &[]).unwrap();
    assert_eq!((plain.lower_cases(), plain.decode(&[3, 6])), (false, "ANG".to_owned()));
}

#[test]
fn the_longest_token_is_taken_from_the_left() {
    let vocabulary = read(r#"{"<pad>": 0, "n": 1, "ng": 2, "ngg": 3, "g": 4, "gn": 5, "": 6}"#, &[]).unwrap();
    assert_eq!(vocabulary.encode("nggnngngg").labels, [3, 1, 2, 3]);
    assert_eq!(vocabulary.encode("gng").labels, [5, 4]);
}

#[test]
fn a_language_is_picked_by_name_or_by_the_configuration() {
    let config = (CONFIG, r#"{"target_lang": "eng"}"#);
    assert_eq!(read(NESTED, &[config]).unwrap().tokens(), ["<pad>", "|", "a"]);
    let turkish = read_as(NESTED, &[config], Some("tur"), None).unwrap();
    assert_eq!(turkish.tokens(), ["<pad>", "|", "ı", "ç"]);
    assert_eq!(Vocabulary::languages(NESTED, Path::new("v")).unwrap(), ["eng", "tur"]);
    assert!(Vocabulary::languages(SMALL, Path::new("v")).unwrap().is_empty());
}

#[test]
fn added_tokens_belong_to_the_language_of_the_configuration() {
    // "|" is left of another language: English has its own token there.
    let config = r#"{"target_lang": "eng", "added_tokens_decoder": {"3": {"content": "<s>", "special": true},
        "2": {"content": "|", "special": true}}}"#;
    assert_eq!(read(NESTED, &[(CONFIG, config)]).unwrap().tokens(), ["<pad>", "|", "a", "<s>"]);
    assert_eq!(read_as(NESTED, &[(CONFIG, config)], Some("tur"), None).unwrap().len(), 4);
    assert_eq!(read_as(NESTED, &[(CONFIG, config)], Some("eng"), None).unwrap().len(), 4);
}

#[test]
fn languages_that_are_not_there_are_refused_with_the_nearest() {
    let languages = (0..20).map(|i| format!("\"x{i:02}\": {{\"<pad>\": 0}}"));
    let many = format!("{{{}, \"tur\": {{\"<pad>\": 0}}}}", languages.collect::<Vec<_>>().join(", "));
    let unknown = message(read_as(&many, &[], Some("tr"), None));
    assert!(unknown.contains(r#"language "tr"; allowed is one of the 21"#), "{unknown}");
    assert!(unknown.ends_with("nearest by spelling: tur, x00, x01, x02, x03, x04, x05, x06, …"), "{unknown}");
    let unsaid = message(read(&many, &[]));
    assert!(
        unsaid.contains("holds 21 vocabularies") && unsaid.contains("x07, …)") && !unsaid.contains("x08"),
        "{unsaid}"
    );
    let flat = message(read_as(SMALL, &[], Some("tur"), None));
    assert!(flat.contains(r#"language "tur" was given, but the checkpoint has one vocabulary"#), "{flat}");
    let wrong = message(read(NESTED, &[(CONFIG, r#"{"target_lang": "de"}"#)]));
    assert!(wrong.contains(r#"the language "de""#), "{wrong}");
}

#[test]
fn malformed_languages_are_refused() {
    for (vocab, part) in [
        (r#"{"eng": {"<pad>": 0}, "a": 1}"#, "must all be one kind"),
        (r#"{"a": 1, "eng": {"<pad>": 0}}"#, "must all be one kind"),
        (r#"{"eng": {"<pad>": 0}, "eng": {}}"#, "language \"eng\" is given twice"),
        (r#"{"eng": {"<pad>": {}}}"#, "line 1"),
        (r#"{"eng": []}"#, "line 1"),
    ] {
        let message = message(read_as(vocab, &[], Some("eng"), None));
        assert!(message.starts_with("vocab.json: ") && message.contains(part), "{message}");
    }
}

#[test]
fn a_head_takes_the_rows_that_it_has() {
    let added = [("added_tokens.json", r#"{"<s>": 6, "</s>": 7}"#)];
    let rows = |count| read_as(SMALL, &added, None, Some(count));
    assert_eq!(rows(8).unwrap(), read(SMALL, &added).unwrap());
    // Trained before <s> and </s> were added.
    assert_eq!(rows(6).unwrap(), read(SMALL, &[]).unwrap());
    // Named tokens come first, in transformers' order.
    let wider = read_as(SMALL, &[], None, Some(9)).unwrap();
    assert_eq!(&wider.tokens()[6..], ["<s>", "</s>", "<row 0>"]);
    assert_eq!((wider.end(), wider.decode(&[3, 6, 7, 8])), (Some(7), "a".to_owned()));
    let small = message(rows(5));
    assert!(small.contains("8 tokens, but the head has 5 rows: none for \"g\", id 5"), "{small}");
    let large = message(rows(8 + 1025));
    assert!(large.contains("8 tokens, but the head has 1033 rows"), "{large}");
    assert_eq!(rows(8 + 1024).unwrap().len(), 1032);
    let text = message(read_as(SMALL, &[("added_tokens.json", r#"{"ng": 6}"#)], None, Some(6)));
    assert!(text.contains("none for \"ng\", id 6"), "{text}");
}

#[test]
fn an_empty_token_is_not_taken_for_a_delimiter_that_there_is_none_of() {
    let vocabulary = read(r#"{"<pad>": 0, "a": 1, "": 2}"#, &[]).unwrap();
    assert_eq!(vocabulary.delimiter(), None);
    let written = vocabulary.tokenizer_files();
    let files: Vec<(&str, &str)> = written.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert_eq!(read(files[0].1, &files[1..]).unwrap(), vocabulary);
}
