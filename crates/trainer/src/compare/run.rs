//! Runs an experiment's trainings, several at a time, each in a process of its own: one that breaks loses nothing but itself.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::plan::Job;
use crate::decode::DECODING;
use crate::error::{Error, Result};
use crate::files;
use crate::recipe::Recipe;
use crate::run::Progress;

/// How often a run is looked after.
const LOOK: Duration = Duration::from_millis(50);

/// What a run was made by, as lines that say where two differ: a run of another recipe, of other data or from another model is
/// never taken for this experiment's.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Made {
    klang: String,
    /// The resolved recipe, and `sha256 FILE` of each manifest and of the model that it starts from.
    lines: Vec<String>,
}

impl Made {
    fn by(job: &Job, digests: &mut Digests) -> Result<Made> {
        let mut lines: Vec<String> = job.recipe.to_yaml()?.lines().map(String::from).collect();
        for path in manifests(&job.recipe).into_iter().chain(model_files(Path::new(&job.recipe.model.init))) {
            lines.push(format!("{} {}", digests.of(&path)?, path.display()));
        }
        Ok(Made { klang: env!("CARGO_PKG_VERSION").into(), lines })
    }

    /// The first few lines that only one of them has.
    fn difference(&self, old: &Made) -> String {
        let only = |these: &Made, others: &Made, sign: char| -> Vec<String> {
            let lines = these.lines.iter().chain([&these.klang]);
            let strangers = lines.filter(|line| !others.lines.contains(line) && **line != others.klang);
            strangers.take(4).map(|line| format!("{sign} {}", line.trim())).collect()
        };
        [only(old, self, '-'), only(self, old, '+')].concat().join("\n  ")
    }
}

/// The manifests that a recipe reads, and the language model.
pub fn manifests(recipe: &Recipe) -> Vec<PathBuf> {
    let data = &recipe.data;
    let sources = data.train.iter().chain(&data.dev).chain(data.test.values());
    let mut paths: Vec<PathBuf> = sources.map(|source| source.path().clone()).chain(recipe.decode.lm.clone()).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The files that make a model in a folder what it is; none for a hub's, which names its revision, and for random weights.
fn model_files(init: &Path) -> Vec<PathBuf> {
    let folder = [init.join("best"), init.into()].into_iter().find(|folder| folder.join("config.json").is_file());
    let Some(folder) = folder else { return if init.is_file() { vec![init.into()] } else { Vec::new() } };
    let files = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    // What is written about a model makes it no other, nor does how it is read.
    let beside = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".md") || name == DECODING || name.starts_with("lm.arpa")
    };
    let is_of_model = |path: &PathBuf| path.is_file() && !beside(path);
    let mut files: Vec<PathBuf> = files.filter(is_of_model).collect();
    files.sort();
    files
}

/// SHA-256 of files, each read once: hundreds of runs may start from one model of a gigabyte.
#[derive(Debug, Default)]
pub struct Digests(BTreeMap<PathBuf, String>);

impl Digests {
    /// A file's, in hexadecimal.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(&mut self, path: &Path) -> Result<&str> {
        match self.0.entry(path.into()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => Ok(new.insert(files::sha256(path)?)),
        }
    }
}

/// Where runs lie, and what trains them.
#[derive(Debug)]
pub struct Runner {
    /// The `klang` command.
    pub klang: PathBuf,
    /// The experiment's recipe.
    pub recipe: PathBuf,
    /// The folder that run folders lie in.
    pub folder: PathBuf,
    /// Runs at a time.
    pub at_a_time: usize,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It is done, now or before.
    Done,
    /// It broke, and why.
    Broke(String),
    /// A stop was asked for before it was done, or begun.
    Stopped,
}

impl Runner {
    /// A run's folder.
    pub fn run_folder(&self, job: &Job) -> PathBuf {
        self.folder.join(&job.name)
    }

