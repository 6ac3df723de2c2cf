//! `klang evaluate`.

use std::path::Path;

use anyhow::{Context, Result};
use klang_text::Normaliser;
use klang_trainer::{
    AudioCache, BadAudio, DecodeMethod, DecodedScore, Decoder, EvaluateOptions, Evaluation, Keep, LoaderSettings,
    Recogniser, Source, encode, evaluate, read_sources, write_hypotheses,
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
    let source = output::model(&arguments.model)?;
    let reading = output::decoding(&arguments.decoding, &source)?;
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&source, compute)?;
    let decoder = match reading.method {
        DecodeMethod::Greedy => None,
        DecodeMethod::Beam => Some(output::decoder(reading, &model.spec)?),
    };
    let normaliser = Normaliser::new(&model.spec.text)?;
    let settings = LoaderSettings {
        audio: model.spec.audio,
        workers: 2,
        cache: AudioCache::new(0),
        bad_audio: BadAudio::refused(),
    };
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
        let options = EvaluateOptions { batch_seconds: arguments.batch_seconds, decoder: decoder.as_ref() };
        let evaluation = evaluate(&model, &data, &settings, &options, &mut Console::new())
            .with_context(|| format!("evaluating {}", manifest.display()))?;
        if let Some(folder) = &arguments.out {
            write(folder, name, &evaluation, decoder.as_ref())?;
        }
        if !arguments.json {
            say(name, &evaluation, decoder.as_ref())?;
        }
        scores.insert(name.clone(), value(&evaluation, decoder.as_ref())?);
    }
    if arguments.json {
        let single = (scores.len() == 1).then(|| scores.values().next().cloned()).flatten();
        output::json(&single.unwrap_or(Value::Object(scores)))?;
    }
    Ok(Ending::Done)
}

/// Never the search's rates alone: what the acoustics are worth by themselves stands beside them.
fn say(name: &str, evaluation: &Evaluation, decoder: Option<&Decoder>) -> Result<()> {
    let (Some(DecodedScore { score, seconds, .. }), Some(decoder)) = (&evaluation.decoded, decoder) else {
        return output::line(&format!("{name}\n{}\n", evaluation.score.table().trim_end()));
    };
    let table = |score: &klang_text::Score| score.table().trim_end().to_owned();
    output::line(&format!("{name}, greedy\n{}\n", table(&evaluation.score)))?;
    output::line(&format!("{name}, {}\n{}", decoder.describe(), table(score)))?;
    let audio = evaluation.behaviour.audio_seconds;
    if audio > 0.0 {
        output::line(&format!(
            "the search took {seconds:.1} s for {audio:.0} s of audio, {:.4} of real time\n",
            seconds / audio
        ))?;
    }
    Ok(())
}

/// The score as JSON: a search's, with the greedy one as `greedy`.
fn value(evaluation: &Evaluation, decoder: Option<&Decoder>) -> Result<Value> {
    let greedy = serde_json::to_value(&evaluation.score)?;
    let (Some(decoded), Some(decoder)) = (&evaluation.decoded, decoder) else { return Ok(greedy) };
    let mut value = serde_json::to_value(&decoded.score)?;
    if let Value::Object(value) = &mut value {
        value.insert("greedy".into(), greedy);
        value.insert("decoder".into(), decoder.describe().into());
        value.insert("decoding_seconds".into(), decoded.seconds.into());
        value.insert("audio_seconds".into(), evaluation.behaviour.audio_seconds.into());
    }
    Ok(value)
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

fn write(folder: &Path, name: &str, evaluation: &Evaluation, decoder: Option<&Decoder>) -> Result<()> {
    let score = serde_json::to_string_pretty(&value(evaluation, decoder)?)? + "\n";
    output::write(&folder.join(format!("{name}.json")), score.as_bytes())?;
    let pairs = evaluation.decoded.as_ref().map_or(&evaluation.pairs, |decoded| &decoded.pairs);
    Ok(write_hypotheses(&folder.join(format!("{name}.hypotheses.jsonl")), pairs)?)
}
