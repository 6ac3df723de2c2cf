//! The normalisation of the transformer's sites, chosen per site.

mod function;
mod fused;
mod kl_norm;
mod layer_norm;
mod plain;
mod statistics;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::{Error, Result};
use crate::frames::Frames;
use crate::noise::Noise;
use crate::parameters::Path;

pub(crate) use kl_norm::fold;
pub use kl_norm::{KlNorm, KlNormConfig, LogSigma, Mean, divergence};
pub use layer_norm::LayerNorm;
pub use plain::{PlainNorm, PlainNormConfig};
pub use statistics::{Moments, Standardiser, Statistics};

/// A place in the transformer that carries a normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// The norm of a block's attention (`layer_norm`).
    Attention,
    /// The norm of a block's feed-forward network (`final_layer_norm`).
    FeedForward,
    /// The encoder's own norm: before the first block (post-norm) or after the last one (pre-norm).
    Encoder,
}

/// Which blocks carry the chosen normalisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "`all`, or a list of block numbers from 0")]
pub enum Layers {
    /// `all`.
    Every(Every),
    /// A list of block numbers from 0.
    Listed(BTreeSet<usize>),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// Every block.
    All,
}

impl Layers {
    /// Every block.
    pub const ALL: Layers = Layers::Every(Every::All);

    fn contains(&self, layer: usize) -> bool {
        match self {
            Layers::Every(_) => true,
            Layers::Listed(layers) => layers.contains(&layer),
        }
    }
}

/// Where a normalisation stands; LayerNorm elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement<'a> {
    sites: &'a BTreeSet<Site>,
    layers: &'a Layers,
}

impl Placement<'_> {
    fn covers(&self, site: Site, layer: usize) -> bool {
        self.sites.contains(&site) && (site == Site::Encoder || self.layers.contains(layer))
    }

    /// Checks it for a model of `layers` blocks.
    fn check(&self, layers: usize) -> Result<()> {
        if self.sites.is_empty() {
            return refuse("model.norm.sites", "empty", "at least one of attention, feed_forward, encoder");
        }
        if let Layers::Listed(listed) = self.layers {
            let inside = self.sites.iter().any(|&site| site != Site::Encoder);
            if let Some(layer) = listed.iter().find(|&&layer| layer >= layers) {
                return refuse("model.norm.layers", layer, &format!("block numbers 0 to {}", layers - 1));
            }
            if listed.is_empty() && inside {
                return refuse("model.norm.layers", "empty", "`all`, or at least one block number");
            }
        }
        Ok(())
    }
}

fn refuse<T>(key: &'static str, given: impl ToString, allowed: &str) -> Result<T> {
    Err(Error::Config { key, given: given.to_string(), allowed: allowed.into() })
}

/// The normalisation of a model, and where it stands; LayerNorm elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NormConfig {
    /// LayerNorm at every site: the control.
    #[default]
    LayerNorm,
    /// KL-Norm at the listed sites.
    KlNorm(KlNormConfig),
    /// Batch norm at the listed sites.
    BatchNorm(PlainNormConfig),
    /// Instance norm at the listed sites.
    InstanceNorm(PlainNormConfig),
    /// Group norm at the listed sites.
    GroupNorm(PlainNormConfig),
    /// RMSNorm at the listed sites.
    RmsNorm(PlainNormConfig),
}

impl NormConfig {
    /// Whether every site is a plain LayerNorm.
    pub fn is_layer_norm(&self) -> bool {
        matches!(self, NormConfig::LayerNorm)
    }

