//! An utterance is told alike in any batch, and the same parts of an update give the same on any number of threads.

use std::sync::{Arc, Mutex, MutexGuard};

use klang_corpus::Utterance;
use klang_wav2vec2::{BestRqConfig, ContrastiveConfig, MaskedFrames, ModelConfig, Pass, Prediction};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind};

use super::learner::{Common, Part, PretrainLearner, masks};
use super::model::{Drawn, Pretrained, PretrainingSpec};
use crate::data::{Item, LoadedBatch, LoadedRow};
use crate::device::Compute;
use crate::draw;
use crate::model::AudioSpec;
use crate::optimiser::gradient_norm;
use crate::recipe::{ObjectiveKind, PretrainRecipe, Recipe, SpanRecipe, Spectrum};
use crate::replicas::Sums;

/// libtorch's number of threads is the process's: tests that set it take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn model(objective: ObjectiveKind, threads: i32) -> Pretrained {
    model_in(Kind::Float, objective, threads)
}

fn model_in(kind: Kind, objective: ObjectiveKind, threads: i32) -> Pretrained {
    let config = ModelConfig {
        hidden_size: 48,
        num_hidden_layers: 2,
        intermediate_size: 64,
        conv_dim: vec![16, 16, 24, 32, 32],
        num_conv_pos_embeddings: 8,
        hidden_dropout: 0.0,
        contrastive: ContrastiveConfig {
            num_codevectors_per_group: 6,
            codevector_dim: 8,
            proj_codevector_dim: 12,
            num_negatives: 7,
            ..ContrastiveConfig::default()
        },
        ..ModelConfig::of_size("tiny").unwrap()
    };
    let best_rq = BestRqConfig { codes: 20, code_dimension: 4, codebooks: 2 };
    let best_rq = (objective == ObjectiveKind::BestRq).then_some((best_rq, Spectrum::Cepstra));
    let spec = PretrainingSpec { config, audio: AudioSpec::default(), best_rq };
    Pretrained::random(spec, Compute { device: Device::Cpu, kind, int8: false, threads }, 1).unwrap()
}

fn rows() -> Vec<LoadedRow> {
    let lengths = [9000, 4000, 12_000, 7000, 5000, 8000];
    let row = |(number, &length): (usize, &usize)| {
        let mut random = draw::generator(1, "row", &[&number]);
        let samples = (0..length).map(|_| random.random_range(-1.0f32..1.0)).collect();
        let utterance = Utterance::new(format!("u{number}"), format!("{number}.wav"));
        let (duration, text, labels) = (length as f64 / 16_000.0, String::new(), Vec::new());
        LoadedRow { items: vec![Arc::new(Item { utterance, duration, text, labels })], samples }
    };
    lengths.iter().enumerate().map(row).collect()
}

fn batch(rows: Vec<LoadedRow>) -> LoadedBatch {
    LoadedBatch { rows, ..LoadedBatch::default() }
}

const OBJECTIVES: [ObjectiveKind; 2] = [ObjectiveKind::BestRq, ObjectiveKind::Wav2vec2];
const SPANS: SpanRecipe = SpanRecipe { share: 0.5, length: 3 };

#[test]
fn an_utterance_is_told_alike_alone_and_in_any_batch() {
    for objective in OBJECTIVES {
        let model = model(objective, 1);
        let config = model.spec.config.clone();
        let whole = batch(rows());
        let all = masks(&SPANS.spans(), &whole, &config, &mut ChaCha8Rng::seed_from_u64(1));
        // Distractors are drawn row by row from one generator: those of a row alone follow those of the rows before it.
        let tell = |batch: &LoadedBatch, rows: &[Vec<bool>], random: &mut ChaCha8Rng| -> Prediction {
            let longest = rows.iter().map(Vec::len).max().unwrap();
            let masked = MaskedFrames::new(rows, longest, Device::Cpu).unwrap();
            let stages = tch::no_grad(|| model.stages(batch, Pass::Masked(&masked.mask))).unwrap();
            let targets = model.targets(batch).unwrap();
            tch::no_grad(|| model.predict(&stages, &targets, &masked, Drawn { random, choice: None })).unwrap()
        };
        let together = tell(&whole, &all, &mut ChaCha8Rng::seed_from_u64(2));
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let (mut loss, mut correct) = (0.0, 0);
        for (row, mask) in rows().into_iter().zip(&all) {
            let alone = tell(&batch(vec![row]), std::slice::from_ref(mask), &mut random);
            loss += alone.loss.double_value(&[]);
            correct += alone.correct.int64_value(&[]);
        }
        // Some fifty frames' losses of 1 to 10 nats, each right to fp32 and some tens of operations: 1e-6 of the sum.
        let together_loss = together.loss.double_value(&[]);
        assert!((loss / together_loss - 1.0).abs() < 1e-5, "{objective:?}: {loss}, {together_loss}");
        assert_eq!(correct, together.correct.int64_value(&[]), "{objective:?}");
    }
}

