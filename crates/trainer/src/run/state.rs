//! What a resume needs: weights, optimiser, and how far the run is, saved together.

use std::path::Path;

use klang_wav2vec2::checkpoint::{read_safetensors, read_text, write_safetensors};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{RunFolder, metrics};
use crate::error::{Error, Result};
use crate::event::UpdateReport;
use crate::files;
use crate::optimiser::AdamW;

/// Reports of some ten thousand updates; the bound keeps a wrong file from being read whole.
const PROGRESS_BYTES: u64 = 16 << 20;

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Updates done.
    pub update: u64,
    /// The epoch that the next update reads from.
    pub epoch: u64,
    /// Batches of that epoch that are used up.
    pub batches: u64,
    /// Best evaluation so far: dev's WER and CER, in the order in which they decide, or in pretraining its loss.
    pub best: Option<[f64; 2]>,
    /// Evaluations since.
    pub since_best: u64,
    /// Wall-clock seconds so far.
    pub seconds: f64,
    /// Parts into which batches were cut, each computed by a thread of its own; none before the first save.
    #[serde(default)]
    pub parts: Option<usize>,
    /// Whether training ended, by its updates or its patience.
    pub finished: bool,
    /// Whether the evaluation that is due after this update has still to be done.
    #[serde(default)]
    pub evaluates: bool,
    /// Updates that were passed over because of numbers that were not finite.
    #[serde(default)]
    pub not_finite: u64,
    /// The updates since the last line of metrics.
    #[serde(default)]
    pub reports: Vec<UpdateReport>,
}

impl Progress {
    /// Reads a state's `progress.json`.
    ///
    /// # Errors
    /// A file that cannot be read, is beyond all measure, or is none of its kind.
    pub fn read(path: &Path) -> Result<Progress> {
        let refuse = |message| Error::Run { path: files::parent(files::parent(path)).into(), message };
        let text = read_text(path, PROGRESS_BYTES).map_err(|error| refuse(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| refuse(format!("{}: {error}", path.display())))
    }
}

/// A state on disk.
#[derive(Debug)]
pub struct SavedState;

impl SavedState {
    /// Saves weights, optimiser and progress: all three beside the old ones, then in their place.
    ///
    /// # Errors
    /// A failing file system; the old state then still stands.
    pub fn write(
        run: &RunFolder,
        parameters: &[(String, Tensor)],
        optimiser: &AdamW,
        progress: &Progress,
    ) -> Result<()> {
        let fresh = tempfile::Builder::new()
            .prefix(".state-")
            .suffix(".tmp")
            .tempdir_in(run.path())
            .map_err(Error::io(run.path()))?;
        write_safetensors(&fresh.path().join("weights.safetensors"), parameters, &[])?;
        write_safetensors(&fresh.path().join("optimiser.safetensors"), &optimiser.state()?, &[])?;
        let text = serde_json::to_string_pretty(progress).map_err(|error| Error::io(run.state())(error.into()))?;
        files::write(&fresh.path().join("progress.json"), text.as_bytes())?;
        files::replace_folder(fresh, &run.state())
    }

    /// Puts a saved state back into model and optimiser, and cuts the metrics back to it; none was saved by a run that
    /// ended before its first evaluation, which then begins anew.
    ///
    /// # Errors
    /// A state that is damaged, or of another model.
    pub fn restore(
        run: &RunFolder,
        parameters: &[(String, Tensor)],
        optimiser: &mut AdamW,
    ) -> Result<Option<Progress>> {
        let refuse = |path: &Path, message: String| Error::Run {
            path: run.path().into(),
            message: format!("{}: {message}", path.display()),
        };
        // A crash between the two renames of a save leaves the old state under this name.
        let old = run.state().with_extension("old");
        let Some(folder) = [run.state(), old].into_iter().find(|folder| folder.exists()) else {
            metrics::rewind(&run.metrics(), 0)?;
            return Ok(None);
        };
        let path = folder.join("progress.json");
        let progress = Progress::read(&path)?;
        let path = folder.join("weights.safetensors");
        let mut weights = read_safetensors(&path)?;
        for (name, parameter) in parameters {
            let saved = weights.remove(name).ok_or_else(|| refuse(&path, format!("{name} is missing")))?;
            if saved.size() != parameter.size() {
                return Err(refuse(
                    &path,
                    format!("{name} has shape {:?}, the model {:?}", saved.size(), parameter.size()),
                ));
            }
            tch::no_grad(|| parameter.shallow_clone().f_copy_(&saved))?;
        }
        let path = folder.join("optimiser.safetensors");
        optimiser.restore(read_safetensors(&path)?).map_err(|message| refuse(&path, message))?;
        metrics::rewind(&run.metrics(), progress.update)?;
        Ok(Some(progress))
    }
}
