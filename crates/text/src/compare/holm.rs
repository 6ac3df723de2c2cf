//! Several comparisons at once (Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
//! Statistics 6, 1979).

/// The p-values of a family of tests, adjusted so that to call those at most α significant errs at all, in the whole family,
/// with probability α at most. No independence of the tests is assumed.
///
/// The smallest of m is multiplied by m, the next by m − 1, and so on; none comes out below one that was smaller, none above 1.
/// They keep the order given. What is no probability is brought into 0 to 1; a NaN, of a test that could not be made, is 1.
#[must_use]
#[allow(clippy::cast_precision_loss)] // exact up to 2^53 tests
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut adjusted: Vec<f64> = p.iter().map(|p| if p.is_nan() { 1.0 } else { p.clamp(0.0, 1.0) }).collect();
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| adjusted[*a].total_cmp(&adjusted[*b]));
    let mut largest = 0.0_f64;
    for (rank, place) in order.into_iter().enumerate() {
        largest = largest.max((p.len() - rank) as f64 * adjusted[place]).min(1.0);
        adjusted[place] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_derived() {
        // Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 are 0.02, 0.03, 0.06, 0.04; the last may not be below 0.06.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (adjusted, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((adjusted - expected).abs() < 1e-15, "{adjusted} {expected}");
        }
        assert!(holm(&[]).is_empty());
        assert_eq!(holm(&[0.2]), [0.2]);
        // 3 · 0.4 and 2 · 0.5 are above or at 1, and so is all behind them.
        assert_eq!(holm(&[0.5, 0.4, 0.9]), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn equal_values_stay_equal() {
        // 3 · 0.02 = 0.06 is the largest up to each of them.
        assert_eq!(holm(&[0.02, 0.02, 0.02]), [0.06, 0.06, 0.06]);
    }

    #[test]
    fn what_is_no_probability_does_not_spread() {
        // The NaN counts as a test: 2 · 0.01.
        assert_eq!(holm(&[f64::NAN, 0.01]), [1.0, 0.02]);
        assert_eq!(holm(&[-0.5, f64::INFINITY, 0.5]), [0.0, 1.0, 1.0]);
    }

    #[test]
    fn never_below_what_was_given_and_in_its_order() {
        let given: Vec<f64> = (0..40).map(|i| f64::from(i * 17 % 40) / 400.0).collect();
        let adjusted = holm(&given);
        for (i, a) in given.iter().enumerate() {
            assert!((*a..=1.0).contains(&adjusted[i]));
            for (j, b) in given.iter().enumerate() {
                assert!(a > b || adjusted[i] <= adjusted[j], "{a} {b}");
            }
        }
    }
}
