//! The CTC loss of a batch and its gradient, on one thread: `cargo bench -p klang-ctc --bench ctc_loss`.
//!
//! An element is a millisecond of audio: 1 Kelem/s is real time.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use klang_ctc::{LossBatch, ctc_loss};
use tch::{Device, Kind, Tensor};

const ROWS: i64 = 4;
const FRAMES: i64 = 300; // of 6 s
const VOCABULARY: i64 = 32;
/// Of a transcript: ten letters a second.
const LABELS: u32 = 60;

fn loss(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    tch::manual_seed(1);
    let logits = Tensor::randn([ROWS, FRAMES, VOCABULARY], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let lengths = [FRAMES; ROWS as usize];
    // Every label but the blank, which is 0; steps of 7, so that none is that before.
    let labels = [0, 1, 2, 3].map(|row| (0..LABELS).map(|n| 1 + (row + 7 * n) % 31).collect::<Vec<u32>>());
    let batch = LossBatch { logits: &logits, lengths: &lengths, labels: &labels, blank: 0 };

    let mut group = criterion.benchmark_group("ctc_loss");
    group.throughput(Throughput::Elements((ROWS * FRAMES * 20) as u64));
    let shape = format!("{ROWS} × {FRAMES} frames × {VOCABULARY} labels");
    group.bench_function(format!("forward, {shape}"), |bencher| {
        bencher.iter(|| tch::no_grad(|| ctc_loss(black_box(&batch)).expect("labels that fit")));
    });
    group.bench_function(format!("forward and backward, {shape}"), |bencher| {
        bencher.iter(|| {
            let loss = ctc_loss(black_box(&batch)).expect("labels that fit").sum(Kind::Float);
            Tensor::run_backward(&[loss], &[&logits], false, false)
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4));
    targets = loss
}
criterion_main!(benches);
