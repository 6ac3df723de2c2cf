//! Names of tensors in other people's checkpoints, and the ones that klang writes.
//!
//! klang's parameters carry the names that current transformers writes for a model with a CTC head: `wav2vec2.…` (the
//! family's root) and `lm_head.…`.

use crate::lora::LORA;

/// The root of the head's names.
const HEAD: &str = "lm_head.";
/// What pretraining adds to an encoder, of which fine-tuning has no use: the quantiser and the projections of
/// `Wav2Vec2ForPreTraining`, and all of BEST-RQ.
const PRETRAINING: [&str; 4] = ["quantizer.", "project_q.", "project_hid.", "best_rq."];

/// Whether the checkpoint is of a bare encoder, whose names lack the family's root.
pub(super) fn is_bare<'a>(names: impl IntoIterator<Item = &'a str>, root: &str) -> bool {
    !names.into_iter().any(|name| name.strip_prefix(root).is_some_and(|rest| rest.starts_with('.')))
}

/// klang's name for a tensor of a file.
pub(super) fn canonical(name: &str, root: &str, bare: bool) -> String {
    let rooted = if bare && !is_head(name) && !is_pretraining(name) { format!("{root}.{name}") } else { name.into() };
    // Weight norm's names before torch 2.0's parametrizations; both are in the wild.
    match rooted.strip_suffix(".weight_g") {
        Some(stem) => format!("{stem}.parametrizations.weight.original0"),
        None => match rooted.strip_suffix(".weight_v") {
            Some(stem) => format!("{stem}.parametrizations.weight.original1"),
            None => rooted,
        },
    }
}

pub(super) fn is_head(name: &str) -> bool {
    name.starts_with(HEAD)
}

/// Whether a parameter belongs to what pretraining adds.
pub(super) fn is_pretraining(name: &str) -> bool {
    PRETRAINING.iter().any(|prefix| name.starts_with(prefix))
}

/// The part of pretraining's that a parameter belongs to, if it is of any: all of it stands in a checkpoint, or nothing.
pub(super) fn pretraining_part(name: &str) -> Option<&'static str> {
    PRETRAINING.into_iter().find(|prefix| name.starts_with(prefix))
}

/// transformers leaves the mask embedding out of models that were not made to be masked.
pub(super) fn is_mask_embedding(name: &str) -> bool {
    name.ends_with("masked_spec_embed")
}

/// Whether a parameter belongs to an adapter in a block.
pub(super) fn is_adapter(name: &str) -> bool {
    name.contains(".adapter_layer.")
}

/// Whether a parameter is one of the low-rank factors beside a linear map.
pub(super) fn is_lora(name: &str) -> bool {
    lora_parts(name).is_some()
}

/// The parts of a low-rank factor's name: the linear map it belongs to, and its own name there.
pub(super) fn lora_parts(name: &str) -> Option<(&str, &str)> {
    let (rest, part) = name.rsplit_once('.')?;
    let map = rest.strip_suffix(LORA)?.strip_suffix('.')?;
    Some((map, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_weight_norm_names_meet() {
        let old = "wav2vec2.encoder.pos_conv_embed.conv.weight_g";
        let new = "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0";
        assert_eq!(canonical(old, "wav2vec2", false), new);
        assert_eq!(canonical(new, "wav2vec2", false), new);
    }

    #[test]
    fn a_bare_model_gets_its_root() {
        assert!(is_bare(["encoder.layer_norm.weight"], "hubert"));
        assert!(!is_bare(["hubert.encoder.layer_norm.weight", "lm_head.bias"], "hubert"));
        assert_eq!(canonical("encoder.layer_norm.weight", "hubert", true), "hubert.encoder.layer_norm.weight");
        for other in ["lm_head.bias", "quantizer.codevectors"] {
            assert_eq!(canonical(other, "wav2vec2", true), other);
        }
    }

    #[test]
    fn low_rank_names_split_into_map_and_part() {
        let map = "hubert.encoder.layers.3.attention.q_proj";
        assert_eq!(lora_parts(&format!("{map}.lora.up")), Some((map, "up")));
        assert_eq!(lora_parts(&format!("{map}.weight")), None);
    }
}
