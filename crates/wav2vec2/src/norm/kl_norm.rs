//! KL-Norm: a normalisation whose output is a Gaussian posterior, held to a standard normal prior by its KL divergence.
//!
//! Kumar, Narang and Lall, "KL Regularized Normalization Framework for Low Resource Tasks", arXiv 2212.11275, give the
//! idea; the equations are klang's:
//!
//! 1. x̂ = (h − m) / √(v + ε), with m, v over the channels of a frame, or other [`Statistics`];
//! 2. u | x̂ ~ N(μ, diag σ²), μ = w ⊙ x̂ + b, log σ = a ⊙ x̂ + s; b and a may be left out;
//! 3. r(u) = N(0, I); KL per channel = ½ (μ² + σ² − 1) − log σ, in nats;
//! 4. z = γ ⊙ u + β, with u = μ + σ ⊙ ε in training and u = μ in evaluation.
//!
//! In evaluation that is γw ⊙ x̂ + (γb + β): over a frame's channels a plain LayerNorm, and computed as one. With a `rank`, μ
//! also has a low-rank term U tanh(V x̂), which no LayerNorm has; with a `sigma_rank`, log σ has one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::layer_norm::affine_layer_norm;
use super::statistics::{Standardised, Standardiser, Statistics};
use super::{Layers, Normed, Placement, Site};
use crate::error::Result;
use crate::frames::Frames;
use crate::noise::Noise;
use crate::parameters::Path;

/// What μ is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mean {
    /// μ = w ⊙ x̂. β shifts z as b would, but costs no KL and learns at the model's own rate.
    Scale,
    /// μ = w ⊙ x̂ + b.
    Affine,
}

/// What log σ depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSigma {
    /// log σ = s: one number a channel.
    Channel,
    /// log σ = a ⊙ x̂ + s: it follows the input.
    Affine,
}

/// Shape of KL-Norm and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KlNormConfig {
    /// Sites that carry it.
    pub sites: BTreeSet<Site>,
    /// Blocks that carry it; the encoder's own norm is no block's.
    pub layers: Layers,
    /// Over what mean and variance are taken.
    pub statistics: Statistics,
    /// What μ is.
    pub mean: Mean,
    /// What log σ depends on.
    pub log_sigma: LogSigma,
    /// `group`: groups of channels; divides the width.
    pub groups: i64,
    /// `batch`: the share of the newest update in the running estimates.
    pub momentum: f64,
    /// Inner width of the mean's low-rank term; 0 for none. U starts at zero.
    pub rank: i64,
    /// The same of log σ's.
    pub sigma_rank: i64,
    /// Whether training draws u; otherwise u = μ, and σ shapes the rate alone.
    pub noise: bool,
    /// σ at the start, in units of the standardised channel; above 0, at most 1.
    pub sigma_init: f64,
}

impl Default for KlNormConfig {
    fn default() -> Self {
        KlNormConfig {
            sites: [Site::Attention, Site::FeedForward].into(),
            layers: Layers::ALL,
            statistics: Statistics::Layer,
            mean: Mean::Affine,
            log_sigma: LogSigma::Affine,
            groups: 16,
            momentum: 0.1,
            rank: 0,
            sigma_rank: 0,
            noise: true,
            sigma_init: 0.05,
        }
    }
}

impl KlNormConfig {
    pub(super) fn placement(&self) -> Placement<'_> {
        Placement { sites: &self.sites, layers: &self.layers }
    }
}

/// KL-Norm at one site. Parameters: `gamma`, `beta`, `w`, `s` and, with an affine μ, `b`, with an affine log σ, `a`, each
/// (channel); with a low-rank mean `u` (channel, rank) and `v` (rank, channel), with a low-rank log σ `sigma_u` and
/// `sigma_v`. All fp32.
#[derive(Debug)]
pub struct KlNorm {
    pub(super) gamma: Tensor,
    pub(super) beta: Tensor,
    pub(super) w: Tensor,
    pub(super) b: Option<Tensor>,
    pub(super) a: Option<Tensor>,
    pub(super) s: Tensor,
    pub(super) noise: bool,
    low_rank: Option<LowRank>,
    sigma_low_rank: Option<LowRank>,
    standardiser: Standardiser,
}

