//! WavLM's gated relative position bias (Chi et al. 2022, "XLM-E", section 3.2, in buckets as T5 has them).

use tch::{Kind, Tensor};

use crate::config::ModelConfig;
use crate::error::Result;
use crate::frames::Frames;
use crate::linear::Linear;
use crate::parameters::Path;

/// Gates of a gate's inner width: what is summed for one gate.
const GATE_WIDTH: i64 = 4;

/// A bias for each head and distance, which all blocks share.
#[derive(Debug)]
pub struct RelativePosition {
    embedding: Tensor, // (bucket, head)
    buckets: i64,
    furthest: i64,
}

impl RelativePosition {
    /// Registers `rel_attn_embed` under `path`, the first block's attention.
    ///
    /// # Errors
    /// When libtorch cannot allocate it.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<RelativePosition> {
        let (buckets, heads) = (config.num_buckets, config.num_attention_heads);
        let embedding = (path / "rel_attn_embed").parameter("weight", &[buckets, heads])?;
        Ok(RelativePosition { embedding, buckets, furthest: config.max_bucket_distance })
    }

    /// The bias of each pair of frames, (1, head, query, key), fp32.
    ///
    /// # Errors
    /// When libtorch cannot allocate it.
    pub fn bias(&self, frames: &Frames) -> Result<Tensor> {
        let count = frames.padded;
        // A distance decides the bucket, so each is looked up once: −(count − 1) to count − 1.
        let buckets: Vec<i64> = (1 - count..count).map(|distance| self.bucket(distance)).collect();
        let buckets = Tensor::f_from_slice(&buckets)?.f_to_device(self.embedding.device())?;
        let by_distance = self.embedding.f_index_select(0, &buckets)?.f_transpose(0, 1)?.f_contiguous()?; // (head, distance)
        // Query q sees key k at distance k − q: windows of `count` distances, the last one first.
        Ok(by_distance.f_unfold(1, count, 1)?.f_flip([1])?.f_unsqueeze(0)?)
    }

    /// The bucket of key − query, in frames: half of the buckets for each direction, in each half the nearest distances
    /// by one and the rest logarithmically up to `furthest`.
    fn bucket(&self, distance: i64) -> i64 {
        let half = self.buckets / 2;
        let exact = half / 2;
        let side = if distance > 0 { half } else { 0 };
        let distance = distance.abs();
        if distance < exact {
            return side + distance;
        }
        // In fp32 as the reference: at a bucket's edge another precision would choose its neighbour.
        let exact32 = exact as f32;
        let share = (distance as f32 / exact32).ln() / (self.furthest as f64 / exact as f64).ln() as f32;
        side + ((exact32 + share * (half - exact) as f32) as i64).min(half - 1)
    }
}

/// What one block's heads make of the shared bias: they scale it frame by frame.
#[derive(Debug)]
pub struct PositionGate {
    linear: Linear,
    constant: Tensor, // (1, head, 1, 1)
    heads: i64,
}

impl PositionGate {
    /// Registers `gru_rel_pos_linear` and `gru_rel_pos_const` under `path`, a block's attention.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<PositionGate> {
        let heads = config.num_attention_heads;
        Ok(PositionGate {
            linear: Linear::new(&(path / "gru_rel_pos_linear"), config.hidden_size / heads, 2 * GATE_WIDTH)?,
            constant: path.parameter("gru_rel_pos_const", &[1, heads, 1, 1])?,
            heads,
        })
    }

    /// The bias (1, head, query, key) as gated by what `hidden` (batch, frame, channel) holds at the query:
    /// (batch, head, query, key), fp32.
    ///
    /// # Errors
    /// When libtorch refuses the shapes or cannot allocate.
    pub fn forward(&self, hidden: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let (batch, frames, width) = hidden.size3()?;
        let heads = hidden.f_view([batch, frames, self.heads, width / self.heads])?.f_transpose(1, 2)?;
        let gates = self
            .linear
            .forward(&heads)? // (batch, head, frame, 2 × gate width)
            .f_to_kind(Kind::Float)?
            .f_view([batch, self.heads, frames, 2, GATE_WIDTH])?
            .f_sum_dim_intlist(-1, false, Kind::Float)?
            .f_sigmoid()?;
        let (update, reset) = (gates.f_narrow(-1, 0, 1)?, gates.f_narrow(-1, 1, 1)?); // (batch, head, frame, 1)
        let scale = update.f_mul(&reset.f_mul(&self.constant)?.f_sub_scalar(1.0)?)?.f_add_scalar(2.0)?;
        Ok(scale.f_mul(bias)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use crate::parameters::Store;
    use tch::Device;

    fn position(num_buckets: i64, max_bucket_distance: i64) -> (Store, RelativePosition) {
        let config =
            ModelConfig { model_type: Family::WavLm, num_buckets, max_bucket_distance, ..ModelConfig::default() };
        let store = Store::new(Device::Cpu);
        let position = RelativePosition::new(&store.root(), &config).unwrap();
        (store, position)
    }

    #[test]
    fn buckets_equal_the_references_arithmetic_at_every_distance() {
        for (buckets, furthest) in [(320, 800), (16, 10), (32, 128), (4, 2), (432, 200), (288, 1250)] {
            let (_store, position) = position(buckets, furthest);
            let (half, exact) = (buckets / 2, buckets / 4);
            let distances = Tensor::arange_start(-3000, 3001, (Kind::Int64, Device::Cpu));
            let far = distances.abs();
            // transformers' WavLMAttention._relative_positions_bucket.
            let log = (far.to_kind(Kind::Float) / exact as f64).log() / (furthest as f64 / exact as f64).ln();
            let log = ((log * (half - exact) as f64) + exact as f64).to_kind(Kind::Int64).clamp_max(half - 1);
            let expected = far.where_self(&far.lt(exact), &log) + distances.gt(0).to_kind(Kind::Int64) * half;
            let expected = Vec::<i64>::try_from(expected).unwrap();
            for (distance, expected) in (-3000..=3000).zip(expected) {
                assert_eq!(position.bucket(distance), expected, "{buckets} buckets, distance {distance}");
            }
        }
    }

    #[test]
    fn the_bias_of_query_and_key_is_that_of_their_distance() {
        let (store, position) = position(16, 10);
        let (_, mut embedding) = store.named().remove(0);
        tch::no_grad(|| embedding.copy_(&Tensor::arange(16 * 12, (Kind::Float, Device::Cpu)).view([16, 12])));
        let bias = position.bias(&Frames::new(vec![9], 9, Device::Cpu).unwrap()).unwrap();
        assert_eq!(bias.size(), [1, 12, 9, 9]);
        for (query, key) in [(0, 0), (0, 8), (8, 0), (3, 4), (4, 3)] {
            let expected = (position.bucket(key - query) * 12 + 5) as f64;
            assert_eq!(bias.double_value(&[0, 5, query, key]), expected, "{query} {key}");
        }
    }
}
