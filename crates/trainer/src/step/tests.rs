//! However an update is cut, and in whatever kind it is computed, it is the same update.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use klang_corpus::Utterance;
use klang_text::{TextOptions, Vocabulary};
use klang_wav2vec2::{KlNormConfig, Layers, ModelConfig, NormConfig, Site};
use rand::RngExt;
use tch::{Device, Kind};

use super::*;
use crate::data::{Item, LoadedRow};
use crate::device::Compute;
use crate::draw;
use crate::error::Error;
use crate::event::Regulariser;
use crate::model::{AudioSpec, Recogniser};
use crate::optimiser::{AdamWConfig, gradient_norm};
use crate::recipe::{BottleneckRecipe, DataRecipe, MaskRecipe, TrainRecipe};
use crate::replicas::Sums;

/// libtorch's number of threads is the process's: tests that set it take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A model without dropout, whose one KL-Norm stands before anything that its noise reaches.
fn model(kind: Kind, threads: i32) -> Recogniser {
    let norm = KlNormConfig {
        sites: [Site::Attention].into(),
        layers: Layers::Listed(BTreeSet::from([0])),
        sigma_init: 1e-6,
        ..KlNormConfig::default()
    };
    let config = ModelConfig {
        hidden_size: 48,
        num_hidden_layers: 2,
        intermediate_size: 64,
        conv_dim: vec![16, 16, 24, 32, 32],
        num_conv_pos_embeddings: 8,
        hidden_dropout: 0.0,
        norm: NormConfig::KlNorm(norm),
        ..ModelConfig::of_size("tiny").unwrap()
    };
    let spec = ModelSpec {
        config,
        vocabulary: Vocabulary::from_texts(["abc d"]).unwrap(),
        audio: AudioSpec::default(),
        text: TextOptions::default(),
        bottleneck: None,
    };
    Recogniser::random(spec, Compute { device: Device::Cpu, kind, int8: false, threads }, 1).unwrap()
}

fn rows() -> Vec<LoadedRow> {
    let lengths = [9000, 4000, 12_000, 7000, 5000, 8000];
    let row = |(number, &length): (usize, &usize)| {
        let mut random = draw::generator(1, "row", &[&number]);
        let samples = (0..length).map(|_| random.random_range(-1.0f32..1.0)).collect();
        let labels = (0..=number as u32).map(|place| 2 + place % 4).collect();
        let utterance = Utterance::new(format!("u{number}"), format!("{number}.wav"));
        let item = Item { utterance, duration: length as f64 / 16_000.0, text: String::new(), labels };
        LoadedRow { items: vec![Arc::new(item)], samples }
    };
    lengths.iter().enumerate().map(row).collect()
}

/// The sums over an update of six utterances, cut into batches of so many.
fn total(model: &Recogniser, cuts: &[usize]) -> Part {
    let recipe = recipe();
    sum(&CtcLearner::replicas(&recipe, model, &model.parameters()).unwrap(), rows(), cuts).unwrap()
}

/// A recipe that masks nothing.
fn recipe() -> Recipe {
    let Recipe { train, .. } = Recipe::default();
    Recipe { train: TrainRecipe { mask: MaskRecipe::default(), ..train }, ..Recipe::default() }
}

fn sum(replicas: &Replicas<CtcLearner>, mut rows: Vec<LoadedRow>, cuts: &[usize]) -> Result<Part> {
    let common = Common {
        update: 0,
        divisor: 21.0,
        frames: rows.iter().map(|row| row.frames(&replicas.own().spec().config)).sum(),
        rate_weight: 0.1,
        flat: 0.5,
    };
    let parts = cuts
        .iter()
        .map(|&count| LoadedBatch { rows: rows.drain(..count).collect(), ..LoadedBatch::default() })
        .collect();
    let mut sum = Part::default();
    replicas.compute(&common, parts, |part| sum.add(part))?;
    Ok(sum)
}

/// |a − b| / |a| over all gradients together.
fn difference(a: &Part, b: &Part) -> f64 {
    let apart: Vec<tch::Tensor> =
        a.gradients.iter().zip(&b.gradients).filter(|(a, _)| a.defined()).map(|(a, b)| a - b).collect();
    assert!(!apart.is_empty());
    gradient_norm(&apart).unwrap() / gradient_norm(&a.gradients).unwrap()
}

