//! Medians, spreads, ratios, and in what order contenders run.

use serde::Serialize;

/// The middle of some figures, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of no figures there is none.
    pub fn of(figures: &[f64]) -> Option<Spread> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[upper] } else { (sorted[upper - 1] + sorted[upper]) / 2.0 };
        Some(Spread { median, min, max })
    }
}

/// Of each round the figure over the reference's of the same round, so that what slows a whole round cancels out.
pub fn ratios(figures: &[f64], reference: &[f64]) -> Vec<f64> {
    figures.iter().zip(reference).map(|(figure, reference)| figure / reference).collect()
}

/// The order of `count` contenders in a round from 0: A B C, then C B A, so that none always runs behind the same one.
pub fn order(round: usize, count: usize) -> Vec<usize> {
    let forwards = 0..count;
    if round.is_multiple_of(2) { forwards.collect() } else { forwards.rev().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_middle_two() {
        let median = |figures: &[f64]| Spread::of(figures).map(|spread| spread.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[10.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[10.0, 1.0, 2.0, 4.0]), Some(3.0));
        assert_eq!(Spread::of(&[10.0, 1.0, 2.0]).unwrap(), Spread { median: 2.0, min: 1.0, max: 10.0 });
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The second round was twice as slow for both: the medians' ratio would be 6 / 3, these are all 2.
        assert_eq!(ratios(&[4.0, 8.0, 6.0], &[2.0, 4.0, 3.0]), [2.0, 2.0, 2.0]);
        // A contender that failed in the second round has one ratio, of the first.
        assert_eq!(ratios(&[4.0], &[2.0, 4.0]), [2.0]);
    }

    #[test]
    fn every_second_round_runs_backwards() {
        assert_eq!(order(0, 3), [0, 1, 2]);
        assert_eq!(order(1, 3), [2, 1, 0]);
        assert_eq!(order(2, 3), [0, 1, 2]);
        assert!(order(1, 0).is_empty());
    }
}
