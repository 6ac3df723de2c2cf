//! A trained model as a folder for other tools.

mod card;
mod encoder;

use std::path::Path;

use klang_wav2vec2::checkpoint::{Own, read_safetensors, write_safetensors};
use serde_json::{Value, json};
use tch::Kind;

use crate::decode::DecodeSettings;
use crate::device::{Compute, DeviceChoice, PrecisionChoice};
use crate::error::{Error, Result};
use crate::files;
use crate::model::{ModelSource, Recogniser};
use crate::run::RunFolder;

/// How a model is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// With [`Own::Drop`] it is a stock model: KL-Norm is folded, low-rank factors are merged, what pretraining by BEST-RQ added
    /// is left out, and nothing of klang's is left but what was done to training transcripts. With [`Own::Keep`] all of that
    /// stands beside.
    pub own: Own,
    /// Whether weights are rounded to bfloat16, which halves the file.
    pub bf16: bool,
}

/// Writes the model of `source` to `folder`, with a model card; `given` is what it was called, a run folder perhaps, whose
/// recipe and scores the card then tells. How it is decoded goes along, with the language model, where it was tuned for the
/// language that is written. An encoder without a head, as pretraining leaves it, is written as one.
///
/// # Errors
/// A model that cannot be opened or cannot be folded, or a folder that holds something already.
pub fn export(source: &ModelSource, given: &Path, folder: &Path, options: ExportOptions) -> Result<()> {
    let refuse = |message: String| Err(Error::Export { path: folder.into(), message });
    let held = match std::fs::read_dir(folder) {
        Ok(entries) => Some(entries.count()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io(folder)(error)),
    };
    if held.is_some_and(|held| held > 0) {
        return refuse("holds something already; give a folder that is not there yet, or an empty one".into());
    }
    let ExportOptions { own, bf16 } = options;
    let place = if held.is_some() { folder } else { files::parent(folder) };
    let run = RunFolder::around(given);
    let checkpoint = source.checkpoint()?;
    let (fresh, card) = if checkpoint.head_rows().is_none() && source.path.is_dir() {
        (encoder::write_in(source, &checkpoint, place, own)?, encoder::card(source, run.as_ref())?)
    } else {
        // Nothing is computed, and in full precision.
        let compute = Compute::decide(DeviceChoice::Cpu, PrecisionChoice::Fp32, None)?;
        let model = Recogniser::open(source, compute)?;
        if own == Own::Drop
            && let Err(reason) = model.spec.config.norm.folds()
        {
            return refuse(format!("{reason}; --as-is keeps the model as it is, for klang alone"));
        }
        let (decoding, _) = DecodeSettings::of_model(&source.path)?.for_language(source.language.as_deref());
        let card = card::card(&model, source, run.as_ref(), own, &decoding)?;
        let fresh = model.write_in(place, own)?;
        if decoding != DecodeSettings::default() {
            // The language is now the only one.
            DecodeSettings { language: None, ..decoding }.write(fresh.path())?;
        }
        (fresh, card)
    };
    if bf16 {
        round(fresh.path())?;
    }
    files::write(&fresh.path().join("README.md"), card.as_bytes())?;
    match held {
        Some(_) => files::empty_into(fresh, folder, "config.json"),
        None => files::place_folder(fresh, folder),
    }
}

/// Rounds a folder's weights to bfloat16.
fn round(folder: &Path) -> Result<()> {
    let path = folder.join("model.safetensors");
    let mut rounded = Vec::new();
    for (name, tensor) in read_safetensors(&path)? {
        let floating = matches!(tensor.kind(), Kind::Float | Kind::Double | Kind::Half);
        rounded.push((name, if floating { tensor.f_to_kind(Kind::BFloat16)? } else { tensor }));
    }
    write_safetensors(&path, &rounded, &[("format", "pt".into())])?;
    let path = folder.join("config.json");
    let refuse = |error: serde_json::Error| Error::Model { path: path.clone(), message: error.to_string() };
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let mut config: Value = serde_json::from_str(&text).map_err(refuse)?;
    config["dtype"] = json!("bfloat16");
    let text = serde_json::to_string_pretty(&config).map_err(refuse)?;
    files::write(&path, (text + "\n").as_bytes())
}
