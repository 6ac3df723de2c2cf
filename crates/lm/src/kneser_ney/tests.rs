use std::collections::{BTreeMap, BTreeSet};

use super::{Estimate, FallbackReason, ModifiedKneserNey, SpecialsInText};
use crate::error::Error;
use crate::model::{NgramModel, State};
use crate::words::WordId;

fn settings(order: usize) -> ModifiedKneserNey {
    ModifiedKneserNey { order, ..ModifiedKneserNey::default() }
}

fn estimate(settings: &ModifiedKneserNey, text: &[&str]) -> Estimate {
    settings.estimate(text.iter().map(|sentence| sentence.split_ascii_whitespace())).unwrap()
}

fn refusal(settings: &ModifiedKneserNey, text: &[&str]) -> Error {
    settings.estimate(text.iter().map(|sentence| sentence.split(' ').filter(|word| *word != "_"))).unwrap_err()
}

/// Sentences of 0 to 11 words out of `words`, the first of them far more often than the last.
fn random(sentences: usize, words: u32, seed: u32) -> Vec<String> {
    let mut state = seed;
    let mut next = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(state) * u64::from(below)) >> 32) as u32
    };
    let mut word = |_| format!("w{}", words * next(words) / words * next(words) / words);
    (0..sentences).map(|sentence| (0..sentence % 12).map(&mut word).collect::<Vec<_>>().join(" ")).collect()
}

fn borrowed(text: &[String]) -> Vec<&str> {
    text.iter().map(String::as_str).collect()
}

/// The probability of a word after a history from a sentence's start.
fn after(model: &NgramModel, history: &str, word: &str) -> f64 {
    let mut state = model.start();
    for word in history.split_ascii_whitespace() {
        state = model.score(state, model.word(word).unwrap_or(WordId::UNKNOWN)).1;
    }
    let log10 = match word {
        "</s>" => model.end(state),
        word => model.score(state, model.word(word).unwrap_or(WordId::UNKNOWN)).0,
    };
    10_f64.powf(f64::from(log10))
}

/// Sums over what can be said in every state, and how far from 1 they may be.
fn check_sums(model: &NgramModel) {
    let mut largest = 0.0_f64;
    let states = 0..model.nodes.len() as u32;
    let sums: Vec<f64> = states
        .map(|state| {
            let words = model.vocabulary().map(|(word, _)| word).chain([WordId::UNKNOWN]);
            let scores = words.map(|word| model.score(State(state), word).0).chain([model.end(State(state))]);
            scores.map(f64::from).inspect(|log10| largest = largest.max(-log10)).map(|log10| 10_f64.powf(log10)).sum()
        })
        .collect();
    // A score is a sum of at most `order` numbers in f32, each rounded and each sum too: 2 · order roundings of 2^-24 of what is
    // at most the largest score. Of log10, ln 10 times that is the relative error of each summand, and so of the sum.
    let tolerance = 2.0 * model.order() as f64 * 2_f64.powi(-24) * largest * std::f64::consts::LN_10;
    assert!(tolerance < 5e-5, "{tolerance}");
    for (state, sum) in sums.iter().enumerate() {
        assert!((sum - 1.0).abs() <= tolerance, "state {state}: {sum}, {tolerance}");
    }
}

