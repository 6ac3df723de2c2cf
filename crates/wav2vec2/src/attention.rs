//! Multi-head self-attention, on libtorch's fused kernel wherever it needs no noise of ours.

use tch::nn::Path;
use tch::{Kind, Tensor};

use crate::config::ModelConfig;
use crate::error::Result;
use crate::frames::Frames;
use crate::linear::Linear;
use crate::noise::Noise;

/// Self-attention over the real frames of each utterance (`attention`).
#[derive(Debug)]
pub struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: i64,
    dropout: f64,
}

/// What attention may look at: an additive mask (batch, 1, 1, key), or nothing when no frame is padded.
#[derive(Debug)]
pub struct AttentionMask(Option<Tensor>);

impl AttentionMask {
    /// Hides padded frames from every query, for activations of `kind`.
    ///
    /// # Errors
    /// When libtorch cannot allocate the mask.
    pub fn new(frames: &Frames, kind: Kind) -> Result<AttentionMask> {
        let Some(valid) = &frames.valid else { return Ok(AttentionMask(None)) };
        let mask = valid.f_zeros_like()?.f_to_kind(kind)?.f_masked_fill(&valid.f_logical_not()?, f64::NEG_INFINITY)?;
        Ok(AttentionMask(Some(mask.f_unsqueeze(1)?.f_unsqueeze(1)?)))
    }
}

impl SelfAttention {
    /// Registers `q_proj`, `k_proj`, `v_proj` and `out_proj` under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<SelfAttention> {
        let width = config.hidden_size;
        let linear = |name| Linear::new(&(path / name), width, width);
        Ok(SelfAttention {
            query: linear("q_proj")?,
            key: linear("k_proj")?,
            value: linear("v_proj")?,
            output: linear("out_proj")?,
            heads: config.num_attention_heads,
            dropout: config.attention_dropout,
        })
    }

    /// Attends within each utterance: (batch, frame, channel) to the same; no noise means evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes or cannot allocate.
    pub fn forward(&self, hidden: &Tensor, mask: &AttentionMask, noise: Option<&Noise>) -> Result<Tensor> {
        let (batch, frames, width) = hidden.size3()?;
        let heads = |projection: &Linear| -> Result<Tensor> {
            let projected = projection.forward(hidden)?.f_view([batch, frames, self.heads, width / self.heads])?;
            Ok(projected.f_transpose(1, 2)?) // (batch, head, frame, channel / head)
        };
        let (query, key, value) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let context = match noise {
            Some(noise) if self.dropout > 0.0 && !noise.is_libtorch() => {
                // Written out: the fused kernel would draw its dropout from libtorch's generator. Scores in fp32, as
                // there: bf16 tells 10.0 from 10.06 only.
                let scale = ((width / self.heads) as f64).sqrt().recip();
                let (query, key) = (query.f_to_kind(Kind::Float)?, key.f_to_kind(Kind::Float)?);
                let scores = query.f_mul_scalar(scale)?.f_matmul(&key.f_transpose(2, 3)?)?;
                let scores = if let Some(mask) = &mask.0 { scores.f_add(mask)? } else { scores };
                let weights = noise.dropout(&scores.f_softmax(-1, Kind::Float)?, self.dropout)?;
                weights.f_to_kind(hidden.kind())?.f_matmul(&value)?
            }
            _ => {
                let dropout = if noise.is_some() { self.dropout } else { 0.0 };
                let mask = mask.0.as_ref();
                Tensor::f_scaled_dot_product_attention(&query, &key, &value, mask, dropout, false, None, false)?
            }
        };
        self.output.forward(&context.f_transpose(1, 2)?.f_reshape([batch, frames, width])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::named_parameters;
    use tch::Device;
    use tch::nn::VarStore;

    #[test]
    fn attention_written_out_for_dropout_equals_the_fused_kernel() {
        let store = VarStore::new(Device::Cpu);
        // A chance that rounds to never: the written-out path runs, and drops nothing.
        let config =
            ModelConfig { hidden_size: 12, num_attention_heads: 3, attention_dropout: 1e-9, ..ModelConfig::default() };
        let attention = SelfAttention::new(&store.root(), &config).unwrap();
        let noise = Noise::new(1, Device::Cpu);
        tch::no_grad(|| {
            for (_, mut tensor) in named_parameters(&store) {
                tensor.copy_(&(noise.normal_like(&tensor).unwrap() * 0.3));
            }
        });
        let hidden = noise.normal_like(&Tensor::zeros([2, 7, 12], (Kind::Float, Device::Cpu))).unwrap();
        let mask = AttentionMask::new(&Frames::new(vec![7, 4], 7, Device::Cpu).unwrap(), Kind::Float).unwrap();
        let fused = attention.forward(&hidden, &mask, None).unwrap();
        let written_out = attention.forward(&hidden, &mask, Some(&noise)).unwrap();
        let difference = (&written_out - &fused).abs().max() / fused.abs().max();
        // Products of 12 terms in another order: 12 × 2⁻²⁴ of scores below 4 move a weight by 3e-6 of itself; twelve more
        // roundings in the sums < 1e-5.
        assert!(f64::try_from(difference).unwrap() < 1e-5);
    }
}
