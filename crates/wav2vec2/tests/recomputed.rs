//! Blocks that are computed again give the gradients of blocks whose activations were kept.

use klang_wav2vec2::{
    Family, KlNormConfig, ModelConfig, Noise, NormConfig, Pass, Site, Store, TrainingPass, Wav2Vec2, WaveformBatch,
    initialise,
};
use tch::{Device, Kind, Tensor};

/// A small model with everything that draws: dropout everywhere, KL-Norm at every site, a block left out.
fn config(family: Family, stable: bool) -> ModelConfig {
    ModelConfig {
        model_type: family,
        do_stable_layer_norm: stable,
        hidden_size: 24,
        num_attention_heads: 2,
        num_hidden_layers: 4,
        intermediate_size: 32,
        conv_dim: vec![8, 8, 8, 8, 8],
        num_conv_pos_embeddings: 8,
        num_conv_pos_embedding_groups: 4,
        hidden_dropout: 0.2,
        attention_dropout: 0.2,
        norm: NormConfig::KlNorm(KlNormConfig {
            sites: [Site::Attention, Site::FeedForward, Site::Encoder].into(),
            ..KlNormConfig::default()
        }),
        ..ModelConfig::of_size("tiny").unwrap()
    }
}

struct Fixture {
    store: Store,
    model: Wav2Vec2,
    batch: WaveformBatch,
}

fn fixture(config: &ModelConfig) -> Fixture {
    let store = Store::new(Device::Cpu);
    let model = Wav2Vec2::new(&store.root(), config).unwrap();
    initialise(&store.named(), config, 1).unwrap();
    let noise = Noise::new(2, Device::Cpu);
    let samples = noise.normal_like(&Tensor::zeros([2, 6000], (Kind::Float, Device::Cpu))).unwrap();
    Fixture { store, model, batch: WaveformBatch { samples, lengths: vec![6000, 4000] } }
}

fn training_pass(recompute: bool, encoder_learns: bool) -> TrainingPass {
    TrainingPass {
        time_mask: None,
        channel_mask: None,
        dropped_blocks: vec![false, true, false, false],
        encoder_learns,
        recompute,
        noise: Noise::new(3, Device::Cpu),
    }
}

impl Fixture {
    fn learnt(&self, wanted: impl Fn(&str) -> bool) -> Vec<Tensor> {
        let tensors = self.store.named().into_iter().filter(|(_, tensor)| tensor.requires_grad());
        tensors.filter(|(name, _)| wanted(name)).map(|(_, tensor)| tensor).collect()
    }

