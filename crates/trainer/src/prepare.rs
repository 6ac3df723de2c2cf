//! From a checked recipe to data sets and a model's shape: everything before the first tensor.

use std::path::Path;

use klang_corpus::{CheckOptions, Finding, Role, Source as Checked, Utterance, check};
use klang_text::{Normaliser, Vocabulary};
use klang_wav2vec2::ModelConfig;
use klang_wav2vec2::checkpoint::{Head, holds_head};
use serde_json::Value;

use crate::data::{Dataset, Keep, encode, read_sources, take_dev, unmatched};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::model::{AudioSpec, ModelPath, ModelSpec, Recogniser, find_model};
use crate::recipe::Recipe;

/// Everything that a recipe names, read and fitted together.
#[derive(Debug)]
pub struct Preparation {
    /// What is learnt from.
    pub train: Dataset,
    /// What the best checkpoint is chosen on.
    pub dev: Dataset,
    /// What is reported.
    pub tests: Vec<Dataset>,
    /// The model's shape and vocabulary.
    pub spec: ModelSpec,
    /// What a person should know before training.
    pub notes: Vec<String>,
    start: Option<(ModelPath, Head)>,
    findings: Vec<Finding>,
}

impl Preparation {
    /// Reads manifests, builds the vocabulary from training text only, and fits the model to it.
    ///
    /// # Errors
    /// Whatever is wrong with the recipe's files, by file and line.
    pub fn new(recipe: &Recipe) -> Result<Preparation> {
        Preparation::build(recipe, false).map_err(Error::before_work)
    }

    /// As [`Preparation::new`], with the corpus checked as `klang check` does.
    ///
    /// # Errors
    /// As [`Preparation::new`].
    pub fn checked(recipe: &Recipe) -> Result<Preparation> {
        Preparation::build(recipe, true).map_err(Error::before_work)
    }

    fn build(recipe: &Recipe, thorough: bool) -> Result<Preparation> {
        let data = &recipe.data;
        let mut train = read_sources(&data.train, &data.select)?;
        let dev = match &data.dev {
            Some(source) => read_sources(std::slice::from_ref(source), &Default::default())?,
            None => {
                let dev;
                (train, dev) = take_dev(train, data.dev_share, recipe.seed);
                dev
            }
        };
        let mut tests = Vec::new();
        for (name, source) in &data.test {
            tests.push((
                name.clone(),
                source.path().clone(),
                read_sources(std::slice::from_ref(source), &Default::default())?,
            ));
        }
        let first = data.train[0].path().clone();
        let findings = if thorough {
            let dev_path = data.dev.as_ref().map_or(&first, |source| source.path());
            corpus_findings(&train, &first, &dev, dev_path, &tests)
        } else {
            Vec::new()
        };

        let normaliser = Normaliser::new(&recipe.text)?;
        let (spec, start, mut notes) = fit_model(recipe, &train, &normaliser)?;
        let rate = spec.audio.sampling_rate;
        let set = |name: &str, utterances, keep| {
            encode(name, utterances, &normaliser, &spec.vocabulary, &spec.config, rate, keep)
        };
        let train = set("train", train, Keep::Learnable(data.duration));
        let dev = set("dev", dev, Keep::All);
        let tests: Vec<Dataset> =
            tests.into_iter().map(|(name, _, utterances)| set(&name, utterances, Keep::All)).collect();
        if train.items.is_empty() {
            let reason = train
                .left_out
                .first()
                .map_or(String::new(), |left| format!("; the first, `{}`: {}", left.id, left.why));
            return Err(Error::Data { path: first, message: format!("nothing left to learn from{reason}") });
        }
        if dev.items.iter().all(|item| item.text.is_empty()) && !dev.items.is_empty() {
            let message = "no transcript in dev holds a word; the best checkpoint could not be chosen".into();
            return Err(Error::Data { path: first, message });
        }
        if dev.items.is_empty() {
            return Err(Error::Data { path: first, message: "nothing in dev to choose the best checkpoint on".into() });
        }
        for value in unmatched(&data.train, &data.select)? {
            notes.push(format!(
                "warning: data.select names {value}, which no training utterance has; is it spelt right?"
            ));
        }
        describe(&mut notes, &spec.vocabulary, &train, &dev, &tests);
        Ok(Preparation { train, dev, tests, spec, notes, start, findings })
    }

    /// What is wrong with the corpus; empty unless it was checked.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The model before its first update.
    ///
    /// # Errors
    /// A checkpoint whose weights do not fit.
    pub fn model(&self, compute: Compute, seed: u64) -> Result<(Recogniser, Vec<String>)> {
        let Some((path, head)) = &self.start else {
            return Ok((Recogniser::random(self.spec.clone(), compute, seed)?, Vec::new()));
        };
        let (model, report) = Recogniser::load(path, self.spec.clone(), *head, compute, seed)?;
        let mut notes = vec![format!("starting from {}", path.0.display())];
        for (what, names) in [("drawn afresh", report.fresh), ("of the checkpoint not used", report.skipped)] {
            if !names.is_empty() {
                let shown = names.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
                let rest = if names.len() > 4 { format!(" and {} more", names.len() - 4) } else { String::new() };
                notes.push(format!("{what}: {shown}{rest}"));
            }
        }
        Ok((model, notes))
    }

    /// Whether the model starts from a checkpoint.
    pub fn is_pretrained(&self) -> bool {
        self.start.is_some()
    }
}

