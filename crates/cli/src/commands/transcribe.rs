//! `klang transcribe`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use klang_trainer::{DecodeMethod, Decoder, Heard, Recogniser};
use klang_transcript::{Format, RenderOptions, render};

use crate::Ending;
use crate::args::TranscribeArguments;
use crate::output;

pub fn run(arguments: &TranscribeArguments) -> Result<Ending> {
    let targets = targets(arguments)?;
    let source = output::model(&arguments.model)?;
    let reading = output::decoding(&arguments.decoding, &source)?;
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&source, compute)?;
    if arguments.n_best > 0 && reading.method == DecodeMethod::Greedy {
        let message = "--n-best takes a beam search, and this model is read greedily; add --beam 100, or --lm FILE";
        return Err(output::Usage(message.into()).into());
    }
    let decoder = Decoder::new(reading, &model.spec)?.giving(arguments.n_best.into());
    if decoder.settings().method == DecodeMethod::Beam {
        output::note(&decoder.describe());
    }
    let mut failed = 0;
    model.transcribe_all(&arguments.audio, &decoder, |place, result| -> Result<()> {
        let (audio, target) = (&arguments.audio[place], targets[place].as_deref());
        match result.map_err(anyhow::Error::from).and_then(|heard| say(arguments, audio, target, &heard)) {
            Ok(()) => Ok(()),
            Err(error) => {
                output::error(&error);
                failed += 1;
                Ok(())
            }
        }
    })?;
    if failed > 0 {
        output::note(&format!("{failed} of {} files failed; each is named above", arguments.audio.len()));
        return Ok(Ending::PartlyFailed);
    }
    Ok(Ending::Done)
}

/// Writes a transcript to its file, or prints it.
fn say(arguments: &TranscribeArguments, audio: &Path, target: Option<&Path>, heard: &Heard) -> Result<()> {
    for warning in &heard.warnings {
        output::warning(&format!("{}: {warning}", audio.display()));
    }
    let options = RenderOptions { date: SystemTime::now(), relative_audio: relative(audio, target), language: None };
    let text = render(&heard.transcript, arguments.format, &options)?;
    match target {
        Some(target) => output::write(target, text.as_bytes()),
        // Several texts on one stream need their names.
        None if arguments.audio.len() > 1 && arguments.format == Format::Txt => {
            output::line(&format!("{}\t{}", audio.display(), text.trim_end_matches('\n')))
        }
        None => output::line(text.trim_end_matches('\n')),
    }
}

/// The way from a transcript's folder to its audio, for a format that names it; none where it cannot be told.
fn relative(audio: &Path, target: Option<&Path>) -> Option<String> {
    let folder = match target.and_then(Path::parent) {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The folder may not be there yet: what is above it is.
    let above = folder.ancestors().find(|above| above.as_os_str().is_empty() || above.exists())?;
    let rest = folder.strip_prefix(above).ok()?;
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let folder = std::fs::canonicalize(above).ok()?.join(rest);
    let audio = std::fs::canonicalize(audio).ok()?;
    let common = folder.components().zip(audio.components()).take_while(|(one, other)| one == other).count();
    let up = folder.components().skip(common).map(|_| "..".into());
    let down = audio.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    Some(up.chain(down).collect::<Vec<String>>().join("/"))
}

/// Where each file's transcript goes.
fn targets(arguments: &TranscribeArguments) -> Result<Vec<Option<PathBuf>>> {
    let Some(folder) = &arguments.out else { return Ok(vec![None; arguments.audio.len()]) };
    let targets = output::targets(&arguments.audio, folder, arguments.format.extension())?;
    Ok(targets.into_iter().map(Some).collect())
}