/// U tanh(V x̂): what no scaling of channels can say.
#[derive(Debug)]
struct LowRank {
    up: Tensor,   // U (channel, rank)
    down: Tensor, // V (rank, channel)
}

impl LowRank {
    /// The term of this inner width, its parameters `PREFIXu` and `PREFIXv`; none for 0.
    fn new(path: &Path, prefix: &str, channels: i64, rank: i64) -> Result<Option<LowRank>> {
        if rank == 0 {
            return Ok(None);
        }
        Ok(Some(LowRank {
            up: path.parameter(&format!("{prefix}u"), &[channels, rank])?,
            down: path.parameter(&format!("{prefix}v"), &[rank, channels])?,
        }))
    }

    fn forward(&self, standard: &Tensor) -> Result<Tensor> {
        let inner = standard.f_linear(&self.down, None::<&Tensor>)?.f_tanh()?;
        Ok(inner.f_linear(&self.up, None::<&Tensor>)?)
    }
}

impl KlNorm {
    /// Registers the parameters under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &KlNormConfig, channels: i64, epsilon: f64) -> Result<KlNorm> {
        let channel = |name| path.parameter(name, &[channels]);
        Ok(KlNorm {
            gamma: channel("gamma")?,
            beta: channel("beta")?,
            w: channel("w")?,
            b: match config.mean {
                Mean::Scale => None,
                Mean::Affine => Some(channel("b")?),
            },
            a: match config.log_sigma {
                LogSigma::Channel => None,
                LogSigma::Affine => Some(channel("a")?),
            },
            s: channel("s")?,
            noise: config.noise,
            low_rank: LowRank::new(path, "", channels, config.rank)?,
            sigma_low_rank: LowRank::new(path, "sigma_", channels, config.sigma_rank)?,
            standardiser: Standardiser::new(path, config.statistics, config.groups, channels, epsilon)?,
        })
    }

    /// Evaluation: u = μ. Over a frame's channels it is folded into one LayerNorm, so that w = 1, b = 0 gives the pretrained
    /// one bit for bit.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward_mean(&self, hidden: &Tensor, frames: &Frames) -> Result<Tensor> {
        let Folded { weight, bias } = self.fold()?;
        let folds = self.standardiser.statistics() == Statistics::Layer;
        if folds && self.low_rank.is_none() {
            return affine_layer_norm(hidden, &weight, &bias, self.epsilon());
        }
        let standard = self.standardiser.forward(hidden, frames, false)?.standard;
        let normed = if folds {
            affine_layer_norm(hidden, &weight, &bias, self.epsilon())?.f_to_kind(Kind::Float)?
        } else {
            bias.f_addcmul(&weight, &standard)?
        };
        let normed = match &self.low_rank {
            Some(low_rank) => normed.f_addcmul(&self.gamma, &low_rank.forward(&standard)?)?,
            None => normed,
        };
        Ok(normed.f_to_kind(hidden.kind())?)
    }

    /// Training: u = μ + σ ⊙ ε, with ε from `noise`, and the rate of each channel over real frames.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward_noisy(&self, hidden: &Tensor, frames: &Frames, noise: &Noise) -> Result<Normed> {
        let plain = self.low_rank.is_none() && self.sigma_low_rank.is_none();
        if plain && self.standardiser.statistics() == Statistics::Layer {
            self.forward_function(hidden, frames, noise)
        } else {
            self.written_out(hidden, frames, noise)
        }
    }

    /// The equations as they stand at the top of this file.
    fn written_out(&self, hidden: &Tensor, frames: &Frames, noise: &Noise) -> Result<Normed> {
        let kind = hidden.kind();
        // Statistics, noise and KL stay in fp32: the square of a bf16 number keeps two digits.
        let Standardised { standard, moments } = self.standardiser.forward(hidden, frames, true)?;
        let plus = |term: Tensor, low_rank: &Option<LowRank>| -> Result<Tensor> {
            match low_rank {
                Some(low_rank) => Ok(term.f_add(&low_rank.forward(&standard)?)?),
                None => Ok(term),
            }
        };
        let mean = match &self.b {
            Some(b) => b.f_addcmul(&self.w, &standard)?,
            None => self.w.f_mul(&standard)?,
        };
        let mean = plus(mean, &self.low_rank)?; // μ (batch, frame, channel)
        let log_sigma = match &self.a {
            Some(a) => self.s.f_addcmul(a, &standard)?, // (batch, frame, channel)
            None => self.s.shallow_clone(),             // (channel)
        };
        let log_sigma = plus(log_sigma, &self.sigma_low_rank)?;
        let sigma = log_sigma.f_exp()?;
        let rate = frames.mean_of_channels(&divergence(&mean, &sigma, &log_sigma)?)?;
        let sample = match self.noise {
            true => mean.f_addcmul(&sigma, &noise.normal_like(&mean)?)?, // u
            false => mean,
        };
        let hidden = self.beta.f_addcmul(&self.gamma, &sample)?.f_to_kind(kind)?; // z
        Ok(Normed { hidden, rate: Some(rate), moments })
    }

    pub(super) fn standardiser(&self) -> &Standardiser {
        &self.standardiser
    }

    pub(super) fn epsilon(&self) -> f64 {
        self.standardiser.epsilon()
    }

    /// The LayerNorm that equals this norm in evaluation, but for a low-rank term: γw and γb + β.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn fold(&self) -> Result<Folded> {
        fold(&self.gamma, &self.beta, &self.w, self.b.as_ref())
    }
}

