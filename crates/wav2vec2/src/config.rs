//! The shape of a model, by the names of transformers' `config.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::norm::NormConfig;

/// Which normalisation the convolutions of the feature encoder carry (`feat_extract_norm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureNorm {
    /// Group norm over time on the first layer, one group a channel, none elsewhere (Base).
    Group,
    /// Layer norm over channels on every layer (Large-LV60, XLSR, XLS-R).
    Layer,
}

/// Shape and regularisation of a Wav2Vec2 encoder. Field names are transformers'; the comments give Base and Large-LV60.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelConfig {
    /// Width of the transformer, in channels. 768; 1024.
    pub hidden_size: i64,
    /// Transformer blocks. 12; 24.
    pub num_hidden_layers: usize,
    /// Attention heads a block; divides `hidden_size`. 12; 16.
    pub num_attention_heads: i64,
    /// Width of the feed-forward network. 3072; 4096.
    pub intermediate_size: i64,
    /// Activation of the feed-forward network; `gelu` is the only one built.
    pub hidden_act: String,
    /// Activation of the convolutions; `gelu` is the only one built.
    pub feat_extract_activation: String,
    /// ε of the transformer's normalisations. 1e-5.
    pub layer_norm_eps: f64,
    /// Pre-norm blocks, with a norm after the last one. false; true.
    pub do_stable_layer_norm: bool,
    /// Normalisation of the feature encoder. group; layer.
    pub feat_extract_norm: FeatureNorm,
    /// Channels of each convolution. 512 × 7.
    pub conv_dim: Vec<i64>,
    /// Kernel of each convolution, in its input frames. 10, 3, 3, 3, 3, 2, 2.
    pub conv_kernel: Vec<i64>,
    /// Stride of each convolution, in its input frames. 5, 2, 2, 2, 2, 2, 2.
    pub conv_stride: Vec<i64>,
    /// Whether the convolutions carry a bias. false; true.
    pub conv_bias: bool,
    /// Kernel of the positional convolution, in frames. 128.
    pub num_conv_pos_embeddings: i64,
    /// Groups of the positional convolution. 16.
    pub num_conv_pos_embedding_groups: i64,
    /// Dropout after the feature projection. 0.1; 0.1.
    pub feat_proj_dropout: f64,
    /// Dropout on the residual branches and after the positional convolution. 0.1.
    pub hidden_dropout: f64,
    /// Dropout on the attention weights. 0.1.
    pub attention_dropout: f64,
    /// Dropout inside the feed-forward network. 0.1; 0.
    pub activation_dropout: f64,
    /// Dropout before the head. 0.1.
    pub final_dropout: f64,
    /// Chance that a block is skipped in a training step. 0.1.
    pub layerdrop: f64,
    /// Standard deviation of fresh linear weights. 0.02.
    pub initializer_range: f64,
    /// Adapter layers above the encoder (speech translation); klang builds none.
    pub add_adapter: bool,
    /// Width of MMS's adapters in the blocks; klang builds none.
    pub adapter_attn_dim: Option<i64>,
    /// klang's own key: the normalisation of the transformer's sites. Absent means LayerNorm.
    #[serde(rename = "klang_norm", skip_serializing_if = "NormConfig::is_layer_norm")]
    pub norm: NormConfig,
}

impl Default for ModelConfig {
    /// Base, as transformers' `Wav2Vec2Config()`.
    fn default() -> Self {
        ModelConfig {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            feat_extract_activation: "gelu".into(),
            layer_norm_eps: 1e-5,
            do_stable_layer_norm: false,
            feat_extract_norm: FeatureNorm::Group,
            conv_dim: vec![512; 7],
            conv_kernel: vec![10, 3, 3, 3, 3, 2, 2],
            conv_stride: vec![5, 2, 2, 2, 2, 2, 2],
            conv_bias: false,
            num_conv_pos_embeddings: 128,
            num_conv_pos_embedding_groups: 16,
            feat_proj_dropout: 0.0,
            hidden_dropout: 0.1,
            attention_dropout: 0.1,
            activation_dropout: 0.1,
            final_dropout: 0.1,
            layerdrop: 0.1,
            initializer_range: 0.02,
            add_adapter: false,
            adapter_attn_dim: None,
            norm: NormConfig::LayerNorm,
        }
    }
}

/// A config.json is a few kilobytes; the bound only keeps a wrong file from being read whole.
const CONFIG_BYTES: u64 = 4 << 20;

