//! fairseq's wav2vec 2.0 checkpoints: their names for what transformers names otherwise, and the shape they state.

use std::path::Path;

use klang_pickle::Value;

use crate::config::{FeatureNorm, ModelConfig};
use crate::error::{Error, Result};
use crate::pretraining::ContrastiveConfig;

/// The model that a fairseq checkpoint says it is.
#[derive(Clone, Debug, PartialEq)]
pub struct FairseqModel {
    /// The encoder's shape.
    pub config: ModelConfig,
    /// Whether it was trained on utterances of zero mean and unit variance, where it says so: not Base, but the others.
    pub normalize: Option<bool>,
}

/// Around the encoder of a model that was fine-tuned.
const FINE_TUNED: &str = "w2v_encoder.w2v_model.";

/// What stands elsewhere in fairseq: the beginning of its name, and of transformers'.
const PREFIXES: [(&str, &str); 11] = [
    ("w2v_encoder.proj.", "lm_head."),
    ("post_extract_proj.", "feature_projection.projection."),
    ("layer_norm.", "feature_projection.layer_norm."),
    ("encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."),
    ("encoder.layer_norm.", "encoder.layer_norm."),
    ("quantizer.vars", "quantizer.codevectors"),
    ("quantizer.weight_proj.", "quantizer.weight_proj."),
    ("project_q.", "project_q."),
    ("final_proj.", "project_hid."),
    ("mask_emb", "masked_spec_embed"),
    ("w2v_encoder.mask_emb", "masked_spec_embed"),
];

/// The same inside a block.
const IN_BLOCK: [(&str, &str); 5] = [
    ("self_attn.", "attention."),
    ("self_attn_layer_norm.", "layer_norm."),
    ("fc1.", "feed_forward.intermediate_dense."),
    ("fc2.", "feed_forward.output_dense."),
    ("final_layer_norm.", "final_layer_norm."),
];

/// The same inside a convolution: its norm stands third, in layer-normed encoders between two transpositions.
const IN_CONVOLUTION: [(&str, &str); 3] = [("0.", "conv."), ("2.1.", "layer_norm."), ("2.", "layer_norm.")];

/// transformers' name, in a bare encoder, for a parameter of fairseq's; none for one that wav2vec 2.0 has not.
pub(super) fn transformers_name(name: &str) -> Option<String> {
    let name = name.strip_prefix(FINE_TUNED).unwrap_or(name);
    let renamed = |name: &str, table: &[(&str, &str)]| {
        table.iter().find_map(|(from, to)| Some(format!("{to}{}", name.strip_prefix(from)?)))
    };
    for (place, table) in [("encoder.layers.", &IN_BLOCK[..]), ("feature_extractor.conv_layers.", &IN_CONVOLUTION)] {
        if let Some((number, rest)) = name.strip_prefix(place).and_then(|rest| rest.split_once('.')) {
            return Some(format!("{place}{number}.{}", renamed(rest, table)?));
        }
    }
    renamed(name, &PREFIXES)
}

