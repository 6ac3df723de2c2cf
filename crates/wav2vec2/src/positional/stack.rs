//! data2vec's relative position: narrow convolutions one above the other, each with a norm that has no parameters.

use tch::{Kind, Tensor};

use super::same_length;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::frames::Frames;
use crate::linear::cast;
use crate::parameters::Path;

/// ε of the norms: transformers leaves it at PyTorch's default.
const EPSILON: f64 = 1e-5;

/// The stack (`Data2VecAudioPositionalConvEmbedding`).
#[derive(Debug)]
pub struct ConvolutionStack {
    layers: Vec<Layer>,
    groups: i64,
}

#[derive(Debug)]
struct Layer {
    weight: Tensor, // (channel, channel / groups, kernel)
    bias: Tensor,   // (channel)
}

impl ConvolutionStack {
    /// Registers `conv` of each layer under `path / "layers" / N`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<ConvolutionStack> {
        let (channels, groups) = (config.hidden_size, config.num_conv_pos_embedding_groups);
        let layer = |index: i64| -> Result<Layer> {
            let conv = path / "layers" / index / "conv";
            Ok(Layer {
                weight: conv.parameter("weight", &[channels, channels / groups, config.conv_pos_kernel_size])?,
                bias: conv.parameter("bias", &[channels])?,
            })
        };
        Ok(ConvolutionStack { layers: (0..config.num_conv_pos_embeddings).map(layer).collect::<Result<_>>()?, groups })
    }

    /// (batch, frame, channel) to the same.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor, frames: &Frames) -> Result<Tensor> {
        let (kind, width) = (hidden.kind(), hidden.size()[2]);
        let mut hidden = hidden.shallow_clone();
        for layer in &self.layers {
            // Each layer's bias would otherwise reach real frames from padded ones in the layer above.
            hidden = frames.zero_padding(hidden)?;
            let position = same_length(&hidden, &cast(&layer.weight, kind)?, &cast(&layer.bias, kind)?, self.groups)?;
            hidden = position
                .f_transpose(1, 2)? // (batch, frame, channel)
                .f_to_kind(Kind::Float)?
                .f_layer_norm([width], None::<&Tensor>, None, EPSILON, true)?
                .f_gelu("none")?
                .f_to_kind(kind)?;
        }
        Ok(hidden)
    }
}