    /// Its name, as people write it.
    pub fn name(&self) -> &'static str {
        match self {
            NormConfig::LayerNorm => "LayerNorm",
            NormConfig::KlNorm(_) => "KL-Norm",
            NormConfig::BatchNorm(_) => "BatchNorm",
            NormConfig::InstanceNorm(_) => "InstanceNorm",
            NormConfig::GroupNorm(_) => "GroupNorm",
            NormConfig::RmsNorm(_) => "RMSNorm",
        }
    }

    /// Whether every site equals a LayerNorm in evaluation, so that a stock model can hold it.
    ///
    /// # Errors
    /// Why not.
    pub fn folds(&self) -> std::result::Result<(), &'static str> {
        match self {
            NormConfig::LayerNorm => Ok(()),
            NormConfig::KlNorm(config) if config.rank > 0 => {
                Err("KL-Norm with a low-rank mean (model.norm.rank) is no LayerNorm and cannot be folded")
            }
            NormConfig::KlNorm(config) if config.statistics != Statistics::Layer => Err(
                "KL-Norm over other statistics than a frame's (model.norm.statistics) is no LayerNorm and cannot be folded",
            ),
            NormConfig::KlNorm(_) => Ok(()),
            NormConfig::BatchNorm(_)
            | NormConfig::InstanceNorm(_)
            | NormConfig::GroupNorm(_)
            | NormConfig::RmsNorm(_) => {
                Err("this normalisation (model.norm.kind) is no LayerNorm and cannot be folded")
            }
        }
    }

    /// Checks that what a model learnt under this normalisation is not read under another whose parameters have the same
    /// names: γ and β over other statistics, or with another part in μ, are another network.
    ///
    /// # Errors
    /// The key that must stay.
    pub fn check_kept(&self, next: &NormConfig) -> Result<()> {
        if let (NormConfig::KlNorm(was), NormConfig::KlNorm(is)) = (self, next)
            && was.mean != is.mean
        {
            let name = |mean| match mean {
                Mean::Scale => "scale",
                Mean::Affine => "affine",
            };
            let allowed = format!(
                "{}, which the model to start from was learnt with; or start from what `klang export` makes of it",
                name(was.mean)
            );
            return refuse("model.norm.mean", name(is.mean), &allowed);
        }
        let (Some(was), Some(is)) = (self.statistics(), next.statistics()) else { return Ok(()) };
        let same_names = matches!(self, NormConfig::KlNorm(_)) == matches!(next, NormConfig::KlNorm(_));
        if self.folds().is_ok() || !same_names || was == is {
            return Ok(());
        }
        let (given, allowed) = (describe(is), describe(was));
        refuse("model.norm", given, &format!("{allowed}, which the model to start from was learnt with"))
    }

    /// Over what it takes its statistics, and in how many groups; none for LayerNorm.
    fn statistics(&self) -> Option<(Statistics, Option<i64>)> {
        let (statistics, groups) = match (self, self.plain()) {
            (NormConfig::KlNorm(config), _) => (config.statistics, config.groups),
            (_, plain) => plain.map(|(statistics, config)| (statistics, config.groups))?,
        };
        Some((statistics, (statistics == Statistics::Group).then_some(groups)))
    }

    /// The share of the newest update in running estimates.
    pub fn momentum(&self) -> f64 {
        match (self, self.plain()) {
            (NormConfig::KlNorm(config), _) => config.momentum,
            (_, Some((_, config))) => config.momentum,
            (_, None) => 0.0,
        }
    }

    /// The statistics and the shape of what is nothing but them.
    fn plain(&self) -> Option<(Statistics, &PlainNormConfig)> {
        match self {
            NormConfig::LayerNorm | NormConfig::KlNorm(_) => None,
            NormConfig::BatchNorm(config) => Some((Statistics::Batch, config)),
            NormConfig::InstanceNorm(config) => Some((Statistics::Instance, config)),
            NormConfig::GroupNorm(config) => Some((Statistics::Group, config)),
            NormConfig::RmsNorm(config) => Some((Statistics::Rms, config)),
        }
    }

    /// Checks the values, for a model of `layers` blocks of `width` channels.
    pub(crate) fn check(&self, layers: usize, width: i64) -> Result<()> {
        let (placement, statistics, groups, momentum) = match (self, self.plain()) {
            (NormConfig::KlNorm(config), _) => {
                for (key, rank) in [("model.norm.rank", config.rank), ("model.norm.sigma_rank", config.sigma_rank)] {
                    if !(0..=1024).contains(&rank) {
                        return refuse(key, rank, "0 (none) to 1024");
                    }
                }
                if !(config.sigma_init > 0.0 && config.sigma_init <= 1.0) {
                    return refuse("model.norm.sigma_init", config.sigma_init, "above 0, at most 1");
                }
                (config.placement(), config.statistics, config.groups, config.momentum)
            }
            (_, Some((statistics, config))) => (config.placement(), statistics, config.groups, config.momentum),
            (_, None) => return Ok(()),
        };
        if statistics == Statistics::Group && (groups < 1 || width % groups != 0) {
            return refuse("model.norm.groups", groups, &format!("a divisor of the width, {width}"));
        }
        if statistics == Statistics::Batch && !(momentum > 0.0 && momentum <= 1.0) {
            return refuse("model.norm.momentum", momentum, "above 0, at most 1");
        }
        placement.check(layers)
    }

    /// Builds the normalisation of one site under `path`.
    pub(crate) fn build(&self, path: &Path, site: Site, layer: usize, channels: i64, epsilon: f64) -> Result<Norm> {
        match (self, self.plain()) {
            (NormConfig::KlNorm(config), _) if config.placement().covers(site, layer) => {
                Ok(Norm::Kl(Box::new(KlNorm::new(&(path / KL_NORM), config, channels, epsilon)?)))
            }
            (_, Some((statistics, config))) if config.placement().covers(site, layer) => {
                let path = path / PLAIN_NORM;
                Ok(Norm::Plain(PlainNorm::new(&path, statistics, config, channels, epsilon)?))
            }
            _ => Ok(Norm::Layer(LayerNorm::new(path, channels, epsilon)?)),
        }
    }
}

