//! BEST-RQ (Chiu et al. 2022, "Self-supervised learning with random-projection quantizer for speech recognition"): of a
//! masked frame, tell the code that a random, never learnt quantiser gives to its spectrum.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{MaskedFrames, Prediction, perplexity};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::initialise::{fill_uniform, seed_of};
use crate::linear::Linear;
use crate::parameters::Path;

/// The quantiser's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BestRqConfig {
    /// Codes of a codebook. 256, for hours of speech; 8192 in the paper, for thousands.
    pub codes: i64,
    /// Width in which spectra and codes are compared. 16, as in the paper.
    pub code_dimension: i64,
    /// Quantisers side by side, each with a projection and codes of its own; their losses are averaged. 4; 1
    /// in the paper, more in its successors (Zhang et al. 2023, "Google USM").
    pub codebooks: i64,
}

impl Default for BestRqConfig {
    fn default() -> Self {
        BestRqConfig { codes: 256, code_dimension: 16, codebooks: 4 }
    }
}

/// The name of everything that BEST-RQ adds to a model.
const BEST_RQ: &str = "best_rq";

/// The random quantiser, and the layer that tells its codes.
#[derive(Debug)]
pub struct BestRq {
    projection: Tensor, // (codebook, spectrum, code dimension)
    codebook: Tensor,   // (codebook, code, code dimension), of length 1
    head: Linear,
    config: BestRqConfig,
}

impl BestRq {
    /// Registers `best_rq` under `path`, the root of all names: `projection` and `codebook`, which never learn, and `head`.
    /// `spectrum` is the width of what is quantised.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, model: &ModelConfig, config: BestRqConfig, spectrum: i64) -> Result<BestRq> {
        let path = path / BEST_RQ;
        let BestRqConfig { codes, code_dimension, codebooks } = config;
        Ok(BestRq {
            projection: path.buffer("projection", &[codebooks, spectrum, code_dimension], Kind::Float)?,
            codebook: path.buffer("codebook", &[codebooks, codes, code_dimension], Kind::Float)?,
            head: Linear::new(&(path / "head"), model.hidden_size, codebooks * codes)?,
            config,
        })
    }

    /// Draws the quantiser from `seed`, as the paper does: the projection uniform (Glorot and Bengio 2010), the codes normal
    /// and brought to length 1.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn draw(&self, seed: u64) -> Result<()> {
        let (_, spectrum, width) = self.projection.size3()?;
        let bound = (6.0 / (spectrum + width) as f64).sqrt();
        fill_uniform("best_rq.projection", &self.projection, bound, seed)?;
        let mut random = ChaCha8Rng::seed_from_u64(seed_of(seed, "best_rq.codebook"));
        let values: Vec<f32> = (0..self.codebook.numel()).map(|_| StandardNormal.sample(&mut random)).collect();
        let values = Tensor::f_from_slice(&values)?.f_view(self.codebook.size().as_slice())?;
        let values = values.f_divide(&values.f_norm_scalaropt_dim(2.0, [-1i64], true)?)?;
        Ok(tch::no_grad(|| self.codebook.shallow_clone().f_copy_(&values).map(drop))?)
    }

    /// The codes of spectra (frame, spectrum) whose every channel has mean 0 and variance 1: (frame, codebook), int64.
    ///
    /// The nearest code to the projected spectrum, both of length 1: arg min ‖c − Ax/‖Ax‖‖ = arg max c·Ax.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn codes(&self, spectra: &Tensor) -> Result<Tensor> {
        tch::no_grad(|| {
            let projected = spectra.f_to_kind(Kind::Float)?.f_unsqueeze(0)?.f_matmul(&self.projection)?;
            let nearness = projected.f_matmul(&self.codebook.f_transpose(1, 2)?)?; // (codebook, frame, code)
            Ok(nearness.f_argmax(-1, false)?.f_transpose(0, 1)?)
        })
    }

    /// Cross entropy of the codes of masked frames, and how well they were told. `hidden` is the encoder's output (batch,
    /// frame, channel), `codes` what [`BestRq::codes`] gives for the masked frames: (masked, codebook).
    ///
    /// # Errors
    /// libtorch's own.
    pub fn forward(&self, hidden: &Tensor, masked: &MaskedFrames, codes: &Tensor) -> Result<Prediction> {
        let BestRqConfig { codes: size, codebooks, .. } = self.config;
        let logits = self.head.forward(&masked.of(hidden)?)?.f_view([-1, codebooks, size])?;
        let log_probabilities = logits.f_log_softmax(-1, Kind::Float)?; // (masked, codebook, code)
        let told = log_probabilities.f_gather(-1, &codes.f_unsqueeze(-1)?, false)?;
        let share = 1.0 / codebooks as f64;
        let loss = told.f_sum(Kind::Float)?.f_mul_scalar(-share)?;
        let best = log_probabilities.f_argmax(-1, false)?; // (masked, codebook)
        let hits = best.f_eq_tensor(codes)?;
        // A frame counts where its first code was told.
        let correct = hits.f_select(1, 0)?.f_sum(Kind::Int64)?;
        let in_use = |picked: &Tensor| -> Result<Tensor> {
            tch::no_grad(|| {
                let one_hot = log_probabilities.f_zeros_like()?.f_scatter_value(-1, &picked.f_unsqueeze(-1)?, 1.0)?;
                let mean = one_hot.f_mean_dim([0i64].as_slice(), false, Kind::Float)?; // (codebook, code)
                Ok(perplexity(&mean)?.f_mean(Kind::Float)?)
            })
        };
        let (perplexity, predicted) = (in_use(codes)?, in_use(&best)?);
        Ok(Prediction { loss, diversity: None, correct, perplexity, predicted_perplexity: Some(predicted) })
    }
}
