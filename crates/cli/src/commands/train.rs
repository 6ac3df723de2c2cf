//! `klang train`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use klang_trainer::{Begin, Outcome, Recipe, train};

use crate::Ending;
use crate::args::TrainArguments;
use crate::console::Console;
use crate::output;

pub fn run(arguments: &TrainArguments) -> Result<Ending> {
    let (recipe, folder, begin) = arguments.read()?;
    let Outcome { updates, best, tests, seconds, processor_seconds } =
        train(&recipe, &folder, begin, &mut Console::new())
            .with_context(|| format!("training {}", arguments.recipe.recipe.display()))?;
    output::took(updates, seconds, processor_seconds);
    if let Some(best) = best {
        let [wer, cer] = recipe.train.choose_by.order(best);
        output::line(&format!("best dev WER {:.2} % CER {:.2} %", wer * 100.0, cer * 100.0))?;
    }
    for (name, score) in tests {
        output::line(&format!("\n{name}\n{}", score.table().trim_end()))?;
    }
    output::line(&format!("\nrun folder: {}", folder.display()))?;
    Ok(Ending::Done)
}

impl TrainArguments {
    /// The recipe, the run folder, and whether the run in it is to go on.
    pub fn read(&self) -> Result<(Recipe, PathBuf, Begin)> {
        let recipe = Recipe::read(&self.recipe.recipe, &self.recipe.set)?;
        let folder = match &self.run {
            Some(folder) => folder.clone(),
            None => PathBuf::from("runs").join(self.recipe.recipe.file_stem().unwrap_or("run".as_ref())),
        };
        Ok((recipe, folder, if self.resume { Begin::Resume } else { Begin::Fresh }))
    }
}
