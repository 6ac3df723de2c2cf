use std::collections::BTreeMap;

use klang_lm::{ModifiedKneserNey, NgramModel};

use super::*;

/// ln of probabilities (frame, label), from numbers that follow `seed` alone.
fn frames(seed: u64, count: usize, labels: usize) -> Vec<Vec<f32>> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let row = |_| {
        let weights: Vec<f64> = (0..labels).map(|_| (4.0 * next()).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| (weight / sum).ln() as f32).collect()
    };
    (0..count).map(row).collect()
}

/// Every text with the sum of its paths' probabilities, path by path.
fn exhaustive(frames: &[Vec<f32>], blank: u32) -> BTreeMap<Vec<u32>, f64> {
    let labels = frames[0].len();
    let mut texts = BTreeMap::new();
    for path in 0..labels.pow(frames.len() as u32) {
        let (mut rest, mut text, mut previous, mut log) = (path, Vec::new(), blank, 0.0);
        for frame in frames {
            let label = (rest % labels) as u32;
            rest /= labels;
            log += f64::from(frame[label as usize]);
            if label != blank && label != previous {
                text.push(label);
            }
            previous = label;
        }
        *texts.entry(text).or_insert(0.0) += f64::exp(log);
    }
    texts
}

fn search<S: Scorer>(settings: BeamSettings, scorer: S, frames: &[Vec<f32>], blank: u32) -> BeamSearch<S> {
    let mut search = BeamSearch::new(settings, blank, scorer);
    frames.iter().for_each(|frame| search.push(frame));
    search
}

#[test]
fn without_pruning_every_text_has_the_sum_of_its_paths() {
    for (seed, blank) in [(1, 0), (2, 0), (3, 2), (4, 3)] {
        let frames = frames(seed, 6, 4);
        let expected = exhaustive(&frames, blank);
        let found = search(BeamSettings::EXACT, (), &frames, blank).finish(usize::MAX);
        assert_eq!(found.len(), expected.len());
        for hypothesis in &found {
            let given = hypothesis.acoustic.exp();
            let expected = expected[&hypothesis.labels];
            // Both are sums of at most 4⁶ products in f64: a relative error of some 4⁶ · 2⁻⁵³ at the most.
            assert!((given - expected).abs() <= 1e-12 * expected, "{hypothesis:?}: {expected}");
        }
        assert!(found.is_sorted_by(|one, other| one.total() >= other.total()));
    }
}

#[test]
fn the_probabilities_of_all_prefixes_sum_to_one_after_every_frame() {
    let frames = frames(5, 7, 4);
    let mut search = BeamSearch::new(BeamSettings::EXACT, 1, ());
    for frame in &frames {
        search.push(frame);
        let sum: f64 = search.finish(usize::MAX).iter().map(|hypothesis| hypothesis.acoustic.exp()).sum();
        // A frame's probabilities are rounded to f32 as logarithms: 4 · 2⁻²⁴ of each at the most, seven times.
        assert!((sum - 1.0).abs() < 7.0 * 4.0 * 2f64.powi(-24), "{sum}");
    }
}

#[test]
fn a_narrow_beam_gives_sorted_distinct_texts_of_no_more_than_their_probability() {
    for seed in 10..30 {
        let frames = frames(seed, 7, 4);
        let expected = exhaustive(&frames, 0);
        let found = search(BeamSettings { width: 5, ..BeamSettings::default() }, (), &frames, 0).finish(9);
        assert!((1..=5).contains(&found.len()));
        assert!(found.is_sorted_by(|one, other| one.total() >= other.total() && one.labels != other.labels));
        let texts: std::collections::BTreeSet<&Vec<u32>> = found.iter().map(|one| &one.labels).collect();
        assert_eq!(texts.len(), found.len());
        for Hypothesis { labels, acoustic, .. } in &found {
            assert!(acoustic.exp() <= expected[labels] * (1.0 + 1e-12), "paths can be lost, never won");
        }
    }
}

/// Words of two letters over labels 1 and 2, with 3 between words and the blank 0.
fn spelt(text: &str) -> Vec<u32> {
    text.bytes()
        .map(|letter| match letter {
            b'a' => 1,
            b'b' => 2,
            _ => 3,
        })
        .collect()
}

fn language_model() -> NgramModel {
    let text = ["ab ba", "ab ab ba", "ba b", "ab b ba", "b ab", "ba ab ab"];
    let sentences = text.iter().map(|sentence| sentence.split(' '));
    ModifiedKneserNey { order: 2, ..ModifiedKneserNey::default() }.estimate(sentences).unwrap().model
}

fn lexicon(model: &NgramModel) -> Lexicon {
    Lexicon::new(model, model.vocabulary().map(|(id, word)| (spelt(word), id)))
}

