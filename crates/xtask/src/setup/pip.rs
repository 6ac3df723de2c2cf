//! Filling a folder with the wheels that carry libtorch.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::libtorch::{self, PackageSet};
use crate::process;

const REPORT_EVERY_SECONDS: u64 = 10;

/// Installs `set` into `tree` with pip, in an environment and with temporary files of its own inside `working`, and
/// loads it once. `folder` is where the tree will go, for the messages.
pub fn install(set: PackageSet, folder: &Path, working: &Path, tree: &Path) -> Result<()> {
    eprintln!("libtorch {}: installing {} once, into {}", libtorch::VERSION, set.size(), folder.display());
    let start = Instant::now();
    let environment = working.join("venv");
    let temporary = working.join("tmp");
    fs::create_dir(&temporary).with_context(|| format!("cannot make {}", temporary.display()))?;
    quietly(Command::new("python3").args(["-m", "venv"]).arg(&environment), working, start)?;

    let python = environment.join("bin/python");
    let mut pip = Command::new(&python);
    // Its copy in pip's own cache would be a second one that nobody uses.
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--no-cache-dir", "--no-compile"])
        .args(["--disable-pip-version-check", "--progress-bar", "off", "--target"])
        .arg(tree)
        .args(set.pip_arguments())
        .env("TMPDIR", &temporary);
    quietly(&mut pip, working, start)?;

    let library = tree.join("torch/lib/libtorch_cpu.so");
    let load = "import ctypes, sys; ctypes.CDLL(sys.argv[1])";
    quietly(Command::new(&python).args(["-c", load]).arg(&library), working, start)?;
    eprintln!("libtorch {}: installed in {:.0} s", libtorch::VERSION, start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command whose output is wanted only when it fails, saying now and then how far what began at `start` is.
fn quietly(command: &mut Command, working: &Path, start: Instant) -> Result<()> {
    let log = working.join("log");
    let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
    let copy = file.try_clone().context("cannot share the log")?;
    command.stdout(file).stderr(copy);
    let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let status = wait(child, working, start)?;
    if !status.success() {
        let output = fs::read_to_string(&log).unwrap_or_default();
        bail!("{}: {status}\n{}", process::typed(command), output.trim_end());
    }
    Ok(())
}

fn wait(mut child: Child, working: &Path, start: Instant) -> Result<ExitStatus> {
    let reports = || start.elapsed().as_secs() / REPORT_EVERY_SECONDS;
    let mut reported = reports();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for a program")? {
            return Ok(status);
        }
        if reports() > reported {
            reported = reports();
            eprintln!("  {} s, {} MB on disk so far", start.elapsed().as_secs(), bytes_under(working) / 1_000_000);
        }
        sleep(Duration::from_millis(100));
    }
}

/// What lies under `folder`, in bytes; files that vanish meanwhile do not count.
fn bytes_under(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_under(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_says_what_it_said() {
        let working = tempfile::tempdir().unwrap();
        let mut command = Command::new("ls");
        command.arg("/nonexistent-folder");
        let error = quietly(&mut command, working.path(), Instant::now()).unwrap_err().to_string();
        assert!(error.starts_with("ls /nonexistent-folder: exit status: "), "{error}");
        assert!(error.lines().nth(1).is_some_and(|line| line.contains("nonexistent-folder")), "{error}");
    }

    #[test]
    fn bytes_are_counted_through_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/five"), "12345").unwrap();
        fs::write(folder.path().join("two"), "12").unwrap();
        assert_eq!(bytes_under(folder.path()), 7);
    }
}
