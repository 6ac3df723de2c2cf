//! The named sizes for training from random weights.

use super::{FeatureNorm, ModelConfig};

impl ModelConfig {
    /// The named sizes for training from random weights.
    pub const SIZES: [&'static str; 3] = ["tiny", "small", "base"];

    /// A named size, or nothing for a name not in [`ModelConfig::SIZES`].
    ///
    /// `tiny` (about 2 million parameters) and `small` (about 21 million) are klang's own, for training from random
    /// weights on little speech: pre-norm blocks and layer-normed convolutions, which start more easily, and one wide
    /// first convolution, which starts as a filter bank and saves the narrow ones where most of a small model's time
    /// would otherwise go. Frames are 20 ms apart as everywhere. `base` is wav2vec 2.0 Base.
    pub fn of_size(name: &str) -> Option<ModelConfig> {
        let own = ModelConfig {
            do_stable_layer_norm: true,
            feat_extract_norm: FeatureNorm::Layer,
            conv_bias: true,
            conv_kernel: vec![200, 3, 3, 3, 3],
            conv_stride: vec![20, 2, 2, 2, 2],
            num_conv_pos_embeddings: 32,
            hidden_dropout: 0.05,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            final_dropout: 0.0,
            layerdrop: 0.0,
            initializer_range: 0.05,
            ..ModelConfig::default()
        };
        match name {
            "tiny" => Some(ModelConfig {
                hidden_size: 192,
                num_hidden_layers: 4,
                num_attention_heads: 4,
                intermediate_size: 768,
                conv_dim: vec![80, 96, 128, 160, 192],
                ..own
            }),
            "small" => Some(ModelConfig {
                hidden_size: 512,
                num_hidden_layers: 6,
                num_attention_heads: 8,
                intermediate_size: 2048,
                conv_dim: vec![160, 192, 256, 384, 512],
                initializer_range: 0.02,
                ..own
            }),
            "base" => Some(ModelConfig::default()),
            _ => None,
        }
    }
}
