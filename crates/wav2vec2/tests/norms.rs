//! KL-Norm over every kind of statistics against torch.distributions (golden/norms.py), against a Monte-Carlo estimate and
//! against finite differences; what running estimates see; what a checkpoint keeps of a norm.

use std::collections::BTreeMap;
use std::path::PathBuf;

use klang_wav2vec2::checkpoint::{Checkpoint, Head, Own, read_safetensors, save_weights};
use klang_wav2vec2::{
    Frames, KlNorm, KlNormConfig, LogSigma, ModelConfig, Noise, NormConfig, Normed, Pass, PlainNormConfig, Statistics,
    Store, TrainingPass, Wav2Vec2, WaveformBatch, initialise,
};
use tch::{Device, Kind, Tensor};

const CHANNELS: i64 = 12;

fn golden() -> BTreeMap<String, Tensor> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/norms.safetensors");
    read_safetensors(&path).unwrap().into_iter().collect()
}

/// A norm with the golden file's parameters.
fn norm(golden: &BTreeMap<String, Tensor>, config: &KlNormConfig) -> (Store, KlNorm) {
    let store = Store::new(Device::Cpu);
    let norm = KlNorm::new(&store.root(), config, CHANNELS, 1e-5).unwrap();
    for (name, mut tensor) in store.named() {
        if let Some(value) = golden.get(&name) {
            tch::no_grad(|| tensor.copy_(value));
        }
    }
    (store, norm)
}

fn golden_frames(golden: &BTreeMap<String, Tensor>) -> Frames {
    Frames::new(Vec::try_from(&golden["lengths"]).unwrap(), golden["hidden"].size()[1], Device::Cpu).unwrap()
}

fn real(tensor: &Tensor, frames: &Frames) -> Tensor {
    let rows: Vec<Tensor> =
        frames.lengths.iter().enumerate().map(|(row, &length)| tensor.get(row as i64).narrow(0, 0, length)).collect();
    Tensor::cat(&rows, 0)
}

fn off(given: &Tensor, exact: &Tensor) -> f64 {
    assert_eq!(given.size(), exact.size());
    (given - exact).norm().double_value(&[]) / (exact.norm().double_value(&[]) + 1e-30)
}

#[test]
fn rates_and_gradients_are_those_of_torchs_distributions() {
    let golden = golden();
    let frames = golden_frames(&golden);
    for statistics in Statistics::ALL {
        for (suffix, rank) in [("", 0), ("-low-rank", 3)] {
            let config = KlNormConfig {
                statistics,
                rank,
                sigma_rank: rank,
                groups: 4,
                sigma_init: 1.0,
                ..KlNormConfig::default()
            };
            let (store, norm) = norm(&golden, &config);
            let name = format!("{statistics:?}{suffix}").to_lowercase();
            let hidden = golden["hidden"].copy().set_requires_grad(true);
            let Normed { rate, moments, .. } =
                norm.forward_noisy(&hidden, &frames, &Noise::new(1, Device::Cpu)).unwrap();
            assert_eq!(moments.is_some(), statistics == Statistics::Batch, "{name}");
            let rate = rate.unwrap();
            // Sums of 16 frames, a cancellation of 4 in x̂ and a dozen roundings more: (16 × 4 + 12) × 2⁻²⁴ = 4.5e-6.
            let bound = 4.5e-6;
            assert!(off(&rate, &golden[&format!("{name}.rate")]) < bound, "{name}");
            let mut inputs = store.named();
            inputs.retain(|(_, tensor)| tensor.requires_grad());
            inputs.push(("hidden".into(), hidden));
            let tensors: Vec<&Tensor> = inputs.iter().map(|(_, tensor)| tensor).collect();
            let objective = (rate * &golden["weights"]).sum(Kind::Float);
            let gradients = Tensor::run_backward(&[objective], &tensors, false, false);
            let mut compared = 0;
            for ((part, _), gradient) in inputs.iter().zip(&gradients).filter(|(_, gradient)| gradient.defined()) {
                let Some(exact) = golden.get(&format!("{name}.gradient.{part}")) else {
                    // γ and β take no part in the rate.
                    assert_eq!(gradient.abs().max().double_value(&[]), 0.0, "{name}: {part}");
                    continue;
                };
                // Twice as many operations, whose terms cancel by another 4.
                assert!(off(gradient, exact) < 8.0 * bound, "{name}: {part}: {}", off(gradient, exact));
                compared += 1;
            }
            assert_eq!(compared, if rank > 0 { 9 } else { 5 }, "{name}");
            if statistics != Statistics::Batch {
                let mean = tch::no_grad(|| norm.forward_mean(&golden["hidden"], &frames)).unwrap();
                assert!(off(&real(&mean, &frames), &golden[&format!("{name}.mean")]) < bound, "{name}");
            }
        }
    }
}

