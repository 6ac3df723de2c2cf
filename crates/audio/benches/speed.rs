//! How many times faster than real time, on one thread: `cargo bench -p klang-audio`.

use std::hint::black_box;

use klang_audio::augment::{NoiseColour, add_noise, change_speed};
use klang_audio::{Waveform, decode, load, resample, write_wav};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

#[path = "../../../benches/measure.rs"]
mod measure;
use measure::measure;

fn waveform(rate: u32, seconds: f64) -> Waveform {
    let len = (f64::from(rate) * seconds) as usize;
    let samples = (0..len).map(|n| 0.4 * (n as f32 * 0.1).sin() + 0.1 * (n as f32 * 0.37).sin()).collect();
    Waveform::new(samples, rate).expect("a good rate and finite samples")
}

fn main() {
    for seconds in [0.5, 5.0] {
        for (from, to) in [(8_000, 16_000), (44_100, 16_000), (48_000, 16_000), (192_000, 16_000)] {
            let input = waveform(from, seconds);
            measure(&format!("resample {seconds} s, {from} → {to} Hz"), seconds, 20, || {
                black_box(resample(black_box(&input), to).expect("allowed rates"));
            });
        }
        let input = waveform(16_000, seconds);
        for factor in [0.9, 1.1] {
            measure(&format!("change_speed {seconds} s, factor {factor}"), seconds, 20, || {
                black_box(change_speed(black_box(&input), factor).expect("an allowed factor"));
            });
        }
        for colour in [NoiseColour::White, NoiseColour::Pink] {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let mut samples = input.samples().to_vec();
            measure(&format!("add_noise {seconds} s, {colour:?}"), seconds, 20, || {
                add_noise(black_box(&mut samples), 20.0, colour, &mut rng);
            });
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("x.wav");
    write_wav(&path, &waveform(8_000, 5.0)).expect("a writable temporary folder");
    measure("decode a 16-bit WAV of 5 s, 8 kHz", 5.0, 20, || drop(black_box(decode(&path))));
    measure("load a 16-bit WAV of 5 s, 8 → 16 kHz", 5.0, 20, || drop(black_box(load(&path, 16_000, None))));
    for name in ["chirp-stereo-8khz.flac", "chirp-mono-16khz.mp3", "chirp-mono-16khz.ogg"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        let seconds = decode(&path).expect("a good fixture").waveform.duration();
        measure(&format!("decode {name}"), seconds, 20, || drop(black_box(decode(&path))));
    }
}
