//! Where a frame stands: position embeddings by convolution, of each family's kind.

mod convolution;
mod stack;

use tch::Tensor;

use crate::config::{Family, ModelConfig};
use crate::error::Result;
use crate::frames::Frames;
use crate::parameters::Path;

use convolution::PositionalConvolution;
use stack::ConvolutionStack;

/// What is added to the hidden states before the first block (`pos_conv_embed`).
#[derive(Debug)]
pub enum PositionalEmbedding {
    /// One wide convolution.
    Convolution(PositionalConvolution),
    /// Several narrow ones (data2vec).
    Stack(ConvolutionStack),
}

impl PositionalEmbedding {
    /// Registers the parameters under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<PositionalEmbedding> {
        Ok(match config.model_type {
            Family::Data2VecAudio => PositionalEmbedding::Stack(ConvolutionStack::new(path, config)?),
            Family::Wav2Vec2 | Family::Hubert | Family::WavLm => {
                PositionalEmbedding::Convolution(PositionalConvolution::new(path, config)?)
            }
        })
    }

    /// Position embeddings (batch, frame, channel) of `hidden` of the same shape, whose padded frames must be zero.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor, frames: &Frames) -> Result<Tensor> {
        match self {
            PositionalEmbedding::Convolution(convolution) => convolution.forward(hidden, frames),
            PositionalEmbedding::Stack(stack) => stack.forward(hidden, frames),
        }
    }
}

/// A convolution over time that keeps the number of frames: (batch, frame, channel) to (batch, channel, frame).
fn same_length(hidden: &Tensor, weight: &Tensor, bias: &Tensor, groups: i64) -> Result<Tensor> {
    let kernel = weight.size()[2];
    let output = hidden.f_transpose(1, 2)?.f_conv1d(weight, Some(bias), [1], [kernel / 2], [1], groups)?;
    // One frame too many when the kernel is even.
    Ok(output.f_narrow(2, 0, hidden.size()[1])?)
}
