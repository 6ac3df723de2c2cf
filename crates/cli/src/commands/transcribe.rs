//! `klang transcribe`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use klang_trainer::{Recogniser, Transcript};
use serde_json::json;

use crate::Ending;
use crate::args::{TranscribeArguments, TranscriptFormat};
use crate::output;

pub fn run(arguments: &TranscribeArguments) -> Result<Ending> {
    let targets = targets(arguments)?;
    let model = output::model(&arguments.model)?;
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&model, compute)?;
    let mut failed = 0;
    model.transcribe_all(&arguments.audio, |place, result| -> Result<()> {
        match result {
            Ok(transcript) => say(arguments, &arguments.audio[place], targets[place].as_deref(), &transcript)?,
            Err(error) => {
                output::error(&anyhow::Error::from(error));
                failed += 1;
            }
        }
        Ok(())
    })?;
    if failed > 0 {
        output::note(&format!("{failed} of {} files failed; each is named above", arguments.audio.len()));
        return Ok(Ending::PartlyFailed);
    }
    Ok(Ending::Done)
}

/// Writes a transcript to its file, or prints it.
fn say(arguments: &TranscribeArguments, audio: &Path, target: Option<&Path>, transcript: &Transcript) -> Result<()> {
    for warning in &transcript.warnings {
        output::warning(&format!("{}: {warning}", audio.display()));
    }
    let text = rendered(audio, transcript, arguments.format);
    match target {
        Some(target) => output::write(target, (text + "\n").as_bytes()),
        // Several texts on one stream need their names.
        None if arguments.audio.len() > 1 && arguments.format == TranscriptFormat::Txt => {
            output::line(&format!("{}\t{text}", audio.display()))
        }
        None => output::line(&text),
    }
}

fn rendered(audio: &Path, transcript: &Transcript, format: TranscriptFormat) -> String {
    match format {
        TranscriptFormat::Txt => transcript.text.clone(),
        TranscriptFormat::Json => {
            json!({"audio": audio.display().to_string(), "text": transcript.text, "duration": transcript.duration})
                .to_string()
        }
    }
}

/// Where each file's transcript goes.
fn targets(arguments: &TranscribeArguments) -> Result<Vec<Option<PathBuf>>> {
    let Some(folder) = &arguments.out else { return Ok(vec![None; arguments.audio.len()]) };
    let extension = match arguments.format {
        TranscriptFormat::Txt => "txt",
        TranscriptFormat::Json => "json",
    };
    Ok(output::targets(&arguments.audio, folder, extension)?.into_iter().map(Some).collect())
}
