//! `klang export`.

use anyhow::Result;
use klang_trainer::{ExportOptions, export};
use klang_wav2vec2::checkpoint::Own;

use crate::Ending;
use crate::args::ExportArguments;
use crate::output;

pub fn run(arguments: &ExportArguments) -> Result<Ending> {
    let source = output::model(&arguments.model)?;
    let own = if arguments.as_is { Own::Keep } else { Own::Drop };
    let options = ExportOptions { own, bf16: arguments.bf16 };
    output::of_model(&source)?; // says so if it is left behind
    export(&source, &arguments.model.model, &arguments.folder, options)?;
    output::note("README.md in it is the model card; what only you know is marked FILL IN");
    output::line(&arguments.folder.display().to_string())?;
    Ok(Ending::Done)
}
