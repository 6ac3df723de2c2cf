//! `klang logits`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use klang_trainer::{FileStages, Recogniser};
use klang_wav2vec2::checkpoint::write_safetensors;

use crate::Ending;
use crate::args::{ComputeArguments, LogitsArguments};
use crate::output::{self, AudioFile};

pub fn run(arguments: &LogitsArguments) -> Result<Ending> {
    let targets = targets(arguments)?;
    let source = output::model(&arguments.model)?;
    let &LogitsArguments { device, precision, threads, .. } = arguments;
    let compute = output::compute(&ComputeArguments { device, precision, threads })?;
    let model = Recogniser::open(&source, compute)?;
    let files = model.file_stages(&arguments.audio)?;
    if arguments.audio.len() > 1 {
        std::fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    }
    let vocabulary = serde_json::to_string(model.spec.vocabulary.tokens())?;
    for ((audio, target), file) in arguments.audio.iter().zip(targets).zip(files) {
        let FileStages { features, projected, hidden, logits, warnings } = file;
        for warning in &warnings {
            output::warning(&format!("{}: {warning}", audio.display()));
        }
        let shape = logits.size();
        let mut tensors = vec![("logits".to_string(), logits)];
        if arguments.stages {
            let stages = [("features", features), ("projected", projected), ("hidden", hidden)];
            tensors.extend(stages.map(|(name, tensor)| (name.to_string(), tensor)));
        }
        let metadata = [("vocabulary", vocabulary.clone()), ("audio", audio.display().to_string())];
        write_safetensors(&target, &tensors, &metadata)?;
        output::line(&format!("{}: {} frames × {} tokens", target.display(), shape[0], shape[1]))?;
    }
    Ok(Ending::Done)
}

/// Where each file's tensors go.
fn targets(arguments: &LogitsArguments) -> Result<Vec<PathBuf>> {
    if arguments.audio.len() == 1 {
        return Ok(vec![arguments.out.clone()]);
    }
    let audio = arguments.audio.iter().map(|path| AudioFile::of(path)).collect::<Result<Vec<_>>>()?;
    output::targets(&audio, &arguments.out, "safetensors")
}