fn total(model: &Pretrained, objective: ObjectiveKind, cuts: &[usize]) -> Part {
    let pretrain = PretrainRecipe { objective, mask: SPANS, ..PretrainRecipe::default() };
    let recipe = Recipe { pretrain: Some(pretrain), ..Recipe::default() };
    let learnt = model.parameters().into_iter().filter(|(_, tensor)| tensor.requires_grad()).collect::<Vec<_>>();
    let replicas = PretrainLearner::replicas(&recipe, model, &learnt).unwrap();
    let mut rows = rows();
    let parts = cuts.iter().map(|&count| batch(rows.drain(..count).collect())).collect();
    let mut sum = Part::default();
    replicas.compute(&Common { update: 3, rate_weight: 0.0 }, parts, |part| sum.add(part)).unwrap();
    sum
}

/// |a − b| / |a| over all gradients together.
fn difference(a: &Part, b: &Part) -> f64 {
    let apart: Vec<tch::Tensor> =
        a.gradients.iter().zip(&b.gradients).filter(|(a, _)| a.defined()).map(|(a, b)| a - b).collect();
    assert!(!apart.is_empty());
    gradient_norm(&apart).unwrap() / gradient_norm(&a.gradients).unwrap()
}

#[test]
fn bf16_points_where_fp32_points() {
    let _turn = alone();
    // BEST-RQ, whose targets do not depend on the model: in wav2vec 2.0's, rounding may choose another code.
    let objective = ObjectiveKind::BestRq;
    let [fp32, bf16] = [Kind::Float, Kind::BFloat16].map(|kind| total(&model_in(kind, objective, 1), objective, &[6]));
    // bf16 keeps 8 bits: 2⁻⁹ a rounding, some 30 of them one after another through the model and back, if all leant one
    // way: 6 %.
    assert!((bf16.loss / fp32.loss - 1.0).abs() < 0.06, "{} against {}", bf16.loss, fp32.loss);
    let off = difference(&fp32, &bf16);
    assert!(off > 0.0 && off < 0.06, "{off}");
}

#[test]
fn the_number_of_threads_changes_nothing_of_the_same_parts() {
    let _turn = alone();
    for objective in OBJECTIVES {
        let one = total(&model(objective, 1), objective, &[2, 2, 2]);
        let three = total(&model(objective, 3), objective, &[2, 2, 2]);
        assert_eq!((one.masked, one.correct, one.frames), (three.masked, three.correct, three.frames));
        assert!((one.loss / three.loss - 1.0).abs() < 1e-6, "{objective:?}");
        let off = difference(&one, &three);
        // Sums of some thousand fp32 terms in another order: √1000 × 2⁻²⁴ × a few operations in a row < 1e-4.
        assert!(off < 1e-4, "{objective:?}: {off}");
    }
}

#[test]
fn the_convolutions_gradient_is_scaled_and_their_features_are_held_down() {
    let _turn = alone();
    let objective = ObjectiveKind::Wav2vec2;
    let model = model(objective, 1);
    let learnt: Vec<_> = model.parameters().into_iter().filter(|(_, tensor)| tensor.requires_grad()).collect();
    let gradients = |feature_gradient: f64, feature_penalty: f64| {
        let mut pretrain = PretrainRecipe { objective, mask: SPANS, ..PretrainRecipe::default() };
        (pretrain.wav2vec2.feature_gradient, pretrain.wav2vec2.feature_penalty) = (feature_gradient, feature_penalty);
        let recipe = Recipe { pretrain: Some(pretrain), ..Recipe::default() };
        let replicas = PretrainLearner::replicas(&recipe, &model, &learnt).unwrap();
        let mut sum = Part::default();
        replicas.compute(&Common { update: 0, rate_weight: 0.0 }, vec![batch(rows())], |part| sum.add(part)).unwrap();
        sum
    };
    let (whole, tenth, penalised) = (gradients(1.0, 0.0), gradients(0.1, 0.0), gradients(1.0, 10.0));
    for (((name, _), whole), tenth) in learnt.iter().zip(&whole.gradients).zip(&tenth.gradients) {
        if !whole.defined() {
            continue;
        }
        let scale = if name.contains("feature_extractor.") { 0.1 } else { 1.0 };
        let off = (whole * scale - tenth).abs().max().double_value(&[]);
        assert!(off <= 1e-6 * whole.abs().max().double_value(&[]), "{name}: {off}");
    }
    // It is the convolutions' alone, and pulls on them.
    for (((name, _), whole), penalised) in learnt.iter().zip(&whole.gradients).zip(&penalised.gradients) {
        if !whole.defined() {
            continue;
        }
        let differs = (whole - penalised).abs().max().double_value(&[]) > 1e-3 * whole.abs().max().double_value(&[]);
        assert_eq!(differs, name.contains("feature_extractor."), "{name}");
    }
    // Penalty: 10 times the mean square times the masked frames, on top of the rest.
    let penalty = penalised.penalty.unwrap();
    assert!((penalised.loss - whole.loss - 10.0 * penalty).abs() < 1e-4 * penalised.loss, "{penalty}");
    assert!(whole.penalty.is_none() && penalty > 0.0);
}