    /// An objective and the gradients of what learns, recomputed or not; `handed` says whether what was kept of the blocks
    /// is handed to the backward pass.
    fn gradients(&self, recompute: bool, encoder_learns: bool, handed: bool, learnt: &[Tensor]) -> (f64, Vec<Tensor>) {
        let drawn = training_pass(recompute, encoder_learns);
        let output = self.model.forward(&self.batch, Pass::Training(&drawn)).unwrap();
        assert_eq!(output.recomputed.is_some(), recompute && encoder_learns);
        let divergence = output.sites.divergence(0.0).unwrap().unwrap();
        // Only real frames: padded ones hold anything.
        let hidden = output.hidden.narrow(1, 0, output.lengths[1]);
        let head = Tensor::ones([24], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let objective =
            (&hidden * &hidden * &head).mean(Kind::Float) + hidden.sin().mean(Kind::Float) + divergence * 0.1;
        let value = objective.double_value(&[]);
        let wanted: Vec<Tensor> = learnt.iter().map(Tensor::shallow_clone).chain([head]).collect();
        let recomputed = output.recomputed.filter(|_| handed);
        (value, self.model.backward(objective, recomputed, &wanted).unwrap())
    }
}

/// Largest |a − b| over the largest |a|, over all gradients; both must have the same ones.
fn difference(a: &[Tensor], b: &[Tensor]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = |tensor: Tensor| tensor.abs().max().double_value(&[]);
    let pairs: Vec<_> = a.iter().zip(b).filter(|(a, b)| a.defined() || b.defined()).collect();
    let greatest = pairs.iter().map(|(a, _)| largest(a.shallow_clone())).fold(0.0, f64::max);
    assert!(greatest > 0.0);
    pairs.iter().map(|(a, b)| largest(*a - *b)).fold(0.0, f64::max) / greatest
}

#[test]
fn recomputed_blocks_have_the_same_gradients() {
    for stable in [false, true] {
        let fixture = fixture(&config(Family::Wav2Vec2, stable));
        let learnt = fixture.learnt(|_| true);
        let [(kept_value, kept), (value, recomputed)] =
            [false, true].map(|recompute| fixture.gradients(recompute, true, true, &learnt));
        assert_eq!(kept_value.to_bits(), value.to_bits());
        // The same operations on the same noise; only the gradients that meet at a block's input, three of them, may be
        // added in another order: 2 × 2⁻²⁴ a block, three blocks.
        assert!(difference(&kept, &recomputed) < 6.0 / 16_777_216.0, "{}", difference(&kept, &recomputed));
    }
}

#[test]
fn the_position_bias_above_all_blocks_learns_from_each_of_them() {
    for stable in [false, true] {
        let fixture = fixture(&config(Family::WavLm, stable));
        let learnt = fixture.learnt(|_| true);
        let [(kept_value, kept), (value, recomputed)] =
            [false, true].map(|recompute| fixture.gradients(recompute, true, true, &learnt));
        assert_eq!(kept_value.to_bits(), value.to_bits());
        // The bias's gradient is a sum over three blocks, of terms that are sums over 2 × 74² pairs of frames, in another
        // order: √11,000 × 2⁻²⁴ × 3 < 2e-5.
        assert!(difference(&kept, &recomputed) < 2e-5, "{}", difference(&kept, &recomputed));
        let bias = fixture.learnt(|name| name.contains("rel_attn_embed"));
        assert_eq!(bias.len(), 1);
        let [kept, recomputed] = [false, true].map(|recompute| fixture.gradients(recompute, true, true, &bias).1);
        assert!(difference(&kept[..1], &recomputed[..1]) < 2e-5, "{}", difference(&kept[..1], &recomputed[..1]));
    }
}

#[test]
fn nothing_of_a_recomputed_block_is_kept() {
    let fixture = fixture(&config(Family::Wav2Vec2, false));
    let blocks = fixture.learnt(|name| name.contains("layers.") && !name.contains("conv_layers."));
    let (_, gradients) = fixture.gradients(true, true, false, &blocks);
    let (head, blocks) = gradients.split_last().unwrap();
    assert!(head.defined() && !blocks.is_empty() && blocks.iter().all(|gradient| !gradient.defined()));
}

#[test]
fn blocks_up_to_the_lowest_that_learns_are_passed_by() {
    let fixture = fixture(&config(Family::Wav2Vec2, true));
    let is_top = |name: &str| name.contains("encoder.layers.2.") || name.contains("encoder.layers.3.");
    for (name, tensor) in fixture.store.named() {
        if tensor.requires_grad() && !is_top(&name) {
            let _ = tensor.set_requires_grad(false);
        }
    }
    let learnt = fixture.learnt(is_top);
    assert!(!learnt.is_empty());
    let [(_, kept), (_, recomputed)] = [false, true].map(|recompute| fixture.gradients(recompute, true, true, &learnt));
    // As above, for two blocks: what is below them has no gradient.
    assert!(difference(&kept, &recomputed) < 4.0 / 16_777_216.0, "{}", difference(&kept, &recomputed));
    // Block 2 gets what needs no gradient: nothing below it is computed again, and it is kept itself. Block 1 is dropped.
    let drawn = training_pass(true, true);
    let output = fixture.model.forward(&fixture.batch, Pass::Training(&drawn)).unwrap();
    assert_eq!(output.recomputed.unwrap().blocks(), 1);
}

#[test]
fn a_pass_in_which_the_encoder_does_not_learn_recomputes_nothing() {
    let fixture = fixture(&config(Family::Wav2Vec2, false));
    let [(_, kept), (_, recomputed)] = [false, true].map(|recompute| fixture.gradients(recompute, false, true, &[]));
    assert_eq!(difference(&kept, &recomputed), 0.0);
}