/// Sentences "a b" and "a". By hand, with the fallback discounts of ½, 1, 1½:
/// each of a, b, </s> is behind 1, 1, 2 different words, 4 in all. Discounts take ½ + ½ + 1 = 2 of 4, shared by 4 words: 1/8.
#[test]
fn two_sentences_by_hand() {
    let model = estimate(&settings(2), &["a b", "a"]).model;
    let near = |history: &str, word: &str, expected: f64| {
        let given = after(&model, history, word);
        // A sum of two f32 below 1 in size.
        assert!((given - expected).abs() < 4.0 * 2_f64.powi(-24), "p({word} | {history}): {given}, {expected}");
    };
    assert_eq!(model.counts(), [5, 4]);
    // Unigrams: a (1 − ½)/4 + 1/8 = ¼, b ¼, </s> (2 − 1)/4 + 1/8 = 3/8, <unk> 1/8. After an unknown word they stand alone.
    near("?", "a", 0.25);
    near("?", "b", 0.25);
    near("?", "</s>", 0.375);
    near("?", "?", 0.125);
    // <s> a twice: γ(<s>) = 1/2.
    near("", "a", 0.5 + 0.5 * 0.25);
    near("", "</s>", 0.5 * 0.375);
    // a b and a </s> once each: γ(a) = (½ + ½)/2.
    near("a", "b", 0.25 + 0.5 * 0.25);
    near("a", "</s>", 0.25 + 0.5 * 0.375);
    near("a", "?", 0.5 * 0.125);
    // b </s> once: γ(b) = ½.
    near("a b", "</s>", 0.5 + 0.5 * 0.375);
}

#[test]
fn probabilities_of_every_context_sum_to_1() {
    let text = random(400, 40, 1);
    for order in 1..=6 {
        check_sums(&estimate(&settings(order), &borrowed(&text)).model);
    }
}

#[test]
fn probabilities_sum_to_1_in_pruned_models() {
    let text = random(400, 40, 2);
    let mut counts = Vec::new();
    for prune in [&[0, 0, 1][..], &[0, 1, 1, 3], &[1], &[40], &[60, 80, 90], &[100_000]] {
        let pruned = ModifiedKneserNey { prune: prune.to_vec(), ..settings(4) };
        let model = estimate(&pruned, &borrowed(&text)).model;
        check_sums(&model);
        counts.push(model.counts().to_vec());
    }
    assert!((4..41).contains(&counts[3][0]), "{counts:?}");
    assert!((4..counts[3][0]).contains(&counts[4][0]), "{counts:?}");
    assert_eq!(counts[5], [3, 0, 0, 0], "only <unk>, <s> and </s> are never pruned");
}

#[test]
fn probabilities_sum_to_1_with_any_fallback() {
    for fallback in [[0.5, 1.0, 1.5], [1.0, 2.0, 3.0], [0.1, 0.1, 0.1]] {
        let settings = ModifiedKneserNey { fallback, ..settings(3) };
        check_sums(&estimate(&settings, &["a b c", "a b c", "a b c d"]).model);
    }
}

/// Without discounts unseen words have no probability. It is written as −99, so that the file can be read again.
#[test]
fn no_discount_at_all_leaves_finite_numbers() {
    let settings = ModifiedKneserNey { fallback: [0.0; 3], ..settings(3) };
    let model = estimate(&settings, &["a b c"]).model;
    assert_eq!(model.score_sentence(["a", "b", "c"]).log10, 0.0);
    assert!(model.score_sentence(["b"]).log10 <= -99.0);
    check_reading_back(&model);
}

/// Counts by definition, in sets of n-grams, against the positions' sort.
#[test]
fn counts_are_those_of_the_definition() {
    let text = random(300, 12, 3);
    let order = 4;
    let mut seen = BTreeMap::<Vec<&str>, u32>::new();
    for sentence in &text {
        let words: Vec<&str> = ["<s>"].into_iter().chain(sentence.split_ascii_whitespace()).chain(["</s>"]).collect();
        for length in 1..=order {
            words.windows(length).for_each(|gram| *seen.entry(gram.to_vec()).or_default() += 1);
        }
    }
    seen.remove(&vec!["<s>"]);
    let read =
        super::text::Text::read(text.iter().map(|s| s.split_ascii_whitespace()), SpecialsInText::Refuse).unwrap();
    let positions = super::counts::Positions::sort(&read.tokens, order);
    for length in 1..=order {
        let super::counts::Counts { grams: counted, ending } = positions.count(length);
        let mut found = BTreeSet::new();
        for (place, gram) in counted.iter().enumerate() {
            let end = gram.position as usize;
            let words: Vec<&str> =
                read.tokens[end + 1 - length..=end].iter().map(|token| read.vocabulary.text(*token)).collect();
            let before = |longer: &&Vec<&str>| longer.len() == length + 1 && longer[1..] == words;
            let raw = length == order || words[0] == "<s>";
            let adjusted = if raw { seen[&words] } else { seen.keys().filter(before).count() as u32 };
            assert_eq!((gram.seen, gram.adjusted), (seen[&words], adjusted), "{words:?}");
            let places = ending.iter().filter(|ending| **ending == place as u32).count();
            assert_eq!(places, gram.seen as usize, "{words:?}");
            assert!(found.insert(words));
        }
        assert_eq!(found.len(), seen.keys().filter(|gram| gram.len() == length).count());
    }
}

