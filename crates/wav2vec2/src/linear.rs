//! The affine map, with its weights in fp32 and its arithmetic in the input's precision, or in 8 bits.

use std::sync::{Arc, OnceLock};

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::int8::{Int8Linear, Then};
use crate::lora::{LORA, Lora, LoraConfig};
use crate::parameters::Path;

/// y = x Wᵀ + b, with low-rank factors beside W where they are learnt. Weights stay fp32; they are cast to the input's
/// kind for the product. Where [`crate::Store::to_int8`] has rounded W, evaluation takes the rounded one.
#[derive(Debug)]
pub struct Linear {
    weight: Tensor, // (output, input)
    bias: Tensor,   // (output)
    lora: Option<Lora>,
    int8: Arc<OnceLock<Int8Linear>>,
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
        let weight = path.parameter("weight", &[output, input])?;
        let bias = path.parameter("bias", &[output])?;
        Ok(Linear {
            int8: path.affine(&weight, Some(&bias)),
            weight,
            bias,
            lora: lora.map(|lora| Lora::new(&(path / LORA), lora, input, output)).transpose()?,
        })
    }

    /// The weight (output, input) and the bias (output).
    pub fn parts(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }

    /// Maps the last dimension of `input`.
    ///
    /// # Errors
    /// When the last dimension is not the layer's input width.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let output = match self.int8.get() {
            Some(rounded) => rounded.forward(input, Then::Nothing)?,
            None => {
                let kind = input.kind();
                input.f_linear(&cast(&self.weight, kind)?, Some(cast(&self.bias, kind)?))?
            }
        };
        match &self.lora {
            Some(lora) => Ok(output.f_add(&lora.forward(input)?)?),
            None => Ok(output),
        }
    }

    /// As [`Linear::forward`], and GELU after it.
    ///
    /// # Errors
    /// As [`Linear::forward`].
    pub fn forward_gelu(&self, input: &Tensor) -> Result<Tensor> {
        match (self.int8.get(), &self.lora) {
            (Some(rounded), None) => rounded.forward(input, Then::Gelu),
            _ => gelu(self.forward(input)?),
        }
    }
}

/// GELU by the error function, in place where nothing is kept for a gradient.
pub(crate) fn gelu(mut hidden: Tensor) -> Result<Tensor> {
    Ok(if hidden.requires_grad() { hidden.f_gelu("none")? } else { hidden.f_gelu_("none")? })
}

/// The tensor in another kind; itself when it already is.
pub(crate) fn cast(tensor: &Tensor, kind: Kind) -> Result<Tensor> {
    Ok(if tensor.kind() == kind { tensor.shallow_clone() } else { tensor.f_to_kind(kind)? })
}