/// γ and β of a LayerNorm.
#[derive(Debug)]
pub struct Folded {
    /// γ (channel).
    pub weight: Tensor,
    /// β (channel).
    pub bias: Tensor,
}

/// Folds KL-Norm's mean into γ and β.
pub(crate) fn fold(gamma: &Tensor, beta: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Folded> {
    let bias = match b {
        Some(b) => beta.f_addcmul(gamma, b)?,
        None => beta.shallow_clone(),
    };
    Ok(Folded { weight: gamma.f_mul(w)?, bias })
}

/// KL(N(μ, σ²) ‖ N(0, 1)) of each number, in nats: ½ (μ² + σ² − 1) − log σ.
///
/// # Errors
/// When the shapes do not go together.
pub fn divergence(mean: &Tensor, sigma: &Tensor, log_sigma: &Tensor) -> Result<Tensor> {
    let half = mean.f_square()?.f_add(&sigma.f_square()?)?.f_sub_scalar(1.0)?.f_mul_scalar(0.5)?;
    Ok(half.f_sub(log_sigma)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Store;
    use tch::Device;

    fn norm(store: &Store, log_sigma: LogSigma, channels: i64) -> KlNorm {
        norm_of(store, KlNormConfig { log_sigma, ..KlNormConfig::default() }, channels)
    }

    fn norm_of(store: &Store, config: KlNormConfig, channels: i64) -> KlNorm {
        let norm = KlNorm::new(&store.root(), &config, channels, 1e-5).unwrap();
        let noise = Noise::new(3, Device::Cpu);
        tch::no_grad(|| {
            for (name, mut tensor) in store.named() {
                let spread = noise.normal_like(&tensor).unwrap() * 0.15;
                tensor.copy_(&(spread + if name == "s" { -1.5 } else { 0.5 }));
            }
        });
        norm
    }

    fn noise() -> Noise {
        Noise::new(1, Device::Cpu)
    }

    fn all_valid(hidden: &Tensor) -> Frames {
        let (batch, frames, _) = hidden.size3().unwrap();
        Frames::new(vec![frames; batch as usize], frames, Device::Cpu).unwrap()
    }

    #[test]
    fn the_divergence_is_that_of_two_gaussians() {
        // KL(N(μ, σ²) ‖ N(0, 1)) with μ = 1, σ = 2: ½ (1 + 4 − 1) − ln 2; with μ = 0, σ = 1: 0.
        let mean = Tensor::from_slice(&[1.0f64, 0.0]);
        let sigma = Tensor::from_slice(&[2.0f64, 1.0]);
        let kl = Vec::<f64>::try_from(divergence(&mean, &sigma, &sigma.log()).unwrap()).unwrap();
        assert!((kl[0] - (2.0 - std::f64::consts::LN_2)).abs() < 1e-15, "{kl:?}");
        assert_eq!(kl[1], 0.0);
    }

    #[test]
    fn folding_equals_the_mean_written_out() {
        for mean in [Mean::Affine, Mean::Scale] {
            let store = Store::new(Device::Cpu);
            let norm = norm_of(&store, KlNormConfig { mean, ..KlNormConfig::default() }, 8);
            let hidden = Tensor::randn([2, 5, 8], (Kind::Float, Device::Cpu)) * 3.0 + 1.0;
            let standard = hidden.layer_norm([8], None::<&Tensor>, None, 1e-5, false);
            let b = norm.b.as_ref().map_or_else(|| norm.w.zeros_like(), Tensor::shallow_clone);
            assert_eq!(norm.b.is_some(), mean == Mean::Affine);
            let written_out = &norm.gamma * (&norm.w * &standard + b) + &norm.beta;
            let difference = (norm.forward_mean(&hidden, &all_valid(&hidden)).unwrap() - &written_out).abs().max();
            // Values below 4 in magnitude, three roundings more on one side: 4 × 3 × 2⁻²⁴ < 1e-6.
            assert!(f64::try_from(difference).unwrap() < 1e-6);
        }
    }

    #[test]
    fn at_the_start_evaluation_is_the_layer_norm_bit_for_bit() {
        let store = Store::new(Device::Cpu);
        let norm = norm(&store, LogSigma::Affine, 16);
        tch::no_grad(|| {
            let _ = norm.w.shallow_clone().fill_(1.0);
            let _ = norm.b.as_ref().unwrap().shallow_clone().fill_(0.0);
        });
        let hidden = Tensor::randn([2, 7, 16], (Kind::Float, Device::Cpu));
        let layer_norm = hidden.layer_norm([16], Some(&norm.gamma), Some(&norm.beta), 1e-5, true);
        assert!(norm.forward_mean(&hidden, &all_valid(&hidden)).unwrap().equal(&layer_norm));
    }

    #[test]
    fn the_noise_has_the_mean_and_the_deviation_it_claims() {
        let store = Store::new(Device::Cpu);
        let norm = norm(&store, LogSigma::Channel, 4);
        let frames = 40_000;
        let hidden = Tensor::randn([1, 1, 4], (Kind::Float, Device::Cpu)).repeat([1, frames, 1]);
        let normed = norm.forward_noisy(&hidden, &all_valid(&hidden), &noise()).unwrap();
        let first = hidden.narrow(1, 0, 1);
        let mean = norm.forward_mean(&first, &all_valid(&first)).unwrap();
        let sigma = &norm.gamma * norm.s.exp();
        // Standard error of a mean of n draws is σ/√n, of a standard deviation σ/√(2n); six of them, over 8 comparisons.
        let bound = 6.0 / (frames as f64).sqrt();
        let off = (normed.hidden.mean_dim(1, true, Kind::Float) - mean) / &sigma;
        assert!(f64::try_from(off.abs().max()).unwrap() < bound);
        let ratio = normed.hidden.std_dim(1, true, false) / &sigma - 1.0;
        assert!(f64::try_from(ratio.abs().max()).unwrap() < bound);
    }

    #[test]
    fn the_function_is_written_out_with_the_same_gradients() {
        for (mean, log_sigma) in [
            (Mean::Affine, LogSigma::Affine),
            (Mean::Affine, LogSigma::Channel),
            (Mean::Scale, LogSigma::Affine),
            (Mean::Scale, LogSigma::Channel),
        ] {
            let store = Store::new(Device::Cpu);
            let norm = norm_of(&store, KlNormConfig { mean, log_sigma, ..KlNormConfig::default() }, 12);
            let hidden = Tensor::randn([2, 40, 12], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let frames = Frames::new(vec![40, 25], 40, Device::Cpu).unwrap();
            let direction = frames.zero_padding(Tensor::randn([2, 40, 12], (Kind::Float, Device::Cpu))).unwrap();
            let inputs: Vec<Tensor> =
                store.named().into_iter().map(|(_, tensor)| tensor).chain([hidden.shallow_clone()]).collect();
            let run = |normed: Normed, z: f64, rate: f64| {
                let objective = (&normed.hidden * &direction).sum(Kind::Float) * z
                    + normed.rate.as_ref().unwrap().mean(Kind::Float) * rate;
                let gradients = Tensor::run_backward(&[objective], &inputs, false, false);
                ([normed.hidden.detach() * direction.abs().sign(), normed.rate.unwrap().detach()], gradients)
            };
            for (z, rate) in [(1.0, 0.0), (0.0, 1.0), (1.0, 300.0)] {
                let (values, gradients) = run(norm.forward_noisy(&hidden, &frames, &noise()).unwrap(), z, rate);
                // The function draws from a branch.
                let exact = norm.written_out(&hidden, &frames, &noise().branch().noise()).unwrap();
                let (expected, exact) = run(exact, z, rate);
                let pairs = values.iter().zip(&expected).chain(gradients.iter().zip(&exact));
                for (place, (given, exact)) in pairs.enumerate() {
                    let off = (given - exact).norm().double_value(&[]) / (exact.norm().double_value(&[]) + 1e-30);
                    // A dozen roundings on either side and an exponential to 2⁻²², in sums of 65 frames in another order,
                    // whose terms cancel by less than 8: 8 × (24 × 2⁻²⁴ + 2⁻²² + 65 × 2⁻²⁴) = 4.5e-5.
                    assert!(off < 4.5e-5, "{mean:?}, {log_sigma:?}, {z} z, {rate} rate, number {place}: {off}");
                }
            }
        }
    }

    #[test]
    fn padded_frames_change_neither_the_rate_nor_a_valid_frame() {
        let store = Store::new(Device::Cpu);
        let norm = norm(&store, LogSigma::Affine, 8);
        let hidden = Tensor::randn([2, 6, 8], (Kind::Float, Device::Cpu));
        let frames = Frames::new(vec![6, 2], 6, Device::Cpu).unwrap();
        let spoiled = hidden.copy();
        let _ = spoiled.get(1).narrow(0, 2, 4).fill_(1e3).get(0).fill_(f64::NAN);
        let clean = norm.forward_noisy(&hidden, &frames, &noise()).unwrap();
        let noisy = norm.forward_noisy(&spoiled, &frames, &noise()).unwrap();
        assert!(clean.rate.unwrap().equal(&noisy.rate.unwrap()));
        assert!(clean.hidden.get(1).narrow(0, 0, 2).equal(&noisy.hidden.get(1).narrow(0, 0, 2)));
    }

    #[test]
    fn the_rate_equals_the_written_out_mean_over_valid_frames() {
        let store = Store::new(Device::Cpu);
        let norm = norm(&store, LogSigma::Affine, 8);
        let hidden = Tensor::randn([2, 6, 8], (Kind::Float, Device::Cpu));
        let frames = Frames::new(vec![6, 2], 6, Device::Cpu).unwrap();
        let rate = norm.forward_noisy(&hidden, &frames, &noise()).unwrap().rate.unwrap();
        let one_by_one: Tensor = [(0i64, 6i64), (1, 2)]
            .iter()
            .map(|&(row, length)| {
                let row = hidden.narrow(0, row, 1).narrow(1, 0, length).copy();
                let alone = norm.forward_noisy(&row, &all_valid(&row), &noise()).unwrap().rate.unwrap();
                alone * length as f64
            })
            .sum();
        // Eight frames of rates below 10 nats, summed in another order: 8 × 10 × 2⁻²⁴ < 1e-5.
        assert!((rate - one_by_one / 8.0).abs().max().double_value(&[]) < 1e-5);
    }
}
