//! Reading, resampling and changing audio, on one thread: `cargo bench -p klang-audio --bench speed`.
//!
//! An element is a millisecond of audio: 1 Kelem/s is real time.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use klang_audio::augment::{NoiseColour, add_noise, change_speed};
use klang_audio::{Waveform, decode, load, resample, write_wav};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Seconds of a short and of a usual utterance.
const LENGTHS: [f64; 2] = [0.5, 5.0];

fn waveform(rate: u32, seconds: f64) -> Waveform {
    let len = (f64::from(rate) * seconds) as usize;
    let samples = (0..len).map(|n| 0.4 * (n as f32 * 0.1).sin() + 0.1 * (n as f32 * 0.37).sin()).collect();
    Waveform::new(samples, rate).expect("a good rate and finite samples")
}

fn audio(seconds: f64) -> Throughput {
    Throughput::Elements((seconds * 1000.0).round() as u64)
}

fn resampling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resample");
    for seconds in LENGTHS {
        group.throughput(audio(seconds));
        for (from, to) in [(8_000, 16_000), (44_100, 16_000), (48_000, 16_000), (192_000, 16_000)] {
            let input = waveform(from, seconds);
            group.bench_function(format!("{seconds} s, {from} → {to} Hz"), |bencher| {
                bencher.iter(|| resample(black_box(&input), to).expect("allowed rates"));
            });
        }
    }
}

fn augmentation(criterion: &mut Criterion) {
    for seconds in LENGTHS {
        let input = waveform(16_000, seconds);
        let mut group = criterion.benchmark_group("change_speed");
        group.throughput(audio(seconds));
        for factor in [0.9, 1.1] {
            group.bench_function(format!("{seconds} s, factor {factor}"), |bencher| {
                bencher.iter(|| change_speed(black_box(&input), factor).expect("an allowed factor"));
            });
        }
        group.finish();
        let mut group = criterion.benchmark_group("add_noise");
        group.throughput(audio(seconds));
        for colour in [NoiseColour::White, NoiseColour::Pink] {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            group.bench_function(format!("{seconds} s, {colour:?}"), |bencher| {
                // Each time to what had none: noise on noise would grow without end.
                let fresh = || input.samples().to_vec();
                let add = |samples: &mut Vec<f32>| add_noise(black_box(samples), 20.0, colour, &mut rng);
                bencher.iter_batched_ref(fresh, add, BatchSize::LargeInput);
            });
        }
    }
}

fn files(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wav = folder.path().join("x.wav");
    write_wav(&wav, &waveform(8_000, 5.0)).expect("a writable temporary folder");
    let mut group = criterion.benchmark_group("load");
    group.throughput(audio(5.0));
    group.bench_function("a 16-bit WAV of 5 s, 8 → 16 kHz", |bencher| {
        bencher.iter(|| load(&wav, 16_000, None).expect("a good WAV"))
    });
    group.finish();

    let mut group = criterion.benchmark_group("decode");
    group.throughput(audio(5.0));
    group.bench_function("a 16-bit WAV of 5 s, 8 kHz", |bencher| bencher.iter(|| decode(&wav).expect("a good WAV")));
    for name in ["chirp-stereo-8khz.flac", "chirp-mono-16khz.mp3", "chirp-mono-16khz.ogg"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        group.throughput(audio(decode(&path).expect("a good fixture").waveform.duration()));
        group.bench_function(name, |bencher| bencher.iter(|| decode(&path).expect("a good fixture")));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = resampling, augmentation, files
}
criterion_main!(benches);
