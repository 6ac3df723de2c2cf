//! Eight bits: what they may change, and what not.

use klang_wav2vec2::{ModelConfig, Pass, WaveformBatch};
use tch::{Device, Kind};

use super::*;

fn model(int8: bool) -> Recogniser {
    let spec = ModelSpec {
        config: ModelConfig::of_size("tiny").unwrap(),
        vocabulary: Vocabulary::from_texts(["abc d"]).unwrap(),
        audio: AudioSpec::default(),
        text: TextOptions::default(),
        bottleneck: None,
    };
    let threads = tch::get_num_threads();
    Recogniser::random(spec, Compute { device: Device::Cpu, kind: Kind::Float, int8, threads }, 1).unwrap()
}

fn wave(length: usize, pitch: f32) -> Vec<f32> {
    (0..length).map(|index| (index as f32 * pitch).sin() + (index as f32 * pitch * 2.7).cos() * 0.5).collect()
}

fn logits(model: &Recogniser, waves: &[&[f32]]) -> Recognition {
    let batch = WaveformBatch::pad(waves).unwrap();
    tch::no_grad(|| model.forward(&batch, Pass::Evaluation)).unwrap()
}

#[test]
fn eight_bits_are_near_the_floats_and_are_not_them() {
    let wave = wave(24_000, 0.05);
    let (exact, rounded) = (logits(&model(false), &[&wave]).logits, logits(&model(true), &[&wave]).logits);
    let off = f64::try_from((&rounded - &exact).norm() / exact.norm()).unwrap();
    // Weights are rounded to 1/126 of a row's largest at worst, inputs to 1/510 of their range: errors of a few percent a
    // map, of random signs. A wrong scale or a sum that overflows is off by as much as the numbers themselves.
    assert!(off > 0.0 && off < 0.25, "{off}");
}

#[test]
fn neighbours_and_padding_have_no_say_in_rounding() {
    let model = model(true);
    let (long, short) = (wave(24_000, 0.05), wave(9000, 0.11));
    let (alone, together) = (logits(&model, &[&short]), logits(&model, &[&long, &short]));
    assert_eq!(together.lengths[1], alone.lengths[0]);
    assert!(together.logits.get(1).narrow(0, 0, alone.lengths[0]).equal(&alone.logits.get(0)));
}

#[test]
fn a_replica_computes_with_the_same_bytes() {
    let model = model(true);
    let wave = wave(9000, 0.07);
    let replica = model.replica().unwrap();
    assert!(logits(&model, &[&wave]).logits.equal(&logits(&replica, &[&wave]).logits));
}
