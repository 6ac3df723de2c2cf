//! Parity with transformers' Wav2Vec2ForPreTraining and with BEST-RQ's definition, from the files that golden/make.py makes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use klang_wav2vec2::checkpoint::{Checkpoint, Head, Own, read_safetensors, save_weights};
use klang_wav2vec2::{
    BestRq, BestRqConfig, Contrastive, ContrastiveBatch, Gumbel, MaskedFrames, ModelConfig, Pass, Prediction, Stages,
    Store, Wav2Vec2, WaveformBatch, initialise_contrastive,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

const VARIANTS: [&str; 2] = ["pretraining-group", "pretraining-layer"];

fn golden(variant: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(variant)
}

struct Model {
    store: Store,
    config: ModelConfig,
    encoder: Wav2Vec2,
    head: Contrastive,
}

fn build(config: &ModelConfig, store: Store) -> Model {
    let encoder = Wav2Vec2::new(&(store.root() / "wav2vec2"), config).unwrap();
    let head = Contrastive::new(&store.root(), config).unwrap();
    Model { config: config.clone(), encoder, head, store }
}

fn open(variant: &str) -> Model {
    let config = ModelConfig::read(&golden(variant).join("config.json")).unwrap();
    config.contrastive.check().unwrap();
    let checkpoint = Checkpoint::open(&golden(variant)).unwrap();
    let fit = checkpoint.fit(&build(&config, Store::declaring()).store.named(), "wav2vec2", Head::Fresh).unwrap();
    assert!(fit.fresh.is_empty() && fit.skipped.is_empty(), "{fit:?}");
    let model = build(&config, Store::new(Device::Cpu));
    fit.copy(&checkpoint, &model.store.named()).unwrap();
    model
}

/// What is given: masks, distractors and noise as the golden file has them.
struct Given {
    batch: WaveformBatch,
    masked: MaskedFrames,
    distractors: Tensor,
    gumbel: Gumbel,
}

fn given(golden: &BTreeMap<String, Tensor>, model: &Model) -> Given {
    let lengths = Vec::<i64>::try_from(&golden["lengths"]).unwrap();
    let batch = WaveformBatch { samples: golden["samples"].shallow_clone(), lengths: lengths.clone() };
    let (rows, padded) = golden["mask"].size2().unwrap();
    let mask = Vec::<bool>::try_from(golden["mask"].flatten(0, 1)).unwrap();
    let rows: Vec<Vec<bool>> = (0..rows as usize)
        .map(|row| {
            let frames = model.config.frames(lengths[row]) as usize;
            mask[row * padded as usize..][..frames].to_vec()
        })
        .collect();
    let masked = MaskedFrames::new(&rows, padded as usize, Device::Cpu).unwrap();
    // Of frames, within the utterance, to their numbers among its masked frames.
    let negatives = masked.of(&golden["negatives"]).unwrap();
    let mut places = Vec::<i64>::try_from(negatives.flatten(0, 1)).unwrap();
    let each = negatives.size()[1] as usize;
    let mut start = 0;
    for row in &rows {
        let frames: Vec<i64> = (0..).zip(row).filter(|(_, masked)| **masked).map(|(frame, _)| frame).collect();
        for place in &mut places[start * each..(start + frames.len()) * each] {
            *place = frames.iter().position(|frame| frame == place).expect("a masked frame") as i64;
        }
        start += frames.len();
    }
    let distractors = Tensor::from_slice(&places).view([-1, each as i64]);
    let noise = masked.of(&golden["gumbel"].flatten(2, 3)).unwrap();
    let shape = model.head.quantiser().noise_shape(masked.count());
    let gumbel = Gumbel { noise: noise.view(shape), temperature: golden["temperature"].double_value(&[]) };
    Given { batch, masked, distractors, gumbel }
}

fn predict(model: &Model, given: &Given, random: bool) -> Prediction {
    let Stages { normed, output, .. } = model.encoder.stages(&given.batch, Pass::Masked(&given.masked.mask)).unwrap();
    let batch = ContrastiveBatch {
        hidden: &output.hidden,
        normed: &normed,
        masked: &given.masked,
        distractors: &given.distractors,
        gumbel: random.then_some(&given.gumbel),
    };
    model.head.forward(&batch).unwrap()
}

/// fp32 rounds at 6e-8, a loss sums terms of some hundred operations each in an order of its own: 6e-8 × √100 × 10 = 6e-6.
const LOSS: f64 = 1e-5;
/// A gradient passes through the encoder there and back, and cosines divided by 0.1 multiply what is off by ten.
const GRADIENT: f64 = 1e-4;

#[test]
fn loss_and_gradients_equal_transformers() {
    for variant in VARIANTS {
        let golden = read_safetensors(&golden(variant).join("stages.safetensors")).unwrap();
        let model = open(variant);
        let given = given(&golden, &model);
        for (random, prefix) in [(true, ""), (false, "evaluation.")] {
            let expected = |name: &str| golden[&format!("{prefix}{name}")].double_value(&[]);
            let told = predict(&model, &given, random);
            let diversity = told.diversity.as_ref().unwrap();
            let loss = &told.loss + diversity * model.config.contrastive.diversity_loss_weight;
            for (name, value) in [
                ("contrastive_loss", told.loss.double_value(&[])),
                ("diversity_loss", diversity.double_value(&[])),
                ("perplexity", told.perplexity.double_value(&[])),
                ("loss", loss.double_value(&[])),
            ] {
                let off = (value / expected(name) - 1.0).abs();
                println!("{variant} {prefix}{name}: {value} off by {off:.1e}");
                assert!(off < LOSS, "{variant} {prefix}{name}: {value}, not {}", expected(name));
            }
            if !random {
                continue;
            }
            loss.backward();
            let parameters: BTreeMap<String, Tensor> = model.store.named().into_iter().collect();
            let mut compared = 0;
            for (key, expected) in &golden {
                let Some(name) = key.strip_prefix("gradient.") else { continue };
                let gradient = parameters[name].grad();
                let off = (&gradient - expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[]);
                println!("{variant} {name}: off by {off:.1e}");
                assert!(off < GRADIENT, "{variant} {name}: off by {off}");
                compared += 1;
            }
            assert_eq!(compared, 16, "{variant}");
        }
    }
}

#[test]
fn what_is_written_is_read_as_it_was() {
    let model = open("pretraining-layer");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    save_weights(&path, &model.store.named(), &model.config, Own::Keep).unwrap();
    let mut written = read_safetensors(&path).unwrap();
    let original = read_safetensors(&golden("pretraining-layer").join("model.safetensors")).unwrap();
    for (name, tensor) in original {
        assert!(written.remove(&name).is_some_and(|same| same.equal(&tensor)), "{name}");
    }
    assert!(written.is_empty(), "{written:?}");
}

#[test]
fn an_encoder_without_a_head_gets_a_fresh_one_and_half_a_head_is_refused() {
    let config = ModelConfig::read(&golden("pretraining-layer").join("config.json")).unwrap();
    let declared = build(&config, Store::declaring()).store.named();
    let weights = read_safetensors(&golden("pretraining-layer").join("model.safetensors")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let write = |keep: fn(&str) -> bool| {
        let some: Vec<_> = weights.iter().filter(|(name, _)| keep(name)).map(|(n, t)| (n.clone(), t.copy())).collect();
        klang_wav2vec2::checkpoint::write_safetensors(&path, &some, &[]).unwrap();
        Checkpoint::open(&path).unwrap().fit(&declared, "wav2vec2", Head::Fresh)
    };
    let fresh = write(|name| name.starts_with("wav2vec2")).unwrap().fresh;
    assert_eq!(fresh.len(), 7, "{fresh:?}");
    let message = write(|name| name != "quantizer.codevectors").unwrap_err().to_string();
    assert!(message.contains("quantizer.codevectors: missing"), "{message}");

    let model = build(&config, Store::new(Device::Cpu));
    let head: Vec<(String, Tensor)> =
        model.store.named().into_iter().filter(|(name, _)| !name.starts_with("wav2vec2")).collect();
    initialise_contrastive(&head, &config, 1).unwrap();
    let find = |name: &str| &head.iter().find(|(other, _)| other == name).unwrap().1;
    let codes = find("quantizer.codevectors");
    assert!(codes.min().double_value(&[]) >= 0.0 && codes.max().double_value(&[]) > 0.5);
    // Bounds of PyTorch's linear layers: 1/√6 and 1/√16.
    for (name, bound) in [("project_q.weight", 0.4083), ("project_hid.bias", 0.25)] {
        let largest = find(name).abs().max().double_value(&[]);
        assert!(largest < bound && largest > bound / 2.0, "{name}: {largest}");
    }
}

#[test]
fn a_frame_whose_distractors_are_all_its_own_code_has_no_loss_and_no_gradient_that_is_not_a_number() {
    let model = open("pretraining-group");
    // Every frame picks the same codes: no distractor is another.
    let named: BTreeMap<String, Tensor> = model.store.named().into_iter().collect();
    tch::no_grad(|| {
        let _ = named["quantizer.weight_proj.weight"].shallow_clone().zero_();
        named["quantizer.weight_proj.bias"].shallow_clone().copy_(&Tensor::arange(10, (Kind::Float, Device::Cpu)));
    });
    let golden = read_safetensors(&golden("pretraining-group").join("stages.safetensors")).unwrap();
    let told = predict(&model, &given(&golden, &model), false);
    assert_eq!(told.loss.double_value(&[]), 0.0);
    assert_eq!(told.correct.int64_value(&[]), 0, "where there was nothing to tell apart, nothing was told");
    assert_eq!(told.perplexity.double_value(&[]).round(), 2.0);
    told.loss.backward();
    let gradient = named["project_hid.weight"].grad();
    assert!(gradient.isfinite().all().int64_value(&[]) == 1 && gradient.abs().max().double_value(&[]) == 0.0);
}

fn best_rq(config: BestRqConfig, spectrum: i64) -> (Store, BestRq) {
    let store = Store::new(Device::Cpu);
    let model = ModelConfig { hidden_size: 8, num_attention_heads: 2, ..ModelConfig::of_size("tiny").unwrap() };
    let head = BestRq::new(&store.root(), &model, config, spectrum).unwrap();
    (store, head)
}

#[test]
fn codes_are_the_nearest_as_the_paper_defines_them() {
    let golden = read_safetensors(&golden("best-rq").join("stages.safetensors")).unwrap();
    let (store, head) = best_rq(BestRqConfig { codes: 9, code_dimension: 4, codebooks: 1 }, 12);
    for (name, tensor) in store.named() {
        let key = name.strip_prefix("best_rq.").unwrap().to_string();
        if let Some(value) = golden.get(&key) {
            tch::no_grad(|| tensor.shallow_clone().copy_(&value.unsqueeze(0)));
        }
    }
    let codes = head.codes(&golden["features"]).unwrap();
    assert!(codes.select(1, 0).equal(&golden["labels"]), "{codes}");
    // Neither length decides a code.
    assert!(head.codes(&(&golden["features"] * 1e3)).unwrap().equal(&codes));
}

#[test]
fn the_quantiser_is_drawn_as_the_paper_says_and_uses_its_codes() {
    let config = BestRqConfig { codes: 64, code_dimension: 16, codebooks: 2 };
    let (store, head) = best_rq(config, 160);
    head.draw(1).unwrap();
    let named: BTreeMap<String, Tensor> = store.named().into_iter().collect();
    assert!(!named["best_rq.projection"].requires_grad() && !named["best_rq.codebook"].requires_grad());
    // Glorot: √(6 / (160 + 16)).
    let largest = named["best_rq.projection"].abs().max().double_value(&[]);
    assert!(largest < 0.1847 && largest > 0.18, "{largest}");
    let lengths = named["best_rq.codebook"].norm_scalaropt_dim(2.0, [-1i64], false);
    assert!((lengths - 1.0).abs().max().double_value(&[]) < 1e-6);
    tch::manual_seed(1);
    let codes = head.codes(&Tensor::randn([4000, 160], (Kind::Float, Device::Cpu))).unwrap();
    assert_eq!(codes.size(), [4000, 2]);
    for book in 0..2 {
        // Directions are even, codes nearly so: each of 64 has 62 frames on average.
        let used = codes.select(1, book).bincount(None::<Tensor>, 64).gt(0).sum(Kind::Int64).int64_value(&[]);
        assert_eq!(used, 64);
    }
    assert!(!codes.select(1, 0).equal(&codes.select(1, 1)), "each has a projection and codes of its own");
}

#[test]
fn the_loss_is_the_mean_over_codebooks_of_cross_entropies() {
    let config = BestRqConfig { codes: 5, code_dimension: 4, codebooks: 2 };
    let (store, head) = best_rq(config, 12);
    tch::manual_seed(1);
    for (name, tensor) in store.named() {
        if name.contains("head") {
            let _ = tch::no_grad(|| tensor.shallow_clone().uniform_(-1.0, 1.0));
        }
    }
    let hidden = Tensor::randn([2, 3, 8], (Kind::Float, Device::Cpu));
    let masked = MaskedFrames::new(&[vec![true, false, true], vec![false, true]], 3, Device::Cpu).unwrap();
    let codes = Tensor::from_slice(&[0i64, 4, 3, 1, 2, 2]).view([3, 2]);
    let told = head.forward(&hidden, &masked, &codes).unwrap();
    let named: BTreeMap<String, Tensor> = store.named().into_iter().collect();
    let logits = masked
        .of(&hidden)
        .unwrap()
        .linear(&named["best_rq.head.weight"], Some(&named["best_rq.head.bias"]))
        .view([6, 5]);
    let expected = logits.cross_entropy_loss(&codes.view([6]), None::<Tensor>, tch::Reduction::Sum, -100, 0.0) / 2.0;
    // Six terms below 10 in fp32.
    assert!((told.loss - expected).abs().double_value(&[]) < 1e-5);
    // Codes 0, 3, 2 and 4, 1, 2: three of each.
    assert!((told.perplexity.double_value(&[]) - 3.0).abs() < 1e-4);
    let hits = logits.argmax(-1, false).view([3, 2]).eq_tensor(&codes).select(1, 0).sum(Kind::Int64);
    assert!(told.correct.equal(&hits));
}

#[test]
fn distractors_by_seed_are_the_same() {
    let masked = MaskedFrames::new(&[vec![true; 7]], 7, Device::Cpu).unwrap();
    let draw = |seed| masked.distractors(4, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
    assert!(draw(1).equal(&draw(1)) && !draw(1).equal(&draw(2)));
}
