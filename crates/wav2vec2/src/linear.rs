//! The affine map, with its weights in fp32 and its arithmetic in the input's precision.

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::lora::{LORA, Lora, LoraConfig};
use crate::parameters::Path;

/// y = x Wᵀ + b, with low-rank factors beside W where they are learnt. Weights stay fp32; they are cast to the input's
/// kind for the product.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor, // (output, input)
    bias: Tensor,   // (output)
    lora: Option<Lora>,
}

impl Linear {
    /// Registers `weight` and `bias` under `path`, as zeros: [`crate::initialise`] or a checkpoint fills them.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, input: i64, output: i64) -> Result<Linear> {
        Linear::adapted(path, input, output, None)
    }

    /// As [`Linear::new`], with low-rank factors under `path / "lora"` if any.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn adapted(path: &Path, input: i64, output: i64, lora: Option<&LoraConfig>) -> Result<Linear> {
        Ok(Linear {
            weight: path.parameter("weight", &[output, input])?,
            bias: path.parameter("bias", &[output])?,
            lora: lora.map(|lora| Lora::new(&(path / LORA), lora, input, output)).transpose()?,
        })
    }

    /// Maps the last dimension of `input`.
    ///
    /// # Errors
    /// When the last dimension is not the layer's input width.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let kind = input.kind();
        let output = input.f_linear(&cast(&self.weight, kind)?, Some(cast(&self.bias, kind)?))?;
        match &self.lora {
            Some(lora) => Ok(output.f_add(&lora.forward(input)?)?),
            None => Ok(output),
        }
    }
}

/// The tensor in another kind; itself when it already is.
pub(crate) fn cast(tensor: &Tensor, kind: Kind) -> Result<Tensor> {
    Ok(if tensor.kind() == kind { tensor.shallow_clone() } else { tensor.f_to_kind(kind)? })
}
