use std::collections::BTreeMap;

use super::*;
use crate::{ModifiedKneserNey, ReadOptions};

fn read(text: &str) -> NgramModel {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.arpa");
    std::fs::write(&file, text).unwrap();
    NgramModel::read_arpa(&file, &ReadOptions::default()).unwrap()
}

/// N-gram to log10 and back-off weight, by the text of an ARPA file.
fn grams(model: &NgramModel) -> BTreeMap<Vec<String>, (f32, f32)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.arpa");
    model.write_arpa(&file).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| line.contains('\t')).map(|line| {
        let mut fields = line.split('\t');
        let log10 = fields.next().unwrap().parse().unwrap();
        let gram = fields.next().unwrap().split(' ').map(str::to_owned).collect();
        (gram, (log10, fields.next().map_or(0.0, |backoff| backoff.parse().unwrap())))
    });
    lines.collect()
}

/// The definition: the longest n-gram's probability, less the back-off weights of all longer contexts.
fn by_definition(grams: &BTreeMap<Vec<String>, (f32, f32)>, history: &[String], word: &str) -> f32 {
    let whole: Vec<String> = history.iter().cloned().chain([word.to_owned()]).collect();
    match grams.get(&whole) {
        Some((log10, _)) => *log10,
        None => grams.get(history).map_or(0.0, |(_, backoff)| *backoff) + by_definition(grams, &history[1..], word),
    }
}

/// All sequences of words of one length.
fn sequences<'a>(words: &[&'a str], length: u32) -> Vec<Vec<&'a str>> {
    let each = |number: usize| (0..length).map(move |place| words[number / words.len().pow(place) % words.len()]);
    (0..words.len().pow(length)).map(|number| each(number).collect()).collect()
}

/// The longest end of a history that an n-gram extends or that has a back-off weight.
fn longest_context(grams: &BTreeMap<Vec<String>, (f32, f32)>, history: &[String]) -> Vec<String> {
    let matters = |end: &&[String]| {
        let extended = grams.keys().any(|gram| gram.len() == end.len() + 1 && gram.starts_with(end));
        end.is_empty() || extended || grams.get(*end).is_some_and(|(_, backoff)| *backoff != 0.0)
    };
    (0..=history.len()).map(|start| &history[start..]).find(matters).unwrap().to_vec()
}

/// Every history of up to 6 words from the start of a sentence, the state that it leads to, and every word behind it.
fn check(model: &NgramModel, words: &[&str]) {
    let grams = grams(model);
    let mut contexts = BTreeMap::new();
    for history in (0..=6).flat_map(|length| sequences(words, length)) {
        let mut state = model.start();
        for word in &history {
            state = model.score(state, model.word(word).unwrap_or(WordId::UNKNOWN)).1;
        }
        let mut context: Vec<String> = ["<s>"].iter().chain(&history).map(|word| (*word).to_owned()).collect();
        context.drain(..(context.len() + 1).saturating_sub(model.order()));
        let remembered = longest_context(&grams, &context);
        assert_eq!(model.history_length(state), remembered.len(), "{context:?}");
        assert_eq!(*contexts.entry(remembered).or_insert(state), state, "{context:?}");
        for word in words {
            let ours = model.score(state, model.word(word).unwrap_or(WordId::UNKNOWN)).0;
            // Sums of at most four numbers below 4 in size, added in another order.
            let expected = by_definition(&grams, &context, word);
            assert!((ours - expected).abs() < 3e-6, "p({word} | {context:?}): {ours}, {expected}");
        }
        let expected = by_definition(&grams, &context, "</s>");
        assert!((model.end(state) - expected).abs() < 3e-6, "the end after {context:?}");
    }
    assert!(contexts.len() == 1 || model.order() > 1);
}

const TEXT: [&str; 6] = ["a b c", "a b", "b a b c", "c", "a a b", "c b a"];

fn estimated(order: usize, prune: &[u64]) -> NgramModel {
    let settings = ModifiedKneserNey { order, prune: prune.to_vec(), ..ModifiedKneserNey::default() };
    settings.estimate(TEXT.iter().map(|sentence| sentence.split(' '))).unwrap().model
}

#[test]
fn scores_are_those_of_the_definition() {
    for order in 1..=4 {
        check(&estimated(order, &[]), &["a", "b", "c", "<unk>"]);
    }
    check(&estimated(4, &[0, 1, 1, 2]), &["a", "b", "c", "<unk>"]);
}

