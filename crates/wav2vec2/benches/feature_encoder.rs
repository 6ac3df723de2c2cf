//! The convolutions of Base over 5 s, on one thread: `cargo bench -p klang-wav2vec2 --bench feature_encoder`.
//!
//! An element is a millisecond of audio: 1 Kelem/s is real time.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use klang_wav2vec2::{ModelConfig, Store, Wav2Vec2, WaveformBatch, has_int8, initialise};
use tch::{Device, Kind, Tensor};

const SAMPLES: i64 = 80_000;

fn convolutions(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    tch::manual_seed(1);
    // The transformer above them takes no part.
    let config = ModelConfig { num_hidden_layers: 1, ..ModelConfig::default() };
    let store = Store::new(Device::Cpu);
    let model = Wav2Vec2::new(&store.root(), &config).expect("a Base model");
    initialise(&store.named(), &config, 1).expect("weights");
    let samples = Tensor::randn([1, SAMPLES], (Kind::Float, Device::Cpu));
    let batch = WaveformBatch { samples, lengths: vec![SAMPLES] };

    let mut group = criterion.benchmark_group("feature_encoder");
    group.throughput(Throughput::Elements(SAMPLES as u64 / 16));
    let mut measure = |name| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| tch::no_grad(|| model.features(black_box(&batch)).expect("a pass")));
        });
    };
    measure("5 s, fp32");
    if has_int8() {
        store.to_int8().expect("8-bit weights");
        measure("5 s, int8");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(10));
    targets = convolutions
}
criterion_main!(benches);