fn corpus_findings(
    train: &[Utterance],
    train_path: &Path,
    dev: &[Utterance],
    dev_path: &Path,
    tests: &[(String, std::path::PathBuf, Vec<Utterance>)],
) -> Vec<Finding> {
    let mut sources = vec![
        Checked { role: Role::Train, path: train_path, utterances: train },
        Checked { role: Role::Dev, path: dev_path, utterances: dev },
    ];
    sources.extend(tests.iter().map(|(_, path, utterances)| Checked { role: Role::Test, path, utterances }));
    check(&sources, &CheckOptions::default())
}

type Fitted = (ModelSpec, Option<(ModelPath, Head)>, Vec<String>);

fn fit_model(recipe: &Recipe, train: &[Utterance], normaliser: &Normaliser) -> Result<Fitted> {
    let texts: Vec<String> =
        train.iter().filter_map(|utterance| Some(normaliser.apply(utterance.text.as_deref()?))).collect();
    let own = Vocabulary::of_units(recipe.text.units, texts.iter().map(String::as_str))?;
    let mut notes = Vec::new();
    if recipe.model.init == "random" {
        let config = ModelConfig::of_size(&recipe.model.size).unwrap_or_default();
        let spec = ModelSpec {
            config: shape(recipe, config)?,
            vocabulary: own,
            audio: AudioSpec::default(),
            text: recipe.text.clone(),
        };
        return Ok((spec, None, notes));
    }
    let path = find_model(Path::new(&recipe.model.init))?;
    let config = shape(recipe, ModelConfig::read(&path.0.join("config.json"))?)?;
    let (vocabulary, audio, head) = match ModelSpec::read(&path) {
        // Its own vocabulary serves when every training character is in it: the head then keeps what it knows.
        Ok(spec)
            if spec.text.units == recipe.text.units
                && spec.vocabulary.out_of_vocabulary(texts.iter().map(String::as_str)).total() == 0
                && holds_head(&path.0.join("model.safetensors"))? =>
        {
            notes.push(format!("vocabulary and head: the checkpoint's, {} tokens", spec.vocabulary.len()));
            (spec.vocabulary, spec.audio, Head::Load)
        }
        Ok(spec) => {
            notes.push(format!("vocabulary: new, {} tokens from training text; the head starts afresh", own.len()));
            (own, spec.audio, Head::KeepFresh)
        }
        Err(_) if !path.0.join("vocab.json").exists() => {
            notes.push(format!("vocabulary: {} tokens from training text; the checkpoint has none", own.len()));
            (own, ModelSpec::read_audio(&path)?, Head::KeepFresh)
        }
        Err(error) => return Err(error),
    };
    Ok((ModelSpec { config, vocabulary, audio, text: recipe.text.clone() }, Some((path, head)), notes))
}

/// The size's or checkpoint's configuration with the recipe's differences.
fn shape(recipe: &Recipe, base: ModelConfig) -> Result<ModelConfig> {
    let refuse = |key: &str, given: String, allowed: String| Error::RecipeValue {
        key: format!("model.architecture.{key}"),
        given,
        allowed,
    };
    let mut document =
        serde_json::to_value(&base).map_err(|error| refuse("", error.to_string(), "a model configuration".into()))?;
    let Value::Object(map) = &mut document else { return Ok(base) };
    map.remove("klang_norm");
    for (key, value) in &recipe.model.architecture {
        if !map.contains_key(key) {
            let known = map.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(refuse(key, value.to_string(), format!("no such key; there are {known}")));
        }
        map.insert(key.clone(), value.clone());
        serde_json::from_value::<ModelConfig>(Value::Object(map.clone()))
            .map_err(|error| refuse(key, value.to_string(), error.to_string()))?;
    }
    let config: ModelConfig = serde_json::from_value(document)
        .map_err(|error| refuse("", error.to_string(), "a model configuration".into()))?;
    let config = ModelConfig { norm: recipe.model.norm.config(), ..config };
    config.check()?;
    Ok(config)
}

fn describe(notes: &mut Vec<String>, vocabulary: &Vocabulary, train: &Dataset, dev: &Dataset, tests: &[Dataset]) {
    for set in [train, dev].into_iter().chain(tests) {
        let speakers: std::collections::BTreeSet<_> =
            set.items.iter().filter_map(|item| item.utterance.speaker.as_ref()).collect();
        notes.push(format!(
            "{}: {} utterances, {:.1} min, {} speakers",
            set.name,
            set.items.len(),
            set.hours() * 60.0,
            speakers.len()
        ));
        let unknown = vocabulary.out_of_vocabulary(set.items.iter().map(|item| item.text.as_str()));
        if unknown.total() > 0 {
            let characters: Vec<String> =
                unknown.characters.iter().map(|(character, count)| format!("{character:?} × {count}")).collect();
            notes.push(format!(
                "{}: {} characters never seen in training, in {} utterances; they cannot be recognised: {}",
                set.name,
                unknown.total(),
                unknown.texts,
                characters.join(", ")
            ));
        }
    }
    if !train.left_out.is_empty() {
        let shown: Vec<String> = train
            .left_out
            .iter()
            .take(5)
            .map(|left| format!("`{}` (line {}): {}", left.id, left.line, left.why))
            .collect();
        let rest =
            if train.left_out.len() > 5 { format!("; and {} more", train.left_out.len() - 5) } else { String::new() };
        notes.push(format!("train: {} utterances left out: {}{rest}", train.left_out.len(), shown.join("; ")));
    }
}
