//! The affine map, with its weights in fp32 and its arithmetic in the input's precision.

use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

use crate::error::Result;

/// y = x Wᵀ + b. Weights stay fp32; they are cast to the input's kind for the product.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor, // (output, input)
    bias: Tensor,   // (output)
}

impl Linear {
    /// Registers `weight` and `bias` under `path`, as zeros: [`crate::initialise`] or a checkpoint fills them.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, input: i64, output: i64) -> Result<Linear> {
        Ok(Linear { weight: parameter(path, "weight", &[output, input])?, bias: parameter(path, "bias", &[output])? })
    }

    /// Maps the last dimension of `input`.
    ///
    /// # Errors
    /// When the last dimension is not the layer's input width.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let kind = input.kind();
        Ok(input.f_linear(&cast(&self.weight, kind)?, Some(cast(&self.bias, kind)?))?)
    }
}

/// A trainable tensor of zeros under `path / name`, waiting for its values.
pub(crate) fn parameter(path: &Path, name: &str, shape: &[i64]) -> Result<Tensor> {
    Ok(path.f_var(name, shape, Init::Const(0.0))?)
}

/// The tensor in another kind; itself when it already is.
pub(crate) fn cast(tensor: &Tensor, kind: Kind) -> Result<Tensor> {
    Ok(if tensor.kind() == kind { tensor.shallow_clone() } else { tensor.f_to_kind(kind)? })
}
