//! Word and character errors against jiwer 4: the counts, not the rates alone. See golden/jiwer.py.

use klang_text::{Pair, ScoreOptions, score};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

/// Counts are (reference length, substitutions, deletions, insertions).
#[derive(Deserialize)]
struct Case {
    references: Vec<String>,
    hypotheses: Vec<String>,
    wer: f64,
    words: [u64; 4],
    cer: f64,
    characters: [u64; 4],
}

#[test]
fn counts_are_those_of_jiwer() {
    let golden: Golden = serde_json::from_str(include_str!("golden/jiwer.json")).unwrap();
    assert_eq!(golden.cases.len(), 63);
    for (number, case) in golden.cases.iter().enumerate() {
        let pairs: Vec<Pair> = case
            .references
            .iter()
            .zip(&case.hypotheses)
            .enumerate()
            .map(|(id, (reference, hypothesis))| Pair {
                id: id.to_string(),
                speaker: None,
                reference: reference.clone(),
                hypothesis: hypothesis.clone(),
            })
            .collect();
        let ours = score(&pairs, &ScoreOptions { resamples: 0, ..ScoreOptions::default() });
        assert_eq!(
            [ours.words, ours.substitutions, ours.deletions, ours.insertions],
            case.words,
            "words of case {number}"
        );
        let c = ours.character_errors;
        assert_eq!(
            [c.characters, c.substitutions, c.deletions, c.insertions],
            case.characters,
            "characters of case {number}"
        );
        // Both divide the same integers, but reading a decimal number may be off by its last bit.
        // jiwer counts nothing against nothing as 0, which is undefined here.
        for (ours, theirs) in [(ours.wer, case.wer), (ours.cer, case.cer)] {
            assert!(
                (ours.unwrap_or(0.0) - theirs).abs() <= theirs * f64::EPSILON,
                "{ours:?} {theirs} in case {number}"
            );
        }
    }
}
