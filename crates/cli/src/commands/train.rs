//! `klang train`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use klang_trainer::{Begin, Outcome, Recipe, train};

use crate::Ending;
use crate::args::TrainArguments;
use crate::console::{Console, clock};
use crate::output;

pub fn run(arguments: &TrainArguments) -> Result<Ending> {
    let recipe = Recipe::read(&arguments.recipe.recipe, &arguments.recipe.set)?;
    let folder = match &arguments.run {
        Some(folder) => folder.clone(),
        None => PathBuf::from("runs").join(arguments.recipe.recipe.file_stem().unwrap_or("run".as_ref())),
    };
    let begin = if arguments.resume { Begin::Resume } else { Begin::Fresh };
    let Outcome { updates, best, tests, seconds, processor_seconds } =
        train(&recipe, &folder, begin, &mut Console::new())
            .with_context(|| format!("training {}", arguments.recipe.recipe.display()))?;
    let used =
        processor_seconds.map_or(String::new(), |used| format!(", {} of one core's time in this process", clock(used)));
    output::note(&format!("{updates} updates in {}{used}", clock(seconds)));
    if let Some([wer, cer]) = best {
        output::line(&format!("best dev WER {:.2} % CER {:.2} %", wer * 100.0, cer * 100.0))?;
    }
    for (name, score) in tests {
        output::line(&format!("\n{name}\n{}", score.table().trim_end()))?;
    }
    output::line(&format!("\nrun folder: {}", folder.display()))?;
    Ok(Ending::Done)
}