fn describe((statistics, groups): (Statistics, Option<i64>)) -> String {
    let groups = groups.map(|groups| format!(", {groups} groups")).unwrap_or_default();
    format!("statistics {statistics:?}{groups}").to_lowercase()
}

/// The part of a parameter's name that says it is KL-Norm's own.
pub(crate) const KL_NORM: &str = "kl_norm";
/// The same of a plain normalisation that is no LayerNorm.
pub(crate) const PLAIN_NORM: &str = "plain_norm";

/// The site that a normalisation's own parameter belongs to, with what marks it (`….layer_norm.kl_norm`), and its name there.
pub(crate) fn own_part(name: &str) -> Option<(&str, &str)> {
    let (own, part) = name.rsplit_once('.')?;
    site_of(own).map(|_| (own, part))
}

/// The stock name of the site of what [`own_part`] gives.
pub(crate) fn site_of(own: &str) -> Option<&str> {
    let (site, mark) = own.rsplit_once('.')?;
    [KL_NORM, PLAIN_NORM].contains(&mark).then_some(site)
}

/// The normalisation at one site.
#[derive(Debug)]
pub enum Norm {
    /// LayerNorm.
    Layer(LayerNorm),
    /// A plain one that is no LayerNorm.
    Plain(PlainNorm),
    /// KL-Norm.
    Kl(Box<KlNorm>),
}

/// What a normalisation gives.
#[derive(Debug)]
pub struct Normed {
    /// (batch, frame, channel), in the input's kind.
    pub hidden: Tensor,
    /// KL-Norm in training: the mean rate over real frames (channel), in nats, with its gradient.
    pub rate: Option<Tensor>,
    /// In training, what running estimates are to follow.
    pub moments: Option<Moments>,
}

impl Norm {
    /// Normalises `hidden` (batch, frame, channel); with noise in training, without in evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor, frames: &Frames, noise: Option<&Noise>) -> Result<Normed> {
        let evaluated = |hidden| Normed { hidden, rate: None, moments: None };
        match (self, noise) {
            (Norm::Layer(norm), _) => Ok(evaluated(norm.forward(hidden)?)),
            (Norm::Plain(norm), noise) => norm.forward(hidden, frames, noise.is_some()),
            (Norm::Kl(norm), Some(noise)) => norm.forward_noisy(hidden, frames, noise),
            (Norm::Kl(norm), None) => Ok(evaluated(norm.forward_mean(hidden, frames)?)),
        }
    }

    /// Has running estimates follow what an update saw.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn follow(&self, moments: &Moments, momentum: f64) -> Result<()> {
        match self {
            Norm::Layer(_) => Ok(()),
            Norm::Plain(norm) => norm.standardiser().follow(moments, momentum),
            Norm::Kl(norm) => norm.standardiser().follow(moments, momentum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_over_other_statistics_is_not_read_silently() {
        let plain = PlainNormConfig::default;
        let kl = |statistics| NormConfig::KlNorm(KlNormConfig { statistics, ..KlNormConfig::default() });
        let scale = || NormConfig::KlNorm(KlNormConfig { mean: Mean::Scale, ..KlNormConfig::default() });
        let groups = |groups| NormConfig::GroupNorm(PlainNormConfig { groups, ..plain() });
        let refused = [
            (NormConfig::RmsNorm(plain()), NormConfig::InstanceNorm(plain()), "statistics rms"),
            (groups(4), groups(8), "statistics group, 4 groups"),
            (kl(Statistics::Instance), kl(Statistics::Layer), "statistics instance"),
            (kl(Statistics::Layer), scale(), "affine"),
            (scale(), kl(Statistics::Layer), "scale"),
        ];
        for (was, is, said) in refused {
            let message = was.check_kept(&is).unwrap_err().to_string();
            assert!(message.contains("model.norm") && message.contains(said), "{message}");
            was.check_kept(&was).unwrap();
        }
        // From a LayerNorm, and from what folds into one, every kind may start.
        for from in [NormConfig::LayerNorm, kl(Statistics::Layer)] {
            from.check_kept(&kl(Statistics::Instance)).unwrap();
            from.check_kept(&NormConfig::RmsNorm(plain())).unwrap();
        }
    }

    #[test]
    fn a_norms_own_names_split_into_site_and_part() {
        for mark in [KL_NORM, PLAIN_NORM] {
            let own = format!("wav2vec2.encoder.layers.3.layer_norm.{mark}");
            let name = format!("{own}.gamma");
            assert_eq!(own_part(&name), Some((own.as_str(), "gamma")));
            assert_eq!(site_of(&own), Some("wav2vec2.encoder.layers.3.layer_norm"));
        }
        assert_eq!(own_part("wav2vec2.encoder.layers.3.layer_norm.weight"), None);
    }
}
