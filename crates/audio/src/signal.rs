//! How loud a recording is, and how much of it was cut off at full scale.

use crate::Waveform;

/// Magnitude from which a sample counts as at full scale. Not quite 1: the largest of 8 bits is 127/128.
const FULL_SCALE: f32 = 0.98;
/// Equal samples in a row at full scale that no recording has by chance, however loud: a converter or a mixer cut them off.
const LEAST_RUN: usize = 3;
/// Seconds over which loudness is taken: a syllable.
const WINDOW: f64 = 0.1;

/// What a recording's samples show of how it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    /// Share of samples, 0 to 1, that stand at full scale (magnitude 0.98 or more) in runs of three or more equal ones.
    pub clipped: f64,
    /// Level of the loudest 0.1 s in dB below full scale: 0 is a square wave at full scale, −3 a sine. A constant offset
    /// counts as nothing; −∞ is digital silence.
    pub loudest: f64,
}

impl Signal {
    /// Of a waveform; an empty one is silent.
    pub fn of(waveform: &Waveform) -> Signal {
        let samples = waveform.samples();
        let window = (WINDOW * f64::from(waveform.sample_rate())).round().max(1.0) as usize;
        let power = samples.chunks(window).map(variance).fold(0.0, f64::max);
        let clipped = clipped(samples) as f64 / samples.len().max(1) as f64;
        Signal { clipped, loudest: 10.0 * power.log10() }
    }
}

/// Mean square around the mean.
fn variance(samples: &[f32]) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean = samples.iter().map(|&sample| f64::from(sample)).sum::<f64>() / count;
    samples.iter().map(|&sample| (f64::from(sample) - mean).powi(2)).sum::<f64>() / count
}

fn clipped(samples: &[f32]) -> usize {
    let runs = samples.chunk_by(|one, next| one == next);
    runs.filter(|run| run.len() >= LEAST_RUN && run[0].abs() >= FULL_SCALE).map(<[f32]>::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 16_000;

    /// A second of a tone, `gain` times too loud for the scale.
    fn tone(hertz: f64, gain: f64) -> Vec<f32> {
        let sample = |place: u32| {
            let value = gain * (std::f64::consts::TAU * hertz * f64::from(place) / f64::from(RATE)).sin();
            ((value * 32_768.0).round().clamp(-32_768.0, 32_767.0) / 32_768.0) as f32
        };
        (0..RATE).map(sample).collect()
    }

    fn signal(samples: Vec<f32>) -> Signal {
        Signal::of(&Waveform::new(samples, RATE).unwrap())
    }

    #[test]
    fn a_tone_cut_off_at_full_scale_is_clipped_and_one_that_just_reaches_it_is_not() {
        // |sin| is above 1/2 for two thirds of the time; runs of a 440 Hz tone are far longer than three samples.
        let share = signal(tone(440.0, 2.0)).clipped;
        assert!((share - 2.0 / 3.0).abs() < 0.02, "{share}");
        assert_eq!(signal(tone(440.0, 1.0)).clipped, 0.0);
        assert_eq!(signal(tone(440.0, 0.5)).clipped, 0.0);
    }

    #[test]
    fn a_run_counts_from_three_equal_samples_on_at_full_scale_alone() {
        let with = |run: &[f32]| signal([&[0.0, 0.1], run, &[0.2; 5]].concat()).clipped;
        assert_eq!(with(&[1.0, 1.0]), 0.0);
        assert_eq!(with(&[1.0, 1.0, 1.0]), 0.3);
        assert_eq!(with(&[-1.0, -1.0, -1.0]), 0.3);
        assert_eq!(with(&[1.0, -1.0, 1.0]), 0.0);
        assert_eq!(with(&[0.9, 0.9, 0.9]), 0.0);
    }

    #[test]
    fn loudness_is_that_of_the_loudest_syllable() {
        let level = signal(tone(440.0, 0.1)).loudest;
        assert!((level + 23.01).abs() < 0.05, "{level}"); // 20 log10(0.1) − 3.01
        let mut pause = vec![0.0; 160_000];
        pause[32_000..48_000].copy_from_slice(&tone(440.0, 0.1));
        assert!((signal(pause).loudest - level).abs() < 0.05);
    }

    #[test]
    fn silence_is_silence_whatever_its_offset() {
        for samples in [vec![], vec![0.0; 1000], vec![0.25; 1000]] {
            let Signal { clipped, loudest } = signal(samples);
            assert_eq!((clipped, loudest), (0.0, f64::NEG_INFINITY));
        }
    }
}
