//! Running other programs, never through a shell.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::project::Project;

/// Cargo as it was called (`CARGO`), or the one on the PATH, without what it tells of this package: build scripts that look at
/// it would have their crates, and all above them, built again each time.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    let names = std::env::vars_os().map(|(name, _)| name);
    names.filter(|name| name.to_str().is_some_and(told)).for_each(|name| _ = command.env_remove(name));
    command
}

/// Runs a command in the project's root, showing it first as it could be typed there.
pub fn run(project: &Project, command: &mut Command) -> Result<()> {
    eprintln!("$ {}", typed(command));
    let status = command
        .current_dir(&project.root)
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{}: {status}", typed(command));
    }
    Ok(())
}

/// The command line, with quotes where a shell would need them; cargo by its name rather than its path.
pub fn typed(command: &Command) -> String {
    let program = if std::env::var_os("CARGO").as_deref() == Some(command.get_program()) {
        OsStr::new("cargo")
    } else {
        command.get_program()
    };
    let words: Vec<String> = std::iter::once(program).chain(command.get_args()).map(quote).collect();
    words.join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_could_be_typed() {
        let mut command = Command::new("klang");
        command.args(["train", "configs/digits.yaml", "--set", "text.locale=en gb", "", "it's"]);
        assert_eq!(typed(&command), r"klang train configs/digits.yaml --set 'text.locale=en gb' '' 'it'\''s'");
    }
}
