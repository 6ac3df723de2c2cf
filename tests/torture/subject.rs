//! The run that is put to the test, and the same run undisturbed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use crate::harness::{Dir, timeless};
use crate::resume::full_recipe;

/// A corpus, a recipe with all that is random, and its run as it goes when nobody disturbs it.
pub struct Subject {
    pub dir: Dir,
    /// Of the undisturbed run.
    pub seconds: f64,
    settings: Vec<&'static str>,
    whole: Ending,
}

/// What a run comes to, without what depends on the clock.
#[derive(PartialEq)]
pub struct Ending {
    /// By name, from the run folder.
    files: BTreeMap<String, Vec<u8>>,
    metrics: Vec<serde_json::Value>,
}

/// What has to be the same, bit by bit.
const FILES: [&str; 7] = [
    "best/model.safetensors",
    "last/model.safetensors",
    "state/weights.safetensors",
    "state/optimiser.safetensors",
    "dev.hypotheses.jsonl",
    "dev.emissions.jsonl",
    "tests/known.hypotheses.jsonl",
];

impl Ending {
    fn of(dir: &Dir, run: &str) -> Ending {
        let files = FILES.iter().map(|name| (name.to_string(), dir.bytes(&format!("{run}/{name}")))).collect();
        Ending { files, metrics: timeless(dir, run) }
    }
}

impl Subject {
    /// With these settings beside the recipe's.
    pub fn new(settings: &[&'static str]) -> Subject {
        let dir = Dir::with_recipe(1);
        let tests = "\n  test: {known: dev.jsonl}\n  allow_overlap: true\ntrain:";
        dir.write("recipe.yaml", full_recipe().replace("\ntrain:", tests));
        let begun = Instant::now();
        let arguments = ["train", "recipe.yaml", "--run", "whole"];
        dir.klang(arguments.iter().chain(settings)).succeeds();
        let whole = Ending::of(&dir, "whole");
        Subject { seconds: begun.elapsed().as_secs_f64(), settings: settings.to_vec(), whole, dir }
    }

    /// Updates of the undisturbed run.
    pub fn updates(&self) -> u64 {
        self.dir.json("whole/state/progress.json")["update"].as_u64().expect("a number")
    }

    /// The command that begins a run, or goes on with one: a path from the directory, or a whole one.
    pub fn arguments(&self, run: &str) -> Vec<String> {
        let mut arguments = vec!["train", "recipe.yaml", "--run", run];
        arguments.extend(&self.settings);
        if self.dir.path(run).join("recipe.yaml").exists() {
            arguments.push("--resume");
        }
        arguments.into_iter().map(String::from).collect()
    }

    /// Lets a run come to its end, which has to be the undisturbed one's.
    #[track_caller]
    pub fn ends_the_same(&self, run: &str, what: &str) {
        self.dir.klang(self.arguments(run)).succeeds();
        self.is_the_same(run, what);
    }

    /// Demands of a run at its end that it is the undisturbed one.
    #[track_caller]
    pub fn is_the_same(&self, run: &str, what: &str) {
        let Ending { files, metrics } = Ending::of(&self.dir, run);
        for (name, bytes) in &files {
            assert!(*bytes == self.whole.files[name], "{what}: {name} differs from the undisturbed run's");
        }
        assert_eq!(metrics, self.whole.metrics, "{what}: the metrics differ from the undisturbed run's");
        let left = leftovers(&self.dir.path(run));
        assert!(left.is_empty(), "{what}: left behind: {left:?}");
    }
}

/// What an unfinished save has in a run folder.
pub fn leftovers(run: &Path) -> Vec<String> {
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".tmp")).collect()
}

/// What an unfinished save of a model or a state has in a run folder: what else is written begins otherwise.
pub fn saves(run: &Path) -> Vec<String> {
    let mut names = leftovers(run);
    names.retain(|name| name.starts_with(".model-") || name.starts_with(".state-"));
    names
}

/// A process that does not outlive whoever looks after it.
pub struct Guarded(pub Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a process's own end, so long.
pub fn wait_within(process: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = process.try_wait().expect("a process of ours") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
