//! The run folder: the resolved recipe, metrics, checkpoints, state and report of one training.

mod metrics;
pub(crate) mod report;
mod state;

use std::path::{Path, PathBuf};

use klang_hub::ModelName;

use crate::error::{Error, Result};
use crate::files::{self, Lock};
use crate::hypotheses::file_stem;
use crate::recipe::{RECIPE_BYTES, Recipe, parse_yaml};
use crate::training::Begin;

pub use metrics::{DataLine, MetricsLine, read_metrics};
pub(crate) use metrics::{Evaluated, evaluated};
pub use report::write_report;
pub use state::{MadeBy, Progress, SavedState};

/// A run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Of a run that is begun or continued.
    _lock: Option<Lock>,
}

/// For whoever comes second.
const AT_WORK: &str =
    "another `klang train` or `klang pretrain` is at work in it; wait for it, or start another run with --run DIR";

impl RunFolder {
    /// A fresh run folder, with the resolved recipe in it.
    ///
    /// # Errors
    /// A folder that holds a run already, or in which another process is at work.
    pub fn create(path: &Path, recipe: &Recipe) -> Result<RunFolder> {
        if path.join("recipe.yaml").exists() {
            let message =
                "there is a run in it; `--resume` continues it, `--run DIR` starts another, or delete it".into();
            return Err(Error::Run { path: path.into(), message });
        }
        files::make_folder(path)?;
        let run = RunFolder { path: path.into(), _lock: Some(files::lock(path, AT_WORK)?) };
        // Of one that was killed before its recipe stood.
        files::clear_leftovers(path);
        files::write(&run.recipe(), recipe.to_yaml()?.as_bytes())?;
        Ok(run)
    }

    /// The run folder that is to be continued, if one is; a hub's model that the recipe starts from is then pinned to the
    /// commit at which it was when the run began.
    ///
    /// # Errors
    /// As [`RunFolder::resume`].
    pub fn begun(path: &Path, recipe: &mut Recipe, begin: Begin) -> Result<Option<RunFolder>> {
        if begin == Begin::Fresh {
            return Ok(None);
        }
        if let Some(pinned) = RunFolder::around(path).and_then(|run| run.pinned(&recipe.model.init)) {
            recipe.model.init = pinned;
        }
        RunFolder::resume(path, recipe).map(Some)
    }

    /// A run folder to continue, whose recipe must be the given one; what a killed process was writing is removed.
    ///
    /// # Errors
    /// A folder that holds no run or no state, or a run of another recipe, with the lines that differ; one in which another
    /// process is at work.
    pub fn resume(path: &Path, recipe: &Recipe) -> Result<RunFolder> {
        let mut run = RunFolder::at(path);
        let refuse = |message: String| Error::Run { path: path.into(), message };
        if !run.recipe().exists() {
            return Err(refuse("no run is in it to resume; leave --resume out to start one".into()));
        }
        let old = klang_wav2vec2::checkpoint::read_text(&run.recipe(), RECIPE_BYTES)?;
        // Keys that were added since have their defaults in an older klang's run.
        let old = run.resolved().and_then(|recipe| recipe.to_yaml().ok()).unwrap_or(old);
        let new = recipe.to_yaml()?;
        if old != new {
            let lines: Vec<String> = old
                .lines()
                .filter(|line| !new.lines().any(|other| other == *line))
                .map(|line| format!("- {}", line.trim()))
                .chain(
                    new.lines()
                        .filter(|line| !old.lines().any(|other| other == *line))
                        .map(|line| format!("+ {}", line.trim())),
                )
                .take(12)
                .collect();
            return Err(refuse(format!(
                "its recipe differs from the one given, and a resumed run must be the same run:\n  {}\n  give the same recipe and settings, or start another run with --run DIR",
                lines.join("\n  ")
            )));
        }
        run._lock = Some(files::lock(path, AT_WORK)?);
        for folder in [run.state(), run.best(), run.last()] {
            files::put_back(&folder)?;
        }
        files::clear_leftovers(path);
        Ok(run)
    }

    /// The run folder that a path names, itself or by one of its models, if there is one.
    pub fn around(path: &Path) -> Option<RunFolder> {
        let folders = [Some(path), path.parent()].into_iter().flatten();
        let mut runs = folders.map(RunFolder::at);
        runs.find(|run| run.recipe().is_file() && [&run.path, &run.best(), &run.last()].iter().any(|own| *own == path))
    }

    /// The hub's model of its recipe with the commit, where `init` is that model without one, or by a branch or tag.
    pub fn pinned(&self, init: &str) -> Option<String> {
        let old = Recipe::read(&self.recipe(), &[]).ok()?.model.init;
        let (was, given): (ModelName, ModelName) = (old.parse().ok()?, init.parse().ok()?);
        let commit = |name: &ModelName| {
            name.revision()
                .is_some_and(|revision| revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        (was.id() == given.id() && commit(&was) && !commit(&given)).then_some(old)
    }

    /// A folder that is taken for one.
    pub fn at(path: &Path) -> RunFolder {
        RunFolder { path: path.into(), _lock: None }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved recipe.
    pub fn recipe(&self) -> PathBuf {
        self.path.join("recipe.yaml")
    }

    /// What its resolved recipe says; none where it cannot be read. Its paths start where the run was begun.
    pub fn resolved(&self) -> Option<Recipe> {
        self.resolve().ok()
    }

    /// What its resolved recipe says.
    ///
    /// # Errors
    /// A recipe that cannot be read, or that another klang wrote.
    pub fn resolve(&self) -> Result<Recipe> {
        let yaml = klang_wav2vec2::checkpoint::read_text(&self.recipe(), RECIPE_BYTES)?;
        parse_yaml(&yaml).map_err(|message| Error::RecipeFile { path: self.recipe(), message })
    }

    /// One JSON object a line.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The model with the best result on dev.
    pub fn best(&self) -> PathBuf {
        self.path.join("best")
    }

    /// The model after the last update that was evaluated.
    pub fn last(&self) -> PathBuf {
        self.path.join("last")
    }

    /// What the best model made of dev, a JSON line an utterance; of fine-tuning only.
    pub fn hypotheses(&self) -> PathBuf {
        self.path.join("dev.hypotheses.jsonl")
    }

    /// How the best model read some utterances of dev frame by frame, a JSON line each; of fine-tuning only.
    pub fn emissions(&self) -> PathBuf {
        self.path.join("dev.emissions.jsonl")
    }

    /// What a resume needs.
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// What was recognised of the tests.
    pub fn tests(&self) -> PathBuf {
        self.path.join("tests")
    }

    /// What was recognised of one test by the best checkpoint.
    pub fn test_hypotheses(&self, name: &str) -> PathBuf {
        self.tests().join(format!("{}.hypotheses.jsonl", file_stem(name)))
    }

    /// The page to look at.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }
}
