//! `klang pretrain`.

use anyhow::{Context, Result};
use klang_trainer::{Outcome, pretrain};

use crate::Ending;
use crate::args::TrainArguments;
use crate::console::Console;
use crate::output;

pub fn run(arguments: &TrainArguments) -> Result<Ending> {
    let (recipe, folder, begin) = arguments.read()?;
    let Outcome { updates, best, seconds, processor_seconds, .. } =
        pretrain(&recipe, &folder, begin, &mut Console::new())
            .with_context(|| format!("pretraining by {}", arguments.recipe.recipe.display()))?;
    output::took(updates, seconds, processor_seconds);
    if let Some([loss, _]) = best {
        output::line(&format!("best loss on held-out speech {loss:.3} nats a masked frame"))?;
    }
    output::line(&format!("run folder: {}; train from it with `model.init: {0}`", folder.display()))?;
    Ok(Ending::Done)
}
