//! An encoder without a head, as pretraining leaves it, for other tools and for training from.

use std::fmt::Write;
use std::path::Path;

use klang_wav2vec2::ModelConfig;
use klang_wav2vec2::checkpoint::{Checkpoint, Own, write_safetensors};
use serde_json::json;
use tempfile::TempDir;

use super::card::{TO_FILL, author, data, origin, recipe};
use crate::error::{Error, Result};
use crate::model::{ModelSource, ModelSpec, fresh_folder};
use crate::pretrain::{HeldOut, Probed};
use crate::run::{MetricsLine, RunFolder, read_metrics};

/// Writes the encoder as a folder of a temporary name in `place`.
pub(super) fn write_in(source: &ModelSource, checkpoint: &Checkpoint, place: &Path, own: Own) -> Result<TempDir> {
    let config = ModelConfig::read(&source.path.join("config.json"))?;
    let audio = ModelSpec::read_audio(&source.path)?;
    if own == Own::Drop
        && let Err(reason) = config.norm.folds()
    {
        let message = format!("{reason}; --as-is keeps the model as it is, for klang alone");
        return Err(Error::Export { path: place.into(), message });
    }
    // KL-Norm's fold stands under the stock names already.
    let stock =
        |name: &str| !name.starts_with("best_rq.") && !name.contains(".kl_norm.") && !name.contains(".plain_norm.");
    let mut tensors = Vec::new();
    for name in checkpoint.names().filter(|name| own == Own::Keep || stock(name)) {
        tensors.push((name.to_string(), checkpoint.tensor(name)?));
    }
    let contrastive = tensors.iter().any(|(name, _)| name.starts_with("quantizer."));
    fresh_folder(place, |folder| {
        write_safetensors(&folder.join("model.safetensors"), &tensors, &[("format", "pt".into())])?;
        let mut map = config.to_json();
        if own == Own::Drop {
            map.remove("klang_norm");
        }
        map.insert("architectures".into(), json!([config.model_type.pretraining_architecture(contrastive)]));
        audio.write(folder, map, &config)
    })
}

/// README.md of an exported encoder: what it heard, how, and what that came to.
pub(super) fn card(source: &ModelSource, run: Option<&RunFolder>) -> Result<String> {
    let metrics = run.map(RunFolder::metrics).filter(|metrics| metrics.is_file());
    let lines = metrics.map(|metrics| read_metrics(&metrics)).transpose()?.unwrap_or_default();
    let start = lines.iter().rev().find_map(|line| match line {
        MetricsLine::Run { start, .. } if !start.is_empty() => Some(start.as_str()),
        _ => None,
    });
    let start = match start {
        Some("random") => "from random weights".to_string(),
        Some(start) => format!("from {}", origin(start)),
        None => format!("from {}", origin(&source.name)),
    };
    let config = ModelConfig::read(&source.path.join("config.json"))?;
    let family = config.model_type.model_type();
    let version = env!("CARGO_PKG_VERSION");
    let mut card = format!(
        "---\nlicense: # {TO_FILL}: of the model, which that of its data may bind\nlibrary_name: transformers\ntags:\n- {family}\n- klang\n---\n\n\
         # {TO_FILL}: a name\n\nA speech encoder that learnt from speech without transcripts, to train a recogniser from. It writes no text by itself. \
         Written by klang {version}, {start}.\n\n## Use\n\n```\nklang train my-recipe.yaml --set model.init=path/to/this/folder\n```\n\n"
    );
    let held_out = lines.iter().rev().find_map(|line| match line {
        MetricsLine::HeldOut { best: true, update, held_out, probe, .. } => Some((update, held_out, probe)),
        _ => None,
    });
    if let Some((update, HeldOut { loss, accuracy, spread, .. }, probe)) = held_out {
        let _ = write!(
            card,
            "## On held-out speech\n\nAfter {update} updates: {loss:.3} nats a masked frame, {:.1} % of masked frames told, spread of hidden states {spread:.2}",
            100.0 * accuracy
        );
        match probe {
            Some(Probed { loss, score }) => {
                let cer = score.cer.map_or("undefined".into(), |cer| format!("{:.1} %", 100.0 * cer));
                let _ = write!(card, "; a linear head on the encoder as it is: CER {cer}, {loss:.2} nats a label.\n\n");
            }
            None => card += ".\n\n",
        }
    }
    data(&mut card, &lines);
    if let Some(run) = run {
        recipe(&mut card, run)?;
    }
    card += &author();
    Ok(card)
}
