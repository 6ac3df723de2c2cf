//! `cargo xtask test`: set-up, then the tests.

use std::ffi::OsString;

use anyhow::Result;

use crate::project::Project;
use crate::{process, setup};

/// What was typed after `cargo xtask test`.
#[derive(clap::Args)]
#[group(id = "test")]
pub struct Options {
    #[command(flatten)]
    setup: setup::Options,
    /// Passed on to `cargo test --workspace`
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Runs every test of the workspace.
pub fn run(project: &Project, options: &Options) -> Result<()> {
    setup::run(project, &options.setup)?;
    process::run(project, process::cargo().args(["test", "--workspace"]).args(&options.arguments))
}
