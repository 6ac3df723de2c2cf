//! What KL-Norm costs in a training step beyond LayerNorm: `cargo bench -p klang-wav2vec2 --bench kl_norm`.
//!
//! Forward and backward of a Base transformer over the features of 10 s, on one thread, as one core of a training does it;
//! the two norms by turns, so that what else the machine does meets both.

use std::time::Instant;

use klang_wav2vec2::{
    Features, KlNormConfig, ModelConfig, Noise, NormConfig, Pass, Store, TrainingPass, Wav2Vec2, initialise,
};
use tch::{Device, Kind, Tensor};

const ROUNDS: usize = 11;
const FRAMES: i64 = 499; // of 10 s
const SECONDS: f64 = 10.0;

struct Trained {
    store: Store,
    model: Wav2Vec2,
}

impl Trained {
    fn new(norm: NormConfig) -> Trained {
        let config = ModelConfig {
            norm,
            hidden_dropout: 0.0,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            ..ModelConfig::default()
        };
        let store = Store::new(Device::Cpu);
        let model = Wav2Vec2::new(&store.root(), &config).expect("a Base model");
        initialise(&store.named(), &config, 1).expect("weights");
        Trained { store, model }
    }

    /// Seconds of one step.
    fn step(&self, features: &Tensor) -> f64 {
        let start = Instant::now();
        let pass = TrainingPass {
            time_mask: None,
            channel_mask: None,
            dropped_blocks: Vec::new(),
            recompute: false,
            encoder_learns: true,
            noise: Noise::new(1, Device::Cpu),
        };
        let features = Features { hidden: features.shallow_clone(), lengths: vec![FRAMES] };
        let output = self.model.encode(features, Pass::Training(&pass)).expect("a pass").output;
        let mut loss = output.hidden.square().mean(Kind::Float);
        if let Some(divergence) = output.sites.divergence(0.0).expect("rates") {
            loss += divergence * 0.1;
        }
        loss.backward();
        for (_, mut parameter) in self.store.named() {
            parameter.zero_grad();
        }
        start.elapsed().as_secs_f64()
    }
}

fn main() {
    tch::set_num_threads(1);
    tch::manual_seed(1);
    let width = ModelConfig::default().conv_dim.last().copied().expect("a Base model has convolutions");
    let features = Tensor::randn([1, FRAMES, width], (Kind::Float, Device::Cpu));
    let plain = Trained::new(NormConfig::LayerNorm);
    let norm = Trained::new(NormConfig::KlNorm(KlNormConfig::default()));
    let mut rounds: Vec<[f64; 3]> = (0..=ROUNDS)
        .map(|round| {
            let (of_plain, of_norm) = if round % 2 == 0 {
                let first = plain.step(&features);
                (first, norm.step(&features))
            } else {
                let first = norm.step(&features);
                (plain.step(&features), first)
            };
            [of_plain, of_norm, of_norm / of_plain]
        })
        .collect();
    rounds.remove(0); // the first one touches its memory for the first time
    let spread = |figure: usize| {
        let mut figures: Vec<f64> = rounds.iter().map(|round| round[figure]).collect();
        figures.sort_by(f64::total_cmp);
        (figures[ROUNDS / 2], figures[0], figures[ROUNDS - 1])
    };
    for (figure, name) in ["LayerNorm", "KL-Norm"].into_iter().enumerate() {
        let (median, least, most) = spread(figure);
        println!("{name:10} {median:.3} s a step ({least:.3} to {most:.3}), {:.2} × real time", SECONDS / median);
    }
    let (median, least, most) = spread(2);
    println!("KL-Norm over LayerNorm: {median:.3} ({least:.3} to {most:.3}), {ROUNDS} rounds");
}
