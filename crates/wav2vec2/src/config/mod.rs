//! The shape of a model, by the names of transformers' `config.json`.

mod check;
mod family;
mod sizes;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::lora::LoraConfig;
use crate::norm::NormConfig;
use crate::pretraining::ContrastiveConfig;

pub use family::Family;

/// Which normalisation the convolutions of the feature encoder carry (`feat_extract_norm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureNorm {
    /// Group norm over time on the first layer, one group a channel, none elsewhere (Base).
    Group,
    /// Layer norm over channels on every layer (Large-LV60, XLSR, XLS-R).
    Layer,
}

/// Shape and regularisation of an encoder of the family. Field names are transformers'; the comments give Base and Large-LV60.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelConfig {
    /// The member of the family.
    pub model_type: Family,
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
    /// Kernel of the positional convolution, in frames: 128. In data2vec, where it has a kernel of its own, the number of
    /// positional convolutions: 5.
    pub num_conv_pos_embeddings: i64,
    /// Groups of the positional convolution. 16.
    pub num_conv_pos_embedding_groups: i64,
    /// data2vec: kernel of each positional convolution, in frames. 19.
    pub conv_pos_kernel_size: i64,
    /// HuBERT: a batch norm before the positional convolution, in the place of weight norm (mHuBERT-147). false.
    pub conv_pos_batch_norm: bool,
    /// HuBERT: a norm before the feature projection. true.
    pub feat_proj_layer_norm: bool,
    /// WavLM: buckets of relative positions. 320.
    pub num_buckets: i64,
    /// WavLM: distance, in frames, from which on positions share a bucket. 800.
    pub max_bucket_distance: i64,
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
    /// Width of the adapters in the blocks: 16 in MMS, absent elsewhere.
    pub adapter_attn_dim: Option<i64>,
    /// What pretraining by wav2vec 2.0's objective adds.
    #[serde(flatten)]
    pub contrastive: ContrastiveConfig,
    /// Low-rank factors beside attention's projections while they are learnt; saved models have them merged.
    #[serde(skip)]
    pub lora: Option<LoraConfig>,
    /// klang's own key: the normalisation of the transformer's sites. Absent means LayerNorm.
    #[serde(rename = "klang_norm", skip_serializing_if = "NormConfig::is_layer_norm")]
    pub norm: NormConfig,
}

impl Default for ModelConfig {
    /// Base, as transformers' `Wav2Vec2Config()`.
    fn default() -> Self {
        ModelConfig {
            model_type: Family::Wav2Vec2,
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
            conv_pos_kernel_size: 19,
            conv_pos_batch_norm: false,
            feat_proj_layer_norm: true,
            num_buckets: 320,
            max_bucket_distance: 800,
            feat_proj_dropout: 0.0,
            hidden_dropout: 0.1,
            attention_dropout: 0.1,
            activation_dropout: 0.1,
            final_dropout: 0.1,
            layerdrop: 0.1,
            initializer_range: 0.02,
            add_adapter: false,
            adapter_attn_dim: None,
            contrastive: ContrastiveConfig::default(),
            lora: None,
            norm: NormConfig::LayerNorm,
        }
    }
}

/// A config.json is a few kilobytes; the bound only keeps a wrong file from being read whole.
const CONFIG_BYTES: u64 = 4 << 20;

impl ModelConfig {
    /// Reads and checks transformers' `config.json`; keys that shape nothing here are passed over, and absent ones have
    /// the family's default.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, another `model_type`, or a value that [`ModelConfig::check`] refuses.
    pub fn read(path: &Path) -> Result<ModelConfig> {
        let text = crate::checkpoint::read_text(path, CONFIG_BYTES)?;
        let parse = |source| Error::ConfigFile { path: path.into(), source };
        let refuse = |error| Error::ConfigValue { path: path.into(), source: Box::new(error) };
        let mut json: Value = serde_json::from_str(&text).map_err(parse)?;
        let kind = json.get("model_type").and_then(Value::as_str).map(str::to_string);
        let Some(family) = kind.as_deref().and_then(Family::of_model_type) else {
            let known: Vec<String> = Family::ALL.iter().map(|family| format!("`{}`", family.model_type())).collect();
            return Err(refuse(Error::Config {
                key: "model_type",
                given: kind.map_or("absent".into(), |kind| format!("`{kind}`")),
                allowed: known.join(", "),
            }));
        };
        if let Value::Object(map) = &mut json {
            family.complete(map);
        }
        let config = ModelConfig::deserialize(json).map_err(parse)?;
        config.check().map_err(refuse)?;
        Ok(config)
    }

    /// transformers' `config.json` but for what the vocabulary decides; keys of other families are left out.
    pub fn to_json(&self) -> Map<String, Value> {
        // A struct of numbers and strings cannot fail to become JSON.
        let Ok(Value::Object(mut map)) = serde_json::to_value(self) else { return Map::new() };
        map.retain(|key, _| self.model_type.has_key(key));
        map.insert("architectures".into(), json!([self.model_type.architecture()]));
        map.insert("num_feat_extract_layers".into(), json!(self.conv_dim.len()));
        map
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
