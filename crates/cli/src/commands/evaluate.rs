//! `klang evaluate`.

use std::path::Path;

use anyhow::{Context, Result};
use klang_text::Normaliser;
use klang_trainer::{
    AudioCache, Evaluation, Keep, LoaderSettings, Recogniser, Source, encode, evaluate, read_sources, write_hypotheses,
};
use serde_json::{Map, Value};

use crate::Ending;
use crate::args::EvaluateArguments;
use crate::console::Console;
use crate::output::{self, Usage};

pub fn run(arguments: &EvaluateArguments) -> Result<Ending> {
    let names = names(arguments)?;
    if !(arguments.batch_seconds > 0.0 && arguments.batch_seconds.is_finite()) {
        return Err(Usage(format!("--batch-seconds {}; allowed: above 0", arguments.batch_seconds)).into());
    }
    let model = output::model(&arguments.model)?;
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&model, compute)?;
    let normaliser = Normaliser::new(&model.spec.text)?;
    let settings = LoaderSettings { audio: model.spec.audio, workers: 2, cache: AudioCache::new(0) };
    let mut scores = Map::new();
    for (name, manifest) in names.iter().zip(&arguments.manifest) {
        let utterances = read_sources(&[Source::Whole(manifest.clone())], &Default::default())?;
        let spec = &model.spec;
        let data =
            encode(name, utterances, &normaliser, &spec.vocabulary, &spec.config, spec.audio.sampling_rate, Keep::All);
        let unknown = spec.vocabulary.out_of_vocabulary(data.items.iter().map(|item| item.text.as_str()));
        if unknown.total() > 0 {
            output::warning(&format!("{name}: {unknown}"));
        }
        let evaluation = evaluate(&model, &data, &settings, arguments.batch_seconds, &mut Console::new())
            .with_context(|| format!("evaluating {}", manifest.display()))?;
        if let Some(folder) = &arguments.out {
            write(folder, name, &evaluation)?;
        }
        if !arguments.json {
            output::line(&format!("{name}\n{}\n", evaluation.score.table().trim_end()))?;
        }
        scores.insert(name.clone(), serde_json::to_value(&evaluation.score)?);
    }
    if arguments.json {
        let single = (scores.len() == 1).then(|| scores.values().next().cloned()).flatten();
        output::json(&single.unwrap_or(Value::Object(scores)))?;
    }
    Ok(Ending::Done)
}

/// Each manifest's name: its file name without extension, which must tell them apart.
fn names(arguments: &EvaluateArguments) -> Result<Vec<String>> {
    let name =
        |path: &Path| path.file_stem().map_or(path.display().to_string(), |stem| stem.to_string_lossy().into_owned());
    let mut names: Vec<String> = arguments.manifest.iter().map(|path| name(path)).collect();
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    if distinct.len() < names.len() {
        names = arguments.manifest.iter().map(|path| path.display().to_string().replace(['/', '\\'], "_")).collect();
    }
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    if distinct.len() < names.len() {
        return Err(Usage("a manifest is given twice; give each once".into()).into());
    }
    Ok(names)
}

fn write(folder: &Path, name: &str, evaluation: &Evaluation) -> Result<()> {
    let score = serde_json::to_string_pretty(&evaluation.score)? + "\n";
    output::write(&folder.join(format!("{name}.json")), score.as_bytes())?;
    Ok(write_hypotheses(&folder.join(format!("{name}.hypotheses.jsonl")), &evaluation.pairs)?)
}
