//! What has to be on the machine before anything is installed.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::refusal::Refusal;

/// The oldest Python that a wheel of this libtorch exists for.
const PYTHON: (u32, u32) = (3, 10);

/// Something that is missing, and the Debian packages that bring it.
#[derive(Debug, PartialEq, Eq)]
struct Missing {
    what: String,
    packages: &'static [&'static str],
}

/// Refuses, in one line for everything that is missing, with the command that installs it on Debian.
pub fn require(libtorch_is_to_be_installed: bool) -> Result<()> {
    let mut missing = Vec::new();
    if !on_path("c++") && env::var_os("CXX").is_none() {
        missing.push(Missing { what: "a C++ compiler".into(), packages: &["g++"] });
    }
    if libtorch_is_to_be_installed {
        missing.extend(missing_python(&Python::probe()));
    }
    match line(&missing) {
        None => Ok(()),
        Some(line) => Err(Refusal::new(line).into()),
    }
}

/// What the Python of the PATH can do.
#[derive(Debug, PartialEq, Eq)]
enum Python {
    Absent,
    Version { version: (u32, u32), venv: bool },
}

impl Python {
    /// Debian ships `venv` without `ensurepip`, so that only importing both tells whether an environment can be made.
    fn probe() -> Python {
        let ask = |code: &str| {
            let output = Command::new("python3").args(["-c", code]).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let version = ask("import sys; print(sys.version_info[0], sys.version_info[1])").and_then(|printed| {
            let mut numbers = printed.split_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        match version {
            None => Python::Absent,
            Some(version) => Python::Version { version, venv: ask("import venv, ensurepip").is_some() },
        }
    }
}

fn missing_python(python: &Python) -> Option<Missing> {
    match python {
        Python::Absent => Some(Missing { what: "Python 3".into(), packages: &["python3", "python3-venv"] }),
        Python::Version { version, .. } if *version < PYTHON => Some(Missing {
            what: format!("Python {}.{} or later (python3 is {}.{})", PYTHON.0, PYTHON.1, version.0, version.1),
            packages: &["python3", "python3-venv"],
        }),
        Python::Version { venv: false, .. } => {
            Some(Missing { what: "Python's venv with pip".into(), packages: &["python3-venv"] })
        }
        Python::Version { venv: true, .. } => None,
    }
}

fn line(missing: &[Missing]) -> Option<String> {
    if missing.is_empty() {
        return None;
    }
    let what: Vec<&str> = missing.iter().map(|one| one.what.as_str()).collect();
    let packages: Vec<&str> = missing.iter().flat_map(|one| one.packages.iter().copied()).collect();
    Some(format!("missing: {}; on Debian: apt-get install {}", what.join(", "), packages.join(" ")))
}

/// Whether a program of this name lies in a folder of the PATH.
pub fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_missing_is_said_in_one_line() {
        let compiler = Missing { what: "a C++ compiler".into(), packages: &["g++"] };
        let python = missing_python(&Python::Version { version: (3, 11), venv: false }).unwrap();
        assert_eq!(
            line(&[compiler, python]).unwrap(),
            "missing: a C++ compiler, Python's venv with pip; on Debian: apt-get install g++ python3-venv"
        );
        assert_eq!(line(&[]), None);
    }

    #[test]
    fn python_must_be_there_and_young_enough_and_able_to_make_an_environment() {
        let found = |version, venv| missing_python(&Python::Version { version, venv });
        assert_eq!(found((3, 10), true), None);
        assert_eq!(found((4, 0), true), None);
        assert_eq!(found((3, 11), false).unwrap().packages, ["python3-venv"]);
        assert_eq!(found((3, 9), true).unwrap().what, "Python 3.10 or later (python3 is 3.9)");
        assert_eq!(missing_python(&Python::Absent).unwrap().packages, ["python3", "python3-venv"]);
    }
}
