//! Which tensor of a checkpoint goes into which parameter of a model: strict about names, shapes and types, and decided
//! before anything is allocated or copied.

use std::collections::{BTreeMap, BTreeSet};

use tch::{Kind, Tensor};

use super::{Checkpoint, Entry, names};
use crate::error::{Error, Result};
use crate::norm::{KL_NORM, PLAIN_NORM, own_part, site_of};

/// What becomes of the CTC head in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The checkpoint must hold it, in the model's shape.
    Load,
    /// The model has one of its own: a new vocabulary.
    Fresh,
}

/// Which tensor goes where.
#[derive(Debug, Default)]
pub struct Fit {
    /// Parameters that the checkpoint does not hold: they are to be filled otherwise.
    pub fresh: Vec<String>,
    /// Tensors of the checkpoint that the model has no place for, each of a kind that is known to be of no use.
    pub skipped: Vec<String>,
    copies: Vec<(String, String)>, // parameter, tensor
}

impl Checkpoint {
    /// Fits the checkpoint to a model's parameters (names from the root: `wav2vec2.…`, `lm_head.…`); only their names,
    /// shapes and types are looked at. `root` is the family's.
    ///
    /// Only these may be missing: the head with [`Head::Fresh`]; a norm's own parameters where the checkpoint has a
    /// LayerNorm (γ and β then come from it), and of another KL-Norm those whose start changes nothing (a; log σ's low-rank
    /// term; U and V where it has neither); adapters and low-rank factors when it has none at all; what pretraining adds,
    /// likewise; the mask
    /// embedding. Only these may be extra: the
    /// head with [`Head::Fresh`]; pretraining's quantiser and projections; the mask embedding; what KL-Norm has for log σ
    /// alone, which evaluation never sees, and all of one whose fold a LayerNorm has taken.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with a line for every tensor that does not fit.
    pub fn fit(&self, parameters: &[(String, Tensor)], root: &str, head: Head) -> Result<Fit> {
        let bare = names::is_bare(self.names(), root);
        let mut fit = Fit::default();
        let mut problems = Vec::new();
        let mut tensors: BTreeMap<String, (&str, &Entry)> = BTreeMap::new();
        for (name, entry) in &self.tensors {
            let canonical = names::canonical(name, root, bare);
            if let Some((other, _)) = tensors.insert(canonical, (name, entry)) {
                problems.push(format!("{}: the same parameter as {other}", entry.original));
            }
        }
        let adapted = tensors.keys().any(|name| names::is_adapter(name));

        let mut tried = BTreeSet::new(); // tensors that have a parameter, whether they fit it or not
        let mut folded = BTreeSet::new(); // stock names that stand beside KL-Norm's own as their fold
        for (name, parameter) in parameters {
            if names::is_head(name) && head == Head::Fresh {
                fit.fresh.push(name.clone());
                continue;
            }
            let stock = stock_name(name);
            let source = match (tensors.contains_key(name), &stock) {
                (true, _) => Some(name),
                (false, stock) => stock.as_ref().filter(|name| tensors.contains_key(*name)),
            };
            if source == Some(name) {
                folded.extend(stock.clone());
            }
            match source.and_then(|source| tensors.get(source)) {
                Some((tensor, entry)) => {
                    tried.insert(*tensor);
                    match problem(entry, parameter) {
                        Some(what) => problems.push(format!("{}: {what}", entry.original)),
                        None => fit.copies.push((name.clone(), tensor.to_string())),
                    }
                }
                None if names::is_mask_embedding(name)
                    || names::is_lora(name)
                    || (names::is_adapter(name) && !adapted)
                    || names::pretraining_part(name)
                        .is_some_and(|part| !tensors.keys().any(|other| other.starts_with(part)))
                    || starts_afresh(
                        name,
                        holds(&tensors, name, "gamma"),
                        holds(&tensors, name, "u") || holds(&tensors, name, "v"),
                    ) =>
                {
                    fit.fresh.push(name.clone());
                }
                None if no_layer_norm(&tensors, name) => {
                    problems.push(format!(
                        "{name}: missing: another normalisation stands there that equals no LayerNorm (KL-Norm with a low-rank mean or other statistics, or another kind); model.norm must be what it was learnt with"
                    ));
                }
                None => problems.push(format!("{name}: missing")),
            }
        }

        let left_over = tensors.iter().filter(|(_, (tensor, _))| !tried.contains(*tensor));
        for (name, (_, entry)) in left_over {
            let expected = names::is_pretraining(name)
                || names::is_mask_embedding(name)
                || norm_left_over(name, &tried)
                || folded.contains(name)
                || (names::is_head(name) && head == Head::Fresh);
            if expected {
                fit.skipped.push(entry.original.clone());
            } else {
                problems.push(format!("{}: unexpected, the configuration has no such parameter", entry.original));
            }
        }
        if problems.is_empty() { Ok(fit) } else { Err(Error::Mismatch { path: self.path.clone(), problems }) }
    }
}