#[test]
fn parts_add_up_to_the_whole_on_any_number_of_threads() {
    let _turn = alone();
    let whole = total(&model(Kind::Float, 1), &[6]);
    assert!(gradient_norm(&whole.gradients).unwrap() > 1.0);
    for (threads, cuts) in [(1, vec![2, 4]), (1, vec![1; 6]), (3, vec![2, 2, 2]), (2, vec![1, 3, 1, 1])] {
        let parts = total(&model(Kind::Float, threads), &cuts);
        // Sums of some thousand fp32 terms in another order: √1000 × 2⁻²⁴ × a few operations in a row < 1e-4.
        assert!(difference(&whole, &parts) < 1e-4, "{cuts:?}: {}", difference(&whole, &parts));
        assert!((whole.loss / parts.loss - 1.0).abs() < 1e-5 && (whole.rate / parts.rate - 1.0).abs() < 1e-5);
        let rates = [&whole, &parts].map(|part| part.sites.rates().unwrap());
        assert_eq!(rates.each_ref().map(Vec::len), [1, 1]);
        let [whole, parts] = rates.map(|rates| rates[0].channels.clone());
        assert_eq!(whole.len(), 48);
        assert!(whole.iter().zip(&parts).all(|(whole, part)| (whole / part - 1.0).abs() < 1e-5));
    }
}

#[test]
fn replicas_see_what_the_optimiser_changed() {
    let _turn = alone();
    let recipe = recipe();
    let (one, three) = (model(Kind::Float, 1), model(Kind::Float, 3));
    let replicas = [&one, &three].map(|model| CtcLearner::replicas(&recipe, model, &model.parameters()).unwrap());
    let cuts = [2, 2, 2];
    let before = sum(&replicas[1], rows(), &cuts).unwrap();
    for model in [&one, &three] {
        let config = AdamWConfig { betas: [0.9, 0.98], epsilon: 1e-8, weight_decay: 0.0 };
        AdamW::new(model.parameters(), config).step(&before.gradients, 0.01, 1.0).unwrap();
    }
    let [alone, shared] = [0, 1].map(|place| sum(&replicas[place], rows(), &cuts).unwrap());
    assert!(difference(&before, &shared) > 0.1, "the step changed nothing");
    // As in the test above.
    assert!(difference(&alone, &shared) < 1e-4, "{}", difference(&alone, &shared));
}

#[test]
fn a_part_that_fails_is_named_and_spoils_no_other_update() {
    let _turn = alone();
    let recipe = recipe();
    let model = model(Kind::Float, 3);
    let replicas = CtcLearner::replicas(&recipe, &model, &model.parameters()).unwrap();
    let cuts = [2, 1, 2, 1];
    let good = sum(&replicas, rows(), &cuts).unwrap();
    let mut spoiled = rows();
    spoiled[2].samples[100] = f32::NAN;
    let message = sum(&replicas, spoiled, &cuts).unwrap_err().to_string();
    assert!(message.contains("u2") && !message.contains("u1"), "{message}");
    assert_eq!(difference(&good, &sum(&replicas, rows(), &cuts).unwrap()), 0.0);
}

#[test]
fn threads_give_the_same_bits_every_time() {
    let _turn = alone();
    let [first, again] = [0, 1].map(|_| total(&model(Kind::Float, 3), &[2, 1, 2, 1]));
    assert_eq!(difference(&first, &again), 0.0);
    assert_eq!(first.loss.to_bits(), again.loss.to_bits());
}

#[test]
fn bf16_points_where_fp32_points() {
    let _turn = alone();
    let [fp32, bf16] = [Kind::Float, Kind::BFloat16].map(|kind| total(&model(kind, 1), &[6]));
    // bf16 keeps 8 bits: 2⁻⁹ a rounding, some 30 of them one after another through the model and back, if all leant one
    // way: 6 %.
    assert!((bf16.loss / fp32.loss - 1.0).abs() < 0.06, "{} against {}", bf16.loss, fp32.loss);
    assert!(difference(&fp32, &bf16) < 0.06, "{}", difference(&fp32, &bf16));
    assert!(difference(&fp32, &bf16) > 0.0);
}