#[test]
fn the_order_of_sentences_does_not_matter() {
    let text = random(200, 30, 4);
    let mut turned = borrowed(&text);
    turned.reverse();
    turned.rotate_left(77);
    assert_eq!(estimate(&settings(3), &borrowed(&text)), estimate(&settings(3), &turned));
}

fn check_reading_back(model: &NgramModel) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.arpa", "model.arpa.gz"] {
        let file = folder.path().join(name);
        model.write_arpa(&file).unwrap();
        assert_eq!(&NgramModel::read_arpa(&file, &crate::ReadOptions::default()).unwrap(), model, "{name}");
    }
}

#[test]
fn written_and_read_back_it_is_equal() {
    let text = random(300, 50, 5);
    for (order, prune) in [(1, vec![]), (2, vec![]), (5, vec![]), (4, vec![0, 1, 2]), (3, vec![2, 3, 4])] {
        check_reading_back(&estimate(&ModifiedKneserNey { order, prune, ..settings(1) }, &borrowed(&text)).model);
    }
}

#[test]
fn fallbacks_are_told_by_order() {
    let estimate = estimate(&settings(4), &["a b", "b c"]);
    let reasons: Vec<_> = estimate.discounts.iter().map(|discounts| discounts.fallback).collect();
    // </s> is behind b and c, and so is b behind <s> and a: none is behind three. Of longer ones none is seen twice, and the
    // longest sentence has 4 with its marks.
    assert_eq!(reasons[0], Some(FallbackReason::NoneWithCount(3)));
    assert_eq!(reasons[1..], [Some(FallbackReason::NoneWithCount(2)); 3]);
    let warnings: Vec<String> = estimate.warnings().collect();
    assert_eq!(warnings.len(), 4);
    assert!(warnings[1].starts_with("the 2-grams' discounts cannot be computed"), "{}", warnings[1]);
    assert!(warnings[1].contains("0.5, 1 and 1.5"), "{}", warnings[1]);
}

#[test]
fn an_order_that_no_sentence_reaches_is_told() {
    let estimate = estimate(&settings(6), &["a b", "a"]);
    assert_eq!(estimate.model.counts()[4..], [0, 0]);
    assert_eq!(estimate.discounts[5].fallback, Some(FallbackReason::NoNgrams));
    assert!(estimate.warnings().last().unwrap().contains("the text has no 6-grams"));
    check_sums(&estimate.model);
    check_reading_back(&estimate.model);
}

#[test]
fn discounts_out_of_range_fall_back() {
    // a once, b twice, c and d three times, </s> four times: n = 1, 1, 2, 1, Y = 1/3.
    let found = estimate(&settings(1), &["a", "b b", "c c c", "d d d"]).discounts[0];
    assert_eq!(found.fallback, None);
    // D1 = 1 − 2/3, D2 = 2 − 2, D3 = 3 − 4/3 · 1/2.
    for (found, expected) in found.amounts.iter().zip([1.0 / 3.0, 0.0, 7.0 / 3.0]) {
        assert!((found - expected).abs() < 1e-15);
    }
    // With e, and </s> five times: n = 1, 1, 3, 0, D2 = 2 − 3 · 1/3 · 3.
    let found = estimate(&settings(1), &["a", "b b", "c c c", "d d d", "e e e"]).discounts[0];
    assert_eq!(found.fallback, Some(FallbackReason::OutOfRange { count: 2, discount: -1.0 }));
    assert_eq!(found.amounts, [0.5, 1.0, 1.5]);
}

