//! Masking of the projected features in training: SpecAugment as wav2vec 2.0 fine-tunes with it (section 3).

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Spans of one axis to mask.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spans {
    /// Share of the axis that the spans would cover without overlap (transformers' and fairseq's `mask_*_prob`): with
    /// 0.65 and length 10, about 49 % is masked. 0 to 1.
    pub share: f64,
    /// Length of a span: frames on the time axis, channels on the channel axis. At least 1.
    pub length: usize,
}

impl Spans {
    /// Nothing masked.
    pub const NONE: Spans = Spans { share: 0.0, length: 10 };

    /// Draws the mask of an axis of `size` places, true where masked.
    ///
    /// The number of spans is `share · size / length`, its fraction rounded up by chance; their starts are distinct and
    /// no span leaves the axis. An axis shorter than a span is left whole: a short clip must not vanish.
    pub fn draw(&self, size: usize, random: &mut impl Rng) -> Vec<bool> {
        self.draw_at_least(0, size, random)
    }

    /// As [`Spans::draw`], with at least `least` spans where the axis has room for as many side by side.
    pub fn draw_at_least(&self, least: usize, size: usize, random: &mut impl Rng) -> Vec<bool> {
        let mut mask = vec![false; size];
        let expected = self.share * size as f64 / self.length as f64;
        // Drawn whether or not it is used, so that a clip's length does not shift what comes after.
        let wanted = (expected + random.random::<f64>()) as usize;
        if size < self.length || self.length == 0 {
            return mask;
        }
        let starts = size - self.length + 1;
        let wanted = wanted.max(least).min(size / self.length).min(starts);
        for start in distinct(starts, wanted, random) {
            mask[start..start + self.length].fill(true);
        }
        mask
    }
}

/// `wanted` distinct numbers below `bound` (Floyd's method: no list of `bound` entries).
fn distinct(bound: usize, wanted: usize, random: &mut impl Rng) -> std::collections::BTreeSet<usize> {
    let mut chosen = std::collections::BTreeSet::new();
    for last in bound - wanted..bound {
        let number = random.random_range(0..=last);
        chosen.insert(if chosen.contains(&number) { last } else { number });
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    #[test]
    fn wav2vecs_setting_masks_about_half() {
        // Starts are distinct but spans overlap. With n = 65 spans of 10 among 991 starts, a frame stays free when none
        // of the 10 starts that cover it is chosen: C(981, 65) / C(991, 65) ≈ (1 − 65/991)^10 = 0.508.
        let mut random = SmallRng::seed_from_u64(1);
        let spans = Spans { share: 0.65, length: 10 };
        let rounds = 200;
        let masked: usize =
            (0..rounds).map(|_| spans.draw(1000, &mut random).iter().filter(|&&masked| masked).count()).sum();
        let share = masked as f64 / (1000 * rounds) as f64;
        // One draw's share deviates by about 0.02; the mean of 200 by 0.0015. Edge frames are masked a little less.
        assert!((share - 0.490).abs() < 0.01, "{share}");
    }

    #[test]
    fn the_count_is_rounded_by_chance_and_spans_stay_inside() {
        let mut random = SmallRng::seed_from_u64(2);
        let spans = Spans { share: 0.25, length: 4 };
        // 0.25 × 8 / 4 = 0.5 spans: half of the masks are empty, half hold one span of exactly four.
        let counts: Vec<usize> =
            (0..2000).map(|_| spans.draw(8, &mut random).iter().filter(|&&masked| masked).count()).collect();
        assert!(counts.iter().all(|&count| count == 0 || count == 4));
        let empty = counts.iter().filter(|&&count| count == 0).count();
        // Binomial(2000, ½): six deviations are 6 × 22.4 = 134.
        assert!(empty.abs_diff(1000) < 134, "{empty}");
    }

    #[test]
    fn an_axis_shorter_than_a_span_is_left_whole() {
        let mut random = SmallRng::seed_from_u64(3);
        for size in 0..10 {
            assert!(Spans { share: 1.0, length: 10 }.draw(size, &mut random).iter().all(|&masked| !masked));
        }
    }
}