/// Freezes the convolutions, and names what learns.
fn frozen(model: &Recogniser) -> Vec<(String, tch::Tensor)> {
    let learnt: Vec<_> =
        model.parameters().into_iter().filter(|(name, _)| !name.contains("feature_extractor.")).collect();
    crate::model::freeze(model, &learnt).unwrap();
    learnt
}

#[test]
fn kept_features_change_nothing() {
    let _turn = alone();
    let model = model(Kind::Float, 1);
    let learnt = frozen(&model);
    let recipe = |mib| {
        let recipe = recipe();
        Recipe { data: DataRecipe { feature_cache_mib: mib, ..DataRecipe::default() }, ..recipe }
    };
    let (kept, not_kept) = (recipe(64), recipe(0));
    let [kept, not_kept] = [&kept, &not_kept].map(|recipe| CtcLearner::replicas(recipe, &model, &learnt).unwrap());
    let cold = sum(&kept, rows(), &[6]).unwrap();
    // Another batch of the same utterances, and no model to compute them anew.
    tch::no_grad(|| {
        let convolutions = model.parameters().into_iter().filter(|(name, _)| name.contains("feature_extractor."));
        convolutions.for_each(|(_, mut tensor)| _ = tensor.fill_(f64::NAN));
    });
    let warm = sum(&kept, rows(), &[6]).unwrap();
    assert_eq!(difference(&cold, &warm), 0.0);
    assert_eq!(cold.loss.to_bits(), warm.loss.to_bits());
    assert!(sum(&not_kept, rows(), &[6]).is_err(), "nothing was to be kept");
}

/// A recipe that keeps features in a folder.
fn keeping(folder: &tempfile::TempDir, mib: usize) -> Recipe {
    let feature_cache_dir = Some(folder.path().into());
    Recipe { data: DataRecipe { feature_cache_mib: mib, feature_cache_dir, ..DataRecipe::default() }, ..recipe() }
}

#[test]
fn features_from_disk_from_memory_and_computed_are_the_same_bits() {
    let _turn = alone();
    for kind in [Kind::Float, Kind::BFloat16] {
        let folder = tempfile::tempdir().unwrap();
        let (on_disk, computed) = (keeping(&folder, 64), Recipe { data: DataRecipe::default(), ..recipe() });
        let model = model(kind, 3);
        let learnt = frozen(&model);
        let reference = sum(&CtcLearner::replicas(&computed, &model, &learnt).unwrap(), rows(), &[2, 1, 2, 1]).unwrap();
        for (at_hand, anew) in [(0, 6), (6, 0)] {
            let first = CtcLearner::replicas(&on_disk, &model, &learnt).unwrap();
            // Beside the first, which holds the lock: what the file lacks is kept in memory.
            let second = CtcLearner::replicas(&on_disk, &model, &learnt).unwrap();
            for (replicas, written) in [(&second, 0), (&first, anew)] {
                for _epoch in 0..2 {
                    let part = sum(replicas, rows(), &[2, 1, 2, 1]).unwrap();
                    assert_eq!(part.loss.to_bits(), reference.loss.to_bits());
                    assert_eq!(difference(&part, &reference), 0.0);
                }
                let kept = replicas.own().kept_features().unwrap();
                assert_eq!((kept.at_hand, kept.computed, kept.written), (at_hand, anew, written));
            }
            assert_eq!((first.own().take_warnings().len(), second.own().take_warnings().len()), (0, 1));
        }
    }
}

