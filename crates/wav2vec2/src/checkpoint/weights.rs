//! Weights between a file and a model: strict about names, shapes and types.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tch::{Kind, Tensor};

use super::names;
use super::safetensors::{Mapped, kind_of, tensor, write_safetensors};
use crate::error::{Error, Result};
use crate::norm::fold;

/// What becomes of the CTC head in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The file must hold it, in the model's shape.
    Load,
    /// The model keeps its own: a new vocabulary.
    KeepFresh,
}

/// What a load did beyond copying every tensor.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// Parameters that the file does not hold, and that keep their fresh values.
    pub fresh: Vec<String>,
    /// Tensors of the file that the model has no place for, each of a kind that is known to be of no use.
    pub skipped: Vec<String>,
}

/// Copies a checkpoint's weights into `parameters` (names from the root: `wav2vec2.…`, `lm_head.…`).
///
/// Only these may be missing: the head with [`Head::KeepFresh`], KL-Norm's own parameters when the file is a stock
/// model's (γ and β then come from its LayerNorm), and the mask embedding. Only these may be extra: the head with
/// [`Head::KeepFresh`], pretraining's quantiser and projections, and KL-Norm's own parameters in a model without it
/// (its LayerNorm then takes the folded values). Floating types are converted; nothing is reshaped.
///
/// # Errors
/// A file that is not sound safetensors, or [`Error::Mismatch`] with a line for every tensor that does not fit; no
/// parameter has been changed then.
pub fn load_weights(path: &Path, parameters: &[(String, Tensor)], head: Head) -> Result<LoadReport> {
    let mapped = Mapped::open(path)?;
    let file = mapped.tensors(path)?;
    let bare = names::is_bare(file.iter().map(|(name, _)| name));
    let mut views: BTreeMap<String, _> =
        file.iter().map(|(name, view)| (names::canonical(name, bare), (name, view))).collect();

    let mut report = LoadReport::default();
    let mut problems = Vec::new();
    let mut copies = Vec::new();
    let mut folded = BTreeSet::new(); // stock names that stand beside KL-Norm's own as their fold
    for (name, parameter) in parameters {
        if names::is_head(name) && head == Head::KeepFresh {
            report.fresh.push(name.clone());
            continue;
        }
        let stock = stock_name(name);
        let source = if views.contains_key(name) {
            Some(name.clone())
        } else {
            stock.clone().filter(|name| views.contains_key(name))
        };
        if source.as_ref() == Some(name) {
            folded.extend(stock);
        }
        match source.and_then(|source| views.get(&source).map(|(original, view)| (*original, view))) {
            Some((original, view)) => {
                let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
                let floating = kind_of(view.dtype())
                    .is_some_and(|kind| matches!(kind, Kind::Double | Kind::Float | Kind::Half | Kind::BFloat16));
                if shape != parameter.size() {
                    problems.push(format!(
                        "{original}: shape {shape:?}, where the configuration has {:?}",
                        parameter.size()
                    ));
                } else if !floating {
                    problems.push(format!("{original}: type {:?}, where a floating type is needed", view.dtype()));
                } else {
                    copies.push((name, original, parameter));
                }
            }
            None if names::is_mask_embedding(name)
                || names::kl_norm_parts(name).is_some_and(|(_, part)| !matches!(part, "gamma" | "beta")) =>
            {
                report.fresh.push(name.clone());
            }
            None => problems.push(format!("{name}: missing")),
        }
    }

    let used: BTreeSet<&str> = copies.iter().map(|&(_, original, _)| original).collect();
    views.retain(|_, (original, _)| !used.contains(original));
    for (name, (original, _)) in views {
        let expected = names::is_pretraining(&name)
            || names::is_mask_embedding(&name)
            || names::kl_norm_parts(&name).is_some()
            || folded.contains(&name)
            || (names::is_head(&name) && head == Head::KeepFresh);
        if expected {
            report.skipped.push(original.to_string());
        } else {
            problems.push(format!("{original}: unexpected, the configuration has no such parameter"));
        }
    }
    if !problems.is_empty() {
        return Err(Error::Mismatch { path: path.into(), problems });
    }
    for (_, original, parameter) in copies {
        let view = file.tensor(original).map_err(|source| Error::Safetensors { path: path.into(), source })?;
        let value = tensor(path, original, &view)?;
        tch::no_grad(|| parameter.shallow_clone().f_copy_(&value))?;
    }
    Ok(report)
}

/// Whether a checkpoint holds a CTC head.
///
/// # Errors
/// A file that is not sound safetensors.
pub fn holds_head(path: &Path) -> Result<bool> {
    let mapped = Mapped::open(path)?;
    Ok(mapped.tensors(path)?.iter().any(|(name, _)| names::is_head(name)))
}

/// The stock LayerNorm parameter that KL-Norm's γ or β starts from.
fn stock_name(name: &str) -> Option<String> {
    match names::kl_norm_parts(name)? {
        (site, "gamma") => Some(format!("{site}.weight")),
        (site, "beta") => Some(format!("{site}.bias")),
        _ => None,
    }
}

/// Writes `parameters` under the names that transformers reads.
///
/// Beside KL-Norm's own parameters stand, under the stock names, the γ and β of the LayerNorm that it equals in
/// evaluation: a tool that knows nothing of KL-Norm computes the same.
///
/// # Errors
/// A failing file system; the old file then still stands.
pub fn save_weights(path: &Path, parameters: &[(String, Tensor)]) -> Result<()> {
    let by_name: BTreeMap<&str, &Tensor> = parameters.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut tensors: Vec<(String, Tensor)> =
        parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    for (name, gamma) in parameters {
        let Some((site, "gamma")) = names::kl_norm_parts(name) else { continue };
        let part = |part: &str| by_name.get(format!("{site}.{}.{part}", crate::norm::KL_NORM).as_str()).copied();
        if let (Some(beta), Some(w), Some(b)) = (part("beta"), part("w"), part("b")) {
            let folded = tch::no_grad(|| fold(gamma, beta, w, b))?;
            tensors.push((format!("{site}.weight"), folded.weight));
            tensors.push((format!("{site}.bias"), folded.bias));
        }
    }
    write_safetensors(path, &tensors, &[("format", "pt".into())])
}
