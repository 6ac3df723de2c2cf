//! Adapters in the blocks (Rebuffi et al. 2017, as MMS has them): what a language adds to a model of many.

use tch::Tensor;

use crate::error::Result;
use crate::linear::Linear;
use crate::norm::LayerNorm;
use crate::parameters::Path;

/// ε of the norm: transformers leaves it at PyTorch's default.
const EPSILON: f64 = 1e-5;

/// Norm, linear to few channels, ReLU, linear back (`adapter_layer`).
#[derive(Debug)]
pub struct Adapter {
    norm: LayerNorm,
    down: Linear,
    up: Linear,
}

impl Adapter {
    /// Registers `norm`, `linear_1` and `linear_2` under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, channels: i64, width: i64) -> Result<Adapter> {
        Ok(Adapter {
            norm: LayerNorm::new(&(path / "norm"), channels, EPSILON)?,
            down: Linear::new(&(path / "linear_1"), channels, width)?,
            up: Linear::new(&(path / "linear_2"), width, channels)?,
        })
    }

    /// What is added to `hidden` (batch, frame, channel), in the same shape.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        self.up.forward(&self.down.forward(&self.norm.forward(hidden)?)?.f_relu()?)
    }
}