#[test]
fn other_convolutions_have_another_file_and_other_heads_the_same() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let recipe = keeping(&folder, 64);
    let file = |model: &Recogniser| {
        let replicas = CtcLearner::replicas(&recipe, model, &frozen(model)).unwrap();
        replicas.own().kept_features().unwrap().file
    };
    let models = [Kind::Float, Kind::BFloat16].map(|kind| model(kind, 1));
    let mut files: Vec<String> = models.iter().map(file).collect();
    assert_eq!(file(&models[0]), files[0]);
    let spoil = |part: &str| {
        let parameters = models[0].parameters();
        let (_, weight) = parameters.into_iter().find(|(name, _)| name.contains(part)).unwrap();
        let _ = tch::no_grad(|| weight.view(-1).get(0).fill_(0.25));
        assert_eq!(weight.view(-1).double_value(&[0]), 0.25);
        file(&models[0])
    };
    assert_eq!(spoil("lm_head.weight"), files[0]);
    files.push(spoil("feature_extractor.conv_layers.4.conv.weight"));
    let distinct: BTreeSet<&String> = files.iter().collect();
    assert_eq!(distinct.len(), 3, "{files:?}");
}

#[test]
fn what_has_no_room_on_disk_is_computed_each_time() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let recipe = keeping(&folder, 1);
    let model = model(Kind::Float, 1);
    let learnt = frozen(&model);
    // 30 s, which are about 1500 frames of 32 numbers: 190 KiB each, and five of them have room in a MiB.
    let long = || {
        let mut rows = rows();
        for (number, row) in rows.iter_mut().enumerate() {
            row.samples = (0..480_000).map(|place| ((place % 97 + number) as f32 / 97.0) - 0.5).collect();
        }
        rows
    };
    for (epochs, at_hand, computed, written) in [(2, 0, 7, 5), (1, 5, 1, 0)] {
        let replicas = CtcLearner::replicas(&recipe, &model, &learnt).unwrap();
        (0..epochs).for_each(|_| _ = sum(&replicas, long(), &[1; 6]).unwrap());
        let kept = replicas.own().kept_features().unwrap();
        assert_eq!((kept.at_hand, kept.computed, kept.written), (at_hand, computed, written));
        assert!(std::fs::metadata(kept.file).unwrap().len() <= 1 << 20);
    }
}

#[test]
fn frozen_convolutions_give_what_they_give_in_a_batch() {
    let _turn = alone();
    let model = model(Kind::Float, 1);
    let whole = total(&model, &[6]);
    let learnt = frozen(&model);
    let recipe = recipe();
    let alone = sum(&CtcLearner::replicas(&recipe, &model, &learnt).unwrap(), rows(), &[6]).unwrap();
    // As for parts that add up.
    assert!((whole.loss / alone.loss - 1.0).abs() < 1e-5, "{} against {}", whole.loss, alone.loss);
}

#[test]
fn an_update_that_is_given_up_leaves_weights_and_optimiser_as_they_were() {
    let _turn = alone();
    let Recipe { train, .. } = recipe();
    let recipe = Recipe { train: TrainRecipe { mixout: 0.5, ..train }, ..recipe() };
    let model = model(Kind::Float, 2);
    let learnt = model.parameters();
    let anchored = Anchored::new(&recipe, &learnt, &BTreeSet::new()).unwrap();
    let batches = || vec![LoadedBatch { rows: rows(), ..LoadedBatch::default() }];
    let mut optimiser = AdamW::new(model.parameters(), recipe.train.adamw());
    // Once to the end, so that there are moments, and weights that mixing would be seen in.
    let replicas = CtcLearner::replicas(&recipe, &model, &learnt).unwrap();
    let step = Step { replicas: &replicas, update: 7, anchored: anchored.as_ref() };
    step.run(batches(), &mut optimiser, &|| false).unwrap();
    let copies = |optimiser: &AdamW| -> Vec<tch::Tensor> {
        let moments = optimiser.state().unwrap();
        model.parameters().iter().chain(&moments).map(|(_, tensor)| tensor.detach().copy()).collect()
    };
    let before = copies(&optimiser);
    let replicas = CtcLearner::replicas(&recipe, &model, &learnt).unwrap().with_grace(Duration::ZERO);
    let step = Step { replicas: &replicas, update: 8, anchored: anchored.as_ref() };
    let error = step.run(batches(), &mut optimiser, &|| true).unwrap_err();
    assert!(matches!(error, Error::StoppedEarly), "{error}");
    assert!(before.iter().zip(copies(&optimiser)).all(|(before, now)| before.equal(&now)));
}

