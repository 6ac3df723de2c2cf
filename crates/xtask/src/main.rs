//! The project's own errands: `cargo xtask setup`, `demo`, `test`, `torture`, `bench` and `growth`.

mod bench;
mod demo;
mod growth;
mod install;
mod libtorch;
mod prerequisites;
mod process;
mod project;
mod refusal;
mod setup;
mod test;
mod torture;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::project::Project;
use crate::refusal::Refusal;

/// The project's own errands: what it takes to build klang, to see it work, and to test it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    errand: Errand,
}

#[derive(Subcommand)]
enum Errand {
    /// Puts libtorch behind the link .libtorch, after which a plain `cargo build` and `cargo test` work
    Setup(setup::Options),
    /// Set-up, build, then train, evaluate and transcribe on the corpus in data/digits
    Demo(setup::Options),
    /// Set-up, then every test of the workspace; what follows `--` goes to `cargo test`
    Test(test::Options),
    /// Kills, failing disks, damaged files and long runs, with figures: docs/reliability.md
    Torture(torture::Options),
    /// Compares klang with transformers, ONNX Runtime and CTranslate2 in speed and memory: docs/benchmarks.md
    Bench(bench::Options),
    /// Measures how cost grows with the corpus, a file's length, threads and batches: docs/benchmarks.md
    Growth(growth::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Project::find().and_then(|project| match &arguments.errand {
        Errand::Setup(options) => setup::run(&project, options),
        Errand::Demo(options) => demo::run(&project, options),
        Errand::Test(options) => test::run(&project, options),
        Errand::Torture(options) => torture::run(&project, options),
        Errand::Bench(options) => bench::run(&project, options),
        Errand::Growth(options) => growth::run(&project, options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            // 2 says that nothing was attempted, 1 that the work failed.
            ExitCode::from(if error.is::<Refusal>() { 2 } else { 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
