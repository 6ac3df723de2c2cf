//! Multi-head self-attention on libtorch's fused kernel.

use tch::nn::Path;
use tch::{Kind, Tensor};

use crate::config::ModelConfig;
use crate::error::Result;
use crate::frames::Frames;
use crate::linear::Linear;

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

    /// Attends within each utterance: (batch, frame, channel) to the same.
    ///
    /// # Errors
    /// When libtorch refuses the shapes or cannot allocate.
    pub fn forward(&self, hidden: &Tensor, mask: &AttentionMask, training: bool) -> Result<Tensor> {
        let (batch, frames, width) = hidden.size3()?;
        let heads = |projection: &Linear| -> Result<Tensor> {
            let projected = projection.forward(hidden)?.f_view([batch, frames, self.heads, width / self.heads])?;
            Ok(projected.f_transpose(1, 2)?) // (batch, head, frame, channel / head)
        };
        let context = Tensor::f_scaled_dot_product_attention(
            &heads(&self.query)?,
            &heads(&self.key)?,
            &heads(&self.value)?,
            mask.0.as_ref(),
            if training { self.dropout } else { 0.0 },
            false,
            None,
            false,
        )?;
        self.output.forward(&context.f_transpose(1, 2)?.f_reshape([batch, frames, width])?)
    }
}
