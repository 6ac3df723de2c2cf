//! What a resume needs: weights, optimiser, and how far the run is, saved together.

use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};

use klang_wav2vec2::checkpoint::{forget, read_safetensors, read_text, write_safetensors};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{RunFolder, metrics, read_metrics};
use crate::device::{Compute, gpu_names, processor_name};
use crate::error::{Error, Result};
use crate::event::UpdateReport;
use crate::files;
use crate::optimiser::AdamW;

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
    /// What computed it; none before the first save.
    #[serde(default)]
    pub made_by: Option<MadeBy>,
    /// Parts into which batches are cut, masks and noise being drawn part by part; 0 before the first save.
    #[serde(default)]
    pub parts: usize,
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
        let text = read_text(path, SMALL_BYTES).map_err(|error| refuse(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| refuse(format!("{}: {error}", path.display())))
    }
}

/// What computed a run. Where any of it differs, numbers may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MadeBy {
    /// klang's version.
    pub klang: String,
    /// libtorch's version; empty in a state of before it was kept.
    #[serde(default)]
    pub libtorch: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// `fp32`, `bf16` or `int8`.
    pub precision: String,
    /// Threads on the CPU.
    pub threads: i32,
    /// The processor's name; empty where the system does not tell.
    pub processor: String,
    /// The GPUs' names; empty where there is none, or the system does not tell.
    #[serde(default)]
    pub gpu: String,
}

impl MadeBy {
    /// This klang on this machine.
    pub fn here(compute: &Compute) -> MadeBy {
        MadeBy {
            klang: env!("CARGO_PKG_VERSION").into(),
            libtorch: klang_autograd::libtorch_version().into(),
            device: compute.device_name(),
            precision: compute.precision_name().into(),
            threads: compute.threads,
            processor: processor_name(),
            gpu: gpu_names(),
        }
    }

