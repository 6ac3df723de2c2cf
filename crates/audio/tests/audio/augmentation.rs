//! Speed and noise, measured.

use klang_audio::augment::{NoiseColour, add_noise, change_speed};
use klang_audio::{Error, Waveform};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

use crate::signals::{decibels, fit, middle, rms, sine};

const FACTORS: [f64; 9] = [0.5, 0.7, 0.9, 0.95, 1.05, 1.1, 1.234_567, 1.5, 2.0];

#[test]
fn speed_moves_length_and_pitch_together() {
    for factor in FACTORS {
        for len in [0, 1, 2, 1_000, 16_001] {
            let output = change_speed(&Waveform::new(vec![0.1; len], 16_000).unwrap(), factor).unwrap();
            assert_eq!(output.len(), (len as f64 / factor).round() as usize, "{len} at {factor}");
            assert_eq!(output.sample_rate(), 16_000);
        }
    }
    let input = sine(16_000, 440.0, 1_000);
    assert_eq!(change_speed(&input, 1.0).unwrap(), input);
}

#[test]
fn speed_is_flat_clean_and_in_time() {
    let (mut ripple, mut worst) = (0.0_f64, f64::NEG_INFINITY);
    for factor in FACTORS {
        // The narrower of the two bands, as a part of the input's rate.
        let band = f64::min(1.0, 1.0 / factor);
        for part in [0.01, 0.1, 0.3, 0.4] {
            let frequency = part * band; // cycles per input sample; times `factor` per output sample
            let output = change_speed(&sine(16_000, frequency * 16_000.0, 8_000), factor).unwrap();
            let skipped = (output.len() / 4) as f64;
            let fit = fit(middle(output.samples()), frequency * factor);
            let gain = decibels(fit.amplitude / 0.5);
            assert!(gain.abs() < 0.1, "factor {factor} at {part}: {gain} dB");
            let rest = decibels(fit.residual / (0.5 / 2.0_f64.sqrt()));
            assert!(rest < -60.0, "factor {factor} at {part}: {rest} dB");
            (ripple, worst) = (ripple.max(gain.abs()), worst.max(rest));
            // Time 0 stays: the phase is that of a sine which starts at 0.3. A tap too early is 2π · 0.01 at the least.
            let expected = 0.3 + std::f64::consts::TAU * frequency * factor * skipped;
            let off = (fit.phase - expected + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU);
            assert!((off - std::f64::consts::PI).abs() < 1e-3, "factor {factor} at {part}: {off} rad");
        }
    }
    eprintln!("change_speed: ripple {ripple:.4} dB, images {worst:.1} dB at most");
}

#[test]
fn faster_speech_does_not_alias() {
    for factor in [1.1, 1.5, 2.0] {
        // Just above what the output can carry, and near the input's own limit.
        for frequency in [0.505 / factor, 0.495] {
            let output = change_speed(&sine(16_000, frequency * 16_000.0, 8_000), factor).unwrap();
            let level = rms(middle(output.samples()).iter().map(|&x| x.into())) / (0.5 / 2.0_f64.sqrt());
            assert!(decibels(level) < -60.0, "factor {factor}, {frequency}: {} dB", decibels(level));
        }
    }
}

#[test]
fn absurd_factors_are_errors() {
    let input = sine(16_000, 440.0, 100);
    for factor in [f64::NAN, f64::INFINITY, -1.0, 0.0, 0.499, 2.001] {
        assert!(matches!(change_speed(&input, factor), Err(Error::Speed { .. })), "{factor}");
    }
}

fn noise(len: usize, snr_db: f64, colour: NoiseColour, seed: u64) -> Vec<f64> {
    let clean = sine(16_000, 440.0, len);
    let mut noisy = clean.samples().to_vec();
    add_noise(&mut noisy, snr_db, colour, &mut ChaCha8Rng::seed_from_u64(seed));
    noisy.iter().zip(clean.samples()).map(|(&noisy, &clean)| f64::from(noisy) - f64::from(clean)).collect()
}

#[test]
fn noise_has_the_ratio_asked_for() {
    for colour in [NoiseColour::White, NoiseColour::Pink] {
        for snr_db in [-10.0, 0.0, 10.0, 40.0] {
            let signal = rms(sine(16_000, 440.0, 16_000).samples().iter().map(|&x| x.into()));
            let got = decibels(signal / rms(noise(16_000, snr_db, colour, 1)));
            // f32 rounding of the sums, −150 dB, beside noise at −40 dB: 1e-5 relative at most.
            assert!((got - snr_db).abs() < 1e-3, "{colour:?}: {got} dB for {snr_db}");
        }
    }
}

/// Power within a band given in cycles per sample.
fn band_power(values: &[f64], low: f64, high: f64) -> f64 {
    let mut spectrum: Vec<Complex<f64>> = values.iter().map(Complex::from).collect();
    FftPlanner::new().plan_fft_forward(values.len()).process(&mut spectrum);
    let bins = (low * values.len() as f64) as usize..(high * values.len() as f64) as usize;
    spectrum[bins].iter().map(Complex::norm_sqr).sum()
}

#[test]
fn white_noise_doubles_its_power_with_the_octave_and_pink_keeps_it() {
    // An octave of b bins has b squared magnitudes of relative deviation 1 each: 1/√b; the narrowest has 65,536 / 64 =
    // 1,024 bins, 0.14 dB. Five deviations of it, and of its ratio to the next (√1.5 as much): 0.85 dB.
    for (colour, step) in [(NoiseColour::White, 3.01), (NoiseColour::Pink, 0.0)] {
        let values = noise(65_536, 0.0, colour, 2);
        for low in [1.0 / 64.0, 1.0 / 32.0, 1.0 / 16.0, 1.0 / 8.0] {
            let ratio = band_power(&values, 2.0 * low, 4.0 * low) / band_power(&values, low, 2.0 * low);
            let decibels = 10.0 * ratio.log10();
            assert!((decibels - step).abs() < 0.85, "{colour:?} above {low}: {decibels} dB per octave");
        }
    }
}

#[test]
fn noise_is_gaussian_and_follows_its_seed() {
    let values = noise(100_000, 0.0, NoiseColour::White, 3);
    let scale = rms(values.iter().copied());
    // P(|x| > 2σ) = 0.0455; its deviation over 100,000 draws is 0.00066, times five.
    let beyond = values.iter().filter(|value| value.abs() > 2.0 * scale).count() as f64 / 1e5;
    assert!((beyond - 0.0455).abs() < 0.0033, "{beyond}");
    assert_eq!(values, noise(100_000, 0.0, NoiseColour::White, 3));
    assert_ne!(values, noise(100_000, 0.0, NoiseColour::White, 4));
}

#[test]
fn silence_and_absurd_ratios_stay_finite() {
    for colour in [NoiseColour::White, NoiseColour::Pink] {
        for len in [0, 1, 2, 3, 1_000] {
            for snr_db in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e9, 1e9, 0.0] {
                let mut rng = ChaCha8Rng::seed_from_u64(1);
                let mut silence = vec![0.0; len];
                add_noise(&mut silence, snr_db, colour, &mut rng);
                assert_eq!(silence, vec![0.0; len]);
                let mut signal = vec![0.25; len];
                add_noise(&mut signal, snr_db, colour, &mut rng);
                assert!(signal.iter().all(|sample| sample.is_finite()), "{colour:?} {len} {snr_db}");
            }
        }
    }
}
