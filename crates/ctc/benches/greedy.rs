//! Reading logits, on one thread: `cargo bench -p klang-ctc --bench greedy`.
//!
//! An element is a millisecond of audio: 1 Kelem/s is real time.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use klang_ctc::greedy;
use tch::{Device, Kind, Tensor};

/// Frames a second of all of the family.
const FRAMES: i64 = 50;

fn reading(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    tch::manual_seed(1);
    let mut group = criterion.benchmark_group("greedy");
    // Letters; and a vocabulary of subwords, where finding the best label is most of the work.
    for vocabulary in [32, 1000] {
        for (rows, seconds) in [(1, 5), (8, 5), (1, 600)] {
            let frames = seconds * FRAMES;
            let logits = Tensor::randn([rows, frames, vocabulary], (Kind::Float, Device::Cpu));
            let lengths = vec![frames; rows as usize];
            group.throughput(Throughput::Elements((rows * seconds * 1000) as u64));
            group.bench_function(format!("{rows} of {seconds} s, {vocabulary} labels"), |bencher| {
                bencher.iter(|| greedy(black_box(&logits), &lengths, 0).expect("lengths of the batch"));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = reading
}
criterion_main!(benches);