#[test]
fn the_rate_is_what_draws_from_the_posterior_say() {
    let golden = golden();
    for (log_sigma, sigma_rank) in [(LogSigma::Channel, 0), (LogSigma::Affine, 3)] {
        let config = KlNormConfig { log_sigma, sigma_rank, ..KlNormConfig::default() };
        let (store, norm) = norm(&golden, &config);
        tch::no_grad(|| {
            for (name, mut tensor) in store.named() {
                // z = u.
                if name == "gamma" || name == "beta" {
                    let _ = tensor.fill_(if name == "gamma" { 1.0 } else { 0.0 });
                }
            }
        });
        let draws = 40_000;
        let frame = golden["hidden"].get(0).narrow(0, 0, 1).unsqueeze(0); // (1, 1, channel)
        let hidden = frame.expand([1, draws, CHANNELS], false).contiguous();
        let frames = |length: i64| Frames::new(vec![length], length, Device::Cpu).unwrap();
        let normed = tch::no_grad(|| norm.forward_noisy(&hidden, &frames(draws), &Noise::new(5, Device::Cpu))).unwrap();
        let mean = tch::no_grad(|| norm.forward_mean(&frame, &frames(1))).unwrap();
        let u = normed.hidden.to_kind(Kind::Double);
        // What log σ is follows from the parameters; ε from u.
        let standard = frame.layer_norm([CHANNELS], None::<&Tensor>, None::<&Tensor>, 1e-5, false);
        let affine = match log_sigma {
            LogSigma::Channel => standard.zeros_like(),
            LogSigma::Affine => &golden["a"] * &standard,
        };
        let low_rank = match sigma_rank {
            0 => standard.zeros_like(),
            _ => standard.matmul(&golden["sigma_v"].tr()).tanh().matmul(&golden["sigma_u"].tr()),
        };
        let log_sigma_value = &golden["s"] + affine + low_rank;
        let epsilon = (&u - &mean) / log_sigma_value.exp();
        // log q(u) − log r(u); the constants cancel.
        let ratio = &u * &u * 0.5 - &epsilon * &epsilon * 0.5 - &log_sigma_value;
        let estimate = ratio.mean_dim(1, false, Kind::Double).squeeze();
        let error = ratio.std_dim(1, true, false).squeeze() / (draws as f64).sqrt();
        let apart = ((estimate - normed.rate.unwrap()) / error).abs().max().double_value(&[]);
        // Six standard errors, over 12 channels.
        assert!(apart < 6.0, "{log_sigma:?}: {apart}");
    }
}

