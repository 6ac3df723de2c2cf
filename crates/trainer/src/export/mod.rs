//! A trained model as a folder for other tools.

mod card;

use std::path::Path;

use klang_wav2vec2::checkpoint::Own;

use crate::device::{Compute, DeviceChoice, PrecisionChoice};
use crate::error::{Error, Result};
use crate::files;
use crate::model::{ModelSource, Recogniser};
use crate::run::RunFolder;

/// Writes the model of `source` to `folder`, with a model card; `given` is what it was called, a run folder perhaps, whose
/// recipe and scores the card then tells.
///
/// With [`Own::Drop`] it is a stock model: KL-Norm is folded, low-rank factors are merged, and nothing of klang's is left
/// but what was done to training transcripts. With [`Own::Keep`] KL-Norm's parameters stand beside the folded ones.
///
/// # Errors
/// A model that cannot be opened or cannot be folded, or a folder that holds something already.
pub fn export(source: &ModelSource, given: &Path, folder: &Path, own: Own) -> Result<()> {
    let refuse = |message: String| Err(Error::Export { path: folder.into(), message });
    let held = match std::fs::read_dir(folder) {
        Ok(entries) => Some(entries.count()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io(folder)(error)),
    };
    if held.is_some_and(|held| held > 0) {
        return refuse("holds something already; give a folder that is not there yet, or an empty one".into());
    }
    // Nothing is computed, and in full precision.
    let compute = Compute::decide(DeviceChoice::Cpu, PrecisionChoice::Fp32, None)?;
    let model = Recogniser::open(source, compute)?;
    if own == Own::Drop
        && let Err(reason) = model.spec.config.norm.folds()
    {
        return refuse(format!("{reason}; --as-is keeps the model as it is, for klang alone"));
    }
    let card = card::card(&model, source, RunFolder::around(given).as_ref(), own)?;
    let fresh = model.write_in(if held.is_some() { folder } else { files::parent(folder) }, own)?;
    files::write(&fresh.path().join("README.md"), card.as_bytes())?;
    match held {
        Some(_) => files::empty_into(fresh, folder, "config.json"),
        None => files::place_folder(fresh, folder),
    }
}
