//! `klang tune`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use klang_corpus::Utterance;
use klang_text::{Normaliser, Score};
use klang_trainer::{
    AudioCache, BadAudio, ChooseBy, DecodeMethod, DecodeSettings, Keep, LEAST_WORDS, LoaderSettings, Recogniser,
    RunFolder, Source, TunedDecoding, encode, read_sources, train_and_dev, tune_decoding,
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
    if !source.path.is_dir() {
        let message = format!(
            "{} is a file; settings are kept in a model's folder: klang export it first",
            source.path.display()
        );
        return Err(Usage(message).into());
    }
    let utterances = utterances(arguments)?;
    let kept = DecodeSettings::of_model(&source.path)?;
    let settings = output::searching(&arguments.search, output::of_model(&source)?)?;
    let searched = settings.lm.clone();
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&source, compute)?;
    let decoder = output::decoder(settings, &model.spec)?;
    let normaliser = Normaliser::new(&model.spec.text)?;
    let (spec, rate) = (&model.spec, model.spec.audio.sampling_rate);
    let data = encode("dev", utterances, &normaliser, &spec.vocabulary, &spec.config, rate, Keep::All);
    let loading =
        LoaderSettings { audio: spec.audio, workers: 2, cache: AudioCache::new(0), bad_audio: BadAudio::refused() };
    let choose_by = match arguments.by {
        TuneBy::Wer => ChooseBy::Wer,
        TuneBy::Cer => ChooseBy::Cer,
    };
    let tuned = tune_decoding(&model, &data, &loading, decoder, choose_by, &mut Console::new())?;
    say(&tuned)?;
    if !arguments.dry_run {
        if kept != DecodeSettings::default() {
            output::note(
                "what an earlier tuning kept is replaced; compare both on dev with --dry-run and klang evaluate",
            );
        }
        let mut settings = DecodeSettings { language: source.language.clone(), ..tuned.settings };
        let real = |path: &Option<PathBuf>| path.as_ref().and_then(|path| std::fs::canonicalize(path).ok());
        if settings.lm.is_none() && real(&searched).is_some() && real(&searched) == real(&kept.lm) {
            output::note("the language model in the model's folder stays there, for --beam");
            settings.lm = kept.lm; // perhaps there is no other copy
        }
        settings.write(&source.path)?;
        output::line(&format!("kept in {}", source.path.join(klang_trainer::DECODING).display()))?;
    }
    Ok(Ending::Done)
}

fn say(tuned: &TunedDecoding) -> Result<()> {
    let rate = |value: Option<f64>| value.map_or("–".into(), |value| format!("{:.1} %", 100.0 * value));
    if tuned.tries.len() > 1 {
        output::line("LM weight  word score  unknown  width      WER      CER")?;
    }
    for one in tuned.tries.iter().filter(|_| tuned.tries.len() > 1) {
        output::line(&format!(
            "{:9}  {:10}  {:7}  {:5}  {:>7}  {:>7}",
            one.lm_weight,
            one.word_score,
            one.unknown_score,
            one.width,
            rate(one.wer),
            rate(one.cer)
        ))?;
    }
    let rates = |score: &Score| format!("WER {}, CER {}", rate(score.wer), rate(score.cer));
    output::line(&format!("\ngreedy: {}", rates(&tuned.greedy)))?;
    match tuned.settings.method {
        DecodeMethod::Greedy => output::line("no search was better: the model is read greedily")?,
        DecodeMethod::Beam => {
            let settings = &tuned.settings;
            output::line(&format!(
                "best:   {} by a beam of {}, LM weight {}, word score {}, unknown score {}: the best of {} tries on dev itself",
                rates(&tuned.tuned),
                settings.width,
                settings.lm_weight,
                settings.word_score,
                settings.unknown_score,
                tuned.tries.len()
            ))?;
        }
    }
    match tuned.calibration_error {
        Some([raw, calibrated]) => output::line(&format!(
            "confidence of words: expected calibration error {:.1} % as computed, {:.1} % calibrated on the other half",
            100.0 * raw,
            100.0 * calibrated
        )),
        None if tuned.settings.confidence.is_some() => {
            output::line("confidence of words: calibrated; dev has too few utterances to say how well")
        }
        None => output::line(&format!(
            "confidence of words: not calibrated, which takes {LEAST_WORDS} recognised words of dev"
        )),
    }
}

/// What is tuned on: what was given, or the dev of the run that the model is of.
fn utterances(arguments: &TuneArguments) -> Result<Vec<Utterance>> {
    let model = &arguments.model.model;
    if let Some(manifest) = &arguments.manifest {
        check_data(model, manifest)?;
        return Ok(read_sources(&[Source::Whole(manifest.clone())], &Default::default())?);
    }
    let Some(run) = RunFolder::around(model) else {
        let message = format!(
            "{} is no run, whose dev could be tuned on; give transcribed speech: klang tune MODEL DEV",
            model.display()
        );
        return Err(Usage(message).into());
    };
    let (_, dev) = train_and_dev(&run).context("reading the run's dev, as its recipe.yaml names it")?;
    output::note(&format!("tuning on the run's dev: {} utterances", dev.len()));
    Ok(dev)
}

/// What a run is tested on is no place to tune, and what it learnt from says little.
fn check_data(model: &Path, manifest: &Path) -> Result<()> {
    let Some(run) = RunFolder::around(model) else { return Ok(()) };
    let Some(recipe) = run.resolved() else {
        output::warning(&format!(
            "{} cannot be read: whether {} is a test of it is not known",
            run.recipe().display(),
            manifest.display()
        ));
        return Ok(());
    };
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let asked = real(manifest);
    if asked.is_none() {
        return Ok(()); // reading it says why
    }
    let is_it = |source: &Source| real(source.path()) == asked;
    // Parts of one manifest may be anything.
    let trained = recipe.data.train.iter().any(is_it);
    let is_dev = recipe.data.dev.as_ref().is_some_and(is_it);
    let test = recipe.data.test.iter().find(|(_, source)| is_it(source)).map(|(name, _)| name);
    match test {
        Some(name) if !trained && !is_dev => Err(Usage(format!(
            "{} is the test `{name}` of this run; weights tuned on it would be tested on what they were chosen by. Give its dev, or other transcribed speech",
            manifest.display()
        ))
        .into()),
        _ => {
            if trained {
                output::warning(&format!(
                    "the run learnt from {}: what it makes of its own training data says little of other speech",
                    manifest.display()
                ));
            }
            Ok(())
        }
    }
}
