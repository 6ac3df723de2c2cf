//! `klang check`.

use anyhow::Result;
use klang_corpus::Severity;
use klang_trainer::{Preparation, Recipe};

use crate::Ending;
use crate::args::CheckArguments;
use crate::output;

pub fn run(arguments: &CheckArguments) -> Result<Ending> {
    let recipe = Recipe::read(&arguments.recipe.recipe, &arguments.recipe.set)?;
    let prepared = Preparation::checked(&recipe)?;
    for note in &prepared.notes {
        output::line(note)?;
    }
    for finding in prepared.findings() {
        output::line(&finding.to_string())?;
    }
    let errors = prepared.findings().iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = prepared.findings().len() - errors;
    output::line(&format!("{errors} errors, {warnings} warnings"))?;
    Ok(if errors == 0 { Ending::Done } else { Ending::FoundWrong })
}