#[test]
fn gradients_are_what_finite_differences_say() {
    let golden = golden();
    let frames = golden_frames(&golden);
    let step = 1e-2;
    for statistics in Statistics::ALL {
        for rank in [0, 3] {
            let config = KlNormConfig { statistics, rank, sigma_rank: rank, groups: 4, ..KlNormConfig::default() };
            let (store, norm) = norm(&golden, &config);
            let hidden = golden["hidden"].copy().set_requires_grad(true);
            tch::manual_seed(1);
            let direction = hidden.randn_like();
            let objective = || {
                // The same noise each time: it comes from its seed.
                let normed = norm.forward_noisy(&hidden, &frames, &Noise::new(4, Device::Cpu)).unwrap();
                let z = (real(&normed.hidden, &frames) * real(&direction, &frames)).sum(Kind::Double);
                z + (normed.rate.unwrap() * &golden["weights"]).sum(Kind::Double) * 10.0
            };
            let mut inputs = store.named();
            inputs.retain(|(_, tensor)| tensor.requires_grad());
            inputs.push(("hidden".into(), hidden.shallow_clone()));
            let tensors: Vec<&Tensor> = inputs.iter().map(|(_, tensor)| tensor).collect();
            let gradients = Tensor::run_backward(&[objective()], &tensors, false, false);
            for ((part, tensor), gradient) in inputs.iter().zip(&gradients) {
                let along = tensor.randn_like();
                let shifted = |by: f64| {
                    tch::no_grad(|| {
                        let _ = tensor.shallow_clone().g_add_(&(&along * by));
                        let value = objective().double_value(&[]);
                        let _ = tensor.shallow_clone().g_sub_(&(&along * by));
                        value
                    })
                };
                // Richardson's: the error of the difference is of the fourth order.
                let slope = |by: f64| (shifted(by) - shifted(-by)) / (2.0 * by);
                let slope = (4.0 * slope(step / 2.0) - slope(step)) / 3.0;
                let exact = (gradient * &along).sum(Kind::Double).double_value(&[]);
                let scale = gradient.norm().double_value(&[]) * along.norm().double_value(&[]);
                // Values of some 100 in fp32, over a step of 0.005: 100 × 2⁻²⁴ × √200 terms / 0.005 = 0.017 of slopes of
                // some tens to hundreds; a wrong term is off by a tenth and more.
                let apart = (slope - exact).abs();
                assert!(apart < 0.02 + 2e-3 * scale, "{statistics:?}, rank {rank}, {part}: {slope} {exact} {scale}");
            }
        }
    }
}

/// A small model with a norm at its sites, its weights drawn.
fn model(norm: NormConfig) -> (Store, Wav2Vec2) {
    let config = ModelConfig {
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 48,
        conv_dim: vec![16, 16, 16, 16, 16],
        conv_kernel: vec![10, 8, 4, 4, 4],
        conv_stride: vec![5, 4, 4, 2, 2],
        num_conv_pos_embeddings: 8,
        num_conv_pos_embedding_groups: 4,
        hidden_dropout: 0.0,
        attention_dropout: 0.0,
        activation_dropout: 0.0,
        feat_proj_dropout: 0.0,
        layerdrop: 0.0,
        norm,
        ..ModelConfig::default()
    };
    let store = Store::new(Device::Cpu);
    let model = Wav2Vec2::new(&store.root(), &config).unwrap();
    initialise(&store.named(), &config, 1).unwrap();
    (store, model)
}

fn every_kind() -> Vec<NormConfig> {
    let plain = PlainNormConfig { groups: 4, ..PlainNormConfig::default() };
    let kl = |statistics| NormConfig::KlNorm(KlNormConfig { statistics, groups: 4, ..KlNormConfig::default() });
    let plain = [
        NormConfig::LayerNorm,
        NormConfig::BatchNorm(plain.clone()),
        NormConfig::InstanceNorm(plain.clone()),
        NormConfig::GroupNorm(plain.clone()),
        NormConfig::RmsNorm(plain),
    ];
    plain.into_iter().chain(Statistics::ALL.map(kl)).collect()
}

fn training() -> TrainingPass {
    TrainingPass {
        time_mask: None,
        channel_mask: None,
        dropped_blocks: Vec::new(),
        encoder_learns: true,
        recompute: false,
        noise: Noise::new(9, Device::Cpu),
    }
}

fn samples() -> Tensor {
    Noise::new(2, Device::Cpu).normal_like(&Tensor::zeros([2, 6000], (Kind::Float, Device::Cpu))).unwrap()
}

