//! Log-mel spectra against transformers', from the file that data/log-mel/make.py makes.

use klang_audio::LogMel;

/// Sample n of the signal that make.py describes.
fn sample(n: u64) -> f32 {
    use std::f64::consts::TAU;
    let time = n as f64 / 16_000.0;
    let tones = 0.3 * (TAU * 440.0 * time).sin()
        + 0.2 * (TAU * (1234.5 * n as f64 / 16_000.0 + (n * n) as f64 / 16_000.0)).sin();
    let noise = 0.02 * (((7919 * n * n + 104_729 * n) % 65_536) as f64 / 32_768.0 - 1.0);
    let envelope = match n {
        960..1440 => 1e-5,
        1600.. => 0.0,
        _ => 1.0,
    };
    (envelope * (tones + noise)) as f32
}

#[test]
fn spectra_equal_transformers() {
    let text = include_str!("../data/log-mel/log_mel.json");
    // A list of lists of numbers: brackets and commas are all there is to it.
    let (_, frames) = text.split_once("\"frames\":").unwrap();
    let number = |c: char| !(c.is_ascii_digit() || "-.e".contains(c));
    let expected: Vec<f64> =
        frames.split(number).filter(|part| !part.is_empty()).map(|part| part.parse().unwrap()).collect();
    let samples: Vec<f32> = (0..2000).map(sample).collect();
    let log_mel = LogMel::new(16_000, 80).unwrap();
    let mut values = Vec::new();
    for frame in 0..11 {
        log_mel.spectrum(&samples, frame * log_mel.hop() as i64, &mut values);
    }
    assert_eq!(values.len(), expected.len());
    let off = values.iter().zip(&expected).map(|(value, expected)| (f64::from(*value) - expected).abs());
    let worst = off.fold(0.0, f64::max);
    // The weakest bands lie some 10⁻³ below what the window as a whole holds in magnitude, and the transform rounds by
    // 6e-8 × √(log₂ 512) of that: 2 × 6e-8 × 3 / 10⁻³ = 4e-4 of their energy's logarithm.
    assert!(worst < 1e-3, "{worst}");
}
