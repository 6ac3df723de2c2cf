//! `klang compare`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use klang_trainer::{CompareEvent, CompareObserver, CompareSettings, compare, planned_runs};

use crate::Ending;
use crate::args::CompareArguments;
use crate::{output, stop};

pub fn run(arguments: &CompareArguments) -> Result<Ending> {
    let comparing = || format!("comparing {}", arguments.experiment.display());
    if arguments.dry_run {
        let runs = planned_runs(&arguments.experiment, arguments.control.as_deref()).with_context(comparing)?;
        runs.iter().try_for_each(|run| output::line(run))?;
        return Ok(Ending::Done);
    }
    let stem = arguments.experiment.file_stem().unwrap_or("experiment".as_ref());
    let jobs = usize::from(arguments.jobs);
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = arguments.threads.map(usize::from).or((jobs > 1).then(cores));
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(stem));
    let settings = CompareSettings {
        klang: std::env::current_exe().context("finding the klang command itself")?,
        command: command(arguments),
        out,
        jobs,
        threads,
        control: arguments.control.clone(),
    };
    let progress = Progress { jobs, ..Progress::default() };
    let results = compare(&arguments.experiment, &settings, &progress).with_context(comparing)?;
    output::line(results.table().trim_end())?;
    output::line(&format!("\nreport: {}", settings.reports().join("report.html").display()))?;
    if results.missing.is_empty() {
        return Ok(Ending::Done);
    }
    output::warning(&format!(
        "{} runs are missing; the same command tries them again, and the report is of the others",
        results.missing.len()
    ));
    Ok(Ending::PartlyFailed)
}

/// Says which run ended, of how many.
#[derive(Default)]
struct Progress {
    jobs: usize,
    all: AtomicUsize,
    done: AtomicUsize,
}

impl CompareObserver for Progress {
    fn event(&self, event: CompareEvent) {
        match event {
            CompareEvent::Begins { runs, tries } => {
                stop::listen("stopping: runs under way save what they have");
                self.all.store(runs + tries, Ordering::Relaxed);
                let tries = if tries > 0 { format!(" and {tries} tries before them") } else { String::new() };
                eprintln!("{runs} runs{tries}, {} at a time", self.jobs);
            }
            CompareEvent::Ended { run, broke, dev, seconds } => {
                let number = self.done.fetch_add(1, Ordering::Relaxed) + 1;
                let all = self.all.load(Ordering::Relaxed);
                let dev = dev.map_or(String::new(), |[wer, cer]| {
                    format!(": best dev WER {:.2} % CER {:.2} %", wer * 100.0, cer * 100.0)
                });
                match broke {
                    Some(why) => output::warning(&format!("[{number}/{all}] {run} broke: {why}")),
                    None => eprintln!("[{number}/{all}] {run}{dev} ({seconds:.0} s)"),
                }
            }
        }
    }

    fn stops(&self) -> bool {
        stop::is_asked()
    }
}

/// The command in full, as it can be typed again.
fn command(arguments: &CompareArguments) -> String {
    let mut words = vec!["klang compare".to_string(), arguments.experiment.display().to_string()];
    words.extend(arguments.out.as_ref().map(|out| format!("--out {}", out.display())));
    // An arm's name may hold anything.
    words.extend(arguments.control.iter().map(|arm| format!("--control '{}'", arm.replace('\'', r"'\''"))));
    if arguments.jobs > 1 {
        words.push(format!("--jobs {}", arguments.jobs));
    }
    words.extend(arguments.threads.map(|threads| format!("--threads {threads}")));
    words.join(" ")
}
