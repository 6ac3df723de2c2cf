//! A recipe's normalisation, and its part of the loss.

use klang_wav2vec2::{KlNormConfig, Layers, LogSigma, Mean, NormConfig, PlainNormConfig, Site, Statistics};
use serde::{Deserialize, Serialize};

use crate::model::is_of_posterior;

/// Which normalisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// LayerNorm at every site.
    #[default]
    LayerNorm,
    /// KL-Norm at the listed sites.
    KlNorm,
    /// Batch norm at the listed sites, over the real frames of the batch.
    BatchNorm,
    /// Instance norm at the listed sites, over the real frames of the utterance.
    InstanceNorm,
    /// Group norm at the listed sites, over the real frames of the utterance.
    GroupNorm,
    /// RMSNorm at the listed sites.
    RmsNorm,
}

/// The normalisation and its part of the loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NormRecipe {
    /// Which.
    pub kind: NormKind,
    /// Sites that carry it; LayerNorm elsewhere.
    pub sites: Vec<Site>,
    /// Blocks that carry it: `all`, or their numbers from 0.
    pub layers: Layers,
    /// Group norm: groups of channels; divides the width.
    pub groups: i64,
    /// Batch norm: the share of the newest update in the running estimates, by which evaluation standardises.
    pub momentum: f64,
    /// KL-Norm: over what mean and variance are taken. Over anything but a frame's channels (`layer`), the model cannot be
    /// exported as a stock one.
    pub statistics: Statistics,
    /// KL-Norm: whether μ has an offset b of its own, beside β, which costs no KL.
    pub mean: Mean,
    /// KL-Norm: what log σ depends on.
    pub log_sigma: LogSigma,
    /// KL-Norm: inner width of a low-rank term of the mean; 0 for none. With one, the model cannot be exported as a stock one.
    pub rank: i64,
    /// KL-Norm: inner width of a low-rank term of log σ; 0 for none.
    pub sigma_rank: i64,
    /// KL-Norm: σ at the start.
    pub sigma_init: f64,
    /// KL-Norm: whether training draws from the posterior; `false` leaves its divergence alone.
    pub noise: bool,
    /// KL-Norm: λ, the weight of the rate (nats per channel) in the loss. 0 leaves the noise alone.
    pub weight: f64,
    /// KL-Norm: shares of a cycle between which λ rises from 0 to its weight.
    pub warmup: [f64; 2],
    /// KL-Norm: times that λ rises, each time from 0 (cyclical annealing, Fu et al. 2019).
    pub cycles: u32,
    /// KL-Norm: rate of a channel, in nats, that costs nothing (free bits, Kingma et al. 2016).
    pub free_bits: f64,
    /// KL-Norm: learning rate of its own parameters (all but γ and β), in units of the model's.
    pub learning_rate_scale: f64,
}

impl Default for NormRecipe {
    fn default() -> Self {
        let kl = KlNormConfig::default();
        NormRecipe {
            kind: NormKind::LayerNorm,
            sites: kl.sites.into_iter().collect(),
            layers: kl.layers,
            groups: kl.groups,
            momentum: kl.momentum,
            statistics: kl.statistics,
            mean: kl.mean,
            log_sigma: kl.log_sigma,
            rank: kl.rank,
            sigma_rank: kl.sigma_rank,
            sigma_init: kl.sigma_init,
            noise: kl.noise,
            weight: 0.1,
            warmup: [0.3, 0.6],
            cycles: 1,
            free_bits: 0.0,
            learning_rate_scale: 1.0,
        }
    }
}

impl NormRecipe {
    /// The model's side of it.
    pub fn config(&self) -> NormConfig {
        let sites = self.sites.iter().copied().collect();
        let plain = |sites| {
            let (layers, groups, momentum) = (self.layers.clone(), self.groups, self.momentum);
            PlainNormConfig { sites, layers, groups, momentum }
        };
        match self.kind {
            NormKind::LayerNorm => NormConfig::LayerNorm,
            NormKind::KlNorm => NormConfig::KlNorm(KlNormConfig {
                sites,
                layers: self.layers.clone(),
                statistics: self.statistics,
                mean: self.mean,
                log_sigma: self.log_sigma,
                groups: self.groups,
                momentum: self.momentum,
                rank: self.rank,
                sigma_rank: self.sigma_rank,
                noise: self.noise,
                sigma_init: self.sigma_init,
            }),
            NormKind::BatchNorm => NormConfig::BatchNorm(plain(sites)),
            NormKind::InstanceNorm => NormConfig::InstanceNorm(plain(sites)),
            NormKind::GroupNorm => NormConfig::GroupNorm(plain(sites)),
            NormKind::RmsNorm => NormConfig::RmsNorm(plain(sites)),
        }
    }

    /// What a parameter's learning rate is multiplied by; `name` is its name in the checkpoint.
    pub fn rate_scale(&self, name: &str) -> f64 {
        if is_of_posterior(name) { self.learning_rate_scale } else { 1.0 }
    }

    /// λ at a share of the updates, 0 to below 1.
    pub fn weight_at(&self, share: f64) -> f64 {
        let [start, end] = self.warmup;
        let share = (share * f64::from(self.cycles)).fract();
        match self.kind {
            NormKind::KlNorm if share >= end => self.weight,
            NormKind::KlNorm if share > start => self.weight * (share - start) / (end - start),
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_rises_in_every_cycle_or_stands_still() {
        let kl = NormRecipe { kind: NormKind::KlNorm, weight: 2.0, warmup: [0.25, 0.75], ..NormRecipe::default() };
        let at = |norm: &NormRecipe| [0.0, 0.125, 0.25, 0.5, 0.75, 0.875].map(|share| norm.weight_at(share));
        assert_eq!(at(&kl), [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]);
        // Twice as fast, and twice.
        assert_eq!(at(&NormRecipe { cycles: 2, ..kl.clone() }), [0.0, 0.0, 1.0, 0.0, 1.0, 2.0]);
        assert_eq!(at(&NormRecipe { warmup: [0.0, 0.0], ..kl.clone() }), [2.0; 6]);
        assert_eq!(at(&NormRecipe { kind: NormKind::RmsNorm, ..kl }), [0.0; 6]);
    }
}