/// The score of a whole text, written out word by word.
fn written_out(model: &NgramModel, labels: &[u32], weights: LmWeights, words: Words) -> Option<f64> {
    let text: String = labels.iter().map(|label| [' ', 'a', 'b', ' '][*label as usize]).collect();
    let (mut state, mut score) = (model.start(), 0.0);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let known = model.word(word);
        if words == Words::Listed && known.is_none() {
            return None;
        }
        let (log10, next) = model.score(state, known.unwrap_or(klang_lm::WordId::UNKNOWN));
        let unknown = if known.is_none() { weights.unknown } else { 0.0 };
        score += weights.lm * (f64::from(log10) + unknown) * std::f64::consts::LN_10 + weights.word;
        state = next;
    }
    Some(score + weights.lm * f64::from(model.end(state)) * std::f64::consts::LN_10)
}

#[test]
fn with_a_word_model_the_best_text_is_the_exhaustive_searchs() {
    let model = language_model();
    let lexicon = lexicon(&model);
    let weights = LmWeights { lm: 0.7, word: 0.4, unknown: -1.5 };
    for (seed, words) in [(40, Words::Open), (41, Words::Listed), (42, Words::Open), (43, Words::Listed)] {
        let frames = frames(seed, 7, 4);
        let scorer = WordScorer { lm: &model, lexicon: &lexicon, words, delimiter: 3, weights };
        let found = search(BeamSettings::EXACT, scorer, &frames, 0).finish(usize::MAX);
        let expected: BTreeMap<Vec<u32>, f64> = exhaustive(&frames, 0)
            .into_iter()
            .filter_map(|(labels, sum)| {
                let score = written_out(&model, &labels, weights, words)?;
                Some((labels, sum.ln() + score))
            })
            .collect();
        assert_eq!(found.len(), expected.len());
        for hypothesis in &found {
            let (given, expected) = (hypothesis.total(), expected[&hypothesis.labels]);
            // Some twenty sums of numbers up to 100 in f64.
            assert!((given - expected).abs() < 20.0 * 100.0 * 2f64.powi(-52), "{hypothesis:?}: {expected}");
        }
        let best = expected.iter().max_by(|one, other| one.1.total_cmp(other.1)).unwrap().0;
        assert_eq!(&found[0].labels, best);
    }
}

#[test]
fn a_model_of_the_labels_scores_each_of_them() {
    let text = ["a b a", "b a b b", "a a b"];
    let sentences = text.iter().map(|sentence| sentence.split(' '));
    let model = ModifiedKneserNey { order: 3, ..ModifiedKneserNey::default() }.estimate(sentences).unwrap().model;
    let words = [None, model.word("a"), model.word("b")];
    let weights = LmWeights { lm: 1.0, word: 0.25, unknown: 0.0 };
    let frames = frames(50, 6, 3);
    let found =
        search(BeamSettings::EXACT, LabelScorer { lm: &model, words: &words, list: Words::Open, weights }, &frames, 0);
    for Hypothesis { labels, scorer, .. } in found.finish(usize::MAX) {
        let letters = labels.iter().map(|&label| ["", "a", "b"][label as usize]);
        let log10 = model.score_sentence(letters).log10;
        let expected = log10 * std::f64::consts::LN_10 + 0.25 * labels.len() as f64;
        // The model's own sum is in f64 of f32 numbers too; seven of them, each below 10.
        assert!((scorer - expected).abs() < 7.0 * 10.0 * 2f64.powi(-50), "{labels:?}: {scorer}, not {expected}");
    }
}

#[test]
fn hot_words_are_preferred_and_scorers_add() {
    let frame = |of: &[(usize, f64)]| {
        let mut row = vec![-20.0f32; 4];
        of.iter().for_each(|&(label, p)| row[label] = p.ln() as f32);
        row
    };
    // "aa" at 0.6, "ab" at 0.4.
    let frames = [frame(&[(1, 1.0)]), frame(&[(0, 1.0)]), frame(&[(1, 0.6), (2, 0.4)])];
    let best = |scorer: (Option<&HotWords>, Option<LabelScorer>)| {
        search(BeamSettings::default(), scorer, &frames, 0).finish(1).remove(0)
    };
    let hot = HotWords::new(&[(spelt("ab"), 1.0)], Some(3));
    assert_eq!(best((None, None)).labels, spelt("aa"));
    let found = best((Some(&hot), None));
    assert_eq!((found.labels, found.scorer), (spelt("ab"), 1.0));
    // A model of letters that weighs nothing, but for three nats a letter.
    let model = language_model();
    let weights = LmWeights { lm: 0.0, word: 3.0, unknown: 0.0 };
    let letters = LabelScorer { lm: &model, words: &[None; 4], list: Words::Open, weights };
    assert_eq!(best((Some(&hot), Some(letters))).scorer, 1.0 + 2.0 * 3.0);
}

