//! Low-rank adaptation (Hu et al. 2022): W x + (α / r) B A x, with W as it was, and A and B learnt.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::{Error, Result};
use crate::linear::cast;
use crate::parameters::Path;

/// The part of a parameter's name that says it is a low-rank factor.
pub(crate) const LORA: &str = "lora";

/// One of attention's linear maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// `q_proj`.
    Query,
    /// `k_proj`.
    Key,
    /// `v_proj`.
    Value,
    /// `out_proj`.
    Output,
}

/// Shape of the low-rank factors and where they stand.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// r: inner width of the factors; at least 1, at most the model's width.
    pub rank: i64,
    /// α: the factors' product is scaled by α / r; above 0.
    pub alpha: f64,
    /// The maps that carry them.
    pub projections: BTreeSet<Projection>,
}

impl LoraConfig {
    /// α / r.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    pub(crate) fn check(&self, width: i64) -> Result<()> {
        let refuse = |key, given: String, allowed: String| Err(Error::Config { key, given, allowed });
        if !(1..=width).contains(&self.rank) {
            return refuse("lora.rank", self.rank.to_string(), format!("1 to hidden_size = {width}"));
        }
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return refuse("lora.alpha", self.alpha.to_string(), "above 0".into());
        }
        if self.projections.is_empty() {
            return refuse("lora.projections", "empty".into(), "at least one of query, key, value, output".into());
        }
        Ok(())
    }
}

/// The factors beside one linear map.
#[derive(Debug)]
pub struct Lora {
    down: Tensor, // A (rank, input)
    up: Tensor,   // B (output, rank), zero at the start
    scale: f64,
}

impl Lora {
    /// Registers `down` and `up` under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &LoraConfig, input: i64, output: i64) -> Result<Lora> {
        Ok(Lora {
            down: path.parameter("down", &[config.rank, input])?,
            up: path.parameter("up", &[output, config.rank])?,
            scale: config.scale(),
        })
    }

    /// What is added to the map's output.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let kind = input.kind();
        let inner = input.f_linear(&cast(&self.down, kind)?, None::<&Tensor>)?;
        Ok(inner.f_linear(&cast(&self.up, kind)?, None::<&Tensor>)?.f_mul_scalar(self.scale)?)
    }
}

/// The weight that equals W with its factors: W + (α / r) B A.
pub(crate) fn merge(weight: &Tensor, down: &Tensor, up: &Tensor, scale: f64) -> Result<Tensor> {
    Ok(weight.f_add(&up.f_matmul(down)?.f_mul_scalar(scale)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::Linear;
    use crate::noise::Noise;
    use crate::parameters::Store;
    use tch::{Device, Kind};

    #[test]
    fn the_merged_weight_computes_what_the_factors_do() {
        let config = LoraConfig { rank: 2, alpha: 3.0, projections: [Projection::Query].into() };
        let store = Store::new(Device::Cpu);
        let linear = Linear::adapted(&store.root(), 6, 5, Some(&config)).unwrap();
        let noise = Noise::new(1, Device::Cpu);
        let tensors = store.named();
        tch::no_grad(|| {
            for (_, tensor) in &tensors {
                tensor.shallow_clone().copy_(&noise.normal_like(tensor).unwrap());
            }
        });
        let find = |name: &str| &tensors.iter().find(|(other, _)| other == name).unwrap().1;
        let merged = merge(find("weight"), find("lora.down"), find("lora.up"), config.scale()).unwrap();
        let input = noise.normal_like(&Tensor::zeros([4, 6], (Kind::Float, Device::Cpu))).unwrap();
        let (beside, within) = (linear.forward(&input).unwrap(), input.linear(&merged, Some(find("bias"))));
        // Sums of 6 products below 50 in another order: 6 × 50 × 2⁻²⁴ < 2e-5.
        assert!((&beside - &within).abs().max().double_value(&[]) < 2e-5);
        let plain = input.linear(find("weight"), Some(find("bias")));
        assert!((beside - plain).abs().max().double_value(&[]) > 0.1, "the factors do something");
    }

    #[test]
    fn a_rank_beyond_the_width_is_refused() {
        let config = LoraConfig { rank: 9, alpha: 1.0, projections: [Projection::Query].into() };
        assert!(config.check(8).unwrap_err().to_string().contains("1 to hidden_size = 8"));
        assert!(LoraConfig { rank: 8, ..config }.check(8).is_ok());
    }
}
