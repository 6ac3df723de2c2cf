//! Forced alignment beside torchaudio's; `golden/forced_align.py` made what is expected.

use klang_ctc::align;
use serde::Deserialize;
use tch::{Kind, Tensor};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    seed: u64,
    vocabulary: usize,
    labels: Vec<u32>,
    blank: u32,
    /// (frame, vocabulary).
    logits: Vec<f32>,
    /// The label of each frame.
    path: Vec<u32>,
    /// ln of the path's probability.
    score: f64,
}

#[test]
fn paths_and_scores_are_torchaudios() {
    let golden: Golden = serde_json::from_str(include_str!("golden/forced_align.json")).unwrap();
    assert!(golden.cases.len() >= 6);
    for Case { seed, vocabulary, labels, blank, logits, path, score } in golden.cases {
        let rows = Tensor::from_slice(&logits).view([-1, vocabulary as i64]).log_softmax(-1, Kind::Float);
        let mut values = vec![0.0f32; logits.len()];
        rows.copy_data(&mut values, logits.len());
        let found = align(&values, vocabulary, &labels, blank).unwrap();
        let mut written = vec![blank; path.len()];
        for (label, place) in labels.iter().zip(&found.labels) {
            written[place.start..place.end].fill(*label);
        }
        assert_eq!(written, path, "seed {seed}");
        // Each frame's ln is rounded to f32 on either side, and is below 32: 2⁻²⁰ a frame.
        let allowed = path.len() as f64 * 2f64.powi(-20);
        assert!((found.log_probability - score).abs() <= allowed, "seed {seed}: {} {score}", found.log_probability);
    }
}
