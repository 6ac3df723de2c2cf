//! Which parameters learn: all of them, or few.

use std::collections::{BTreeSet, HashSet};

use klang_wav2vec2::{LoraConfig, ModelConfig, Projection};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{HEAD, ModelSpec, Recogniser};
use crate::error::Result;

/// The choice of what learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TuneKind {
    /// Everything that `model.freeze` does not hold back.
    #[default]
    All,
    /// The head.
    Head,
    /// The head and the norms above the convolutions, KL-Norm's parameters among them.
    Norms,
    /// The head and adapters in the blocks, as MMS has them.
    Adapters,
    /// The head and low-rank factors beside attention's maps.
    Lora,
    /// The head and the last blocks.
    Top,
}

impl TuneKind {
    /// Every choice.
    pub const ALL: [TuneKind; 6] =
        [TuneKind::All, TuneKind::Head, TuneKind::Norms, TuneKind::Adapters, TuneKind::Lora, TuneKind::Top];

    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            TuneKind::All => "all",
            TuneKind::Head => "head",
            TuneKind::Norms => "norms",
            TuneKind::Adapters => "adapters",
            TuneKind::Lora => "lora",
            TuneKind::Top => "top",
        }
    }
}

/// What learns, and the shape of what is added for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TuneRecipe {
    /// Which parameters learn. With KL-Norm, its own learn in every choice but `head`.
    pub kind: TuneKind,
    /// `adapters`: their width in channels, where the checkpoint has none of its own.
    pub width: i64,
    /// `lora`: inner width of the factors.
    pub rank: i64,
    /// `lora`: the factors' product is scaled by α / rank.
    pub alpha: f64,
    /// `lora`: the maps that carry factors.
    pub projections: BTreeSet<Projection>,
    /// `top`: how many of the last blocks.
    pub layers: usize,
}

impl Default for TuneRecipe {
    fn default() -> Self {
        TuneRecipe {
            kind: TuneKind::All,
            width: 16,
            rank: 8,
            alpha: 16.0,
            projections: [Projection::Query, Projection::Value].into(),
            layers: 4,
        }
    }
}

impl TuneRecipe {
    /// The configuration with what this choice adds to it.
    pub fn extend(&self, config: ModelConfig) -> ModelConfig {
        match self.kind {
            TuneKind::Adapters => {
                ModelConfig { adapter_attn_dim: config.adapter_attn_dim.or(Some(self.width)), ..config }
            }
            TuneKind::Lora => {
                let (rank, alpha, projections) = (self.rank, self.alpha, self.projections.clone());
                ModelConfig { lora: Some(LoraConfig { rank, alpha, projections }), ..config }
            }
            TuneKind::All | TuneKind::Head | TuneKind::Norms | TuneKind::Top => config,
        }
    }
}

/// What learns in one model.
#[derive(Clone, Debug)]
pub struct Tune<'a> {
    /// The choice.
    pub recipe: &'a TuneRecipe,
    /// Whether the convolutions are held back.
    pub frozen_feature_encoder: bool,
}

impl Tune<'_> {
    /// Whether a parameter learns; `name` is its name in the checkpoint.
    pub fn learns(&self, name: &str, config: &ModelConfig) -> bool {
        if name.starts_with(HEAD) {
            return true;
        }
        let own = name.contains("kl_norm.") && self.recipe.kind != TuneKind::Head;
        own || match self.recipe.kind {
            TuneKind::All => !(self.frozen_feature_encoder && name.contains("feature_extractor.")),
            TuneKind::Head => false,
            TuneKind::Norms => name.contains("layer_norm.") && !name.contains("feature_extractor."),
            TuneKind::Adapters => name.contains("adapter_layer."),
            TuneKind::Lora => name.contains(".lora."),
            TuneKind::Top => {
                let first = config.num_hidden_layers.saturating_sub(self.recipe.layers);
                // The norm behind the last pre-norm block is part of it.
                let last = config.do_stable_layer_norm && name.contains(".encoder.layer_norm.");
                last || block(name).is_some_and(|block| block >= first)
            }
        }
    }

    /// The parameters of `model` that learn.
    pub fn learnt(&self, model: &Recogniser) -> Vec<(String, Tensor)> {
        let parameters = model.parameters().into_iter();
        // Buffers never do.
        let floating = parameters.filter(|(_, tensor)| tensor.requires_grad());
        floating.filter(|(name, _)| self.learns(name, &model.spec.config)).collect()
    }

    /// How many numbers learn in a model of this spec, and how many there are; nothing is allocated.
    ///
    /// # Errors
    /// A configuration that cannot be built.
    pub fn count(&self, spec: &ModelSpec) -> Result<[u64; 2]> {
        let shapes = Recogniser::shapes(spec)?;
        let count = |tensor: &Tensor| tensor.size().iter().map(|&size| size as u64).product::<u64>();
        let learnt = |(name, tensor): &&(String, Tensor)| tensor.requires_grad() && self.learns(name, &spec.config);
        let total = shapes.iter().map(|(_, tensor)| count(tensor)).sum();
        Ok([shapes.iter().filter(learnt).map(|(_, tensor)| count(tensor)).sum(), total])
    }
}

/// Whether a parameter is KL-Norm's alone: of its posterior, where γ and β are any norm's.
pub fn is_of_posterior(name: &str) -> bool {
    let part = name.rsplit_once(".kl_norm.").map(|(_, part)| part);
    part.is_some_and(|part| !matches!(part, "gamma" | "beta"))
}

/// Takes what does not learn out of the backward pass: nothing is then kept for its gradient.
///
/// # Errors
/// libtorch's own.
pub fn freeze(model: &Recogniser, learnt: &[(String, Tensor)]) -> Result<()> {
    let learnt: HashSet<&str> = learnt.iter().map(|(name, _)| name.as_str()).collect();
    for (name, tensor) in model.parameters() {
        if !learnt.contains(name.as_str()) {
            let _ = tensor.f_set_requires_grad(false)?;
        }
    }
    Ok(())
}

/// The number in `….encoder.layers.N.…`.
fn block(name: &str) -> Option<usize> {
    name.split_once(".encoder.layers.")?.1.split('.').next()?.parse().ok()
}