#[test]
fn what_padding_holds_changes_nothing_under_any_norm() {
    for norm in every_kind() {
        let (_, model) = model(norm.clone());
        let clean = samples();
        let spoiled = clean.copy();
        let _ = spoiled.get(1).narrow(0, 3500, 2500).fill_(1e4);
        let run = |samples: &Tensor, pass: Pass| {
            let batch = WaveformBatch { samples: samples.shallow_clone(), lengths: vec![6000, 3500] };
            let output = tch::no_grad(|| model.forward(&batch, pass)).unwrap();
            let hidden = output.hidden.get(1).narrow(0, 0, output.lengths[1]);
            let rates: Vec<Tensor> = output.sites.rates().map(Tensor::shallow_clone).collect();
            (hidden, rates, output.sites.0.iter().filter(|site| site.moments.is_some()).count())
        };
        let evaluated = [&clean, &spoiled].map(|samples| run(samples, Pass::Evaluation));
        let trained = [&clean, &spoiled].map(|samples| run(samples, Pass::Training(&training())));
        for [clean, spoiled] in [&evaluated, &trained] {
            assert!(clean.0.equal(&spoiled.0), "{norm:?}");
            assert!(clean.1.iter().zip(&spoiled.1).all(|(clean, spoiled)| clean.equal(spoiled)), "{norm:?}");
        }
        let kl = matches!(norm, NormConfig::KlNorm(_));
        let batch = matches!(&norm, NormConfig::BatchNorm(_))
            || matches!(&norm, NormConfig::KlNorm(config) if config.statistics == Statistics::Batch);
        assert_eq!((trained[0].1.len(), trained[0].2), (if kl { 4 } else { 0 }, if batch { 4 } else { 0 }), "{norm:?}");
        assert_eq!((evaluated[0].1.len(), evaluated[0].2), (0, 0));
    }
}

#[test]
fn noise_follows_from_its_seed_and_differs_between_sites() {
    let (store, model) = model(NormConfig::KlNorm(KlNormConfig { sigma_init: 0.5, ..KlNormConfig::default() }));
    let batch = || WaveformBatch { samples: samples(), lengths: vec![6000, 6000] };
    let run = |seed: u64| {
        let pass = TrainingPass { noise: Noise::new(seed, Device::Cpu), ..training() };
        tch::no_grad(|| model.forward(&batch(), Pass::Training(&pass))).unwrap().hidden
    };
    let evaluated = tch::no_grad(|| model.forward(&batch(), Pass::Evaluation)).unwrap().hidden;
    assert!(run(1).equal(&run(1)));
    assert!(off(&run(1), &run(2)) > 0.1 && off(&run(1), &evaluated) > 0.1);
    // Two sites over the same hidden states, from one generator.
    let golden = golden();
    let (_, norm) = norm(&golden, &KlNormConfig::default());
    let (frames, noise) = (golden_frames(&golden), Noise::new(1, Device::Cpu));
    let site = || real(&norm.forward_noisy(&golden["hidden"], &frames, &noise).unwrap().hidden, &frames);
    assert!(off(&site(), &site()) > 0.1);
    drop(store);
}

#[test]
fn without_noise_training_computes_the_mean() {
    let golden = golden();
    let frames = golden_frames(&golden);
    for rank in [0, 3] {
        let noise = Noise::new(1, Device::Cpu);
        let of = |noisy: bool| norm(&golden, &KlNormConfig { rank, noise: noisy, ..KlNormConfig::default() }).1;
        let still = of(false).forward_noisy(&golden["hidden"], &frames, &noise).unwrap();
        let moved = of(true).forward_noisy(&golden["hidden"], &frames, &noise).unwrap();
        let mean = of(false).forward_mean(&golden["hidden"], &frames).unwrap();
        // A few roundings on either side: 12 × 2⁻²⁴ × a cancellation of 4 < 3e-6.
        assert!(off(&real(&still.hidden, &frames), &real(&mean, &frames)) < 3e-6);
        assert!(off(&real(&moved.hidden, &frames), &real(&mean, &frames)) > 0.1);
        assert!(off(&still.rate.unwrap(), &moved.rate.unwrap()) < 1e-6);
    }
}

