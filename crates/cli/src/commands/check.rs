//! `klang check`.

use anyhow::Result;
use klang_corpus::Severity;
use klang_trainer::{Preparation, PretrainingPreparation, Recipe};

use crate::Ending;
use crate::args::CheckArguments;
use crate::console::Console;
use crate::output;

pub fn run(arguments: &CheckArguments) -> Result<Ending> {
    let recipe = Recipe::read(&arguments.recipe.recipe, &arguments.recipe.set)?;
    if recipe.pretrain.is_some() {
        let prepared = PretrainingPreparation::new(&recipe, &mut Console::new())?;
        for note in &prepared.notes {
            output::line(note)?;
        }
        output::line("0 errors, 0 warnings")?;
        return Ok(Ending::Done);
    }
    let prepared = Preparation::checked(&recipe, &mut Console::new())?;
    for note in &prepared.notes {
        output::line(note)?;
    }
    learning(&recipe, &prepared)?;
    for finding in prepared.findings() {
        output::line(&finding.to_string())?;
    }
    let errors = prepared.findings().iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = prepared.findings().len() - errors;
    output::line(&format!("{errors} errors, {warnings} warnings"))?;
    Ok(if errors == 0 { Ending::Done } else { Ending::FoundWrong })
}

/// What learns, and what would under the other choices of `model.tune.kind`.
fn learning(recipe: &Recipe, prepared: &Preparation) -> Result<()> {
    output::line("what learns (model.tune.kind):")?;
    for (kind, count) in prepared.choices(recipe) {
        let mark = if kind == recipe.model.tune.kind { '*' } else { ' ' };
        let count = match count {
            Ok([learnt, total]) => {
                let share = 100.0 * learnt as f64 / total as f64;
                format!("{learnt:>13} of {total} parameters, {share:.2} %")
            }
            Err(error) => format!("{:>13} {error}", "not here:"),
        };
        output::line(&format!("{mark} {:<9}{count}", kind.name()))?;
    }
    Ok(())
}
