//! Parity with transformers, stage by stage, from the golden files that golden/make.py makes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use klang_wav2vec2::checkpoint::{Head, load_weights, read_safetensors, save_weights};
use klang_wav2vec2::{
    KlNormConfig, Linear, ModelConfig, NormConfig, Pass, Wav2Vec2, WaveformBatch, initialise, named_parameters,
};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

const VARIANTS: [&str; 4] = ["group-post", "group-pre", "layer-post", "layer-pre"];
const STAGES: [&str; 4] = ["features", "projected", "hidden", "logits"];

fn golden(variant: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(variant)
}

struct Model {
    store: VarStore,
    encoder: Wav2Vec2,
    head: Linear,
}

fn build(config: &ModelConfig) -> Model {
    let store = VarStore::new(Device::Cpu);
    let encoder = Wav2Vec2::new(&(store.root() / "wav2vec2"), config).unwrap();
    let head = Linear::new(&(store.root() / "lm_head"), config.hidden_size, 11).unwrap();
    Model { store, encoder, head }
}

fn load(variant: &str, norm: NormConfig) -> Model {
    let folder = golden(variant);
    let config = ModelConfig { norm, ..ModelConfig::read(&folder.join("config.json")).unwrap() };
    let model = build(&config);
    let parameters = named_parameters(&model.store);
    let encoder: Vec<(String, Tensor)> = parameters
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("wav2vec2.")?.to_string(), tensor.shallow_clone())))
        .collect();
    initialise(&encoder, &config, 1).unwrap();
    load_weights(&folder.join("model.safetensors"), &parameters, Head::Load).unwrap();
    model
}

impl Model {
    fn stages(&self, samples: &Tensor, lengths: &[i64]) -> (BTreeMap<&'static str, Tensor>, Vec<i64>) {
        tch::no_grad(|| {
            let batch = WaveformBatch { samples: samples.shallow_clone(), lengths: lengths.to_vec() };
            let stages = self.encoder.stages(&batch, Pass::Evaluation).unwrap();
            let logits = self.head.forward(&stages.output.hidden).unwrap();
            let values = [stages.features, stages.projected, stages.output.hidden, logits];
            (STAGES.into_iter().zip(values).collect(), stages.output.lengths)
        })
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
        let golden = read_safetensors(&golden(variant).join("stages.safetensors")).unwrap();
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
        let golden = read_safetensors(&golden(variant).join("stages.safetensors")).unwrap();
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
        let golden = read_safetensors(&golden(variant).join("stages.safetensors")).unwrap();
        let (samples, lengths) = samples_and_lengths(&golden);
        let (plain, _) = load(variant, NormConfig::LayerNorm).stages(&samples, &lengths);
        let (kl, _) = load(variant, NormConfig::KlNorm(KlNormConfig::default())).stages(&samples, &lengths);
        for stage in STAGES {
            assert!(plain[stage].equal(&kl[stage]), "{variant}: {stage}");
        }
    }
}

#[test]
fn a_trained_kl_norm_is_a_layer_norm_to_whoever_knows_no_other() {
    let norm = NormConfig::KlNorm(KlNormConfig::default());
    let model = load("layer-pre", norm.clone());
    tch::no_grad(|| {
        for (name, mut tensor) in named_parameters(&model.store) {
            if name.contains("kl_norm") {
                tch::manual_seed(name.len() as i64);
                let moved = &tensor + tensor.randn_like() * 0.2;
                tensor.copy_(&moved);
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    save_weights(&file, &named_parameters(&model.store)).unwrap();

    let (samples, lengths) =
        samples_and_lengths(&read_safetensors(&golden("layer-pre").join("stages.safetensors")).unwrap());
    let (expected, _) = model.stages(&samples, &lengths);
    let config = ModelConfig::read(&golden("layer-pre").join("config.json")).unwrap();
    for norm in [NormConfig::LayerNorm, norm] {
        let again = build(&ModelConfig { norm, ..config.clone() });
        load_weights(&file, &named_parameters(&again.store), Head::Load).unwrap();
        let (stages, _) = again.stages(&samples, &lengths);
        assert!(stages["logits"].equal(&expected["logits"]));
    }
}

#[test]
fn the_loader_names_every_tensor_that_does_not_fit() {
    let model = build(&ModelConfig::read(&golden("layer-pre").join("config.json")).unwrap());
    let parameters = named_parameters(&model.store);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let mut tensors: Vec<(String, Tensor)> =
        parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    tensors.retain(|(name, _)| name != "wav2vec2.encoder.layer_norm.bias");
    for (name, tensor) in &mut tensors {
        if name == "lm_head.bias" {
            *tensor = Tensor::zeros([12], (Kind::Float, Device::Cpu));
        }
    }
    tensors
        .push(("wav2vec2.encoder.layers.2.layer_norm.weight".into(), Tensor::zeros([16], (Kind::Float, Device::Cpu))));
    save_weights(&file, &tensors).unwrap();
    let before = parameters[0].1.copy();
    let message = load_weights(&file, &parameters, Head::Load).unwrap_err().to_string();
    for part in [
        "wav2vec2.encoder.layer_norm.bias: missing",
        "lm_head.bias: shape [12]",
        "layers.2.layer_norm.weight: unexpected",
    ] {
        assert!(message.contains(part), "{part} not in:\n{message}");
    }
    assert!(parameters[0].1.equal(&before), "a failed load must change nothing");
}

#[test]
fn damaged_files_are_refused_without_a_panic() {
    let bytes = std::fs::read(golden("layer-pre").join("model.safetensors")).unwrap();
    let model = build(&ModelConfig::read(&golden("layer-pre").join("config.json")).unwrap());
    let parameters = named_parameters(&model.store);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let with_length = |length: u64| [&length.to_le_bytes()[..], &bytes[8..]].concat();
    let cases = [
        ("empty", vec![]),
        ("seven bytes", bytes[..7].to_vec()),
        ("half", bytes[..bytes.len() / 2].to_vec()),
        ("one byte short", bytes[..bytes.len() - 1].to_vec()),
        ("one byte long", [&bytes[..], &[0]].concat()),
        ("a header longer than the file", with_length(u64::MAX)),
        ("a header cut short", with_length(header - 9)),
        ("not safetensors", b"PK\x03\x04 this is a zip archive, not weights".to_vec()),
    ];
    for (what, bytes) in cases {
        std::fs::write(&file, bytes).unwrap();
        let message = load_weights(&file, &parameters, Head::Load).expect_err(what).to_string();
        assert!(message.contains("model.safetensors"), "{what}: {message}");
    }
}
