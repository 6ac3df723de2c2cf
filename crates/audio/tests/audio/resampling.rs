//! Resampling, measured: length, delay, pass band, aliases.

use klang_audio::{Waveform, resample, resampled_len};

use crate::signals::{decibels, fit, middle, rms, sine};

/// The usual rates both ways, a pair of small ratio, and pairs whose ratio is awkward or has no common divisor.
const PAIRS: &[(u32, u32)] = &[
    (4_000, 16_000),
    (8_000, 16_000),
    (11_025, 16_000),
    (22_050, 16_000),
    (32_000, 16_000),
    (44_100, 16_000),
    (48_000, 16_000),
    (96_000, 16_000),
    (192_000, 16_000),
    (16_000, 8_000),
    (16_000, 44_100),
    (48_000, 44_100),
    (192_000, 4_000),
    (4_000, 192_000),
    (16_001, 16_000),
];

/// Long enough that the middle half is out of reach of the edges: the filter spans a block of 1,024 samples of the lower
/// rate, or of one ratio unit (0.5 s at 11,025 → 16,000 Hz's 441 and 640 is far less; 1 s at 16,001 → 16,000, twice).
fn seconds(from: u32, to: u32) -> f64 {
    if from.abs_diff(to) == 1 { 8.0 } else { 2048.0 / f64::from(from.min(to)) * 2.0 }
}

fn resampled(from: u32, to: u32, frequency: f64) -> Waveform {
    let input = sine(from, frequency, (seconds(from, to) * f64::from(from)) as usize);
    resample(&input, to).unwrap()
}

#[test]
fn lengths_are_exact_for_every_pair() {
    for &(from, to) in PAIRS {
        for len in [0, 1, 2, 159, 160, 161, 1_023, 10_000, 10_001] {
            let output = resample(&Waveform::new(vec![0.1; len], from).unwrap(), to).unwrap();
            // The rule again, in floating point: exact here, as products stay below 2^53.
            let expected = (len as f64 * f64::from(to) / f64::from(from) + 0.5).floor() as usize;
            assert_eq!(output.len(), expected, "{len} samples {from} → {to} Hz");
            assert_eq!(output.len(), resampled_len(len, from, to));
            assert_eq!(output.sample_rate(), to);
        }
    }
}

#[test]
fn the_same_rate_changes_nothing() {
    let input = sine(16_000, 440.0, 1_000);
    assert_eq!(resample(&input, 16_000).unwrap(), input);
}

#[test]
fn the_pass_band_is_flat_and_clean_to_0_45_of_the_lower_rate() {
    let (mut ripple, mut images) = (0.0_f64, f64::NEG_INFINITY);
    for &(from, to) in PAIRS {
        let lower = f64::from(from.min(to));
        for part in [0.01, 0.1, 0.25, 0.4, 0.44, 0.45] {
            let output = resampled(from, to, part * lower);
            let fit = fit(middle(output.samples()), part * lower / f64::from(to));
            let gain = decibels(fit.amplitude / 0.5);
            assert!(gain.abs() < 0.1, "{from} → {to} Hz at {part}: {gain} dB");
            // What is not the sine: images of it and rounding, −80 dB of its RMS at most.
            let rest = decibels(fit.residual / (0.5 / 2.0_f64.sqrt()));
            assert!(rest < -80.0, "{from} → {to} Hz at {part}: residual {rest} dB");
            (ripple, images) = (ripple.max(gain.abs()), images.max(rest));
        }
    }
    eprintln!("pass band: ripple {ripple:.6} dB, images {images:.1} dB at most");
}

#[test]
fn aliases_lie_below_80_db() {
    let mut worst = f64::NEG_INFINITY;
    for &(from, to) in PAIRS.iter().filter(|(from, to)| from > to && from - to > 1) {
        for part in [0.501, 0.505, 0.51, 0.53, 0.6, 0.75, 0.99, 1.0, 1.3, 1.9] {
            let frequency = part * f64::from(to);
            if frequency >= f64::from(from) * 0.499 {
                continue;
            }
            let output = resampled(from, to, frequency);
            let level = rms(middle(output.samples()).iter().map(|&x| x.into())) / (0.5 / 2.0_f64.sqrt());
            assert!(decibels(level) < -80.0, "{from} → {to} Hz, {frequency} Hz: {} dB", decibels(level));
            worst = worst.max(decibels(level));
        }
    }
    // Upsampling: the image of a tone just below the input's Nyquist frequency lies just above it.
    for &(from, to) in PAIRS.iter().filter(|(from, to)| from < to) {
        for part in [0.47, 0.49, 0.495] {
            let frequency = part * f64::from(from);
            let output = resampled(from, to, frequency);
            let image = fit(middle(output.samples()), frequency / f64::from(to)).residual / (0.5 / 2.0_f64.sqrt());
            assert!(decibels(image) < -80.0, "{from} → {to} Hz, {frequency} Hz: image {} dB", decibels(image));
            worst = worst.max(decibels(image));
        }
    }
    eprintln!("aliases and images: {worst:.1} dB at most");
}

#[test]
fn no_delay_is_left() {
    for &(from, to) in PAIRS {
        let frequency = 0.1 * f64::from(from.min(to));
        let output = resampled(from, to, frequency);
        let skipped = output.len() / 4;
        let fit = fit(middle(output.samples()), frequency / f64::from(to));
        // The sine starts at phase 0.3 at time 0 on both sides.
        let expected = 0.3 + std::f64::consts::TAU * frequency * skipped as f64 / f64::from(to);
        let off =
            (fit.phase - expected + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU) - std::f64::consts::PI;
        let delay = off / std::f64::consts::TAU / frequency * f64::from(from.min(to));
        // In samples of the lower rate. Half a sample of the higher one, as an odd block would leave, is 0.01 at the
        // widest ratio; f32 leaves about 1e-5.
        assert!(delay.abs() < 1e-3, "{from} → {to} Hz: {delay} samples");
    }
}

#[test]
fn an_impulse_stays_where_it_was() {
    for &(from, to) in PAIRS.iter().filter(|(from, to)| from.abs_diff(*to) > 1) {
        // Early enough to be in the first block, late enough to be in the third; whole samples on both sides.
        let (step, units) = (from / gcd(from, to), if from > 100_000 { 40 } else { 4 });
        for at in [step * units, step * units * 3] {
            let mut samples = vec![0.0; (at * 2 + 4_000) as usize];
            samples[at as usize] = 1.0;
            let output = resample(&Waveform::new(samples, from).unwrap(), to).unwrap();
            let peak = (0..output.len()).max_by(|&a, &b| output.samples()[a].total_cmp(&output.samples()[b])).unwrap();
            assert_eq!(peak, at as usize * to as usize / from as usize, "{from} → {to} Hz, impulse at {at}");
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[test]
fn the_result_depends_on_nothing_before_it() {
    let input = sine(44_100, 1_000.0, 12_345);
    let first = resample(&input, 16_000).unwrap();
    // More pairs than are kept, and the same pair on another signal.
    for &(from, to) in PAIRS {
        resample(&sine(from, 300.0, 5_000), to).unwrap();
    }
    resample(&Waveform::new(vec![1.0; 777], 44_100).unwrap(), 16_000).unwrap();
    assert_eq!(resample(&input, 16_000).unwrap(), first);
    let elsewhere = std::thread::spawn(move || resample(&input, 16_000).unwrap()).join().unwrap();
    assert_eq!(elsewhere, first);
}
