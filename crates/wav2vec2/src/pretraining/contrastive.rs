//! wav2vec 2.0's objective (Baevski et al. 2020, section 3.2): of a masked frame's own quantised features and distractors,
//! tell which is its own (`Wav2Vec2ForPreTraining`).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::quantiser::{Gumbel, Quantised, Quantiser};
use super::{MaskedFrames, Prediction};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::linear::Linear;
use crate::parameters::Path;

/// Keys of transformers' config.json that shape the objective; the comments give Base and Large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContrastiveConfig {
    /// Codes of a group. 320.
    pub num_codevectors_per_group: i64,
    /// Groups of which each frame picks a code. 2.
    pub num_codevector_groups: i64,
    /// Width of quantised features, all groups together. 256; 768.
    pub codevector_dim: i64,
    /// Width in which hidden states and quantised features are compared. 256; 768.
    pub proj_codevector_dim: i64,
    /// κ, by which cosines are divided. 0.1.
    pub contrastive_logits_temperature: f64,
    /// Distractors of each masked frame. 100.
    pub num_negatives: i64,
    /// α, the weight of the diversity loss. 0.1.
    pub diversity_loss_weight: f64,
    /// Dropout on the quantiser's input. 0.
    pub feat_quantizer_dropout: f64,
}

impl Default for ContrastiveConfig {
    fn default() -> Self {
        ContrastiveConfig {
            num_codevectors_per_group: 320,
            num_codevector_groups: 2,
            codevector_dim: 256,
            proj_codevector_dim: 256,
            contrastive_logits_temperature: 0.1,
            num_negatives: 100,
            diversity_loss_weight: 0.1,
            feat_quantizer_dropout: 0.0,
        }
    }
}

impl ContrastiveConfig {
    /// Checks every value against what can be built.
    ///
    /// # Errors
    /// The first key that cannot be built, what was given and what is allowed.
    pub fn check(&self) -> Result<()> {
        let refuse = |key, given: &dyn std::fmt::Display, allowed: &str| {
            Err(Error::Config { key, given: given.to_string(), allowed: allowed.into() })
        };
        for (key, value, most) in [
            ("num_codevectors_per_group", self.num_codevectors_per_group, 1 << 14),
            ("num_codevector_groups", self.num_codevector_groups, 16),
            ("codevector_dim", self.codevector_dim, 1 << 14),
            ("proj_codevector_dim", self.proj_codevector_dim, 1 << 14),
            ("num_negatives", self.num_negatives, 1 << 12),
        ] {
            if !(1..=most).contains(&value) {
                return refuse(key, &value, &format!("1 to {most}"));
            }
        }
        if self.codevector_dim % self.num_codevector_groups != 0 {
            let allowed = format!("a divisor of codevector_dim = {}", self.codevector_dim);
            return refuse("num_codevector_groups", &self.num_codevector_groups, &allowed);
        }
        // The choices of all groups together are told apart by one number.
        let bits = self.num_codevector_groups as f64 * (self.num_codevectors_per_group as f64).log2();
        if bits >= 63.0 {
            let allowed = format!(
                "so few that num_codevectors_per_group = {} to their power stays below 2^63",
                self.num_codevectors_per_group
            );
            return refuse("num_codevector_groups", &self.num_codevector_groups, &allowed);
        }
        if !(self.contrastive_logits_temperature > 0.0 && self.contrastive_logits_temperature <= 100.0) {
            let key = "contrastive_logits_temperature";
            return refuse(key, &self.contrastive_logits_temperature, "above 0, at most 100");
        }
        if !(0.0..=1000.0).contains(&self.diversity_loss_weight) {
            return refuse("diversity_loss_weight", &self.diversity_loss_weight, "0 to 1000");
        }
        if !(0.0..1.0).contains(&self.feat_quantizer_dropout) {
            return refuse("feat_quantizer_dropout", &self.feat_quantizer_dropout, "0 to below 1");
        }
        Ok(())
    }
}

/// What stands above the encoder: the quantiser and the two projections.
#[derive(Debug)]
pub struct Contrastive {
    quantiser: Quantiser,
    project_hid: Linear,
    project_q: Linear,
    temperature: f64,
}

