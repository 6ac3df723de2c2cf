//! Against KenLM: the scores of its models, and the models that lmplz estimates from the same text. See golden/lmplz.py.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use klang_lm::{Estimate, ModifiedKneserNey, NgramModel, ReadOptions, WordId};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/lmplz.json")).unwrap()
}

fn case(name: &str) -> Value {
    let golden = golden();
    golden["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap().clone()
}

fn lmplz(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.arpa.gz"))
}

fn read(file: &Path) -> NgramModel {
    NgramModel::read_arpa(file, &ReadOptions::default()).unwrap()
}

fn sentences(case: &Value, key: &str) -> Vec<String> {
    case[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The text of a model, as `write_arpa` has it.
fn text(model: &NgramModel) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.arpa");
    model.write_arpa(&file).unwrap();
    std::fs::read_to_string(file).unwrap()
}

/// N-gram to probability and back-off weight.
fn grams(arpa: &str) -> BTreeMap<&str, (f32, f32)> {
    let lines = arpa.lines().filter(|line| line.contains('\t'));
    let parsed = lines.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let backoff = fields.get(2).map_or(0.0, |backoff| backoff.parse().unwrap());
        (fields[1], (fields[0].parse().unwrap(), backoff))
    });
    parsed.collect()
}

fn estimate(case: &Value) -> Estimate {
    let options: Vec<&str> =
        case["options"].as_array().unwrap().iter().map(|option| option.as_str().unwrap()).collect();
    let prune = match options.split_first() {
        Some((&"--prune", thresholds)) => thresholds.iter().map(|threshold| threshold.parse().unwrap()).collect(),
        _ => Vec::new(),
    };
    let order = case["order"].as_u64().unwrap() as usize;
    let text = sentences(case, "text");
    let settings = ModifiedKneserNey { order, prune, ..ModifiedKneserNey::default() };
    settings.estimate(text.iter().map(|sentence| sentence.split(' '))).unwrap()
}

/// Scores of 1 to 8, and 100, are sums of at most three numbers in f32, whose order may differ: 3 roundings of 2^-24 of the sum
/// on either side.
fn tolerance(log10: f64) -> f64 {
    6.0 * 2_f64.powi(-24) * log10.abs().max(1.0)
}

/// The largest difference of a score from KenLM's, after checking each word and the end of each sentence.
fn check_scores(name: &str, model: &NgramModel, texts: &[String], expected: &Value) -> f64 {
    let (mut worst, mut unknown) = (0.0_f64, 0);
    for (sentence, expected) in texts.iter().zip(expected.as_array().unwrap()) {
        let mut state = model.start();
        let words: Vec<&str> = sentence.split(' ').collect();
        assert_eq!(words.len() + 1, expected.as_array().unwrap().len(), "{name}: {sentence}");
        let mut total = 0.0;
        for (place, expected) in expected.as_array().unwrap().iter().enumerate() {
            let theirs = expected[0].as_f64().unwrap();
            let ours = match words.get(place) {
                None => model.end(state),
                Some(word) => {
                    let id = model.word(word);
                    assert_eq!(id.is_none(), expected[2].as_bool().unwrap(), "{name}: {word}");
                    unknown += u64::from(id.is_none());
                    let (ours, next) = model.score(state, id.unwrap_or(WordId::UNKNOWN));
                    state = next;
                    ours
                }
            };
            let difference = (f64::from(ours) - theirs).abs();
            assert!(difference <= tolerance(theirs).min(1e-5), "{name}: word {place} of {sentence:?}: {ours} {theirs}");
            worst = worst.max(difference);
            total += f64::from(ours);
        }
        assert!((model.score_sentence(words).log10 - total).abs() < 1e-9);
    }
    println!("{name}: largest difference from KenLM's scores {worst:.2e}, {unknown} unknown words");
    worst
}

#[test]
fn scores_are_kenlms() {
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases.iter().filter(|case| case.get("scores").is_some()) {
        let name = case["name"].as_str().unwrap();
        check_scores(name, &read(&lmplz(name)), &sentences(case, "scored"), &case["scores"]);
    }
}

