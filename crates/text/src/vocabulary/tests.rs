use super::*;
use crate::Encoded;

/// The layout of facebook/wav2vec2-base-960h, shortened.
const BASE_960H: &str = r#"{"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "E": 5, "T": 6, "'": 7}"#;

fn read(json: &str) -> Result<Vocabulary, Error> {
    Vocabulary::from_vocab_json(json, Path::new("vocab.json"), &SpecialTokens::default())
}

#[test]
fn built_by_code_point_behind_the_specials() {
    let vocabulary = Vocabulary::from_texts(["mwána ibaa", "áb ɛ\u{301}"]).unwrap();
    // U+0061 a, b, i, m, n, w, then U+00E1 á, U+025B ɛ, U+0301.
    assert_eq!(vocabulary.tokens(), ["<pad>", "<unk>", "|", "a", "b", "i", "m", "n", "w", "á", "ɛ", "\u{301}"]);
    assert_eq!((vocabulary.blank(), vocabulary.unknown(), vocabulary.delimiter()), (0, Some(1), Some(2)));
    assert_eq!((vocabulary.len(), vocabulary.token(9), vocabulary.token(12)), (12, Some("á"), None));
}

#[test]
fn labels_are_characters_and_delimiters() {
    let vocabulary = Vocabulary::from_texts(["hello world"]).unwrap();
    // d 3, e 4, h 5, l 6, o 7, r 8, w 9.
    let encoded = vocabulary.encode(" hello\u{A0} \tlow ");
    assert_eq!(encoded, Encoded { labels: vec![5, 4, 6, 6, 7, 2, 6, 7, 9], unknown: vec![] });
    // Doubled letters stay doubled.
    assert_eq!(vocabulary.decode(&encoded.labels), "hello low");
}

#[test]
fn every_training_text_comes_back() {
    let texts = ["mwána ibaa wó láawoá", "हिन्दी में", "தமிழ் மொழி", "it's", "ɛ\u{301}bwɛ"];
    let vocabulary = Vocabulary::from_texts(texts).unwrap();
    for text in texts {
        let encoded = vocabulary.encode(text);
        assert_eq!(encoded.labels.len(), text.chars().count());
        assert_eq!((vocabulary.decode(&encoded.labels).as_str(), encoded.unknown), (text, vec![]));
    }
    assert_eq!(read(&vocabulary.to_vocab_json()).unwrap(), vocabulary);
}

#[test]
fn unknown_characters_are_listed_each_time() {
    let vocabulary = Vocabulary::from_texts(["ab"]).unwrap();
    let encoded = vocabulary.encode("aq|q");
    assert_eq!(encoded, Encoded { labels: vec![3, 1, 1, 1], unknown: vec!['q', '|', 'q'] });
    let lacking = vocabulary.out_of_vocabulary(["aq q", "ab", "x"]);
    assert_eq!((lacking.texts, lacking.total()), (2, 3));
    assert_eq!(lacking.to_string(), "'q' (U+0071) 2 times, 'x' (U+0078) once");
    assert!(vocabulary.out_of_vocabulary(["ba ab", ""]).is_empty());
}