#[test]
fn a_gradient_that_is_not_finite_is_refused_with_its_utterances_and_changes_nothing() {
    let weight = tch::Tensor::from_slice(&[1.0f32, 2.0]).view([1, 2]).set_requires_grad(true);
    let mut optimiser = AdamW::new(vec![("w".into(), weight.shallow_clone())], recipe().train.adamw());
    let applied = Applied { update: 3, learning_rate: 0.1, clip: 1.0, divisor: 1.0 };
    let gradient = |second: f32| [tch::Tensor::from_slice(&[0.5f32, second]).view([1, 2])];
    applied.apply(&gradient(0.5), Vec::new(), &mut optimiser).unwrap();
    let copies = |optimiser: &AdamW| -> Vec<tch::Tensor> {
        let moments = optimiser.state().unwrap();
        moments.iter().map(|(_, tensor)| tensor.copy()).chain([weight.detach().copy()]).collect()
    };
    let before = copies(&optimiser);
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = applied.apply(&gradient(wrong), vec!["u7".into()], &mut optimiser).unwrap_err();
        let Error::NonFinite { update: 3, ids, .. } = error else { panic!("{error}") };
        assert_eq!(ids, ["u7"]);
        assert!(before.iter().zip(copies(&optimiser)).all(|(before, now)| before.equal(&now)));
    }
    applied.apply(&gradient(0.5), Vec::new(), &mut optimiser).unwrap();
    assert!(!before.iter().zip(copies(&optimiser)).all(|(before, now)| before.equal(&now)));
}

#[test]
fn checkpointed_blocks_give_the_same_update_on_any_number_of_threads() {
    let _turn = alone();
    let Recipe { train, .. } = recipe();
    let recipe = Recipe { train: TrainRecipe { gradient_checkpointing: true, ..train }, ..recipe() };
    for threads in [1, 3] {
        let model = model(Kind::Float, threads);
        let kept = total(&model, &[2, 2, 2]);
        let replicas = CtcLearner::replicas(&recipe, &model, &model.parameters()).unwrap();
        let recomputed = sum(&replicas, rows(), &[2, 2, 2]).unwrap();
        assert_eq!(kept.loss.to_bits(), recomputed.loss.to_bits());
        assert_eq!(kept.rate.to_bits(), recomputed.rate.to_bits());
        // Gradients that meet at a block's input may be added in another order: 2 × 2⁻²⁴ a block and part.
        assert!(difference(&kept, &recomputed) < 12.0 / 16_777_216.0, "{}", difference(&kept, &recomputed));
    }
}

/// A step of `recipe` on the model, and the part before it: what it reports.
fn report(recipe: &Recipe, model: &Recogniser, update: u64) -> crate::event::UpdateReport {
    let learnt = model.parameters().into_iter().filter(|(_, tensor)| tensor.requires_grad()).collect::<Vec<_>>();
    let replicas = CtcLearner::replicas(recipe, model, &learnt).unwrap();
    let anchored = Anchored::new(recipe, &learnt, &BTreeSet::new()).unwrap();
    let mut optimiser = AdamW::new(learnt, recipe.train.adamw());
    let step = Step { replicas: &replicas, update, anchored: anchored.as_ref() };
    let batch = || LoadedBatch { rows: rows(), ..LoadedBatch::default() };
    step.run(vec![batch()], &mut optimiser, &|| false).unwrap().report
}

#[test]
fn two_passes_disagree_by_their_dropout_alone() {
    let _turn = alone();
    let Recipe { train, .. } = recipe();
    let twice = Recipe { train: TrainRecipe { r_drop: 0.5, ..train }, ..recipe() };
    let dropping = |dropout: f64, recipe: &Recipe| {
        let mut model = model(Kind::Float, 1);
        let config = ModelConfig { hidden_dropout: dropout, ..model.spec.config.clone() };
        model.spec.config = config;
        let model = Recogniser::random(model.spec.clone(), model.compute, 1).unwrap();
        report(recipe, &model, 3)
    };
    let [still, once, moved] = [dropping(0.0, &twice), dropping(0.0, &recipe()), dropping(0.3, &twice)];
    // Only KL-Norm's noise of 1e-6 stands between the two passes.
    assert!((still.loss / once.loss - 1.0).abs() < 1e-5, "{} {}", still.loss, once.loss);
    assert!((0.0..1e-6).contains(&still.regularisers[&Regulariser::RDrop]));
    assert!((still.gradient_norm / once.gradient_norm - 1.0).abs() < 1e-4);
    assert!(moved.regularisers[&Regulariser::RDrop] > 1e-3, "{moved:?}");
    assert!(once.regularisers.is_empty());
}