#[test]
fn a_weighty_model_does_not_make_the_default_beam_lose_the_ends_of_words() {
    let model = language_model();
    let lexicon = lexicon(&model);
    for seed in 90..110 {
        // As sure as a model that has learnt: of noise no beam finds the best text.
        let mut frames = frames(seed, 30, 4);
        for frame in &mut frames {
            frame.iter_mut().for_each(|value| *value *= 2.5);
            let sum: f32 = frame.iter().map(|value| value.exp()).sum();
            frame.iter_mut().for_each(|value| *value -= sum.ln());
        }
        let weights = LmWeights { lm: 3.0, word: 0.0, unknown: -3.0 };
        let scorer = WordScorer { lm: &model, lexicon: &lexicon, words: Words::Open, delimiter: 3, weights };
        let wide = BeamSettings { width: 3000, label_floor: f32::NEG_INFINITY, margin: f64::INFINITY };
        let narrow = BeamSettings { label_floor: f32::NEG_INFINITY, ..BeamSettings::default() };
        let (best, found) = (search(wide, scorer, &frames, 0), search(narrow, scorer, &frames, 0));
        // How many delimiters stand between words is all the same.
        let words = |search: &BeamSearch<WordScorer>| -> Vec<Vec<u32>> {
            let labels = search.finish(1).remove(0).labels;
            labels.split(|&label| label == 3).filter(|word| !word.is_empty()).map(<[u32]>::to_vec).collect()
        };
        assert_eq!(words(&found), words(&best), "seed {seed}");
    }
}

#[test]
fn a_long_recording_keeps_its_memory_and_its_precision() {
    // The same three frames, over and over: a, b or nothing, then the blank.
    let frames = frames(60, 3, 4);
    let (rounds, mut search) = (20_000, BeamSearch::new(BeamSettings { width: 20, ..BeamSettings::default() }, 0, ()));
    let mut nodes = 0;
    for _ in 0..rounds {
        frames.iter().for_each(|frame| search.push(frame));
        nodes = nodes.max(search.prefixes.len());
    }
    assert!(nodes < 2 * NODES, "{nodes}");
    let best = search.finish(1).remove(0);
    let one = search_of(&frames, rounds / 10);
    let two = search_of(&frames, rounds / 5);
    // Far from both ends each round adds the same.
    let per_round = (two - one) / (rounds as f64 / 10.0);
    let expected = two + per_round * (rounds - rounds / 5) as f64;
    assert!((best.acoustic - expected).abs() < 1e-9 * expected.abs(), "{} {expected}", best.acoustic);
}

fn search_of(frames: &[Vec<f32>], rounds: usize) -> f64 {
    let mut search = BeamSearch::new(BeamSettings { width: 20, ..BeamSettings::default() }, 0, ());
    (0..rounds).for_each(|_| frames.iter().for_each(|frame| search.push(frame)));
    search.finish(1).remove(0).acoustic
}

#[test]
fn settled_labels_begin_every_text_to_come() {
    let frames = frames(70, 400, 4);
    let mut search = BeamSearch::new(BeamSettings { width: 8, ..BeamSettings::default() }, 0, ());
    let mut settled = Vec::new();
    for frame in &frames {
        search.push(frame);
        let now = search.settle().to_vec();
        assert!(now.starts_with(&settled), "what is settled stays");
        settled = now;
        assert!(search.finish(8).iter().all(|one| one.labels.starts_with(&settled)));
        assert_eq!(search.best(), search.finish(1)[0].labels);
    }
    assert!(settled.len() > 100, "{}", settled.len());
    let mut committed = self::search(BeamSettings { width: 8, ..BeamSettings::default() }, (), &frames, 0);
    let best = committed.best();
    assert!(committed.commit());
    assert_eq!(committed.settle(), best);
    assert_eq!(committed.finish(8).len(), 1);
    let all_at_once = self::search(BeamSettings { width: 8, ..BeamSettings::default() }, (), &frames, 0);
    assert_eq!(all_at_once.finish(3), search.finish(3));
}

#[test]
fn nothing_is_committed_that_may_not_end() {
    let model = language_model();
    let lexicon = lexicon(&model);
    let weights = LmWeights::default();
    let scorer = WordScorer { lm: &model, lexicon: &lexicon, words: Words::Listed, delimiter: 3, weights };
    // "a" alone, of which no listed word is made.
    let frame = |label: usize| (0..4).map(|other| if other == label { 0.0 } else { f32::NEG_INFINITY }).collect();
    let sure: Vec<Vec<f32>> = vec![frame(1), frame(0)];
    let mut search = search(BeamSettings::default(), scorer, &sure, 0);
    assert!(!search.commit());
    search.push(&frame(2));
    assert!(search.commit());
    assert_eq!(search.settle(), spelt("ab"));
}

#[test]
fn impossible_and_broken_frames_end_nothing() {
    let nothing = vec![f32::NEG_INFINITY; 4];
    let broken = vec![f32::NAN; 4];
    for odd in [nothing, broken, Vec::new()] {
        let mut search = search(BeamSettings::default(), (), &frames(80, 3, 4), 0);
        let before = search.finish(3);
        search.push(&odd);
        assert_eq!(search.finish(3), before);
    }
    assert_eq!(search(BeamSettings::default(), (), &[], 0).finish(1)[0].labels, [0u32; 0]);
}
