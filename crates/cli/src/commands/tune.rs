//! `klang tune`.

use std::path::Path;

use anyhow::Result;
use klang_text::{Normaliser, Score};
use klang_trainer::{
    AudioCache, ChooseBy, DecodeMethod, Decoder, Keep, LoaderSettings, Recipe, Recogniser, RunFolder, Source,
    TunedDecoding, encode, read_sources, tune_decoding,
};

use crate::Ending;
use crate::args::decoding::{TuneArguments, TuneBy};
use crate::console::Console;
use crate::output::{self, Usage};

pub fn run(arguments: &TuneArguments) -> Result<Ending> {
    let source = output::model(&arguments.model)?;
    if source.from_hub && !arguments.dry_run {
        let message = "a hub's model cannot keep settings; export it first (klang export), or ask with --dry-run";
        return Err(Usage(message.into()).into());
    }
    refuse_tests(&arguments.model.model, &arguments.manifest)?;
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&source, compute)?;
    let mut settings = output::decoding(&arguments.decoding, &source)?;
    settings.method = DecodeMethod::Beam;
    let decoder = Decoder::new(settings, &model.spec)?;
    output::note(&decoder.describe());
    let normaliser = Normaliser::new(&model.spec.text)?;
    let utterances = read_sources(&[Source::Whole(arguments.manifest.clone())], &Default::default())?;
    let (spec, rate) = (&model.spec, model.spec.audio.sampling_rate);
    let data = encode("dev", utterances, &normaliser, &spec.vocabulary, &spec.config, rate, Keep::All);
    let loading = LoaderSettings { audio: spec.audio, workers: 2, cache: AudioCache::new(0) };
    let choose_by = match arguments.by {
        TuneBy::Wer => ChooseBy::Wer,
        TuneBy::Cer => ChooseBy::Cer,
    };
    let tuned = tune_decoding(&model, &data, &loading, decoder, choose_by, &mut Console::new())?;
    say(&tuned)?;
    if !arguments.dry_run {
        tuned.settings.write(&source.path)?;
        output::line(&format!("kept in {}", source.path.join(klang_trainer::DECODING).display()))?;
    }
    Ok(Ending::Done)
}

fn say(tuned: &TunedDecoding) -> Result<()> {
    output::line("LM weight  word score  width     WER     CER")?;
    for one in &tuned.tries {
        output::line(&format!(
            "{:9}  {:10}  {:5}  {:5.1} %  {:5.1} %",
            one.lm_weight,
            one.word_score,
            one.width,
            100.0 * one.wer,
            100.0 * one.cer
        ))?;
    }
    let rates = |score: &Score| {
        let rate = |value: Option<f64>| value.map_or("–".into(), |value| format!("{:.1} %", 100.0 * value));
        format!("WER {}, CER {}", rate(score.wer), rate(score.cer))
    };
    output::line(&format!("\ngreedy: {}", rates(&tuned.greedy)))?;
    match tuned.settings.method {
        DecodeMethod::Greedy => output::line("no search was better: the model is read greedily")?,
        DecodeMethod::Beam => {
            let settings = &tuned.settings;
            output::line(&format!(
                "best:   {} by a beam of {}, LM weight {}, word score {}",
                rates(&tuned.tuned),
                settings.width,
                settings.lm_weight,
                settings.word_score
            ))?;
        }
    }
    if let Some([raw, calibrated]) = tuned.calibration_error {
        output::line(&format!(
            "confidence of words: expected calibration error {:.1} % as computed, {:.1} % calibrated on the other half",
            100.0 * raw,
            100.0 * calibrated
        ))?;
    }
    Ok(())
}

/// What a run is tested on is no place to tune.
fn refuse_tests(model: &Path, manifest: &Path) -> Result<()> {
    let run = [Some(model), model.parent()].into_iter().flatten().find(|folder| folder.join("recipe.yaml").is_file());
    let Some(recipe) = run.and_then(|run| Recipe::read(&RunFolder::at(run).recipe(), &[]).ok()) else { return Ok(()) };
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let asked = real(manifest);
    let test = recipe.data.test.iter().find(|(_, source)| asked.is_some() && real(source.path()) == asked);
    let whole = |name: &str| {
        let dev = recipe.data.dev.as_ref().and_then(|dev| real(dev.path()));
        let train = recipe.data.train.iter().any(|source| real(source.path()) == asked);
        // Parts of one manifest may be anything.
        (dev != asked && !train).then(|| name.to_owned())
    };
    match test.and_then(|(name, _)| whole(name)) {
        None => Ok(()),
        Some(name) => Err(Usage(format!(
            "{} is the test `{name}` of this run; weights tuned on it would be tested on what they were chosen by. Give its dev, or other transcribed speech",
            manifest.display()
        ))
        .into()),
    }
}