/// The shape that a checkpoint states: under `cfg` in the later ones, under `args` in the first.
pub(super) fn model(root: Value, path: &Path) -> Result<FairseqModel> {
    let places: [&[&str]; 8] = [
        &["cfg", "model", "w2v_args", "model"],
        &["cfg", "model", "w2v_args", "cfg", "model"],
        &["cfg", "model", "w2v_args"],
        &["cfg", "model"],
        &["args", "w2v_args", "model"],
        &["args", "w2v_args", "args"],
        &["args", "w2v_args"],
        &["args"],
    ];
    let refuse = |problem: String| Error::Fairseq { path: path.into(), problem };
    let stated = |place: &&[&str]| root.path(place).filter(|model| model.get("encoder_layers").is_some());
    let stated = places.iter().find_map(stated).ok_or_else(|| {
        refuse(
            "states no shape: neither `cfg` nor `args` has encoder_layers; give a folder in transformers' layout"
                .into(),
        )
    })?;
    let number = |key: &str, default: i64| stated.get(key).and_then(Value::as_i64).unwrap_or(default);
    let flag = |key: &str| stated.get(key).and_then(Value::as_bool).unwrap_or(false);
    if let Some(activation) = stated.get("activation_fn").and_then(Value::as_str).filter(|name| *name != "gelu") {
        return Err(refuse(format!("computes with {activation}; klang builds gelu")));
    }
    let convolutions = match stated.get("conv_feature_layers") {
        None => CONVOLUTIONS,
        Some(stated) => stated.as_str().ok_or_else(|| {
            refuse(format!("has {} for its conv_feature_layers, where a text is read", stated.describe()))
        })?,
    };
    let layers = parse_convolutions(convolutions).ok_or_else(|| {
        refuse(format!(
            "conv_feature_layers is {convolutions:?}, where a sum of lists of (width, kernel, stride) is read"
        ))
    })?;
    let base = ModelConfig::default();
    let config = ModelConfig {
        hidden_size: number("encoder_embed_dim", base.hidden_size),
        num_hidden_layers: number("encoder_layers", base.num_hidden_layers as i64).clamp(0, 1 << 20) as usize,
        num_attention_heads: number("encoder_attention_heads", base.num_attention_heads),
        intermediate_size: number("encoder_ffn_embed_dim", base.intermediate_size),
        do_stable_layer_norm: flag("layer_norm_first"),
        feat_extract_norm: match stated.get("extractor_mode").and_then(Value::as_str) {
            Some("layer_norm") => FeatureNorm::Layer,
            _ => FeatureNorm::Group,
        },
        conv_dim: layers.iter().map(|layer| layer[0]).collect(),
        conv_kernel: layers.iter().map(|layer| layer[1]).collect(),
        conv_stride: layers.iter().map(|layer| layer[2]).collect(),
        conv_bias: flag("conv_bias"),
        num_conv_pos_embeddings: number("conv_pos", base.num_conv_pos_embeddings),
        num_conv_pos_embedding_groups: number("conv_pos_groups", base.num_conv_pos_embedding_groups),
        contrastive: contrastive(&number),
        ..base
    };
    config.check().map_err(|error| refuse(error.to_string()))?;
    let normalize = [&["cfg", "task", "normalize"][..], &["args", "normalize"]];
    Ok(FairseqModel { config, normalize: normalize.iter().find_map(|place| root.path(place)?.as_bool()) })
}

/// The shape of the quantiser and of what is compared; widths of 0 stand for the wider one's.
fn contrastive(number: &impl Fn(&str, i64) -> i64) -> ContrastiveConfig {
    let base = ContrastiveConfig::default();
    let projection = match number("final_dim", 0) {
        0 => number("encoder_embed_dim", ModelConfig::default().hidden_size),
        width => width,
    };
    ContrastiveConfig {
        num_codevectors_per_group: number("latent_vars", base.num_codevectors_per_group),
        num_codevector_groups: number("latent_groups", base.num_codevector_groups),
        codevector_dim: match number("latent_dim", 0) {
            0 => projection,
            width => width,
        },
        proj_codevector_dim: projection,
        num_negatives: number("num_negatives", base.num_negatives),
        ..base
    }
}

/// What fairseq takes where a checkpoint states none.
const CONVOLUTIONS: &str = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2";
/// Layers that [`ModelConfig::check`] could allow.
const MOST_CONVOLUTIONS: usize = 32;

