//! How sure a recogniser is of a word, as a probability that comes true.
//!
//! Platt scaling (Platt 1999): a word with mean log probability x over its frames is right with probability
//! 1 / (1 + exp(−(slope · x + offset))), both learnt on development data.

use serde::{Deserialize, Serialize};

/// Steps of Newton's method; a handful suffices, and a strange corpus may take more.
const STEPS: usize = 50;

/// Keeps the curve finite where words of dev are all right or all wrong: the strength of a normal prior on both numbers.
const PRIOR: f64 = 1e-3;

/// Equally wide parts of 0 to 1 between which [`expected_calibration_error`] compares.
const BINS: usize = 10;

/// From a word's mean log probability to how often such a word is right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Log odds a nat.
    pub slope: f64,
    /// Log odds where every frame is certain.
    pub offset: f64,
}

impl Calibration {
    /// The probability that a word is right, 0 to 1.
    pub fn probability(&self, log_probability: f64) -> f64 {
        sigmoid(self.slope * log_probability + self.offset)
    }

    /// Learns from words: mean log probability, and whether it was right. None without words.
    pub fn fit(words: &[(f64, bool)]) -> Option<Calibration> {
        let words: Vec<(f64, f64)> =
            words.iter().filter(|(x, _)| x.is_finite()).map(|&(x, right)| (x, f64::from(right))).collect();
        if words.is_empty() {
            return None;
        }
        let (mut slope, mut offset) = (1.0, 0.0);
        for _ in 0..STEPS {
            // Gradient and curvature of the penalised log likelihood.
            let (mut ga, mut gb) = (-PRIOR * slope, -PRIOR * offset);
            let (mut aa, mut ab, mut bb) = (PRIOR, 0.0, PRIOR);
            for &(x, right) in &words {
                let p = sigmoid(slope * x + offset);
                let (error, weight) = (right - p, p * (1.0 - p));
                (ga, gb) = (ga + error * x, gb + error);
                (aa, ab, bb) = (aa + weight * x * x, ab + weight * x, bb + weight);
            }
            let determinant = aa * bb - ab * ab;
            let (da, db) = ((bb * ga - ab * gb) / determinant, (aa * gb - ab * ga) / determinant);
            if !(da.is_finite() && db.is_finite()) {
                break;
            }
            // Newton's step may be far too long where all words are alike.
            (slope, offset) = (slope + da.clamp(-2.0, 2.0), offset + db.clamp(-2.0, 2.0));
            if da.abs() + db.abs() < 1e-9 {
                break;
            }
        }
        Some(Calibration { slope, offset })
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The mean gap between what was promised and what came true, over ten equally wide ranges of what was promised, weighted by
/// their words (Guo et al. 2017). None without words.
pub fn expected_calibration_error(words: impl IntoIterator<Item = (f64, bool)>) -> Option<f64> {
    let mut bins = [(0.0, 0.0, 0.0); BINS]; // words, promised, right
    for (promised, right) in words {
        let bin = &mut bins[((promised * BINS as f64) as usize).min(BINS - 1)];
        *bin = (bin.0 + 1.0, bin.1 + promised, bin.2 + f64::from(right));
    }
    let all: f64 = bins.iter().map(|bin| bin.0).sum();
    (all > 0.0).then(|| bins.iter().map(|&(_, promised, right)| f64::abs(promised - right)).sum::<f64>() / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_curve_that_words_follow() {
        // Of words at each x, as many are right as the curve says, of 1,000.
        let truth = Calibration { slope: 2.0, offset: 1.0 };
        let words: Vec<(f64, bool)> = (0..30)
            .flat_map(|step| {
                let x = -f64::from(step) / 10.0;
                let right = (1000.0 * truth.probability(x)).round() as usize;
                (0..1000).map(move |number| (x, number < right))
            })
            .collect();
        let found = Calibration::fit(&words).unwrap();
        // Each of the 30 counts is rounded by half a word at most: some 0.3 · √30 words in all, against a curvature of
        // Σ 1000 p (1 − p), some thousands: about 0.001. Twenty times that is allowed.
        assert!((found.slope - truth.slope).abs() < 0.02 && (found.offset - truth.offset).abs() < 0.02, "{found:?}");
        let promised = words.iter().map(|&(x, right)| (found.probability(x), right));
        assert!(expected_calibration_error(promised).unwrap() < 0.002);
    }

    #[test]
    fn words_that_are_all_right_or_all_wrong_give_a_finite_curve() {
        for right in [true, false] {
            let found = Calibration::fit(&[(-0.1, right), (-0.4, right), (-2.0, right)]).unwrap();
            let p = found.probability(-0.4);
            assert!(found.slope.is_finite() && (p > 0.8) == right && (p < 0.2) != right, "{found:?} {p}");
        }
        assert_eq!(Calibration::fit(&[]), None);
        assert_eq!(Calibration::fit(&[(f64::NEG_INFINITY, true)]), None);
    }

    #[test]
    fn the_error_is_the_gap_between_promise_and_outcome() {
        // Two words promised 0.95, one of which is right: a gap of 0.9; two promised 0.5 of which one is right: none.
        let words = [(0.95, true), (0.95, false), (0.5, true), (0.5, false)];
        assert!((expected_calibration_error(words).unwrap() - 0.9 / 4.0).abs() < 1e-12);
        assert_eq!(expected_calibration_error([(1.0, true)]), Some(0.0));
        assert_eq!(expected_calibration_error([]), None);
    }
}
