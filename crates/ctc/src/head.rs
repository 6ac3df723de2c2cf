//! The head: one linear map from hidden states to the vocabulary, with a bottleneck before it if one is asked for.

use klang_wav2vec2::Path;
use klang_wav2vec2::{Frames, Linear, Noise, dropout};
use tch::{Kind, Tensor};

use crate::Result;
use crate::bottleneck::{Bottleneck, Drawn};

/// The bottleneck's place below the head's.
pub const BOTTLENECK: &str = "bottleneck";

/// The head's shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadConfig {
    /// Channels of the hidden states.
    pub channels: i64,
    /// Outputs.
    pub vocabulary: i64,
    /// Dropout before it (`final_dropout`).
    pub dropout: f64,
    /// Width of a bottleneck before it; none for a plain head.
    pub bottleneck: Option<i64>,
}

/// Dropout and a linear map (`lm_head` of `Wav2Vec2ForCTC`), with a bottleneck between them if one is asked for.
#[derive(Debug)]
pub struct CtcHead {
    linear: Linear,
    bottleneck: Option<Bottleneck>,
    dropout: f64,
}

/// What a head gives.
#[derive(Debug)]
pub struct HeadOutput {
    /// (batch, frame, vocabulary), fp32.
    pub logits: Tensor,
    /// A bottleneck in training: its mean divergence over real frames (width), in nats, with its gradient.
    pub rate: Option<Tensor>,
}

/// The plain head that a head with a bottleneck equals in evaluation.
#[derive(Debug)]
pub struct FoldedHead {
    /// (vocabulary, channel).
    pub weight: Tensor,
    /// (vocabulary).
    pub bias: Tensor,
}

impl CtcHead {
    /// Registers `weight` (vocabulary, channel) and `bias` (vocabulary) under `path`, and a bottleneck below it.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: HeadConfig) -> Result<CtcHead> {
        let HeadConfig { channels, vocabulary, dropout, bottleneck } = config;
        let linear = Linear::new(path, bottleneck.unwrap_or(channels), vocabulary)?;
        let bottleneck = bottleneck.map(|width| Bottleneck::new(&(path / BOTTLENECK), channels, width)).transpose()?;
        Ok(CtcHead { linear, bottleneck, dropout })
    }

    /// Logits from hidden states (batch, frame, channel) of which `lengths` frames are real; no noise means evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor, lengths: &[i64], noise: Option<&Noise>) -> Result<HeadOutput> {
        let hidden = dropout(hidden.shallow_clone(), self.dropout, noise)?;
        let Drawn { hidden, rate } = match &self.bottleneck {
            Some(bottleneck) => {
                let frames = Frames::new(lengths.to_vec(), hidden.size()[1], hidden.device())?;
                bottleneck.forward(&hidden, &frames, noise)?
            }
            None => Drawn { hidden, rate: None },
        };
        Ok(HeadOutput { logits: self.linear.forward(&hidden)?.f_to_kind(Kind::Float)?, rate })
    }

    /// The plain head that equals this one in evaluation, but for rounding; none where it is plain already.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn fold(&self) -> Result<Option<FoldedHead>> {
        let Some(bottleneck) = &self.bottleneck else { return Ok(None) };
        let (weight, bias) = self.linear.parts();
        let (mean, offset) = bottleneck.mean();
        Ok(Some(FoldedHead { weight: weight.f_matmul(mean)?, bias: bias.f_add(&weight.f_mv(offset)?)? }))
    }
}

#[cfg(test)]
mod tests {
    use klang_wav2vec2::Store;
    use tch::Device;

    use super::*;

    fn head(bottleneck: Option<i64>) -> (Store, CtcHead) {
        let store = Store::new(Device::Cpu);
        let config = HeadConfig { channels: 24, vocabulary: 7, dropout: 0.0, bottleneck };
        let head = CtcHead::new(&store.root(), config).unwrap();
        tch::no_grad(|| {
            for (name, mut tensor) in store.named() {
                tch::manual_seed(name.len() as i64);
                tensor.copy_(&(tensor.randn_like() * 0.3));
            }
        });
        (store, head)
    }

    #[test]
    fn a_bottleneck_folds_into_a_plain_head() {
        let (_store, with) = head(Some(5));
        let (store, plain) = head(None);
        let FoldedHead { weight, bias } = with.fold().unwrap().unwrap();
        tch::no_grad(|| {
            for (name, mut tensor) in store.named() {
                tensor.copy_(if name == "weight" { &weight } else { &bias });
            }
        });
        let hidden = Tensor::randn([2, 9, 24], (Kind::Float, Device::Cpu));
        let [with, folded] = [&with, &plain].map(|head| head.forward(&hidden, &[9, 4], None).unwrap());
        assert!(with.rate.is_none());
        // Sums of 24 and 5 terms in another order, of values below 8: (24 + 5) × 8 × 2⁻²⁴ = 1.4e-5.
        assert!((with.logits - folded.logits).abs().max().double_value(&[]) < 1.4e-5);
        assert!(plain.fold().unwrap().is_none());
    }

    #[test]
    fn its_rate_is_the_divergence_over_real_frames_and_its_draw_has_that_deviation() {
        let (store, with) = head(Some(5));
        let named: std::collections::BTreeMap<String, Tensor> = store.named().into_iter().collect();
        let of = |part: &str| &named[&format!("bottleneck.{part}")];
        let hidden = Tensor::randn([2, 9, 24], (Kind::Float, Device::Cpu));
        let _ = hidden.get(1).narrow(0, 4, 5).fill_(f64::NAN);
        let noise = Noise::new(3, Device::Cpu);
        let rate = with.forward(&hidden, &[9, 4], Some(&noise)).unwrap().rate.unwrap();
        let real = Tensor::cat(&[hidden.get(0), hidden.get(1).narrow(0, 0, 4)], 0).to_kind(Kind::Double);
        let map = |part: &str| {
            let [weight, bias] = ["weight", "bias"].map(|kind| of(&format!("{part}.{kind}")).to_kind(Kind::Double));
            real.matmul(&weight.tr()) + bias
        };
        let (mean, log_sigma) = (map("mean"), map("log_sigma"));
        // ½ (μ² + σ² − 1) − log σ, frame by frame.
        let exact =
            ((mean.square() + (&log_sigma * 2.0).exp() - 1.0) * 0.5 - &log_sigma).mean_dim(0, false, Kind::Double);
        // Rates of some units, from sums of 24 terms, squared and averaged over 13 frames: 24 × 4 × 2⁻²⁴ = 5.7e-6 of them.
        let off = ((rate - &exact) / exact).abs().max().double_value(&[]);
        assert!(off < 5.7e-6, "{off}");
        // One frame, many draws: the logits scatter as Σ (W σ)².
        let frame = Tensor::randn([1, 1, 24], (Kind::Float, Device::Cpu)).expand([1, 40_000, 24], false);
        let drawn = with.forward(&frame, &[40_000], Some(&noise)).unwrap().logits.squeeze_dim(0);
        let sigma = (frame.get(0).get(0).matmul(&of("log_sigma.weight").tr()) + of("log_sigma.bias")).exp();
        let expected = (named["weight"].square().matmul(&sigma.square())).sqrt();
        let ratio = drawn.std_dim(0, true, false) / expected - 1.0;
        // 40,000 draws give a deviation to 1/√80,000 = 0.35 %; six of those, over 7 outputs.
        assert!(ratio.abs().max().double_value(&[]) < 0.0212);
    }
}