#[test]
fn a_bottlenecks_rate_counts_once_however_the_update_is_cut() {
    let _turn = alone();
    let mut recipe = recipe();
    recipe.model.bottleneck = Some(BottleneckRecipe { width: 8, weight: 0.5 });
    let narrow = |threads: i32| {
        let model = model(Kind::Float, threads);
        let spec = ModelSpec { bottleneck: Some(8), ..model.spec.clone() };
        Recogniser::random(spec, model.compute, 1).unwrap()
    };
    let [whole, parts] = [(1, vec![6]), (3, vec![2, 2, 2])].map(|(threads, cuts)| {
        let model = narrow(threads);
        let replicas = CtcLearner::replicas(&recipe, &model, &model.parameters()).unwrap();
        sum(&replicas, rows(), &cuts).unwrap()
    });
    let [one, other] = [&whole, &parts].map(|part| part.regularisers[&Regulariser::Bottleneck]);
    // σ = 0.1 at first: −log σ − ½ + what the means add, 1.8 nats and more.
    assert!(one > 1.8 && (one / other - 1.0).abs() < 1e-5, "{one} {other}");
    let model = narrow(1);
    let named = model.parameters();
    let place = |wanted: &str| named.iter().position(|(name, _)| name == wanted).unwrap();
    for part in ["mean.weight", "log_sigma.weight", "log_sigma.bias"] {
        let gradient = &whole.gradients[place(&format!("lm_head.bottleneck.{part}"))];
        assert!(gradient.norm().double_value(&[]) > 1e-4, "{part}");
    }
}

#[test]
fn mixed_weights_are_seen_by_every_thread_and_gone_afterwards() {
    let _turn = alone();
    let Recipe { train, .. } = recipe();
    let mixing = Recipe { train: TrainRecipe { mixout: 0.5, learning_rate: 1e-12, ..train.clone() }, ..recipe() };
    let plain = Recipe { train: TrainRecipe { learning_rate: 1e-12, ..train }, ..recipe() };
    let moved = |threads: i32, recipe: &Recipe| {
        let model = model(Kind::Float, threads);
        let learnt = model.parameters();
        let anchored = Anchored::new(recipe, &learnt, &BTreeSet::new()).unwrap();
        // Away from where it started, each its own way.
        tch::no_grad(|| {
            for (name, mut tensor) in model.parameters() {
                let noise = klang_wav2vec2::Noise::new(name.len() as u64, Device::Cpu);
                tensor.copy_(&(&tensor + noise.normal_like(&tensor).unwrap() * 0.05));
            }
        });
        let before: Vec<tch::Tensor> = learnt.iter().map(|(_, tensor)| tensor.detach().copy()).collect();
        let replicas = CtcLearner::replicas(recipe, &model, &learnt).unwrap();
        let step = Step { replicas: &replicas, update: 7, anchored: anchored.as_ref() };
        let mut optimiser = AdamW::new(model.parameters(), recipe.train.adamw());
        let batches = vec![LoadedBatch { rows: rows(), ..LoadedBatch::default() }];
        let loss = step.run(batches, &mut optimiser, &|| false).unwrap().report.loss;
        let left = model.parameters().into_iter().zip(&before).all(|((_, now), before)| {
            // A step of 1e-12 is below what fp32 holds of weights of 1e-4 and more, and of smaller ones 1e-11.
            (now - before).abs().max().double_value(&[]) < 1e-11
        });
        assert!(left, "the weights are not what they were");
        loss
    };
    let [one, three, without] = [moved(1, &mixing), moved(3, &mixing), moved(1, &plain)];
    assert!((one / three - 1.0).abs() < 1e-5, "{one} {three}");
    assert!((one / without - 1.0).abs() > 1e-4, "{one} {without}");
}