/// Width, kernel and stride of each convolution, of a Python expression such as [`CONVOLUTIONS`]: nothing is evaluated
/// but sums and multiples of lists.
fn parse_convolutions(expression: &str) -> Option<Vec<[i64; 3]>> {
    let expression: String = expression.chars().filter(|character| !character.is_whitespace()).collect();
    let mut layers = Vec::new();
    for term in expression.split('+') {
        let (list, times) = term.split_once('*').unwrap_or((term, "1"));
        let times: usize = times.parse().ok()?;
        let list = list.strip_prefix('[')?.strip_suffix(']')?;
        let mut part = Vec::new();
        for layer in list.strip_suffix(',').unwrap_or(list).split("),") {
            let numbers = layer.strip_prefix('(')?.trim_end_matches(')').split(',');
            let numbers: Vec<i64> = numbers.map(|number| number.parse().ok()).collect::<Option<_>>()?;
            part.push(<[i64; 3]>::try_from(numbers).ok()?);
        }
        if times > MOST_CONVOLUTIONS || layers.len() + part.len() * times > MOST_CONVOLUTIONS {
            return None;
        }
        (0..times).for_each(|_| layers.extend(&part));
    }
    Some(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_fairseqs_names_has_its_place() {
        for (fairseq, transformers) in [
            ("feature_extractor.conv_layers.3.0.weight", "feature_extractor.conv_layers.3.conv.weight"),
            ("feature_extractor.conv_layers.0.2.bias", "feature_extractor.conv_layers.0.layer_norm.bias"),
            ("feature_extractor.conv_layers.4.2.1.weight", "feature_extractor.conv_layers.4.layer_norm.weight"),
            ("encoder.pos_conv.0.weight_g", "encoder.pos_conv_embed.conv.weight_g"),
            ("encoder.layers.11.self_attn.out_proj.bias", "encoder.layers.11.attention.out_proj.bias"),
            ("encoder.layers.0.self_attn_layer_norm.weight", "encoder.layers.0.layer_norm.weight"),
            ("encoder.layers.0.fc2.weight", "encoder.layers.0.feed_forward.output_dense.weight"),
            ("layer_norm.weight", "feature_projection.layer_norm.weight"),
            ("mask_emb", "masked_spec_embed"),
            ("final_proj.weight", "project_hid.weight"),
            ("w2v_encoder.w2v_model.encoder.layer_norm.bias", "encoder.layer_norm.bias"),
            ("w2v_encoder.proj.weight", "lm_head.weight"),
        ] {
            assert_eq!(transformers_name(fairseq).as_deref(), Some(transformers), "{fairseq}");
        }
        for stranger in ["decoder.embed.weight", "encoder.layers.0.moe.weight", "label_embs_concat"] {
            assert_eq!(transformers_name(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn a_width_that_is_not_stated_is_that_of_what_it_is_compared_with() {
        let shape = |stated: &[(&str, i64)]| {
            let number = |key: &str, default: i64| {
                stated.iter().find(|(name, _)| *name == key).map_or(default, |(_, value)| *value)
            };
            let ContrastiveConfig { codevector_dim, proj_codevector_dim, num_codevectors_per_group, .. } =
                contrastive(&number);
            [codevector_dim, proj_codevector_dim, num_codevectors_per_group]
        };
        // Base states 256 and leaves the codes' width open, Large states 768 of a width of 1024.
        assert_eq!(shape(&[("final_dim", 256), ("latent_dim", 0), ("latent_vars", 320)]), [256, 256, 320]);
        assert_eq!(shape(&[("final_dim", 768), ("latent_vars", 160)]), [768, 768, 160]);
        assert_eq!(shape(&[("encoder_embed_dim", 512), ("latent_dim", 128)]), [128, 512, 320]);
    }

    #[test]
    fn the_convolutions_expression_is_read_and_not_run() {
        let layers = parse_convolutions(CONVOLUTIONS).unwrap();
        let base = ModelConfig::default();
        assert_eq!(layers.iter().map(|layer| layer[0]).collect::<Vec<_>>(), base.conv_dim);
        assert_eq!(layers.iter().map(|layer| layer[1]).collect::<Vec<_>>(), base.conv_kernel);
        assert_eq!(layers.iter().map(|layer| layer[2]).collect::<Vec<_>>(), base.conv_stride);
        assert_eq!(parse_convolutions("[(8,3,1),(4,2,2)]*2").unwrap().len(), 4);
        for hostile in ["", "[(1,2)]", "[(1,2,3)]*99999999999", "__import__('os')", "[(1,2,3)]*-1", "[(1,2,3)", "[]"] {
            assert_eq!(parse_convolutions(hostile), None, "{hostile}");
        }
    }
}