/// Suffixes missing, as SRILM's pruning leaves it, and `<unk>` missing.
#[test]
fn scores_of_models_with_holes_are_kenlms() {
    let golden = golden();
    let folder = tempfile::tempdir().unwrap();
    for variant in golden["variants"].as_array().unwrap() {
        let (name, of) = (variant["name"].as_str().unwrap(), variant["of"].as_str().unwrap());
        let missing = sentences(variant, "missing");
        let whole = text(&read(&lmplz(of)));
        let gone = |line: &&str| !missing.iter().any(|gram| line.split('\t').nth(1) == Some(gram));
        let mut lines: Vec<String> = whole.lines().filter(gone).map(str::to_owned).collect();
        for line in lines.iter_mut().filter(|line| line.starts_with("ngram ")) {
            let (order, count) = line["ngram ".len()..].split_once('=').unwrap();
            let order: usize = order.parse().unwrap();
            let gone = missing.iter().filter(|gram| gram.split(' ').count() == order).count();
            *line = format!("ngram {order}={}", count.parse::<usize>().unwrap() - gone);
        }
        let file = folder.path().join(name);
        std::fs::write(&file, lines.join("\n")).unwrap();
        let model = read(&file);
        assert_eq!(model.unknown_given(), name != "no_unknown");
        check_scores(name, &model, &sentences(&case(of), "scored"), &variant["scores"]);
        // What holes leave is written and read as any other.
        let again = folder.path().join("again.arpa");
        model.write_arpa(&again).unwrap();
        assert_eq!(read(&again), model, "{name}");
    }
}

/// query adds up each sentence in f32: some 8 roundings of 2^-24 of a total of about 20, that is 1e-5 of log10 for some 8 words.
#[test]
fn perplexities_are_querys() {
    for name in ["words", "words_pruned", "characters", "repeated"] {
        let case = case(name);
        let texts = sentences(&case, "scored");
        let score = read(&lmplz(name)).score_text(texts.iter().map(|text| text.split(' ')));
        let theirs = &case["perplexity"];
        assert_eq!(score.tokens, theirs["tokens"].as_u64().unwrap());
        assert_eq!(score.unknown, theirs["oov"].as_u64().unwrap());
        assert_eq!(score.sentences, texts.len() as u64);
        for (ours, theirs) in
            [(score.perplexity(), &theirs["including"]), (score.perplexity_without_unknown(), &theirs["excluding"])]
        {
            let (ours, theirs) = (ours.unwrap(), theirs.as_f64().unwrap());
            assert!((ours / theirs - 1.0).abs() < 3e-6, "{name}: {ours} {theirs}");
        }
    }
}

#[test]
fn estimates_are_lmplzs() {
    for name in ["words", "words_pruned", "characters", "repeated", "unigrams"] {
        let case = case(name);
        let (estimate, theirs) = (estimate(&case), read(&lmplz(name)));
        assert_eq!(estimate.model.counts(), theirs.counts(), "{name}");
        for (order, (ours, theirs)) in estimate.discounts.iter().zip(case["discounts"].as_array().unwrap()).enumerate()
        {
            let fell_back = case["fallback"].as_array().unwrap().contains(&Value::from(order + 1));
            assert_eq!(ours.fallback.is_some(), fell_back, "{name}: order {}", order + 1);
            for (ours, theirs) in ours.amounts.iter().zip(theirs.as_array().unwrap()) {
                // Six digits are printed.
                assert!(
                    (ours - theirs.as_f64().unwrap()).abs() <= 6e-6,
                    "{name}: order {}: {ours} {theirs}",
                    order + 1
                );
            }
        }
        assert_eq!(estimate.warnings().count(), case["fallback"].as_array().unwrap().len());

        let (ours, theirs) = (text(&estimate.model), text(&theirs));
        let (ours, theirs) = (grams(&ours), grams(&theirs));
        assert!(ours.keys().eq(theirs.keys()), "{name}");
        let mut worst = 0.0_f32;
        for (gram, (ours, theirs)) in ours.iter().map(|(gram, ours)| (gram, (ours, theirs[gram]))) {
            let difference = (ours.0 - theirs.0).abs().max((ours.1 - theirs.1).abs());
            // lmplz computes in f32: a discount, a sum, a quotient and a product for each order, 1 + 4 · 5 roundings of
            // 2^-24, and one more of each logarithm, of size up to 5.
            assert!(difference <= 30.0 * 2_f32.powi(-24), "{name}: {gram}: {ours:?} {theirs:?}");
            worst = worst.max(difference);
        }
        println!("{name}: {} n-grams, largest difference from lmplz {worst:.2e}", ours.len());
    }
}

#[test]
fn perplexities_of_estimates_are_lmplzs() {
    for name in ["words", "words_pruned", "characters", "repeated"] {
        let case = case(name);
        let texts = sentences(&case, "scored");
        let score = estimate(&case).model.score_text(texts.iter().map(|text| text.split(' ')));
        let (ours, theirs) = (score.perplexity().unwrap(), case["perplexity"]["including"].as_f64().unwrap());
        println!("{name}: perplexity {ours}, lmplz's {theirs}");
        assert!((ours / theirs - 1.0).abs() < 1e-5, "{name}: {ours} {theirs}");
    }
}
