//! Parity with transformers, stage by stage, from the golden files that golden/make.py makes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use klang_wav2vec2::checkpoint::{Checkpoint, Head, Own, read_safetensors, save_weights};
use klang_wav2vec2::{
    KlNormConfig, Linear, ModelConfig, NormConfig, Pass, Stages, Store, Wav2Vec2, WaveformBatch, initialise,
};
use tch::{Device, Kind, Tensor};

const VARIANTS: [&str; 11] = [
    "group-post",
    "group-pre",
    "layer-post",
    "layer-pre",
    "mms",
    "hubert-base",
    "hubert-large",
    "hubert-batch-norm",
    "wavlm-base",
    "wavlm-large",
    "data2vec-audio",
];
const STAGES: [&str; 4] = ["features", "projected", "hidden", "logits"];

fn golden(variant: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(variant)
}

fn stages(variant: &str) -> BTreeMap<String, Tensor> {
    read_safetensors(&golden(variant).join("stages.safetensors")).unwrap()
}

struct Model {
    store: Store,
    encoder: Wav2Vec2,
    head: Linear,
}

fn build(config: &ModelConfig, store: Store) -> Model {
    let encoder = Wav2Vec2::new(&(store.root() / config.model_type.root()), config).unwrap();
    let head = Linear::new(&(store.root() / "lm_head"), config.hidden_size, 11).unwrap();
    Model { store, encoder, head }
}

fn config(variant: &str, norm: NormConfig) -> ModelConfig {
    ModelConfig { norm, ..ModelConfig::read(&golden(variant).join("config.json")).unwrap() }
}

fn open(config: &ModelConfig, checkpoint: &Checkpoint) -> Model {
    let declared = build(config, Store::declaring()).store.named();
    let fit = checkpoint.fit(&declared, config.model_type.root(), Head::Load).unwrap();
    let model = build(config, Store::new(Device::Cpu));
    let root = format!("{}.", config.model_type.root());
    let fresh: Vec<(String, Tensor)> = (model.store.named().into_iter())
        .filter(|(name, _)| fit.fresh.contains(name))
        .filter_map(|(name, tensor)| Some((name.strip_prefix(&root)?.to_string(), tensor)))
        .collect();
    initialise(&fresh, config, 1).unwrap();
    fit.copy(checkpoint, &model.store.named()).unwrap();
    model
}

fn load(variant: &str, norm: NormConfig) -> Model {
    open(&config(variant, norm), &Checkpoint::open(&golden(variant)).unwrap())
}

impl Model {
    fn forward(&self, samples: &Tensor, lengths: &[i64]) -> (BTreeMap<&'static str, Tensor>, Vec<i64>) {
        let batch = WaveformBatch { samples: samples.shallow_clone(), lengths: lengths.to_vec() };
        let Stages { features, projected, output, .. } = self.encoder.stages(&batch, Pass::Evaluation).unwrap();
        let logits = self.head.forward(&output.hidden).unwrap();
        (STAGES.into_iter().zip([features, projected, output.hidden, logits]).collect(), output.lengths)
    }

    fn stages(&self, samples: &Tensor, lengths: &[i64]) -> (BTreeMap<&'static str, Tensor>, Vec<i64>) {
        tch::no_grad(|| self.forward(samples, lengths))
    }
}

/// Largest difference, relative to the largest magnitude of the stage.
fn relative(value: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(value.size(), expected.size());
    (value - expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[])
}

fn samples_and_lengths(golden: &BTreeMap<String, Tensor>) -> (Tensor, Vec<i64>) {
    (golden["samples"].shallow_clone(), Vec::<i64>::try_from(&golden["lengths"]).unwrap())
}

/// The bound of every comparison here. fp32 rounds at 6e-8 and a stage sums at most some hundred terms in an order of
/// its own; ten such stages follow one another: 6e-8 × √100 × 10 = 6e-6.
const BOUND: f64 = 1e-5;

#[test]
fn every_stage_equals_transformers() {
    for variant in VARIANTS {
        let model = load(variant, NormConfig::LayerNorm);
        let golden = stages(variant);
        let (samples, lengths) = samples_and_lengths(&golden);
        let (stages, frames) = model.stages(&samples, &lengths);
        let mut worst = BTreeMap::new();
        for (stage, value) in &stages {
            for (row, &frames) in frames.iter().enumerate() {
                let expected = &golden[&format!("{stage}.{row}")];
                let error = relative(&value.get(row as i64).narrow(0, 0, frames), expected);
                let entry = worst.entry(*stage).or_insert(0f64);
                *entry = entry.max(error);
            }
        }
        println!("{variant}: {worst:?}");
        assert!(worst.values().all(|&error| error < BOUND), "{variant}: {worst:?}");
    }
}

#[test]
fn an_utterance_gives_the_same_logits_alone_and_in_any_batch() {
    for variant in VARIANTS {
        let model = load(variant, NormConfig::LayerNorm);
        let golden = stages(variant);
        let (samples, lengths) = samples_and_lengths(&golden);
        // What stands in the padding must not matter either: transformers' zeros are only one case.
        let spoiled = samples.copy();
        for (row, &length) in lengths.iter().enumerate() {
            let _ = spoiled.get(row as i64).narrow(0, length, samples.size()[1] - length).fill_(123.0);
        }
        let (batch, frames) = model.stages(&samples, &lengths);
        let (dirty, _) = model.stages(&spoiled, &lengths);
        for (row, (&length, &frames)) in lengths.iter().zip(&frames).enumerate() {
            let row = row as i64;
            let (alone, _) = model.stages(&samples.narrow(0, row, 1).narrow(1, 0, length), &[length]);
            let alone = alone["logits"].get(0);
            for stages in [&batch, &dirty] {
                let error = relative(&stages["logits"].get(row).narrow(0, 0, frames), &alone);
                assert!(error < BOUND, "{variant}, row {row} of {length} samples: {error}");
            }
        }
    }
}