#[test]
fn a_text_without_words_is_refused() {
    for text in [&[][..], &["_", "_"]] {
        let error = refusal(&settings(3), text);
        assert!(matches!(error, Error::NoWords { sentences } if sentences as usize == text.len()), "{error}");
        assert!(error.to_string().contains("hint"), "{error}");
    }
}

#[test]
fn empty_sentences_end_at_once() {
    let estimate = estimate(&settings(2), &["a", "", "", ""]);
    assert_eq!((estimate.sentences, estimate.words), (4, 1));
    assert!(after(&estimate.model, "", "</s>") > after(&estimate.model, "", "a"));
}

#[test]
fn special_tokens_are_refused_or_skipped() {
    for token in ["<s>", "</s>", "<unk>", "<UNK>"] {
        let text = ["a b", &format!("a {token} b")];
        let error = refusal(&settings(2), &text);
        assert!(matches!(&error, Error::SpecialInText { sentence: 2, .. }), "{error}");
        assert!(error.to_string().contains(token), "{error}");
        let skip = ModifiedKneserNey { specials: SpecialsInText::Skip, ..settings(2) };
        assert_eq!(estimate(&skip, &text), estimate(&settings(2), &["a b", "a b"]));
    }
}

#[test]
fn words_that_an_arpa_file_cannot_hold_are_refused() {
    for word in ["", "a b", "a\tb", "a\n", "a\r", "\0"] {
        let error = settings(2).estimate([vec!["a"], vec!["b", word]]).unwrap_err();
        assert!(matches!(&error, Error::BadWord { sentence: 2, .. }), "{word:?}: {error}");
    }
    // Other white space is part of a word, as for lmplz.
    check_reading_back(&settings(2).estimate([vec!["a\u{A0}b", "\u{3000}", "c\u{B}"]]).unwrap().model);
}

#[test]
fn settings_out_of_range_are_refused() {
    let with =
        |order, fallback, prune: &[u64]| ModifiedKneserNey { order, fallback, prune: prune.to_vec(), ..settings(1) };
    let good = [0.5, 1.0, 1.5];
    for settings in [
        with(0, good, &[]),
        with(21, good, &[]),
        with(3, [1.1, 1.0, 1.5], &[]),
        with(3, [0.5, -0.1, 1.5], &[]),
        with(3, [0.5, 1.0, f64::NAN], &[]),
        with(3, good, &[0, 2, 1]),
        with(3, good, &[0, 0, 0, 0]),
    ] {
        let error = refusal(&settings, &["a b"]);
        assert!(matches!(&error, Error::Setting { .. }), "{settings:?}: {error}");
    }
    check_sums(&estimate(&with(20, good, &[]), &["a b", "a"]).model);
}

#[test]
fn characters_are_words_of_one_letter() {
    let sentences = ["ngá wa", "wa ngá bo"];
    let split = |text: &str| {
        text.chars().map(|letter| if letter == ' ' { "|".to_owned() } else { letter.to_string() }).collect::<Vec<_>>()
    };
    let model = settings(5).estimate(sentences.iter().map(|text| split(text))).unwrap().model;
    check_sums(&model);
    assert_eq!(model.vocabulary().count(), 8);
    assert!(
        model.score_sentence(["w", "a", "|", "n", "g", "á"]).log10 > model.score_sentence(["á", "g", "n", "a"]).log10
    );
}
