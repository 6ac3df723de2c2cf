//! Manifests by themselves, in no recipe: each is a split of its own.

use std::path::{Path, PathBuf};

use anyhow::Result;
use klang_corpus::check::{PlainText, Reader};
use klang_corpus::{CheckOptions, Manifest, Overlap, Role, Severity, Source, check, mend, mend_targets};
use klang_text::{Normaliser, TextOptions};
use klang_trainer::{SpecReader, find_model};

use super::{listening, tell};
use crate::Ending;
use crate::args::CheckArguments;
use crate::console::{Console, Listened};
use crate::output::{self, Usage};

/// Whether a file is a manifest rather than a recipe: by its name, and where that says nothing, by whether it reads as one.
pub fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
    match extension.as_str() {
        "jsonl" | "ndjson" | "json" | "csv" | "tsv" => true,
        "yaml" | "yml" => false,
        _ => Manifest::read_unchecked(path).is_ok(),
    }
}

pub fn run(arguments: &CheckArguments) -> Result<Ending> {
    if let Some(setting) = arguments.set.first() {
        return Err(Usage(format!("--set {setting} is for a recipe; these are manifests")).into());
    }
    let manifests = arguments.inputs.iter().map(|path| read(path)).collect::<Result<Vec<Manifest>>>()?;
    refuse_twice(&arguments.inputs)?;
    let reader: Box<dyn Reader> = match &arguments.model {
        Some(model) => {
            let source = find_model(model, arguments.language.as_deref(), &mut Console::new())?;
            Box::new(SpecReader::open(&source)?)
        }
        None => Box::new(PlainText { normaliser: Normaliser::new(&TextOptions::default())? }),
    };
    let mut sources = Vec::new();
    for Manifest { path, utterances } in &manifests {
        sources.push(Source { role: Role::Split, path, utterances });
    }
    if let Some(out) = &arguments.fix {
        // Before hours are listened to.
        mend_targets(&sources, out, arguments.overwrite)?;
    }
    // Speech to pretrain on has no transcripts, and needs none.
    let labelled = manifests.iter().flat_map(|manifest| &manifest.utterances).any(|one| one.text.is_some());
    let listened = Listened::new();
    let report = check(
        &sources,
        &CheckOptions {
            labelled,
            listening: listening(arguments),
            reader: reader.as_ref(),
            overlap: Overlap::Refused,
            progress: &|| listened.one(),
        },
    );
    listened.end();
    let notes = match labelled {
        true => Vec::new(),
        false => vec!["no utterance has a text: checked as speech to pretrain on".to_owned()],
    };
    notes.iter().for_each(|note| output::note(note));
    tell(arguments, &report, &notes)?;
    if let Some(out) = &arguments.fix {
        for mended in mend(&sources, &report.findings, out, arguments.overwrite)? {
            output::note(&format!(
                "{}: {} utterances; {} left out, with the reasons: {}",
                mended.manifest.display(),
                mended.kept,
                mended.left_out,
                mended.list.display()
            ));
        }
    }
    Ok(if report.count(Severity::Error) == 0 { Ending::Done } else { Ending::PartlyFailed })
}

fn read(path: &Path) -> Result<Manifest> {
    Ok(if path.is_dir() { Manifest::of_folder(path)? } else { Manifest::read_unchecked(path)? })
}

/// A manifest beside itself shares everything with itself.
fn refuse_twice(inputs: &[PathBuf]) -> Result<()> {
    let mut real: Vec<PathBuf> =
        inputs.iter().map(|path| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone())).collect();
    real.sort();
    match real.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Usage(format!("{} is given twice; give each manifest once", pair[0].display())).into()),
    }
}