#[test]
fn kl_norm_starts_as_the_pretrained_network_bit_for_bit() {
    for variant in VARIANTS {
        let golden = stages(variant);
        let (samples, lengths) = samples_and_lengths(&golden);
        let (plain, _) = load(variant, NormConfig::LayerNorm).stages(&samples, &lengths);
        let (kl, _) = load(variant, NormConfig::KlNorm(KlNormConfig::default())).stages(&samples, &lengths);
        for stage in STAGES {
            assert!(plain[stage].equal(&kl[stage]), "{variant}: {stage}");
        }
    }
}

/// The bound of the gradients: they pass every stage twice, and each sums over some hundred frames and samples more.
const GRADIENT_BOUND: f64 = 1e-4;

#[test]
fn gradients_of_the_ctc_loss_equal_transformers() {
    for variant in VARIANTS {
        let golden = stages(variant);
        let (samples, lengths) = samples_and_lengths(&golden);
        let model = load(variant, NormConfig::LayerNorm);
        let (stages, frames) = model.forward(&samples, &lengths);
        let log_probabilities = stages["logits"].log_softmax(-1, Kind::Float).transpose(0, 1);
        let labels: Vec<Tensor> =
            (0..lengths.len()).map(|row| golden[&format!("labels.{row}")].shallow_clone()).collect();
        let counts: Vec<i64> = labels.iter().map(|labels| labels.size()[0]).collect();
        let loss = Tensor::ctc_loss_tensor(
            &log_probabilities,
            &Tensor::cat(&labels, 0),
            &Tensor::from_slice(&frames),
            &Tensor::from_slice(&counts),
            0,
            tch::Reduction::Sum,
            false,
        );
        assert!(relative(&loss, &golden["loss"]) < BOUND, "{variant}");
        loss.backward();
        let mut worst = BTreeMap::new();
        for (name, parameter) in model.store.named() {
            if let Some(expected) = golden.get(&format!("gradient.{name}")) {
                worst.insert(name, relative(&parameter.grad(), expected));
            }
        }
        println!("{variant}: {worst:?}");
        assert!(worst.len() >= 8, "{variant}: {worst:?}");
        assert!(worst.values().all(|&error| error < GRADIENT_BOUND), "{variant}: {worst:?}");
    }
}

#[test]
fn a_low_rank_mean_starts_as_nothing_and_is_read_back_as_it_was_learnt() {
    let norm = NormConfig::KlNorm(KlNormConfig { rank: 2, ..KlNormConfig::default() });
    for variant in ["group-post", "layer-pre"] {
        let config = config(variant, norm.clone());
        let model = load(variant, norm.clone());
        let (samples, lengths) = samples_and_lengths(&stages(variant));
        let (plain, _) = load(variant, NormConfig::LayerNorm).stages(&samples, &lengths);
        let (start, _) = model.stages(&samples, &lengths);
        assert!(start["logits"].equal(&plain["logits"]), "{variant}");
        tch::no_grad(|| {
            for (name, mut tensor) in model.store.named().into_iter().filter(|(name, _)| name.ends_with("kl_norm.u")) {
                tch::manual_seed(name.len() as i64);
                let moved = tensor.randn_like();
                tensor.copy_(&moved);
            }
        });
        let (learnt, _) = model.stages(&samples, &lengths);
        assert!(relative(&learnt["logits"], &plain["logits"]) > 0.01, "the term does something");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.safetensors");
        save_weights(&file, &model.store.named(), &config, Own::Keep).unwrap();
        let (again, _) = open(&config, &Checkpoint::open(&file).unwrap()).stages(&samples, &lengths);
        assert!(again["logits"].equal(&learnt["logits"]), "{variant}");
    }
}

#[test]
fn a_trained_kl_norm_is_a_layer_norm_to_whoever_knows_no_other() {
    for variant in VARIANTS {
        let kl = config(variant, NormConfig::KlNorm(KlNormConfig::default()));
        let model = load(variant, kl.norm.clone());
        tch::no_grad(|| {
            for (name, mut tensor) in model.store.named().into_iter().filter(|(name, _)| name.contains("kl_norm")) {
                tch::manual_seed(name.len() as i64);
                let moved = &tensor + tensor.randn_like() * 0.2;
                tensor.copy_(&moved);
            }
        });
        let (samples, lengths) = samples_and_lengths(&stages(variant));
        let (expected, _) = model.stages(&samples, &lengths);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.safetensors");
        let plain = config(variant, NormConfig::LayerNorm);
        for (own, config) in [(Own::Keep, &plain), (Own::Keep, &kl), (Own::Drop, &plain)] {
            save_weights(&file, &model.store.named(), &kl, own).unwrap();
            let again = open(config, &Checkpoint::open(&file).unwrap());
            let (stages, _) = again.stages(&samples, &lengths);
            assert!(stages["logits"].equal(&expected["logits"]), "{variant} {own:?}");
        }
    }
}