    /// What differs from what computed it before, each with both values.
    pub fn differences(&self, before: &MadeBy) -> Vec<String> {
        let differs = |what: &str, before: &dyn Display, now: &dyn Display| {
            let (before, now) = (before.to_string(), now.to_string());
            (before != now && !before.is_empty() && !now.is_empty()).then(|| format!("{what} {before}, now {now}"))
        };
        // On a GPU the processor only reads and decides.
        let on_cpu = self.device == "cpu" && before.device == "cpu";
        let on_gpu = self.device != "cpu" && before.device != "cpu";
        [
            differs("klang", &before.klang, &self.klang),
            differs("libtorch", &before.libtorch, &self.libtorch),
            differs("device", &before.device, &self.device),
            differs("precision", &before.precision, &self.precision),
            differs("threads", &before.threads, &self.threads).filter(|_| on_cpu),
            differs("processor", &before.processor, &self.processor).filter(|_| on_cpu),
            differs("GPU", &before.gpu, &self.gpu).filter(|_| on_gpu),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A state on disk: weights, optimiser, progress, and the SHA-256 of each, as `sha256sum -c` reads them.
#[derive(Debug)]
pub struct SavedState;

const WEIGHTS: &str = "weights.safetensors";
const OPTIMISER: &str = "optimiser.safetensors";
const PROGRESS: &str = "progress.json";
const SUMS: &str = "SHA256SUMS";
/// Bound on the small files: a progress holds the updates since the last line of metrics, some hundred bytes each.
const SMALL_BYTES: u64 = 64 << 20;

impl SavedState {
    /// Saves weights, optimiser and progress beside the old ones, reads them back, and only then puts them in their place.
    /// The metrics so far are on the disk before them.
    ///
    /// # Errors
    /// A failing file system; the old state then still stands.
    pub fn write(
        run: &RunFolder,
        parameters: &[(String, Tensor)],
        optimiser: &AdamW,
        progress: &Progress,
    ) -> Result<()> {
        if run.metrics().exists() {
            files::sync_file(&run.metrics())?;
        }
        let fresh = tempfile::Builder::new()
            .prefix(".state-")
            .suffix(".tmp")
            .tempdir_in(run.path())
            .map_err(Error::io(run.path()))?;
        let place = |name: &str| fresh.path().join(name);
        let parameters = parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        let tensors = [(WEIGHTS, parameters), (OPTIMISER, optimiser.state()?)];
        // A large model's state takes seconds, for which whoever wants a stop waits: both files at once.
        let mut sums = std::thread::scope(|scope| -> Result<String> {
            let threads = tensors.map(|(name, tensors): (_, Vec<(String, Tensor)>)| {
                let path = place(name);
                let save = move || -> Result<String> {
                    write_safetensors(&path, &tensors, &[])?;
                    listed(&path, name)
                };
                let thread = std::thread::Builder::new().name("state".into()).spawn_scoped(scope, save);
                thread.map_err(|error| Error::no_thread(&error))
            });
            // Both are waited for, whatever became of one.
            let ended = || Error::Worker("a thread that saves the state ended".into());
            let lines = threads.map(|thread| thread?.join().unwrap_or_else(|_| Err(ended())));
            lines.into_iter().collect()
        })?;
        let text = serde_json::to_string_pretty(progress).map_err(|error| Error::io(run.state())(error.into()))?;
        files::write(&place(PROGRESS), text.as_bytes())?;
        forget(&File::open(place(PROGRESS)).map_err(Error::io(place(PROGRESS)))?);
        if read_text(&place(PROGRESS), SMALL_BYTES)? != text {
            let message = format!(
                "{PROGRESS}: what can be read of a state just saved is not what was written; the state before it still stands. Look after disk and memory"
            );
            return Err(Error::Run { path: run.path().into(), message });
        }
        sums += &listed(&place(PROGRESS), PROGRESS)?;
        files::write(&place(SUMS), sums.as_bytes())?;
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
        let folder = run.state();
        // Models are files of their own, and outlive a state.
        let instead = match [run.last(), run.best()].into_iter().find(|model| model.exists()) {
            Some(model) => format!("another run can start from {} as model.init", model.display()),
            None => "start another run with --run DIR".into(),
        };
        if !folder.exists() {
            // Each evaluation but the one under way has left a state.
            if run.metrics().exists() && metrics::evaluations(&read_metrics(&run.metrics())?) > 1 {
                return Err(refuse(
                    &folder,
                    format!(
                        "it is gone, though this run has saved it: to begin anew would overwrite its models; {instead}"
                    ),
                ));
            }
            metrics::rewind(&run.metrics(), 0)?;
            return Ok(None);
        }
        verify(&folder)
            .map_err(|(path, message)| refuse(&path, format!("{message}. The run cannot go on from it; {instead}")))?;
        let path = folder.join(PROGRESS);
        let progress = Progress::read(&path)?;
        let path = folder.join(WEIGHTS);
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
        let path = folder.join(OPTIMISER);
        optimiser.restore(read_safetensors(&path)?).map_err(|message| refuse(&path, message))?;
        metrics::rewind(&run.metrics(), progress.update)?;
        Ok(Some(progress))
    }
}

/// A file's line of SHA256SUMS.
fn listed(path: &Path, name: &str) -> Result<String> {
    Ok(format!("{}  {name}\n", files::sha256(path)?))
}

/// Demands that a state's files are those that were saved, bit by bit; or the file that is not, and why.
fn verify(folder: &Path) -> std::result::Result<(), (PathBuf, String)> {
    let path = folder.join(SUMS);
    if !path.exists() {
        return Err((path, "missing: the state was saved by an older klang, or is damaged".into()));
    }
    let text = read_text(&path, SMALL_BYTES).map_err(|error| (path.clone(), error.to_string()))?;
    for name in [WEIGHTS, OPTIMISER, PROGRESS] {
        let listed = text.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix("  "));
        let listed = listed.ok_or_else(|| (path.clone(), format!("{name} is not listed in it")))?;
        let file = folder.join(name);
        let found = files::sha256(&file).map_err(|error| (file.clone(), error.to_string()))?;
        if found != listed {
            let message =
                format!("its SHA-256 is {found}, and {SUMS} beside it says {listed}: one of the two is damaged");
            return Err((file, message));
        }
    }
    Ok(())
}
