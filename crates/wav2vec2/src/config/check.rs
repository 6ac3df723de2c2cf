//! What a configuration's values may be.

use super::{Family, FeatureNorm, ModelConfig};
use crate::error::{Error, Result};

impl ModelConfig {
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
        // Seconds of audio would be one frame: no model is meant, and products of these must not overflow.
        let together =
            self.conv_kernel.iter().chain(&self.conv_stride).try_fold(1i64, |all, &part| all.checked_mul(part));
        if together.is_none_or(|together| together > 1 << 40) {
            let given = format!("{:?} with kernels {:?}", self.conv_stride, self.conv_kernel);
            return refuse("conv_stride", &given, "strides and kernels whose product is at most 2^40");
        }
        for (key, value, most) in [
            ("hidden_size", self.hidden_size, 1 << 14),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1 << 16),
            ("num_conv_pos_embeddings", self.num_conv_pos_embeddings, 1 << 12),
            ("num_conv_pos_embedding_groups", self.num_conv_pos_embedding_groups, 1 << 14),
            ("conv_pos_kernel_size", self.conv_pos_kernel_size, 1 << 12),
            ("num_buckets", self.num_buckets, 1 << 14),
            ("max_bucket_distance", self.max_bucket_distance, 1 << 20),
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
        let family = self.model_type;
        if let Some(width) = self.adapter_attn_dim {
            if !(1..=1 << 14).contains(&width) {
                return refuse("adapter_attn_dim", &width, "1 to 16384, or null for none");
            }
            if !self.do_stable_layer_norm || !family.has_key("adapter_attn_dim") {
                let allowed = "null: there are adapters in pre-norm blocks (do_stable_layer_norm) of wav2vec2 and hubert only, and low-rank factors (lora) in any";
                return refuse("adapter_attn_dim", &width, allowed);
            }
        }
        for (key, value, elsewhere) in [
            ("conv_pos_batch_norm", self.conv_pos_batch_norm, false),
            ("feat_proj_layer_norm", self.feat_proj_layer_norm, true),
        ] {
            if value != elsewhere && !family.has_key(key) {
                return refuse(key, &value, &format!("{elsewhere}: hubert alone has a choice of it"));
            }
        }
        if family == Family::Data2VecAudio
            && (self.do_stable_layer_norm || self.feat_extract_norm == FeatureNorm::Group)
        {
            let given =
                format!("{:?} with do_stable_layer_norm = {}", self.feat_extract_norm, self.do_stable_layer_norm);
            return refuse(
                "feat_extract_norm",
                &given,
                "data2vec-audio has layer norms in its convolutions and post-norm blocks",
            );
        }
        if family == Family::WavLm {
            // Half of the buckets are for each direction, and half of those for exact distances.
            if self.num_buckets < 4 {
                return refuse("num_buckets", &self.num_buckets, "at least 4");
            }
            if self.max_bucket_distance <= self.num_buckets / 4 {
                let allowed = format!("above a quarter of num_buckets = {}", self.num_buckets);
                return refuse("max_bucket_distance", &self.max_bucket_distance, &allowed);
            }
        }
        if let Some(lora) = &self.lora {
            lora.check(self.hidden_size)?;
        }
        self.norm.check(self.num_hidden_layers, self.hidden_size)
    }
}
