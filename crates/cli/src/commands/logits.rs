//! `klang logits`.

use anyhow::Result;
use klang_trainer::{Recogniser, find_model};
use klang_wav2vec2::checkpoint::write_safetensors;

use crate::Ending;
use crate::args::{ComputeArguments, LogitsArguments};
use crate::output;

pub fn run(arguments: &LogitsArguments) -> Result<Ending> {
    let model = find_model(&arguments.model)?;
    let &LogitsArguments { device, precision, threads, .. } = arguments;
    let compute = output::compute(&ComputeArguments { device, precision, threads })?;
    let model = Recogniser::open(&model, compute)?;
    let file = model.logits(&arguments.audio)?;
    for warning in &file.warnings {
        output::warning(&format!("{}: {warning}", arguments.audio.display()));
    }
    let vocabulary = serde_json::to_string(model.spec.vocabulary.tokens())?;
    let metadata = [("vocabulary", vocabulary), ("audio", arguments.audio.display().to_string())];
    let shape = file.logits.size();
    write_safetensors(&arguments.out, &[("logits".into(), file.logits)], &metadata)?;
    output::line(&format!("{}: {} frames × {} tokens", arguments.out.display(), shape[0], shape[1]))?;
    Ok(Ending::Done)
}
