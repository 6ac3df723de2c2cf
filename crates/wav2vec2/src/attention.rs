//! Multi-head self-attention, on libtorch's fused kernel wherever it needs no noise of ours.

use tch::{Kind, Tensor};

use crate::config::{Family, ModelConfig};
use crate::error::Result;
use crate::frames::Frames;
use crate::linear::{Linear, cast};
use crate::lora::Projection;
use crate::noise::Noise;
use crate::parameters::Path;
use crate::relative_position::PositionGate;

/// Self-attention over the real frames of each utterance (`attention`).
#[derive(Debug)]
pub struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: i64,
    dropout: f64,
    gate: Option<PositionGate>,
}

/// What every block's attention is told of the frames.
#[derive(Debug)]
pub struct AttentionContext {
    /// Additive, (batch, 1, 1, key): hides padded frames; nothing when no frame is padded.
    mask: Option<Tensor>,
    /// WavLM's bias by distance, (1, head, query, key).
    position: Option<Tensor>,
}

impl AttentionContext {
    /// Hides padded frames from every query, for activations of `kind`; `position` is the bias of frames by distance.
    ///
    /// # Errors
    /// When libtorch cannot allocate the mask.
    pub fn new(frames: &Frames, kind: Kind, position: Option<Tensor>) -> Result<AttentionContext> {
        let Some(valid) = &frames.valid else { return Ok(AttentionContext { mask: None, position }) };
        let mask = valid.f_zeros_like()?.f_to_kind(kind)?.f_masked_fill(&valid.f_logical_not()?, f64::NEG_INFINITY)?;
        Ok(AttentionContext { mask: Some(mask.f_unsqueeze(1)?.f_unsqueeze(1)?), position })
    }
}

impl SelfAttention {
    /// Registers `q_proj`, `k_proj`, `v_proj` and `out_proj` under `path`, and WavLM's gate.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<SelfAttention> {
        let width = config.hidden_size;
        let linear = |name, projection| {
            let lora = config.lora.as_ref().filter(|lora| lora.projections.contains(&projection));
            Linear::adapted(&(path / name), width, width, lora)
        };
        Ok(SelfAttention {
            query: linear("q_proj", Projection::Query)?,
            key: linear("k_proj", Projection::Key)?,
            value: linear("v_proj", Projection::Value)?,
            output: linear("out_proj", Projection::Output)?,
            heads: config.num_attention_heads,
            dropout: config.attention_dropout,
            gate: match config.model_type {
                Family::WavLm => Some(PositionGate::new(path, config)?),
                Family::Wav2Vec2 | Family::Hubert | Family::Data2VecAudio => None,
            },
        })
    }

    /// Attends within each utterance: (batch, frame, channel) to the same; no noise means evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes or cannot allocate.
    pub fn forward(&self, hidden: &Tensor, context: &AttentionContext, noise: Option<&Noise>) -> Result<Tensor> {
        let (batch, frames, width) = hidden.size3()?;
        let heads = |projection: &Linear| -> Result<Tensor> {
            let projected = projection.forward(hidden)?.f_view([batch, frames, self.heads, width / self.heads])?;
            Ok(projected.f_transpose(1, 2)?) // (batch, head, frame, channel / head)
        };
        let (query, key, value) = (heads(&self.query)?, heads(&self.key)?, heads(&self.value)?);
        let mask = self.bias(hidden, context)?;
        let mask = mask.as_ref();
        let attended = match noise {
            Some(noise) if self.dropout > 0.0 && !noise.is_libtorch() => {
                // Written out: the fused kernel would draw its dropout from libtorch's generator. Scores in fp32, as
                // there: bf16 tells 10.0 from 10.06 only.
                let scale = ((width / self.heads) as f64).sqrt().recip();
                let (query, key) = (query.f_to_kind(Kind::Float)?, key.f_to_kind(Kind::Float)?);
                let scores = query.f_mul_scalar(scale)?.f_matmul(&key.f_transpose(2, 3)?)?;
                let scores = if let Some(mask) = mask { scores.f_add(mask)? } else { scores };
                let weights = noise.dropout(&scores.f_softmax(-1, Kind::Float)?, self.dropout)?;
                weights.f_to_kind(hidden.kind())?.f_matmul(&value)?
            }
            _ => {
                let dropout = if noise.is_some() { self.dropout } else { 0.0 };
                Tensor::f_scaled_dot_product_attention(&query, &key, &value, mask, dropout, false, None, false)?
            }
        };
        self.output.forward(&attended.f_transpose(1, 2)?.f_reshape([batch, frames, width])?)
    }

    /// What is added to the scores: the mask, and the position bias as this block gates it.
    fn bias(&self, hidden: &Tensor, context: &AttentionContext) -> Result<Option<Tensor>> {
        let position = match (&self.gate, &context.position) {
            (Some(gate), Some(position)) => cast(&gate.forward(hidden, position)?, hidden.kind())?,
            _ => return Ok(context.mask.as_ref().map(Tensor::shallow_clone)),
        };
        Ok(Some(match &context.mask {
            Some(mask) => position.f_add(mask)?, // (batch, head, query, key)
            None => position,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Store;
    use tch::Device;

    #[test]
    fn attention_written_out_for_dropout_equals_the_fused_kernel() {
        let store = Store::new(Device::Cpu);
        // A chance that rounds to never: the written-out path runs, and drops nothing.
        let config =
            ModelConfig { hidden_size: 12, num_attention_heads: 3, attention_dropout: 1e-9, ..ModelConfig::default() };
        let attention = SelfAttention::new(&store.root(), &config).unwrap();
        let noise = Noise::new(1, Device::Cpu);
        tch::no_grad(|| {
            for (_, mut tensor) in store.named() {
                tensor.copy_(&(noise.normal_like(&tensor).unwrap() * 0.3));
            }
        });
        let hidden = noise.normal_like(&Tensor::zeros([2, 7, 12], (Kind::Float, Device::Cpu))).unwrap();
        let frames = Frames::new(vec![7, 4], 7, Device::Cpu).unwrap();
        let context = AttentionContext::new(&frames, Kind::Float, None).unwrap();
        let fused = attention.forward(&hidden, &context, None).unwrap();
        let written_out = attention.forward(&hidden, &context, Some(&noise)).unwrap();
        let difference = (&written_out - &fused).abs().max() / fused.abs().max();
        // Products of 12 terms in another order: 12 × 2⁻²⁴ of scores below 4 move a weight by 3e-6 of itself; twelve more
        // roundings in the sums < 1e-5.
        assert!(f64::try_from(difference).unwrap() < 1e-5);
    }
}
