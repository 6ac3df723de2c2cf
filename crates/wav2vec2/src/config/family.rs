//! The models that share wav2vec 2.0's shape: convolutions, a transformer, a CTC head.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A member of the family (`model_type`), by what its checkpoints call themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// wav2vec 2.0 (Baevski et al. 2020): Base, Large, LV-60, Robust, XLSR-53, XLS-R, MMS.
    #[default]
    #[serde(rename = "wav2vec2")]
    Wav2Vec2,
    /// HuBERT (Hsu et al. 2021): the same network, other pretraining.
    #[serde(rename = "hubert")]
    Hubert,
    /// WavLM (Chen et al. 2022): gated relative position bias in its attention.
    #[serde(rename = "wavlm")]
    WavLm,
    /// data2vec audio (Baevski et al. 2022): positional convolutions in a stack.
    #[serde(rename = "data2vec-audio")]
    Data2VecAudio,
}

impl Family {
    /// Every member.
    pub const ALL: [Family; 4] = [Family::Wav2Vec2, Family::Hubert, Family::WavLm, Family::Data2VecAudio];

    /// `model_type` in config.json.
    pub fn model_type(self) -> &'static str {
        match self {
            Family::Wav2Vec2 => "wav2vec2",
            Family::Hubert => "hubert",
            Family::WavLm => "wavlm",
            Family::Data2VecAudio => "data2vec-audio",
        }
    }

    /// The member that calls itself so.
    pub fn of_model_type(name: &str) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.model_type() == name)
    }

    /// The root of the encoder's parameter names beside a head, as transformers has it (`base_model_prefix`).
    pub fn root(self) -> &'static str {
        match self {
            Family::Wav2Vec2 => "wav2vec2",
            Family::Hubert => "hubert",
            Family::WavLm => "wavlm",
            Family::Data2VecAudio => "data2vec_audio",
        }
    }

    /// transformers' class with a CTC head.
    pub fn architecture(self) -> &'static str {
        match self {
            Family::Wav2Vec2 => "Wav2Vec2ForCTC",
            Family::Hubert => "HubertForCTC",
            Family::WavLm => "WavLMForCTC",
            Family::Data2VecAudio => "Data2VecAudioForCTC",
        }
    }

    /// transformers' class without a head, or with wav2vec 2.0's objective where a model carries it.
    pub fn pretraining_architecture(self, contrastive: bool) -> &'static str {
        match self {
            Family::Wav2Vec2 if contrastive => "Wav2Vec2ForPreTraining",
            Family::Wav2Vec2 => "Wav2Vec2Model",
            Family::Hubert => "HubertModel",
            Family::WavLm => "WavLMModel",
            Family::Data2VecAudio => "Data2VecAudioModel",
        }
    }

    /// Adds to a config.json what the family's members do not state because they know no other.
    pub(super) fn complete(self, config: &mut Map<String, Value>) {
        if self == Family::Data2VecAudio {
            config.entry("num_conv_pos_embeddings").or_insert(json!(5));
            config.insert("feat_extract_norm".into(), json!("layer"));
            config.insert("do_stable_layer_norm".into(), json!(false));
        }
    }

    /// Whether a key of config.json means anything to this member.
    pub(super) fn has_key(self, key: &str) -> bool {
        match key {
            "conv_pos_kernel_size" => self == Family::Data2VecAudio,
            "conv_pos_batch_norm" | "feat_proj_layer_norm" => self == Family::Hubert,
            "num_buckets" | "max_bucket_distance" => self == Family::WavLm,
            "adapter_attn_dim" => matches!(self, Family::Wav2Vec2 | Family::Hubert),
            "num_codevectors_per_group"
            | "num_codevector_groups"
            | "codevector_dim"
            | "proj_codevector_dim"
            | "contrastive_logits_temperature"
            | "num_negatives"
            | "diversity_loss_weight"
            | "feat_quantizer_dropout" => matches!(self, Family::Wav2Vec2 | Family::WavLm),
            "do_stable_layer_norm" | "feat_extract_norm" => self != Family::Data2VecAudio,
            _ => true,
        }
    }
}
