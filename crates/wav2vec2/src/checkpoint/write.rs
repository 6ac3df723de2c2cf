//! A model's parameters into a file that transformers reads.

use std::collections::BTreeMap;
use std::path::Path;

use tch::Tensor;

use super::{names, write_safetensors};
use crate::config::ModelConfig;
use crate::error::Result;
use crate::lora::merge;
use crate::norm::{fold, own_part, site_of};

/// What becomes of the parameters that klang alone has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// A norm's stand beside the stock ones: klang goes on from them, other tools pass them over.
    Keep,
    /// Only stock ones are written.
    Drop,
}

/// Writes `parameters` under the names that transformers reads.
///
/// Where KL-Norm stands, the stock names hold the γ and β of the LayerNorm that it equals in evaluation, and where low-rank
/// factors stand, the weight with them merged: a tool that knows nothing of either computes the same.
///
/// # Errors
/// A failing file system; the old file then still stands.
pub fn save_weights(path: &Path, parameters: &[(String, Tensor)], config: &ModelConfig, own: Own) -> Result<()> {
    let tensors = tch::no_grad(|| stock(parameters, config, own))?;
    write_safetensors(path, &tensors, &[("format", "pt".into())])
}

fn stock(parameters: &[(String, Tensor)], config: &ModelConfig, own: Own) -> Result<Vec<(String, Tensor)>> {
    let by_name: BTreeMap<&str, &Tensor> = parameters.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut tensors = Vec::new();
    for (name, tensor) in parameters {
        let keep = |tensors: &mut Vec<_>| tensors.push((name.clone(), tensor.shallow_clone()));
        if names::is_lora(name) {
            continue; // merged below
        }
        if let Some((norm, part)) = own_part(name) {
            if own == Own::Keep {
                keep(&mut tensors);
            }
            let of = |part: &str| by_name.get(format!("{norm}.{part}").as_str()).copied();
            let parts = (part, site_of(norm), of("beta"), of("w"));
            // What is no LayerNorm must not look like one: whoever knows no other norm then finds nothing there.
            if let ("gamma", Some(site), Some(beta), Some(w)) = parts
                && config.norm.folds().is_ok()
            {
                let folded = fold(tensor, beta, w, of("b"))?;
                tensors.push((format!("{site}.weight"), folded.weight));
                tensors.push((format!("{site}.bias"), folded.bias));
            }
            continue;
        }
        let factor = |part: &str| {
            let map = name.strip_suffix(".weight")?;
            by_name.get(format!("{map}.{}.{part}", crate::lora::LORA).as_str()).copied()
        };
        match (&config.lora, factor("down"), factor("up")) {
            (Some(lora), Some(down), Some(up)) => {
                tensors.push((name.clone(), merge(tensor, down, up, lora.scale())?));
            }
            _ => keep(&mut tensors),
        }
    }
    Ok(tensors)
}
