//! The `klang` command: arguments in, results on stdout, everything else on stderr, one exit point.

mod allocator;
mod args;
mod commands;
mod console;
mod output;
mod stop;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

/// How a command ended.
enum Ending {
    /// All of it was done: exit code 0.
    Done,
    /// Part of the input failed, and was named: exit code 1.
    PartlyFailed,
    /// What was to be checked is wrong, and was listed: exit code 2.
    FoundWrong,
}

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    // clap ends with 2 on wrong arguments and with 0 on --help, as the exit codes promise.
    let arguments = Arguments::parse();
    let ending = match arguments.command {
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Prepare(arguments) => commands::prepare::run(&arguments),
        Command::Check(arguments) => commands::check::run(&arguments),
        Command::Train(arguments) => commands::train::run(&arguments),
        Command::Pretrain(arguments) => commands::pretrain::run(&arguments),
        Command::Compare(arguments) => commands::compare::run(&arguments),
        Command::Evaluate(arguments) => commands::evaluate::run(&arguments),
        Command::Transcribe(arguments) => commands::transcribe::run(&arguments),
        Command::Score(arguments) => commands::score::run(&arguments),
        Command::Export(arguments) => commands::export::run(&arguments),
        Command::Logits(arguments) => commands::logits::run(&arguments),
        Command::Align(arguments) => commands::align::run(&arguments),
        Command::Lm(arguments) => commands::lm::run(&arguments),
        Command::Tune(arguments) => commands::tune::run(&arguments),
    };
    match ending {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::PartlyFailed) => ExitCode::from(1),
        Ok(Ending::FoundWrong) => ExitCode::from(2),
        Err(error) => {
            output::error(&error);
            let code = if is_usage(&error) { 2 } else { 1 };
            if stop::is_asked() {
                stop::exit(code);
            }
            ExitCode::from(code)
        }
    }
}

/// Whether the command or its recipe was wrong, rather than the work.
fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<klang_trainer::Error>().is_some_and(klang_trainer::Error::is_usage)
            || cause.downcast_ref::<output::Usage>().is_some()
    })
}
