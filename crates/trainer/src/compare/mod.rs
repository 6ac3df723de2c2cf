//! Experiments: arms of one recipe against one another, with the same data order, initial weights and updates, and statistics.
//!
//! `klang compare EXPERIMENT`: the file ([`Experiment`]) becomes a plan of runs, all checked before the first one starts; each
//! run is a training of its own in its own process; what they recognised becomes [`Results`], and these the reports.

mod collect;
mod experiment;
mod plan;
mod report;
mod results;
mod run;
mod scores;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;
use crate::hypotheses::file_stem;
use crate::recipe::ChooseBy;
use crate::run::{MetricsLine, RunFolder, read_metrics};

use collect::Collected;
pub use experiment::Experiment;
use plan::{Job, Machine, Plan};
pub use results::{
    Arm, ArmRates, Budget, Cost, Difference, Interval, Learning, LearningPoint, Missing, Results, Scored, Search, Try,
};
use run::{Digests, Ended, Runner};

/// How an experiment is run.
#[derive(Clone, Debug)]
pub struct CompareSettings {
    /// The `klang` command that trains.
    pub klang: PathBuf,
    /// The folder for runs and reports.
    pub out: PathBuf,
    /// Runs at a time.
    pub jobs: usize,
    /// The arm that all others are compared with; none: the experiment's own control.
    pub control: Option<String>,
    /// Threads of all of them together; none: each takes what its recipe says, or one at a time all cores.
    pub threads: Option<usize>,
    /// The command as it was typed, for the report.
    pub command: String,
}

impl CompareSettings {
    /// The folder of the reports: of each control one of its own.
    pub fn reports(&self) -> PathBuf {
        match &self.control {
            Some(control) => self.out.join(format!("against-{}", file_stem(control))),
            None => self.out.clone(),
        }
    }
}

/// What an experiment says while it runs.
#[derive(Debug)]
pub enum CompareEvent<'a> {
    /// So many runs are to come, of which so many are searches' tries.
    Begins {
        /// Runs that count.
        runs: usize,
        /// Tries.
        tries: usize,
    },
    /// A run ended.
    Ended {
        /// Its name.
        run: &'a str,
        /// Why it broke, if it did.
        broke: Option<&'a str>,
        /// Dev's WER and CER of its best checkpoint.
        dev: Option<[f64; 2]>,
        /// Seconds that it took now; next to none where it was done before.
        seconds: f64,
    },
}

/// Who hears of an experiment's progress, from the threads that look after its runs.
pub trait CompareObserver: Sync {
    /// Takes an event; must not block for long.
    fn event(&self, event: CompareEvent);

    /// Whether the experiment is to stop: no run is begun then, those under way save what they have, and the same command goes
    /// on from there.
    fn stops(&self) -> bool {
        false
    }
}

/// Checks an experiment: the names of its runs, in their order.
///
/// # Errors
/// Whatever is wrong with it or with one of its runs' recipes.
pub fn planned_runs(path: &Path, control: Option<&str>) -> Result<Vec<String>> {
    let plan = Plan::new(Experiment::read(path)?.against(control, path)?, Machine { threads: None })?;
    plan.prepare(&plan.unsearched)?;
    Ok(plan.unsearched.into_iter().map(|job| job.name).collect())
}

