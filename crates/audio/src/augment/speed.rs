//! Speed perturbation (Ko et al., "Audio augmentation for speech recognition", Interspeech 2015): resampling with the
//! rate's label left as it is, so that tempo and pitch change together.

use std::f64::consts::PI;
use std::sync::OnceLock;

use crate::{Error, Waveform};

/// Zero crossings of the sinc kept on each side.
const CROSSINGS: usize = 24;
/// Kaiser window parameter: about 70 dB of attenuation.
const KAISER_BETA: f64 = 6.76;
/// Centre of the transition band, as a part of the lower Nyquist frequency. At 70 dB and 48 crossings the band is
/// (70 − 7.95) / (14.36 · 48) = 0.09 of it to either side (Kaiser's formula), so it ends at the Nyquist frequency.
const ROLL_OFF: f64 = 0.91;
/// Kernel samples per zero crossing. Linear interpolation between them errs by (π / 512)² / 8 = 5e−6 at most.
const RESOLUTION: usize = 512;
/// Sub-sample positions with a row of taps each; in between rows are interpolated, which errs by (π / 128)² / 8 =
/// 7.5e−5 at most, −82 dB.
const PHASES: usize = 128;

/// Makes speech `factor` times as fast: 1.1 is 10 % faster and as much higher, in 1/1.1 of the time. `factor` is within
/// [0.5, 2]; the length is round(len / factor), the rate's label stays.
///
/// Flat within 0.1 dB up to 0.4 of the rate (of the output's or of the input's band, whichever is narrower); images and
/// aliases lie below −60 dB. Factor 1 returns the samples unchanged.
///
/// # Errors
/// [`Error::Speed`] for a factor outside [0.5, 2].
pub fn change_speed(waveform: &Waveform, factor: f64) -> Result<Waveform, Error> {
    if !(0.5..=2.0).contains(&factor) {
        return Err(Error::Speed { given: factor });
    }
    if factor == 1.0 || waveform.is_empty() {
        return Ok(waveform.clone());
    }
    let filter = Filter::new(factor);
    let reach = filter.reach;
    // Silence before and behind, so that every tap has a sample. Output n reads around input n · factor.
    let mut padded = vec![0.0; reach - 1];
    padded.extend_from_slice(waveform.samples());
    padded.resize(padded.len() + reach + 2, 0.0);
    let len = (waveform.len() as f64 / factor).round() as usize;
    let samples = (0..len)
        .map(|n| {
            let position = n as f64 * factor;
            let start = (position.floor() as usize).min(waveform.len());
            filter.apply(&padded[start..start + 2 * reach], position.fract())
        })
        .collect();
    Waveform::new(samples, waveform.sample_rate())
}

/// A windowed sinc as rows of taps, one row per sub-sample position.
struct Filter {
    /// Taps on each side of a position.
    reach: usize,
    /// Shape `(PHASES + 1, 2 · reach)`, flat.
    taps: Vec<f32>,
}

impl Filter {
    fn new(factor: f64) -> Filter {
        let cutoff = ROLL_OFF * factor.recip().min(1.0);
        let reach = (CROSSINGS as f64 / cutoff).ceil() as usize;
        let table = kernel_table();
        let mut taps = Vec::with_capacity((PHASES + 1) * 2 * reach);
        for phase in 0..=PHASES {
            let fraction = phase as f64 / PHASES as f64;
            // Tap k reads the sample at k − reach + 1, so at that distance from the position.
            let row: Vec<f64> =
                (0..2 * reach).map(|k| look_up(table, (k as f64 - reach as f64 + 1.0 - fraction) * cutoff)).collect();
            let gain = row.iter().sum::<f64>().recip(); // exactly 1 at 0 Hz
            taps.extend(row.iter().map(|tap| (tap * gain) as f32));
        }
        Filter { reach, taps }
    }

    /// The value `fraction` of a sample behind sample `reach − 1` of `around`.
    fn apply(&self, around: &[f32], fraction: f64) -> f32 {
        let width = 2 * self.reach;
        let phase = fraction * PHASES as f64;
        let row = (phase as usize).min(PHASES - 1) * width;
        let here = dot(&self.taps[row..row + width], around);
        let next = dot(&self.taps[row + width..row + 2 * width], around);
        here + (phase - phase.floor()) as f32 * (next - here)
    }
}

/// Eight running sums, which the compiler keeps in one vector register.
fn dot(taps: &[f32], samples: &[f32]) -> f32 {
    let (taps, samples) = (taps.chunks_exact(8), samples.chunks_exact(8));
    let rest: f32 = taps.remainder().iter().zip(samples.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 8];
    for (taps, samples) in taps.zip(samples) {
        for ((sum, tap), sample) in sums.iter_mut().zip(taps).zip(samples) {
            *sum += tap * sample;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The windowed sinc at multiples of 1 / RESOLUTION zero crossings from its centre. Made once: speed may be drawn anew
/// for every utterance, and Bessel functions would cost more than the filtering.
fn kernel_table() -> &'static [f64] {
    static TABLE: OnceLock<Vec<f64>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let at = |n: usize| n as f64 / RESOLUTION as f64;
        (0..=CROSSINGS * RESOLUTION).map(|n| sinc(at(n)) * kaiser(at(n) / CROSSINGS as f64)).collect()
    })
}

/// The windowed sinc at `x` zero crossings from its centre.
fn look_up(table: &[f64], x: f64) -> f64 {
    let place = x.abs() * RESOLUTION as f64;
    let (index, fraction) = (place as usize, place.fract());
    match table.get(index..index + 2) {
        Some(&[here, next]) => here + fraction * (next - here),
        _ => 0.0,
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Kaiser window at `x` in [0, 1], 1 being its edge.
fn kaiser(x: f64) -> f64 {
    bessel_i0(KAISER_BETA * (1.0 - x * x).max(0.0).sqrt()) / bessel_i0(KAISER_BETA)
}

/// Modified Bessel function of the first kind, order 0, by its series: Σ ((x/2)^k / k!)².
fn bessel_i0(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    // The terms fall below f64's precision by k = 40 for any x below 12.
    for k in 1..40 {
        term *= x / 2.0 / f64::from(k);
        sum += term * term;
    }
    sum
}
