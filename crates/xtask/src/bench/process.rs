//! A process timed from outside: its seconds from start to end, and its peak of resident memory.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::typed;

/// A high-water mark only rises: what a process gains in its last moments is all that looking this often can miss.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// USER_HZ, which Linux tells programs in, whatever its own clock.
const TICKS_A_SECOND: f64 = 100.0;

/// Lines of a failed process's last words that are kept.
const LAST_WORDS: usize = 8;

/// What a process did.
pub struct Finished {
    /// From its start to its end.
    pub seconds: f64,
    /// Its VmHWM; absent where it ended before it was looked at.
    pub peak_mib: Option<f64>,
    /// Cores that other processes kept busy meanwhile, on the mean.
    pub others: Option<f64>,
    /// What it printed.
    pub stdout: String,
}

/// Runs a command to its end with `input` before it. What it is given and says stays in `folder`, to be looked into.
pub fn run(command: &mut Command, folder: &Path, input: &str) -> Result<Finished> {
    run_within(command, folder, input, None)
}

/// The same, but the process is ended when it has run for `limit`.
pub fn run_within(command: &mut Command, folder: &Path, input: &str, limit: Option<Duration>) -> Result<Finished> {
    let [stdin, stdout, stderr] = ["stdin", "stdout", "stderr"].map(|name| folder.join(name));
    fs::write(&stdin, input).with_context(|| format!("cannot write {}", stdin.display()))?;
    let make = |path: &Path| File::create(path).with_context(|| format!("cannot make {}", path.display()));
    let opened = File::open(&stdin).with_context(|| format!("cannot open {}", stdin.display()))?;
    command.stdin(Stdio::from(opened)).stdout(make(&stdout)?).stderr(make(&stderr)?);

    let before = busy_ticks();
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let (status, stat) = (format!("/proc/{}/status", child.id()), format!("/proc/{}/stat", child.id()));
    let ended = AtomicBool::new(false);
    let (exit, seconds, (peak_mib, own)) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let (mut peak, mut own) = (None, 0.0);
            while !ended.load(Ordering::Relaxed) {
                let seen = fs::read_to_string(&status).ok().and_then(|status| high_water_mib(&status));
                peak = seen.or(peak);
                own = fs::read_to_string(&stat).ok().and_then(|stat| processor_ticks(&stat)).unwrap_or(own);
                thread::sleep(LOOK_EVERY);
            }
            (peak, own)
        });
        let exit = match limit {
            Some(limit) => wait_within(&mut child, start + limit),
            None => child.wait().map(Some),
        };
        let seconds = start.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        (exit, seconds, watch.join().unwrap_or_default())
    });
    let exit = exit.with_context(|| format!("cannot wait for {}", command.get_program().display()))?;
    let Some(exit) = exit else {
        let peak = peak_mib.map(|peak| format!(", with a peak of {peak:.0} MiB")).unwrap_or_default();
        bail!("`{}`: not done in {seconds:.0} s, then ended{peak}", shortened(&typed(command)));
    };
    let busy = before.zip(busy_ticks()).map(|(before, after)| after - before);
    let others = busy.map(|busy| ((busy - own) / TICKS_A_SECOND / seconds).max(0.0));
    let said = |path: &Path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if !exit.success() {
        let words = said(&stderr).unwrap_or_default();
        bail!("`{}`: {exit}: {}", shortened(&typed(command)), last_lines(&words, LAST_WORDS));
    }
    let stdout = said(&stdout).with_context(|| format!("cannot read {}", stdout.display()))?;
    Ok(Finished { seconds, peak_mib, others, stdout })
}

/// How a process ended, or nothing where it had to be ended at the deadline.
fn wait_within(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    while Instant::now() < deadline {
        if let Some(exit) = child.try_wait()? {
            return Ok(Some(exit));
        }
        thread::sleep(LOOK_EVERY);
    }
    child.kill()?;
    child.wait().map(|_| None)
}

fn high_water_mib(status: &str) -> Option<f64> {
    let rest = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Ticks that a process's threads have run, of its /proc/PID/stat.
fn processor_ticks(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
}

/// Ticks that all cores together were not idle, or were taken by the host, since the system started.
fn busy_ticks() -> Option<f64> {
    parse_busy_ticks(&fs::read_to_string("/proc/stat").ok()?)
}

fn parse_busy_ticks(stat: &str) -> Option<f64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<f64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    // user nice system idle iowait irq softirq steal; guests are in user already
    Some(ticks.iter().take(8).sum::<f64>() - ticks.get(3)? - ticks.get(4)?)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A command line without the middle of its two hundred files.
pub fn shortened(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words.len() {
        0..=16 => line.into(),
        count => format!("{} … {}", words[..6].join(" "), words[count - 6..].join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &str) -> Result<Finished> {
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("sh").args(["-c", script]), folder.path(), input)
    }

    #[test]
    fn a_process_gets_its_input_and_is_timed_and_measured() {
        let done = shell("sleep 0.1; cat", "a job").unwrap();
        assert_eq!(done.stdout, "a job");
        assert!(done.seconds >= 0.1, "{}", done.seconds);
        // A shell holds something, and less than a hundredth of what a model does.
        assert!(done.peak_mib.is_some_and(|peak| peak > 0.1 && peak < 100.0), "{:?}", done.peak_mib);
    }

    #[test]
    fn a_failure_comes_with_the_last_words() {
        let error = shell("echo first >&2; for n in 1 2 3 4 5 6 7; do echo $n >&2; done; echo last >&2; exit 3", "");
        let message = format!("{:#}", error.err().unwrap());
        assert!(message.contains("exit status: 3") && message.ends_with("7\nlast"), "{message}");
        assert!(!message.split(": exit").nth(1).unwrap().contains("first"), "{message}");
    }

    #[test]
    fn a_process_that_takes_too_long_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let within = |script: &str, limit| {
            run_within(Command::new("sh").args(["-c", script]), folder.path(), "", Some(Duration::from_millis(limit)))
        };
        let message = format!("{:#}", within("exec sleep 60", 200).err().unwrap());
        assert!(message.contains("not done in 0 s, then ended"), "{message}");
        assert_eq!(within("echo done", 60_000).unwrap().stdout, "done\n");
    }

    #[test]
    fn the_high_water_mark_is_read_in_mib() {
        assert_eq!(high_water_mib("Name:\tklang\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2.0));
        assert_eq!(high_water_mib("Name:\tklang\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn ticks_are_read_from_their_columns() {
        let stat = "77 (a (b) c) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        assert_eq!(processor_ticks(stat), Some(300.0));
        assert_eq!(parse_busy_ticks("cpu  100 1 20 5000 300 2 3 4 50 0\ncpu0 1 1\n"), Some(130.0));
        assert_eq!(parse_busy_ticks(""), None);
    }

    #[test]
    fn long_lines_keep_both_ends() {
        let line = (0..100).map(|number| number.to_string()).collect::<Vec<String>>().join(" ");
        assert_eq!(shortened(&line), "0 1 2 3 4 5 … 94 95 96 97 98 99");
        assert_eq!(shortened("a b"), "a b");
    }
}
