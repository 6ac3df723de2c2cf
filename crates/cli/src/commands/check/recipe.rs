//! A recipe: all that can be known before training.

use std::path::Path;

use anyhow::Result;
use klang_corpus::Severity;
use klang_corpus::check::PlainText;
use klang_text::Normaliser;
use klang_trainer::{CheckSettings, Preparation, PretrainingPreparation, Recipe, check_pretraining};

use super::{listening, tell};
use crate::Ending;
use crate::args::CheckArguments;
use crate::console::{Console, Listened};
use crate::output::{self, Usage};

pub fn run(arguments: &CheckArguments, path: &Path) -> Result<Ending> {
    for (option, given) in [("--model", &arguments.model), ("--fix", &arguments.fix)] {
        if given.is_some() {
            let message = format!("{option} is for manifests, and {} is a recipe; give its manifests", path.display());
            return Err(Usage(message).into());
        }
    }
    let recipe = Recipe::read(path, &arguments.set)?;
    let listened = Listened::new();
    let progress = || listened.one();
    let settings = CheckSettings { listening: listening(arguments), progress: &progress };
    let (report, notes) = if recipe.pretrain.is_some() {
        let reader = PlainText { normaliser: Normaliser::new(&recipe.text)? };
        let report = check_pretraining(&recipe, &reader, &settings)?;
        // Preparing ends at the first file that is wrong, and what is wrong is to be listed whole.
        let notes = match report.count(Severity::Error) {
            0 => PretrainingPreparation::new(&recipe, &mut Console::new())?.notes,
            _ => Vec::new(),
        };
        (report, notes)
    } else {
        let mut prepared = Preparation::checked(&recipe, &settings, &mut Console::new())?;
        let mut notes = std::mem::take(&mut prepared.notes);
        notes.extend(learning(&recipe, &prepared));
        let Some(report) = prepared.into_report() else { return Ok(Ending::Done) };
        (report, notes)
    };
    listened.end();
    if !arguments.json {
        notes.iter().try_for_each(|note| output::line(note))?;
    }
    tell(arguments, &report, &notes)?;
    Ok(if report.count(Severity::Error) == 0 { Ending::Done } else { Ending::FoundWrong })
}

/// What learns, and what would under the other choices of `model.tune.kind`.
fn learning(recipe: &Recipe, prepared: &Preparation) -> Vec<String> {
    let mut lines = vec!["what learns (model.tune.kind):".to_owned()];
    for (kind, count) in prepared.choices(recipe) {
        let mark = if kind == recipe.model.tune.kind { '*' } else { ' ' };
        let count = match count {
            Ok([learnt, total]) => {
                let share = 100.0 * learnt as f64 / total as f64;
                format!("{learnt:>13} of {total} parameters, {share:.2} %")
            }
            Err(error) => format!("{:>13} {error}", "not here:"),
        };
        lines.push(format!("{mark} {:<9}{count}", kind.name()));
    }
    lines
}
