//! One transformer block of Base's size over the frames of 5 s, on one thread: `cargo bench -p klang-wav2vec2 --bench blocks`.
//!
//! A block is reached through a model that has little else: its features are 32 wide and its positional convolution has one
//! tap. What little there is (projection, that convolution, a norm) takes about a sixth of the time in fp32, a quarter in int8.
//! An element is a millisecond of audio: 1 Kelem/s is real time.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use klang_wav2vec2::{Features, ModelConfig, Noise, Pass, Store, TrainingPass, Wav2Vec2, has_int8, initialise};
use tch::{Device, Kind, Tensor};

const WIDTH: i64 = 32;
const FRAMES: i64 = 249; // of 5 s

fn config() -> ModelConfig {
    ModelConfig {
        num_hidden_layers: 1,
        conv_dim: vec![WIDTH; 7],
        num_conv_pos_embeddings: 1,
        hidden_dropout: 0.0,
        attention_dropout: 0.0,
        activation_dropout: 0.0,
        ..ModelConfig::default()
    }
}

fn encode(model: &Wav2Vec2, features: &Tensor, pass: Pass) -> Tensor {
    let features = Features { hidden: features.shallow_clone(), lengths: vec![FRAMES] };
    model.encode(features, pass).expect("a pass").output.hidden
}

/// Forward and backward, with gradients of all parameters.
fn step(model: &Wav2Vec2, features: &Tensor, parameters: &[Tensor]) -> Vec<Tensor> {
    let pass = TrainingPass {
        time_mask: None,
        channel_mask: None,
        dropped_blocks: Vec::new(),
        recompute: false,
        encoder_learns: true,
        noise: Noise::new(1, Device::Cpu),
    };
    let loss = encode(model, features, Pass::Training(&pass)).square().mean(Kind::Float);
    model.backward(loss, None, parameters).expect("gradients")
}

fn block(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    tch::manual_seed(1);
    let store = Store::new(Device::Cpu);
    let model = Wav2Vec2::new(&store.root(), &config()).expect("a small model");
    initialise(&store.named(), &config(), 1).expect("weights");
    let features = Tensor::randn([1, FRAMES, WIDTH], (Kind::Float, Device::Cpu));
    let parameters: Vec<Tensor> = store.named().into_iter().map(|(_, parameter)| parameter).collect();

    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Elements(5000));
    group.bench_function("5 s, forward and backward in fp32", |bencher| {
        bencher.iter(|| step(&model, black_box(&features), &parameters));
    });
    let mut evaluate = |name| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| tch::no_grad(|| encode(&model, black_box(&features), Pass::Evaluation)));
        });
    };
    evaluate("5 s, evaluation in fp32");
    if has_int8() {
        store.to_int8().expect("8-bit weights"); // the fp32 ones are gone: last
        evaluate("5 s, evaluation in int8");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(8));
    targets = block
}
criterion_main!(benches);
