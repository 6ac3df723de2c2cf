//! Comparisons of vocabularies, and how they are told.

use super::*;

fn read(json: &str, specials: &SpecialTokens) -> Vocabulary {
    Vocabulary::from_vocab_json(json, Path::new("vocab.json"), specials).unwrap()
}

fn standard(json: &str) -> Vocabulary {
    read(json, &SpecialTokens::default())
}

#[test]
fn a_vocabulary_is_the_same_as_itself() {
    let vocabulary = standard(r#"{"<pad>": 0, "<unk>": 1, "|": 2, " ": 3, "a": 4, "ng": 5, "<s>": 6}"#);
    let difference = vocabulary.difference(&vocabulary);
    assert!(difference.is_empty(), "{difference}");
    assert_eq!(
        (difference.to_string().as_str(), difference.describe_new().as_str()),
        ("the same tokens", "no new tokens")
    );
}

#[test]
fn special_tokens_are_compared_by_role() {
    let brackets = SpecialTokens {
        pad: "[PAD]".to_owned(),
        unknown: Some("[UNK]".to_owned()),
        delimiter: Some("_".to_owned()),
        ..SpecialTokens::default()
    };
    let old = read(r#"{"[PAD]": 0, "[UNK]": 1, "_": 2, "a": 3}"#, &brackets);
    let new = standard(r#"{"<pad>": 0, "<unk>": 1, "|": 2, "a": 3}"#);
    assert!(old.difference(&new).is_empty());
    let more = standard(r#"{"<pad>": 0, "<s>": 1, "|": 2, "a": 3}"#);
    let difference = old.difference(&more);
    assert_eq!(
        (difference.new_roles.as_slice(), difference.gone_roles.as_slice()),
        (&[Role::Start][..], &[Role::Unknown][..])
    );
    assert_eq!(difference.to_string(), "special tokens new: [sentence start]; special tokens gone: [unknown]");
}

#[test]
fn new_gone_and_moved_tokens_are_named() {
    let old = standard(r#"{"<pad>": 0, "|": 1, "q": 2, "a": 3, "b": 4}"#);
    let new = standard(r#"{"<pad>": 4, "|": 1, "a": 0, "b": 2, "ŋ": 3, "ab": 5}"#);
    let difference = old.difference(&new);
    assert_eq!(
        (difference.new.as_slice(), difference.gone.as_slice()),
        (&["ŋ".to_owned(), "ab".to_owned()][..], &["q".to_owned()][..])
    );
    assert_eq!(
        difference.to_string(),
        "2 new tokens: ŋ ab; 1 gone: q; 3 with another id: a (3 → 0) b (4 → 2) <pad> (0 → 4)"
    );
    let back = new.difference(&old);
    assert_eq!((back.new, back.gone), (difference.gone, difference.new));
}

#[test]
fn a_small_letter_is_not_new_to_a_vocabulary_of_capitals() {
    let old = standard(r#"{"<pad>": 0, "|": 1, "A": 2, "B": 3}"#);
    let new = standard(r#"{"<pad>": 0, "|": 1, "a": 2, "b": 3, "ŋ": 4}"#);
    assert_eq!(old.difference(&new).to_string(), "1 new token: ŋ");
    // One label cannot serve two tokens.
    let both = standard(r#"{"<pad>": 0, "|": 1, "A": 2, "B": 3, "a": 4}"#);
    assert_eq!(old.difference(&both).new, ["a"]);
    assert_eq!(new.difference(&old).new, ["A", "B"]);
}

#[test]
fn messages_are_bounded_and_readable() {
    let old = Vocabulary::from_texts(["x"]).unwrap();
    let new = Vocabulary::from_texts(["xabcdefghijklmno"]).unwrap();
    let difference = old.difference(&new);
    assert_eq!(difference.describe_new(), "15 new tokens: a b c d e f g h i j k l … and 3 more");
    let long = "w".repeat(1000);
    let odd = Vocabulary::of_units(crate::Units::Words, ["\u{301} a\u{301} a\u{200D}b", &long]).unwrap();
    let described = old.difference(&odd).describe_new();
    let cut = "w".repeat(24);
    assert_eq!(described, format!("4 new tokens: a\u{301} aU+200Db {cut}… U+0301"));
}