/// What the objective looks at.
#[derive(Debug)]
pub struct ContrastiveBatch<'a> {
    /// The encoder's output (batch, frame, channel).
    pub hidden: &'a Tensor,
    /// The features behind their norm, without a mask (batch, frame, feature).
    pub normed: &'a Tensor,
    /// Which frames are masked.
    pub masked: &'a MaskedFrames,
    /// As [`MaskedFrames::distractors`] gives them.
    pub distractors: &'a Tensor,
    /// What makes the choice of codes random; none in evaluation.
    pub gumbel: Option<&'a Gumbel>,
}

impl Contrastive {
    /// Registers `quantizer`, `project_hid` and `project_q` under `path`, the root of all names.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<Contrastive> {
        let ContrastiveConfig { codevector_dim, proj_codevector_dim, contrastive_logits_temperature, .. } =
            config.contrastive;
        Ok(Contrastive {
            quantiser: Quantiser::new(&(path / "quantizer"), config)?,
            project_hid: Linear::new(&(path / "project_hid"), config.hidden_size, proj_codevector_dim)?,
            project_q: Linear::new(&(path / "project_q"), codevector_dim, proj_codevector_dim)?,
            temperature: contrastive_logits_temperature,
        })
    }

    /// The quantiser.
    pub fn quantiser(&self) -> &Quantiser {
        &self.quantiser
    }

    /// Loss, diversity and how well the masked frames were told.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn forward(&self, batch: &ContrastiveBatch) -> Result<Prediction> {
        let ContrastiveBatch { hidden, normed, masked, distractors, gumbel } = *batch;
        let Quantised { vectors, choices, perplexity } = self.quantiser.forward(&masked.of(normed)?, gumbel)?;
        let told = unit(&self.project_hid.forward(&masked.of(hidden)?)?)?; // (masked, projection)
        let candidates = unit(&self.project_q.forward(&vectors.f_to_kind(hidden.kind())?)?)?;
        let counts: Vec<i64> = masked.counts().iter().copied().filter(|&count| count > 0).collect();
        let split = |tensor: &Tensor| tensor.f_split_with_sizes(counts.as_slice(), 0);
        let (told, candidates) = (split(&told)?, split(&candidates)?);
        let (choices, distractors) = (split(&choices)?, split(distractors)?);
        let mut logits = Vec::with_capacity(counts.len()); // each (masked, 1 + distractor), the frame's own first
        for row in 0..counts.len() {
            // All pairs of an utterance in one product, of which the distractors are then taken: no vector is copied for them.
            let cosines = told[row].f_matmul(&candidates[row].f_tr()?)?;
            let own = cosines.f_diagonal(0, 0, 1)?.f_unsqueeze(-1)?;
            let others = cosines.f_gather(1, &distractors[row], false)?;
            // A distractor that fell on the same codes is no other.
            let same = choices[row].f_unsqueeze(-1)?.f_eq_tensor(
                &choices[row].f_unsqueeze(0)?.f_expand([counts[row], counts[row]], false)?.f_gather(
                    1,
                    &distractors[row],
                    false,
                )?,
            )?;
            let others = others.f_masked_fill(&same, f64::NEG_INFINITY)?;
            logits.push(Tensor::f_cat(&[own, others], 1)?.f_div_scalar(self.temperature)?);
        }
        let count = masked.count();
        let logits = Tensor::f_cat(&logits, 0)?;
        let loss = logits.f_log_softmax(-1, Kind::Float)?.f_select(1, 0)?.f_sum(Kind::Float)?.f_neg()?;
        let best = logits.f_narrow(1, 1, logits.size()[1] - 1)?.f_amax([1i64], false)?;
        // Strictly ahead of another code: a collapsed model or codebook, to which all are alike, has told nothing.
        let ahead = logits.f_select(1, 0)?.f_gt_tensor(&best)?;
        let correct = ahead.f_logical_and(&best.f_isfinite()?)?.f_sum(Kind::Int64)?;
        let codes = self.quantiser.all_codes() as f64;
        let idle = perplexity.f_neg()?.f_add_scalar(codes)?.f_div_scalar(codes)?;
        Ok(Prediction {
            loss,
            diversity: Some(idle.f_mul_scalar(count)?),
            correct,
            perplexity: perplexity.f_detach()?,
            predicted_perplexity: None,
        })
    }
}

/// Rows of length 1, in fp32; as in PyTorch's cosine similarity, no row is divided by less than 1e-8.
fn unit(rows: &Tensor) -> Result<Tensor> {
    let rows = rows.f_to_kind(Kind::Float)?;
    Ok(rows.f_divide(&rows.f_norm_scalaropt_dim(2.0, [-1i64], true)?.f_clamp_min(1e-8)?)?)
}
