//! The product quantiser: features to vectors of a learnt codebook (wav2vec 2.0, section 2, "Quantization module").

use tch::{Kind, Tensor};

use super::perplexity;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::linear::Linear;
use crate::parameters::Path;

/// Groups of codes of which each features picks one a group (`quantizer`).
#[derive(Debug)]
pub struct Quantiser {
    weight_proj: Linear,
    codevectors: Tensor, // (1, group × code, width of a group)
    groups: i64,
    codes: i64,
}

/// What makes a choice of codes random, and lets its gradient through (Jang et al. 2017).
#[derive(Debug)]
pub struct Gumbel {
    /// Standard Gumbel noise, (frame, group, code), fp32.
    pub noise: Tensor,
    /// The temperature of the soft choice that the gradient sees, above 0.
    pub temperature: f64,
}

/// Quantised features.
#[derive(Debug)]
pub struct Quantised {
    /// (frame, channel), fp32, the groups side by side.
    pub vectors: Tensor,
    /// The number of each choice, one for all groups together, (frame), int64: equal numbers mean equal vectors.
    pub choices: Tensor,
    /// Perplexity over these frames, the groups' added up: a scalar, with its gradient where the choice is random.
    pub perplexity: Tensor,
}

impl Quantiser {
    /// Registers `codevectors` and `weight_proj` under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<Quantiser> {
        let (groups, codes) = (config.contrastive.num_codevector_groups, config.contrastive.num_codevectors_per_group);
        let features = config.conv_dim[config.conv_dim.len() - 1];
        let width = config.contrastive.codevector_dim / groups;
        Ok(Quantiser {
            weight_proj: Linear::new(&(path / "weight_proj"), features, groups * codes)?,
            codevectors: path.parameter("codevectors", &[1, groups * codes, width])?,
            groups,
            codes,
        })
    }

    /// Shape of the Gumbel noise for `frames` frames: (frame, group, code).
    pub fn noise_shape(&self, frames: i64) -> [i64; 3] {
        [frames, self.groups, self.codes]
    }

    /// Codes in all groups together: the highest perplexity.
    pub fn all_codes(&self) -> i64 {
        self.groups * self.codes
    }

    /// Quantises (frame, feature); without `gumbel`, each frame takes its most probable codes.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn forward(&self, features: &Tensor, gumbel: Option<&Gumbel>) -> Result<Quantised> {
        let (frames, _) = features.size2()?;
        // The products in the features' precision, probabilities in fp32.
        let logits = self.weight_proj.forward(features)?.f_to_kind(Kind::Float)?;
        let logits = logits.f_view([frames, self.groups, self.codes])?;
        let one_hot = |scores: &Tensor| -> Result<(Tensor, Tensor)> {
            let picked = scores.f_argmax(-1, false)?; // (frame, group)
            let hard = scores.f_zeros_like()?.f_scatter_value(-1, &picked.f_unsqueeze(-1)?, 1.0)?;
            Ok((picked, hard))
        };
        let (picked, choice, distribution) = match gumbel {
            Some(Gumbel { noise, temperature }) => {
                let soft = logits.f_add(noise)?.f_div_scalar(*temperature)?.f_softmax(-1, Kind::Float)?;
                let (picked, hard) = one_hot(&soft)?;
                // The hard choice forwards, the soft one's gradient backwards; in this order the sum is exactly hard.
                (picked, hard.f_add(&soft.f_sub(&soft.f_detach()?)?)?, logits.f_softmax(-1, Kind::Float)?)
            }
            None => {
                let (picked, hard) = one_hot(&logits)?;
                (picked, hard.shallow_clone(), hard)
            }
        };
        let codevectors = self.codevectors.f_view([self.groups, self.codes, -1])?;
        let vectors = choice.f_transpose(0, 1)?.f_bmm(&codevectors)?; // (group, frame, width)
        let mut choices = Tensor::f_zeros([frames], (Kind::Int64, features.device()))?;
        for group in 0..self.groups {
            choices = choices.f_mul_scalar(self.codes)?.f_add(&picked.f_select(1, group)?)?;
        }
        Ok(Quantised {
            vectors: vectors.f_transpose(0, 1)?.f_flatten(1, 2)?,
            choices,
            perplexity: perplexity(&distribution.f_mean_dim([0i64].as_slice(), false, Kind::Float)?)?
                .f_sum(Kind::Float)?,
        })
    }
}