impl ModelConfig {
    /// Reads and checks transformers' `config.json`; keys that shape nothing here are passed over.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, another `model_type`, or a value that [`ModelConfig::check`] refuses.
    pub fn read(path: &Path) -> Result<ModelConfig> {
        let text = crate::checkpoint::read_text(path, CONFIG_BYTES)?;
        let parse = |source| Error::ConfigFile { path: path.into(), source };
        let refuse = |error| Error::ConfigValue { path: path.into(), source: Box::new(error) };
        let json: serde_json::Value = serde_json::from_str(&text).map_err(parse)?;
        let kind = json.get("model_type").and_then(|kind| kind.as_str());
        if kind != Some("wav2vec2") {
            return Err(refuse(Error::Config {
                key: "model_type",
                given: kind.map_or("absent".into(), |kind| format!("`{kind}`")),
                allowed: "`wav2vec2`".into(),
            }));
        }
        let config: ModelConfig = serde_json::from_str(&text).map_err(parse)?;
        config.check().map_err(refuse)?;
        Ok(config)
    }

    /// Checks every value against what can be built.
    ///
    /// # Errors
    /// The first key that cannot be built, what was given and what is allowed.
    pub fn check(&self) -> Result<()> {
        let refuse = |key, given: &dyn std::fmt::Display, allowed: &str| {
            Err(Error::Config { key, given: given.to_string(), allowed: allowed.into() })
        };
        let layers = self.conv_dim.len();
        if layers == 0 || layers > 32 || self.conv_kernel.len() != layers || self.conv_stride.len() != layers {
            let given =
                format!("{layers} widths, {} kernels, {} strides", self.conv_kernel.len(), self.conv_stride.len());
            return refuse("conv_dim", &given, "1 to 32 layers, with as many kernels and strides as widths");
        }
        for (key, values, most) in [
            ("conv_dim", &self.conv_dim, 1 << 14),
            ("conv_kernel", &self.conv_kernel, 1 << 12),
            ("conv_stride", &self.conv_stride, 1 << 12),
        ] {
            if let Some(value) = values.iter().find(|value| !(1..=most).contains(*value)) {
                return refuse(key, value, &format!("each from 1 to {most}"));
            }
        }
        for (key, value, most) in [
            ("hidden_size", self.hidden_size, 1 << 14),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1 << 16),
            ("num_conv_pos_embeddings", self.num_conv_pos_embeddings, 1 << 12),
            ("num_conv_pos_embedding_groups", self.num_conv_pos_embedding_groups, 1 << 14),
        ] {
            if !(1..=most).contains(&value) {
                return refuse(key, &value, &format!("1 to {most}"));
            }
        }
        if !(1..=256).contains(&self.num_hidden_layers) {
            return refuse("num_hidden_layers", &self.num_hidden_layers, "1 to 256");
        }
        for (key, divisor) in [
            ("num_attention_heads", self.num_attention_heads),
            ("num_conv_pos_embedding_groups", self.num_conv_pos_embedding_groups),
        ] {
            if self.hidden_size % divisor != 0 {
                return refuse(key, &divisor, &format!("a divisor of hidden_size = {}", self.hidden_size));
            }
        }
        for (key, value) in [
            ("feat_proj_dropout", self.feat_proj_dropout),
            ("hidden_dropout", self.hidden_dropout),
            ("attention_dropout", self.attention_dropout),
            ("activation_dropout", self.activation_dropout),
            ("final_dropout", self.final_dropout),
            ("layerdrop", self.layerdrop),
        ] {
            if !(0.0..1.0).contains(&value) {
                return refuse(key, &value, "0 to below 1");
            }
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return refuse("layer_norm_eps", &self.layer_norm_eps, "above 0 and below 1");
        }
        if !(self.initializer_range > 0.0 && self.initializer_range < 1.0) {
            return refuse("initializer_range", &self.initializer_range, "above 0 and below 1");
        }
        for (key, value) in
            [("hidden_act", &self.hidden_act), ("feat_extract_activation", &self.feat_extract_activation)]
        {
            if value != "gelu" {
                return refuse(key, value, "gelu");
            }
        }
        if self.add_adapter {
            return refuse("add_adapter", &true, "false: klang builds no adapter above the encoder");
        }
        if let Some(width) = self.adapter_attn_dim {
            return refuse("adapter_attn_dim", &width, "null: klang builds no adapters in the blocks");
        }
        self.norm.check(self.num_hidden_layers)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_size_passes_its_own_check() {
        for name in ModelConfig::SIZES {
            ModelConfig::of_size(name).unwrap().check().unwrap();
        }
        assert!(ModelConfig::of_size("huge").is_none());
    }

    #[test]
    fn a_head_count_that_does_not_divide_the_width_is_refused_by_name() {
        let config = ModelConfig { num_attention_heads: 7, ..ModelConfig::default() };
        let message = config.check().unwrap_err().to_string();
        assert!(message.contains("num_attention_heads") && message.contains("768"), "{message}");
    }

    #[test]
    fn mismatched_convolution_lists_are_refused() {
        let config = ModelConfig { conv_stride: vec![5, 2], ..ModelConfig::default() };
        assert!(config.check().unwrap_err().to_string().contains("conv_dim"));
    }

    #[test]
    fn another_architecture_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, r#"{"model_type": "whisper"}"#).unwrap();
        assert!(ModelConfig::read(&path).unwrap_err().to_string().contains("`whisper`"));
    }
}