#[test]
fn running_estimates_follow_training_and_come_back_from_a_checkpoint() {
    for norm in every_kind().into_iter().filter(|norm| norm.momentum() > 0.0) {
        let (store, model) = model(norm.clone());
        let batch = || WaveformBatch { samples: samples(), lengths: vec![6000, 3500] };
        for _ in 0..2 {
            let output = tch::no_grad(|| model.forward(&batch(), Pass::Training(&training()))).unwrap();
            for site in &output.sites.0 {
                if let Some(moments) = &site.moments {
                    model.follow(site.layer, site.site, moments).unwrap();
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.safetensors");
        let rooted: Vec<(String, Tensor)> =
            store.named().into_iter().map(|(name, tensor)| (format!("wav2vec2.{name}"), tensor)).collect();
        let config = model.config();
        save_weights(&file, &rooted, config, Own::Keep).unwrap();
        let checkpoint = Checkpoint::open(&file).unwrap();
        let fits = |norm: &NormConfig| {
            let again = Store::new(Device::Cpu);
            let config = ModelConfig { norm: norm.clone(), ..config.clone() };
            let model = Wav2Vec2::new(&(again.root() / "wav2vec2"), &config).unwrap();
            let fit = checkpoint.fit(&again.named(), "wav2vec2", Head::Fresh)?;
            fit.copy(&checkpoint, &again.named())?;
            Ok::<_, klang_wav2vec2::Error>((model, fit))
        };
        let (again, fit) = fits(&norm).unwrap();
        assert_eq!(fit.fresh, Vec::<String>::new());
        // The fold of what equals a LayerNorm stands beside it.
        assert_eq!(fit.skipped.is_empty(), norm.folds().is_err(), "{norm:?}: {:?}", fit.skipped);
        let evaluate = |model: &Wav2Vec2| tch::no_grad(|| model.forward(&batch(), Pass::Evaluation)).unwrap().hidden;
        assert!(evaluate(&again).equal(&evaluate(&model)), "{norm:?}");
        // What equals no LayerNorm is none to whoever knows no other.
        if norm.folds().is_err() {
            let refused = fits(&NormConfig::LayerNorm).err().unwrap().to_string();
            assert!(refused.contains("another normalisation stands there"), "{refused}");
            assert!(!checkpoint.names().any(|name| name.ends_with("encoder.layers.0.layer_norm.weight")), "{norm:?}");
        }
    }
}

#[test]
fn a_layer_norms_gain_and_bias_are_what_every_norm_starts_from() {
    let (store, plain) = model(NormConfig::LayerNorm);
    tch::no_grad(|| {
        for (name, mut tensor) in store.named().into_iter().filter(|(name, _)| name.contains("layer_norm.")) {
            tch::manual_seed(name.len() as i64);
            tensor.copy_(&tensor.randn_like());
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let rooted: Vec<(String, Tensor)> =
        store.named().into_iter().map(|(name, tensor)| (format!("wav2vec2.{name}"), tensor)).collect();
    save_weights(&file, &rooted, plain.config(), Own::Drop).unwrap();
    let checkpoint = Checkpoint::open(&file).unwrap();
    for norm in every_kind().into_iter().filter(|norm| !norm.is_layer_norm()) {
        let again = Store::new(Device::Cpu);
        let config = ModelConfig { norm: norm.clone(), ..plain.config().clone() };
        let _model = Wav2Vec2::new(&(again.root() / "wav2vec2"), &config).unwrap();
        let fit = checkpoint.fit(&again.named(), "wav2vec2", Head::Fresh).unwrap();
        fit.copy(&checkpoint, &again.named()).unwrap();
        let site = "wav2vec2.encoder.layers.1.final_layer_norm";
        let named: BTreeMap<String, Tensor> = again
            .named()
            .into_iter()
            .chain(rooted.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())))
            .collect();
        let mark = if matches!(norm, NormConfig::KlNorm(_)) { "kl_norm" } else { "plain_norm" };
        assert!(named[&format!("{site}.{mark}.gamma")].equal(&named[&format!("{site}.weight")]), "{norm:?}");
        assert!(named[&format!("{site}.{mark}.beta")].equal(&named[&format!("{site}.bias")]), "{norm:?}");
        assert!(fit.fresh.iter().all(|name| !name.ends_with("gamma") && !name.ends_with("beta")), "{norm:?}");
    }
}