    /// Runs what is not done yet, and gives what became of each job, in their order. `tell` hears of each end. Once `stops` says
    /// so, no run is begun, and those under way are asked to save what they have and end.
    ///
    /// # Errors
    /// A failing file system; a run that was made by other settings.
    pub fn run(
        &self,
        jobs: &[Job],
        digests: &mut Digests,
        tell: &(dyn Fn(&Job, &Ended, f64) + Sync),
        stops: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Ended>> {
        files::make_folder(&self.folder)?;
        for job in jobs.iter().take_while(|_| !stops()) {
            self.own(job, digests)?;
        }
        let next = AtomicUsize::new(0);
        let ended: Mutex<Vec<Option<Ended>>> = Mutex::new(vec![None; jobs.len()]);
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        let work = || {
            while let Some((place, job)) = {
                let place = next.fetch_add(1, Ordering::Relaxed);
                jobs.get(place).map(|job| (place, job))
            } {
                let start = Instant::now();
                match self.one(job, stops) {
                    Ok(end) => {
                        tell(job, &end, start.elapsed().as_secs_f64());
                        ended.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[place] = Some(end);
                    }
                    Err(error) => {
                        failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                }
            }
        };
        std::thread::scope(|scope| (0..self.at_a_time.clamp(1, jobs.len().max(1))).for_each(|_| _ = scope.spawn(work)));
        if let Some(error) = failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            return Err(error);
        }
        let ended = ended.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(ended.into_iter().map(|end| end.unwrap_or(Ended::Stopped)).collect())
    }

    /// Whether a run's folder is this experiment's; notes it if it is new.
    fn own(&self, job: &Job, digests: &mut Digests) -> Result<()> {
        let note = self.folder.join(format!("{}.made.json", job.name));
        let made = Made::by(job, digests)?;
        if self.run_folder(job).exists() {
            let text = std::fs::read_to_string(&note).unwrap_or_default();
            let old: Option<Made> = serde_json::from_str(&text).ok();
            let difference = match old {
                Some(old) if old == made => return Ok(()),
                Some(old) => made.difference(&old),
                None => format!("{} is missing or damaged", note.display()),
            };
            return Err(Error::Run {
                path: self.run_folder(job),
                message: format!(
                    "it was made by something else than the experiment has now (threads count: masks and noise follow them):\n  {difference}\n  choose another folder with --out, or delete this run and its files beside it"
                ),
            });
        }
        let text = serde_json::to_string_pretty(&made).map_err(|error| Error::io(&note)(error.into()))?;
        files::write(&note, (text + "\n").as_bytes())
    }

    fn one(&self, job: &Job, stops: &dyn Fn() -> bool) -> Result<Ended> {
        let folder = self.run_folder(job);
        if is_finished(&folder) {
            return Ok(Ended::Done);
        }
        if stops() {
            return Ok(Ended::Stopped);
        }
        let log = self.folder.join(format!("{}.log", job.name));
        let output = File::options().create(true).append(true).open(&log).map_err(Error::io(&log))?;
        let errors = output.try_clone().map_err(Error::io(&log))?;
        let mut command = Command::new(&self.klang);
        command.arg("train").arg(&self.recipe).arg("--run").arg(&folder);
        command.args(job.settings.iter().flat_map(|setting| ["--set", setting]));
        if folder.join("recipe.yaml").exists() {
            command.arg("--resume");
        }
        let command = command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(Error::io(&self.klang))?;
        let (status, stopped) = wait(child, stops).map_err(Error::io(&self.klang))?;
        if status.success() && is_finished(&folder) {
            return Ok(Ended::Done);
        }
        // Ctrl-C reaches a whole process group: a run may end of it before this process has taken notice.
        if stopped || {
            std::thread::sleep(LOOK);
            stops()
        } {
            return Ok(Ended::Stopped);
        }
        Ok(Ended::Broke(format!("{}; {}", last_error(&log), log.display())))
    }
}

/// Waits for a run's end, and passes a stop on, once, as SIGTERM. Gives its status, and whether it was told to stop.
fn wait(mut child: Child, stops: &dyn Fn() -> bool) -> std::io::Result<(ExitStatus, bool)> {
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, told));
        }
        if !told && stops() {
            // Nobody has waited for it with success yet: the number is still this process's.
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
            told = true;
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether a run folder's training is done and its tests are scored.
fn is_finished(folder: &Path) -> bool {
    let progress = klang_wav2vec2::checkpoint::read_text(&folder.join("state/progress.json"), 1 << 20);
    let progress: Option<Progress> = progress.ok().and_then(|text| serde_json::from_str(&text).ok());
    // The last line of metrics is written behind the tests' scores.
    let metrics = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
    let ended = metrics.lines().rev().any(|line| line.starts_with("{\"kind\":\"end\""));
    progress.is_some_and(|progress| progress.finished) && ended
}

/// The last error that a run's log has, or that it ended without a word.
fn last_error(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let error = text.lines().rev().find_map(|line| line.split_once("error: ").map(|(_, error)| error.to_string()));
    error.unwrap_or_else(|| "it ended without an error message; was it killed?".into())
}
