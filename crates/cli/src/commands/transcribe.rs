//! `klang transcribe`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use klang_trainer::{Recogniser, Transcript, find_model};
use serde_json::json;

use crate::Ending;
use crate::args::{TranscribeArguments, TranscriptFormat};
use crate::output::{self, Usage};

pub fn run(arguments: &TranscribeArguments) -> Result<Ending> {
    let targets = targets(arguments)?;
    let model = find_model(&arguments.model)?;
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&model, compute)?;
    let mut failed = 0;
    for (audio, target) in arguments.audio.iter().zip(targets) {
        match model.transcribe(audio) {
            Ok(transcript) => {
                for warning in &transcript.warnings {
                    output::warning(&format!("{}: {warning}", audio.display()));
                }
                let text = rendered(audio, &transcript, arguments.format);
                match target {
                    Some(target) => output::write(&target, (text + "\n").as_bytes())?,
                    // Several texts on one stream need their names.
                    None if arguments.audio.len() > 1 && arguments.format == TranscriptFormat::Txt => {
                        output::line(&format!("{}\t{text}", audio.display()))?;
                    }
                    None => output::line(&text)?,
                }
            }
            Err(error) => {
                output::error(&anyhow::Error::from(error));
                failed += 1;
            }
        }
    }
    if failed > 0 {
        output::note(&format!("{failed} of {} files failed; each is named above", arguments.audio.len()));
        return Ok(Ending::PartlyFailed);
    }
    Ok(Ending::Done)
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

/// Where each file's transcript goes; two files of one name would overwrite each other, and are refused.
fn targets(arguments: &TranscribeArguments) -> Result<Vec<Option<PathBuf>>> {
    let Some(folder) = &arguments.out else { return Ok(vec![None; arguments.audio.len()]) };
    let extension = match arguments.format {
        TranscriptFormat::Txt => "txt",
        TranscriptFormat::Json => "json",
    };
    let mut taken: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let mut targets = Vec::new();
    for audio in &arguments.audio {
        let stem = audio.file_stem().with_context(|| format!("{}: not a file name", audio.display()))?;
        let target = folder.join(format!("{}.{extension}", stem.to_string_lossy()));
        if let Some(other) = taken.insert(target.clone(), audio) {
            let (a, b, target) = (other.display(), audio.display(), target.display());
            return Err(Usage(format!(
                "{a} and {b} would both be written to {target}; transcribe them into two folders"
            ))
            .into());
        }
        targets.push(Some(target));
    }
    Ok(targets)
}
