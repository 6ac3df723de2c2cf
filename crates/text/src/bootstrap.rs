//! Confidence of an error rate by the bootstrap (Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR
//! performance evaluation", ICASSP 2004): units are drawn with replacement, as many as there are, the corpus-level rate is
//! computed anew, and the middle 95 % of those rates is the interval (percentile method).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Counts;

/// What is drawn with replacement.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Ci95Unit {
    /// Utterances: how the rate would vary over other utterances of *these* speakers. For new speakers it is too narrow.
    #[default]
    Utterances,
    /// Speakers, each with all its utterances: how the rate would vary over other speakers. Needs several (say 8) to mean much.
    Speakers,
}

/// The 95 % interval of the rate of all `units` together, as fractions `[low, high]`.
///
/// `name` keeps the draws of one group apart from those of another under the same `seed`; neither the order of the units
/// nor any other call changes the result. A draw in which the rate is undefined is left out.
/// `None` with fewer than two units, no resamples, or no defined rate: one unit says nothing of its spread.
///
/// Time O(resamples × units), memory O(resamples + units).
#[must_use]
pub fn interval95(units: &[Counts], resamples: u32, seed: u64, name: &str) -> Option<[f64; 2]> {
    if units.len() < 2 {
        return None;
    }
    // Only these two numbers of a unit matter.
    let rows = units.iter().flat_map(|c| [c.reference_length, c.errors()]).collect();
    let mut resampling = Resampling::new(rows, 2, key(seed, name));
    let rates = (0..resamples).filter_map(|_| match *resampling.draw() {
        [length, errors] => rate(length, errors),
        _ => None,
    });
    middle95(rates.collect())
}

/// Errors over reference units. Which kind of error it is does not matter to the rate.
pub(crate) fn rate(length: u64, errors: u64) -> Option<f64> {
    Counts { reference_length: length, substitutions: errors, ..Counts::default() }.rate()
}

/// Draws of rows with replacement, as many as there are, summed column by column.
pub(crate) struct Resampling {
    /// Row by row.
    rows: Vec<u64>,
    sums: Vec<u64>,
    rng: ChaCha8Rng,
}

impl Resampling {
    /// Of rows of `width` numbers each, one behind the other. Sorted, the order of arrival does not matter.
    pub(crate) fn new(rows: Vec<u64>, width: usize, key: [u8; 32]) -> Self {
        let mut sorted: Vec<&[u64]> = rows.chunks_exact(width).collect();
        sorted.sort_unstable();
        Self { rows: sorted.concat(), sums: vec![0; width], rng: ChaCha8Rng::from_seed(key) }
    }

    /// The sums of the next draw.
    pub(crate) fn draw(&mut self) -> &[u64] {
        let width = self.sums.len();
        let rows = self.rows.len() / width;
        self.sums.fill(0);
        for _ in 0..rows {
            let start = self.rng.random_range(0..rows) * width;
            for (sum, number) in self.sums.iter_mut().zip(&self.rows[start..start + width]) {
                *sum += number;
            }
        }
        &self.sums
    }
}

/// The middle 95 % of `values`, or `None` of none.
pub(crate) fn middle95(mut values: Vec<f64>) -> Option<[f64; 2]> {
    values.sort_unstable_by(f64::total_cmp);
    Some([quantile(&values, 0.025)?, quantile(&values, 0.975)?])
}

/// Linear between the two nearest order statistics (type 7 of Hyndman and Fan, numpy's default).
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // an index: small, not negative
fn quantile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let position = fraction * sorted.len().checked_sub(1)? as f64;
    let below = *sorted.get(position.floor() as usize)?;
    let above = *sorted.get(position.ceil() as usize)?;
    Some(below + (above - below) * position.fract())
}

/// A generator's key from (seed, purpose, name): the name by FNV-1a.
pub(crate) fn key(seed: u64, name: &str) -> [u8; 32] {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&hash.to_le_bytes());
    key[16..].copy_from_slice(b"klang text ci95 ");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utterance(words: u64, errors: u64) -> Counts {
        Counts { reference_length: words, substitutions: errors, ..Counts::default() }
    }

    #[test]
    fn quantiles_interpolate() {
        // Positions 0.025 · 4 = 0.1 and 0.975 · 4 = 3.9.
        let sorted = [0.0, 1.0, 2.0, 3.0, 4.0];
        assert!((quantile(&sorted, 0.025).unwrap() - 0.1).abs() < 1e-12);
        assert!((quantile(&sorted, 0.975).unwrap() - 3.9).abs() < 1e-12);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn agrees_with_the_normal_approximation() {
        // 400 utterances of 10 words; every fourth has 4 errors: rate 0.1, per-utterance rate 0.4 with p = 1/4.
        // Its variance is 0.4² · ¼ · ¾ = 0.03, the standard error √(0.03 / 400) = 0.00866, so 0.1 ± 1.96 · 0.00866 = 0.1 ± 0.01697.
        // An end estimated from B = 4000 draws has a standard error of √(0.025 · 0.975 / B) / φ(1.96) = 0.00247 / 0.0584 = 0.042
        // standard errors, 0.00037; the rate moves in steps of 0.001. Four times the one and one of the other: 0.0025.
        let units: Vec<Counts> = (0..400).map(|i| utterance(10, if i % 4 == 0 { 4 } else { 0 })).collect();
        let [low, high] = interval95(&units, 4000, 1, "").unwrap();
        assert!((low - (0.1 - 0.01697)).abs() < 0.0025, "{low}");
        assert!((high - (0.1 + 0.01697)).abs() < 0.0025, "{high}");
    }

    #[test]
    fn depends_on_seed_and_name_but_not_on_order() {
        let units: Vec<Counts> = (0..50).map(|i| utterance(5 + i % 7, i % 3)).collect();
        let mut reversed = units.clone();
        reversed.reverse();
        let interval = interval95(&units, 200, 1, "anna");
        assert_eq!(interval, interval95(&units, 200, 1, "anna"));
        assert_eq!(interval, interval95(&reversed, 200, 1, "anna"));
        assert_ne!(interval, interval95(&units, 200, 2, "anna"));
        assert_ne!(interval, interval95(&units, 200, 1, "boris"));
    }

    #[test]
    fn nothing_to_resample_gives_nothing() {
        assert_eq!(interval95(&[], 100, 1, ""), None);
        assert_eq!(interval95(&[utterance(5, 1)], 100, 1, ""), None);
        assert_eq!(interval95(&[utterance(5, 1), utterance(5, 1)], 0, 1, ""), None);
        assert_eq!(interval95(&[utterance(0, 0), utterance(0, 0)], 100, 1, ""), None);
        // Draws of nothing but the empty utterance are left out, the others all have rate ½.
        assert_eq!(interval95(&[utterance(0, 0), utterance(4, 2)], 100, 1, ""), Some([0.5, 0.5]));
    }
}