/// Runs an experiment, or what is left of it, and writes its reports.
///
/// # Errors
/// An experiment that is wrong, a failing file system, another process at work in the folder, or a stop that was asked for. A
/// run that breaks is no error: it is among [`Results::missing`].
pub fn compare(path: &Path, settings: &CompareSettings, observer: &dyn CompareObserver) -> Result<Results> {
    let jobs_at_a_time = settings.jobs.max(1);
    let threads = settings.threads.map(|threads| (threads / jobs_at_a_time).max(1));
    let experiment = Experiment::read(path)?.against(settings.control.as_deref(), path)?;
    let plan = Plan::new(experiment, Machine { threads })?;
    files::make_folder(&settings.out)?;
    let _lock = files::lock(
        &settings.out,
        "another `klang compare` is at work in it; wait for it, or choose another folder with --out",
    )?;
    let runner = Runner {
        klang: settings.klang.clone(),
        recipe: plan.recipe().into(),
        folder: settings.out.join("runs"),
        at_a_time: jobs_at_a_time,
    };
    plan.prepare(&plan.unsearched)?;
    let (arms, budgets) = (plan.experiment.arms.len(), plan.experiment.budgets.len());
    let mut places = Vec::new();
    let mut tries = Vec::new();
    for budget in 0..budgets {
        for arm in 0..arms {
            for (set, job) in plan.tries(arm, budget)? {
                places.push((arm, budget, set));
                tries.push(job);
            }
        }
    }
    observer.event(CompareEvent::Begins { runs: plan.unsearched.len(), tries: tries.len() });
    let say = |job: &Job, end: &Ended, seconds: f64| {
        let broke = match end {
            Ended::Done => None,
            Ended::Broke(why) => Some(why.as_str()),
            Ended::Stopped => return,
        };
        observer.event(CompareEvent::Ended { run: &job.name, broke, dev: best_dev(&runner.run_folder(job)), seconds });
    };
    let stops = || observer.stops();
    let runs = tries.len() + plan.unsearched.len();
    let unless_stopped = |ended: Vec<Ended>, before: usize| {
        let done = ended.iter().filter(|end| **end == Ended::Done).count();
        match observer.stops() {
            true => Err(Error::ExperimentStopped { path: settings.out.clone(), done: before + done, runs }),
            false => Ok(ended),
        }
    };
    let mut digests = Digests::default();
    let ended = unless_stopped(runner.run(&tries, &mut digests, &say, &stops)?, 0)?;
    let broke = ended.iter().zip(&tries).find_map(|(end, job)| match end {
        Ended::Broke(why) => Some((job, why)),
        Ended::Done | Ended::Stopped => None,
    });
    if let Some((job, why)) = broke {
        // With fewer tries for one arm the comparison would not be fair, and a later choice might be another.
        let message = format!("a try of the search broke, and nothing is compared before all are done: {why}");
        return Err(Error::Run { path: runner.run_folder(job), message });
    }
    let (searches, chosen) = choose(&plan, &runner, &places, &tries, &ended);
    let jobs = if chosen.is_empty() { plan.unsearched.clone() } else { plan.jobs(&chosen)? };
    let ended = unless_stopped(runner.run(&jobs, &mut digests, &say, &stops)?, tries.len())?;
    let name = path.file_stem().map_or_else(|| "experiment".into(), |stem| stem.to_string_lossy().into_owned());
    let command = settings.command.clone();
    let (jobs, ended, runner) = (&jobs, &ended, &runner);
    let results = Collected { plan: &plan, name, command, jobs, ended, runner, searches, digests }.results()?;
    report::write(&results, &settings.reports())?;
    Ok(results)
}

/// Dev's WER and CER of a run's best checkpoint.
fn best_dev(folder: &Path) -> Option<[f64; 2]> {
    let lines = read_metrics(&RunFolder::at(folder).metrics()).ok()?;
    lines.iter().rev().find_map(|line| match line {
        MetricsLine::Dev { best: true, score, .. } => Some([score.wer?, score.cer?]),
        _ => None,
    })
}

/// By arm and budget, what its search chose.
type Chosen = BTreeMap<(usize, usize), Vec<String>>;

/// The best try of each arm and budget on dev.
fn choose(
    plan: &Plan,
    runner: &Runner,
    places: &[(usize, usize, Vec<String>)],
    tries: &[Job],
    ended: &[Ended],
) -> (Vec<Search>, Chosen) {
    let mut searches: BTreeMap<(usize, usize), (ChooseBy, Vec<Try>)> = BTreeMap::new();
    for (((arm, budget, set), job), end) in places.iter().zip(tries).zip(ended) {
        // A search that set `train.choose_by` itself would compare unlike rates; all go by its first try's.
        let choose_by = job.recipe.train.choose_by;
        let (decided_by, of_arm) = searches.entry((*budget, *arm)).or_insert((choose_by, Vec::new()));
        let dev = match end {
            Ended::Done => best_dev(&runner.run_folder(job)).map(|dev| decided_by.order(dev)),
            Ended::Broke(_) | Ended::Stopped => None,
        };
        of_arm.push(Try { set: set.clone(), dev });
    }
    let mut chosen = Chosen::new();
    let searches = searches.into_iter().map(|((budget, arm), (decided_by, tries))| {
        let scored = tries.iter().enumerate().filter_map(|(place, one)| Some((one.dev?, place)));
        let best = scored.min_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
        let best = best.map(|(_, place)| place);
        if let Some(place) = best {
            chosen.insert((arm, budget), tries[place].set.clone());
        }
        let experiment = &plan.experiment;
        let (budget, arm) = (experiment.budgets[budget].name(), experiment.arms[arm].name.clone());
        Search { budget, arm, decided_by, tries, chosen: best }
    });
    let searches = searches.collect();
    (searches, chosen)
}