#[test]
fn without_unknown_and_delimiter_they_are_left_out_and_listed() {
    let vocabulary = read(r#"{"a": 1, "<pad>": 0}"#).unwrap();
    assert_eq!((vocabulary.unknown(), vocabulary.delimiter()), (None, None));
    assert_eq!(vocabulary.encode("ax a"), Encoded { labels: vec![1, 1], unknown: vec!['x', ' '] });
    // A token that is a space takes the delimiter's part.
    let spaced = read(r#"{"a": 1, "<pad>": 0, " ": 2}"#).unwrap();
    assert_eq!(spaced.encode("a a").labels, [1, 2, 1]);
    assert_eq!(spaced.decode(&[1, 2, 1]), "a a");
}

#[test]
fn decoding_skips_what_is_no_text() {
    let vocabulary = read(BASE_960H).unwrap();
    assert_eq!(vocabulary.decode(&[4, 1, 6, 0, 5, 3, 4, 4, 5, 2, 99, 4]), "TE E");
    assert!(vocabulary.is_special(1) && !vocabulary.is_special(4) && !vocabulary.is_special(99));
    assert_eq!(vocabulary.decode(&[]), "");
}

#[test]
fn other_names_are_taken_from_the_tokenizer() {
    let names =
        SpecialTokens { pad: "[PAD]".to_owned(), unknown: Some("[UNK]".to_owned()), ..SpecialTokens::default() };
    let json = r#"{"a": 0, "|": 1, "[UNK]": 2, "[PAD]": 3}"#;
    let vocabulary = Vocabulary::from_vocab_json(json, Path::new("vocab.json"), &names).unwrap();
    assert_eq!((vocabulary.blank(), vocabulary.unknown(), vocabulary.delimiter()), (3, Some(2), Some(1)));
    assert!(matches!(read(json), Err(Error::NoBlank { .. })));
}

#[test]
fn special_tokens_in_text_name_the_text() {
    for (text, token) in [("a|b", "\"|\""), ("x <pad>", "<pad>"), ("<unk> y", "<unk>")] {
        let message = Vocabulary::from_texts(["fine", text]).unwrap_err().to_string();
        assert!(message.contains("text 2") && message.contains(token) && message.contains(text), "{message}");
    }
    assert!(matches!(Vocabulary::from_texts([" ", ""]), Err(Error::NoCharacters { texts: 2 })));
}

#[test]
fn malformed_files_are_refused_with_their_name() {
    let cases = [
        (r#"{"<pad>": 0, "a": 2}"#, "id 2"),
        (r#"{"<pad>": 0, "a": 18446744073709551615}"#, "id 18446744073709551615"),
        (r#"{"<pad>": 0, "a": 0}"#, "id 0 is given to both"),
        (r#"{"<pad>": 0, "a": 1, "a": 2}"#, "given twice, as id 1 and as id 2"),
        (r#"{"a": 0}"#, "\"<pad>\""),
        ("{}", "\"<pad>\""),
        (r#"{"<pad>": -1}"#, "line 1"),
        (r#"{"<pad>": 0.5}"#, "line 1"),
        (r#"{"eng": {"<pad>": 0}}"#, "one language"),
        (r#"["<pad>"]"#, "JSON object"),
        (r#"{"<pad>": 0} x"#, "line 1"),
        ("", "JSON object"),
    ];
    for (json, part) in cases {
        let message = read(json).unwrap_err().to_string();
        assert!(message.starts_with("vocab.json: ") && message.contains(part), "{json}: {message}");
    }
    let same = SpecialTokens { unknown: Some("<pad>".to_owned()), ..SpecialTokens::default() };
    let error = Vocabulary::from_vocab_json(BASE_960H, Path::new("vocab.json"), &same).unwrap_err();
    assert!(matches!(error, Error::SpecialsCollide { .. }), "{error}");
}

#[test]
fn words_are_labels_of_their_own_where_they_are_asked_for() {
    let vocabulary = Vocabulary::of_units(crate::Units::Words, ["two one", "a two"]).unwrap();
    assert_eq!(vocabulary.tokens(), ["<pad>", "<unk>", " a", " one", " two"]);
    assert_eq!(vocabulary.encode("two a"), Encoded { labels: vec![4, 2], unknown: vec![] });
    assert_eq!(vocabulary.decode(&[4, 2, 3]), "two a one");
    let strange = vocabulary.encode("two on");
    assert_eq!((strange.labels, strange.unknown), (vec![4, 1, 1], vec!['o', 'n']));
    let longer = vocabulary.encode("onetwo two");
    assert_eq!((longer.labels, longer.unknown), (vec![3, 1, 1, 1, 4], vec!['t', 'w', 'o']));
    assert!(vocabulary.labels_are_words());
    assert_eq!(vocabulary.settled_words(&[4, 2]), 2);
    // A `|` is no delimiter, and a word like any other.
    assert_eq!(Vocabulary::of_units(crate::Units::Words, ["a |"]).unwrap().encode("| a").labels, [3, 2]);
    let again =
        Vocabulary::from_vocab_json(vocabulary.to_vocab_json(), Path::new("v"), &SpecialTokens::default()).unwrap();
    assert_eq!(again, vocabulary);
}

#[test]
fn labels_are_parted_into_words_by_delimiters_and_where_a_word_begins() {
    let mixed = read(r#"{"<pad>": 0, "|": 1, "a": 2, " be": 3, " ": 4, "  ": 5}"#).unwrap();
    let encoded = mixed.encode("a be abe bea");
    assert_eq!((encoded.labels.as_slice(), encoded.unknown), (&[2, 3, 1, 2, 3, 2][..], vec!['b', 'e']));
    assert_eq!(mixed.decode(&encoded.labels), "a be a bea");
    let words = |labels: &[u32]| -> Vec<Vec<u32>> {
        mixed.words(labels, |&label| label).into_iter().map(<[u32]>::to_vec).collect()
    };
    assert_eq!(words(&encoded.labels), [vec![2], vec![3], vec![2], vec![3, 2]]);
    assert_eq!(words(&[1, 1, 3, 1, 3, 3, 1]), [[3], [3], [3]]);
    assert!(words(&[]).is_empty());
    // The last word may go on.
    let cases: [(&[u32], usize); 6] = [(&[], 0), (&[2], 0), (&[2, 1], 2), (&[2, 1, 2], 2), (&[2, 3], 1), (&[3, 2], 0)];
    for (labels, settled) in cases {
        assert_eq!(mixed.settled_words(labels), settled, "{labels:?}");
    }
    assert!(!mixed.labels_are_words());
    // What would join the word before it is not passed over.
    let joined = read(r#"{"<pad>": 0, "a": 1, " be": 2}"#).unwrap();
    assert_eq!(joined.encode("a be a"), Encoded { labels: vec![1, 2, 1], unknown: vec![' '] });
}

#[test]
fn small_letters_take_the_capitals_of_a_vocabulary_that_has_no_others() {
    let vocabulary = read(BASE_960H).unwrap();
    assert_eq!(vocabulary.encode("te E'").labels, vocabulary.encode("TE E'").labels);
    assert!(vocabulary.encode("te").unknown.is_empty());
    assert_eq!(vocabulary.encode("tx").unknown, ['x']);
    let mixed = Vocabulary::from_texts(["aB"]).unwrap();
    assert_eq!(mixed.encode("bA").unknown, ['b', 'A']);
}
