//! A random smooth gain over the spectrum: another microphone, another room, another mouth.

use rand::Rng;
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

use super::noise::gaussian;

/// Points of the gain curve, evenly spaced in mel from 0 to half the sample rate.
const KNOTS: usize = 8;

/// Multiplies the spectrum of `samples`, shape `(sample,)`, by a smooth random gain: at eight frequencies, evenly spaced
/// in mel, it is Gaussian with `deviation_db`, and straight in between (in dB over mel). The mean level may change;
/// the length does not. Sums may leave [−1, 1]; they are not clipped.
///
/// A `deviation_db` that is not finite, or so large that gains overflow, leaves the samples as they are.
pub fn colour(samples: &mut [f32], deviation_db: f64, rng: &mut impl Rng) {
    let gains_db: Vec<f64> = gaussian(KNOTS, rng).into_iter().map(|value| value * deviation_db).collect();
    if samples.is_empty() || gains_db.iter().any(|gain| gain.is_nan() || gain.abs() > 200.0) {
        return;
    }
    // Padded to a length that is quick to transform; the padding also takes what would wrap around.
    let length = quick_length(samples.len() + PADDING);
    let mut spectrum = vec![Complex::default(); length];
    for (value, &sample) in spectrum.iter_mut().zip(samples.iter()) {
        value.re = sample;
    }
    let mut planner = FftPlanner::<f32>::new();
    planner.plan_fft_forward(length).process(&mut spectrum);
    let scale = 1.0 / length as f32; // rustfft leaves both directions unscaled
    for (bin, value) in spectrum.iter_mut().enumerate() {
        let share = 2.0 * bin.min(length - bin) as f64 / length as f64; // of half the rate; the upper half mirrors the lower
        *value *= scale * 10_f64.powf(gain_db(&gains_db, share) / 20.0) as f32;
    }
    planner.plan_fft_inverse(length).process(&mut spectrum);
    for (sample, value) in samples.iter_mut().zip(&spectrum) {
        *sample = value.re;
    }
}

/// Samples in which a curve with eight knots has died out.
const PADDING: usize = 256;

/// The gain at a share of half the rate, taking that half for 8 kHz.
fn gain_db(knots: &[f64], share: f64) -> f64 {
    const WIDTH: f64 = 8000.0 / 700.0;
    let place = (share * WIDTH).ln_1p() / WIDTH.ln_1p() * (knots.len() - 1) as f64;
    let knot = (place as usize).min(knots.len() - 2);
    let way = place - knot as f64;
    knots[knot] * (1.0 - way) + knots[knot + 1] * way
}

/// The next length with no prime factor above 2 and 3.
fn quick_length(least: usize) -> usize {
    let mut best = least.next_power_of_two();
    let mut threes = 3;
    while threes < best {
        let candidate = threes * least.div_ceil(threes).next_power_of_two();
        best = best.min(candidate);
        threes *= 3;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn sine(frequency: f64, length: usize) -> Vec<f32> {
        (0..length).map(|index| (std::f64::consts::TAU * frequency * index as f64).sin() as f32 * 0.1).collect()
    }

    fn level_db(samples: &[f32]) -> f64 {
        let power = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len() as f64;
        10.0 * power.log10()
    }

    #[test]
    fn no_deviation_changes_nothing() {
        let original = sine(0.03, 3001);
        let mut samples = original.clone();
        colour(&mut samples, 0.0, &mut ChaCha8Rng::seed_from_u64(1));
        let worst = samples.iter().zip(&original).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Two transforms of 12 stages in fp32 of values at 0.1: 0.1 × 24 × 2⁻²⁴ on average, ten times that at worst.
        assert!(worst < 1.5e-6, "{worst}");
    }

    #[test]
    fn each_frequency_gets_the_gain_of_the_curve() {
        for seed in 0..5 {
            let gains: Vec<f64> =
                gaussian(KNOTS, &mut ChaCha8Rng::seed_from_u64(seed)).into_iter().map(|gain| gain * 6.0).collect();
            for share in [0.05, 0.2, 0.5, 0.9] {
                let original = sine(share / 2.0, 16_000);
                let mut samples = original.clone();
                colour(&mut samples, 6.0, &mut ChaCha8Rng::seed_from_u64(seed));
                // The ends hear the cut sine's other frequencies.
                let middle = 4000..12_000;
                let gain = level_db(&samples[middle.clone()]) - level_db(&original[middle]);
                let expected = gain_db(&gains, share);
                assert!((gain - expected).abs() < 0.1, "seed {seed}, share {share}: {gain} instead of {expected}");
            }
        }
    }

    #[test]
    fn quick_lengths_are_not_much_longer() {
        for least in [1, 2, 3, 1000, 12_345, 480_256] {
            let length = quick_length(least);
            assert!(length >= least && length as f64 <= 1.5 * least as f64 + 1.0, "{least}: {length}");
        }
    }

    #[test]
    fn nothing_and_the_absurd_are_left_alone() {
        colour(&mut [], 6.0, &mut ChaCha8Rng::seed_from_u64(1));
        for deviation in [f64::NAN, f64::INFINITY, 1e300] {
            let mut samples = sine(0.1, 100);
            colour(&mut samples, deviation, &mut ChaCha8Rng::seed_from_u64(1));
            assert_eq!(samples, sine(0.1, 100));
        }
    }
}