impl Fit {
    /// Copies the tensors into the parameters of the model that was fitted; floating types are converted, nothing is
    /// reshaped.
    ///
    /// # Errors
    /// A file that cannot be read any more, or a model that is not the one that was fitted.
    pub fn copy(&self, checkpoint: &Checkpoint, parameters: &[(String, Tensor)]) -> Result<()> {
        let by_name: BTreeMap<&str, &Tensor> =
            parameters.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        for (name, tensor) in &self.copies {
            let parameter = by_name.get(name.as_str()).ok_or_else(|| Error::Store {
                name: name.clone(),
                problem: "is not in the model that its checkpoint was fitted to".into(),
            })?;
            checkpoint.copy(tensor, parameter)?;
        }
        Ok(())
    }
}

/// Why a tensor cannot be copied into a parameter.
fn problem(entry: &Entry, parameter: &Tensor) -> Option<String> {
    let floating = |kind: Option<Kind>| matches!(kind, Some(Kind::Double | Kind::Float | Kind::Half | Kind::BFloat16));
    let wanted = parameter.size();
    if entry.shape != wanted {
        return Some(format!("shape {:?}, where the configuration has {wanted:?}", entry.shape));
    }
    if floating(Some(parameter.kind())) && !floating(entry.kind) {
        return Some(format!("type {}, where a floating type is needed", entry.dtype));
    }
    (entry.kind.is_none()).then(|| format!("type {} is not one klang reads", entry.dtype))
}

/// Whether a norm's own parameter may start afresh: all but γ and β at the site of a LayerNorm; at the site of a norm of its
/// kind only those whose start changes nothing of what it computes.
fn starts_afresh(name: &str, at_its_kind: bool, at_low_rank: bool) -> bool {
    let part = own_part(name).map(|(_, part)| part);
    match part {
        Some("a" | "sigma_u" | "sigma_v") => true,
        // Of a low-rank term both, and where there is none: its U then starts at zero.
        Some("u" | "v") => !at_low_rank,
        Some("w" | "b" | "s" | "running_mean" | "running_var") => !at_its_kind,
        _ => false,
    }
}

/// Whether a tensor of a KL-Norm is one that the model can do without: what log σ alone takes, which evaluation never sees,
/// and all of one whose fold was taken as a LayerNorm.
fn norm_left_over(name: &str, tried: &BTreeSet<&str>) -> bool {
    let Some((own, part)) = own_part(name) else { return false };
    // A bare file's names lack the root that the site has here.
    let folded = |site: &str| tried.iter().any(|tensor| format!("{site}.weight").ends_with(*tensor));
    matches!(part, "a" | "s" | "sigma_u" | "sigma_v") || site_of(own).is_some_and(folded)
}

/// Whether a missing parameter is a LayerNorm's where the checkpoint has a norm that equals none.
fn no_layer_norm(tensors: &BTreeMap<String, (&str, &Entry)>, name: &str) -> bool {
    let site = name.strip_suffix(".weight").or(name.strip_suffix(".bias"));
    let own = |site: &str| [KL_NORM, PLAIN_NORM].map(|mark| format!("{site}.{mark}.gamma"));
    site.is_some_and(|site| own(site).iter().any(|gamma| tensors.contains_key(gamma)))
}

/// Whether the checkpoint has another part of the norm that this parameter is a part of.
fn holds(tensors: &BTreeMap<String, (&str, &Entry)>, name: &str, part: &str) -> bool {
    own_part(name).is_some_and(|(own, _)| tensors.contains_key(&format!("{own}.{part}")))
}

/// The stock LayerNorm parameter that γ or β of a norm of klang's own starts from.
fn stock_name(name: &str) -> Option<String> {
    let (own, part) = own_part(name)?;
    let site = site_of(own)?;
    match part {
        "gamma" => Some(format!("{site}.weight")),
        "beta" => Some(format!("{site}.bias")),
        _ => None,
    }
}