/// "b c" ends "a b c" and is no 2-gram, nor are the words behind: pruning by SRILM leaves such.
#[test]
fn scores_of_a_model_with_holes_are_those_of_the_definition() {
    let model = read(
        "\\data\\\nngram 1=6\nngram 2=3\nngram 3=3\nngram 4=2\n\n\
         \\1-grams:\n-1.5 <unk>\n-99 <s> -0.25\n-0.75 </s>\n-0.5 a -0.125\n-0.625 b -0.375\n-0.875 c -0.0625\n\
         \\2-grams:\n-0.25 <s> a -0.5\n-0.375 a b -0.75\n-1.25 c c -0.1875\n\
         \\3-grams:\n-0.125 <s> a b -0.3125\n-0.4375 a b c -0.5625\n-0.6875 c c a 0.5\n\
         \\4-grams:\n-0.0625 a b c c\n-0.03125 <s> a b c\n\\end\\\n",
    );
    check(&model, &["a", "b", "c", "<unk>"]);
    let id = |word: &str| model.word(word).unwrap();
    // In binary fractions all is exact. After <s> a b c, of which a b c is a state: the 4-gram.
    let after = |words: &[&str]| words.iter().fold(model.start(), |state, word| model.score(state, id(word)).1);
    assert_eq!(model.score(after(&["a", "b", "c"]), id("c")).0, -0.0625);
    // Then a: b c c a is none; the weight of a b c c is none; of b c c none; c c a is listed.
    assert_eq!(model.score(after(&["a", "b", "c", "c"]), id("a")).0, -0.6875);
    // After a b c, b: weight of a b c, none of b c, weight of c, unigram b.
    assert_eq!(model.score(after(&["a", "b", "c"]), id("b")).0, -0.5625 - 0.0625 - 0.625);
}

/// A history that no n-gram extends and that has no weight is forgotten: here all before the last c, which came first but once.
#[test]
fn equal_futures_share_a_state() {
    let model = estimated(3, &[]);
    let id = |word: &str| model.word(word).unwrap();
    let after = |words: &[&str]| words.iter().fold(model.start(), |state, word| model.score(state, id(word)).1);
    assert_eq!(after(&["a", "c", "c"]), after(&["b", "a", "c"]));
    assert_eq!(model.history_length(after(&["c", "c"])), 1);
    assert_eq!(model.history_length(after(&["b", "a"])), 2);
    assert_eq!(after(&["a", "b"]), after(&["c", "c", "a", "b"]));
    assert_ne!(after(&["a", "b"]), after(&["c", "b"]));
    assert_eq!(model.score(model.start(), WordId::UNKNOWN).1, model.null_state());
}

#[test]
fn a_context_without_extension_but_with_a_weight_is_remembered() {
    let model = read(
        "\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n-99 <s>\n-1 </s>\n-1 a -0.5\n\\2-grams:\n-0.5 <s> a\n\\end\\\n",
    );
    let a = model.word("a").unwrap();
    let state = model.score(model.start(), a).1;
    assert_eq!(model.history_length(state), 1);
    assert_eq!(model.end(state), -1.5);
}

#[test]
fn fragments_start_without_history() {
    let model = estimated(3, &[]);
    let a = model.word("a").unwrap();
    assert_ne!(model.score(model.null_state(), a).0, model.score(model.start(), a).0);
    assert_eq!(model.history_length(model.null_state()), 0);
    assert_eq!(model.history_length(model.start()), 1);
}

#[test]
fn special_tokens_in_a_sentence_are_unknown() {
    let model = estimated(3, &[]);
    let expected = model.score_sentence(["a", "unheard-of", "b"]);
    assert_eq!((expected.words, expected.unknown), (3, 1));
    for special in ["<s>", "</s>", "<unk>"] {
        assert_eq!(model.score_sentence(["a", special, "b"]), expected);
    }
}

#[test]
fn a_text_without_sentences_has_no_perplexity() {
    let model = estimated(2, &[]);
    let empty = model.score_text(std::iter::empty::<[&str; 0]>());
    assert_eq!((empty.perplexity(), empty.perplexity_without_unknown()), (None, None));
    // A sentence without words has an end.
    let one = model.score_text([[""; 0]]);
    let expected = 10_f64.powf(-f64::from(model.end(model.start())));
    assert!((one.perplexity().unwrap() / expected - 1.0).abs() < 1e-12);
}

#[test]
fn perplexity_by_hand() {
    let model = read("\\data\\\nngram 1=4\n\n\\1-grams:\n-2 <unk>\n0 <s>\n-0.5 </s>\n-0.25 a\n\\end\\\n");
    // a a </s>: 1; a x </s>: 2.75. 6 tokens, and without x 5.
    let score = model.score_text([["a", "a"], ["a", "x"]]);
    assert_eq!(
        (score.log10, score.log10_unknown, score.tokens, score.unknown, score.sentences),
        (-3.75, -2.0, 6, 1, 2)
    );
    assert!((score.perplexity().unwrap() - 10_f64.powf(3.75 / 6.0)).abs() < 1e-12);
    assert!((score.perplexity_without_unknown().unwrap() - 10_f64.powf(1.75 / 5.0)).abs() < 1e-12);
}
