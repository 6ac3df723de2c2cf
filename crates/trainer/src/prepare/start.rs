//! From what a recipe names to the model that training starts from: shape, vocabulary, head.

use klang_corpus::Utterance;
use klang_text::{Normaliser, Vocabulary};
use klang_wav2vec2::ModelConfig;
use klang_wav2vec2::checkpoint::{Checkpoint, Head};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::event::Observer;
use crate::model::{AudioSpec, ModelSource, ModelSpec, find_model};
use crate::recipe::Recipe;

/// What training starts from.
#[derive(Debug)]
pub(super) struct Start {
    /// What it is called.
    pub(super) name: String,
    /// The weights, and what becomes of their head; none where all are random.
    pub(super) checkpoint: Option<(Checkpoint, Head)>,
    config: ModelConfig,
    vocabulary: Vocabulary,
    audio: AudioSpec,
}

impl Start {
    /// Finds the checkpoint and settles its vocabulary with the training text's, with notes for whoever watches.
    pub(super) fn new(
        recipe: &Recipe,
        train: &[Utterance],
        normaliser: &Normaliser,
        observer: &mut dyn Observer,
    ) -> Result<(Start, Vec<String>)> {
        let texts: Vec<String> =
            train.iter().filter_map(|utterance| Some(normaliser.apply(utterance.text.as_deref()?))).collect();
        let vocabulary = Vocabulary::of_units(recipe.text.units, texts.iter().map(String::as_str))?;
        let model = &recipe.model;
        if model.init == "random" {
            let config = ModelConfig::of_size(&model.size).unwrap_or_default();
            let audio = AudioSpec::default();
            return Ok((Start { name: model.init.clone(), checkpoint: None, config, vocabulary, audio }, Vec::new()));
        }
        let source = find_model(model.init.as_ref(), model.language.as_deref(), observer)?;
        let checkpoint = source.checkpoint()?;
        let (config, audio) = match checkpoint.fairseq() {
            Some(fairseq) => {
                let do_normalize = fairseq.normalize.unwrap_or(AudioSpec::default().do_normalize);
                (fairseq.config.clone(), AudioSpec { do_normalize, ..AudioSpec::default() })
            }
            None if source.path.is_file() => {
                let message =
                    "weights alone, which do not say their shape; give the folder with their config.json".into();
                return Err(Error::Model { path: source.path, message });
            }
            None => (ModelConfig::read(&source.path.join("config.json"))?, ModelSpec::read_audio(&source.path)?),
        };
        let (vocabulary, head, notes) = settle(recipe, &source, &checkpoint, &texts, vocabulary)?;
        Ok((Start { name: source.name, checkpoint: Some((checkpoint, head)), config, vocabulary, audio }, notes))
    }

    /// The model that a recipe makes of it.
    pub(super) fn spec(&self, recipe: &Recipe) -> Result<ModelSpec> {
        Ok(ModelSpec {
            config: shape(recipe, &self.config)?,
            vocabulary: self.vocabulary.clone(),
            audio: self.audio,
            text: recipe.text.clone(),
        })
    }
}

/// Whether the checkpoint's vocabulary and head are kept, or `new` takes their place.
fn settle(
    recipe: &Recipe,
    source: &ModelSource,
    checkpoint: &Checkpoint,
    texts: &[String],
    new: Vocabulary,
) -> Result<(Vocabulary, Head, Vec<String>)> {
    let keep = recipe.model.keep_head;
    let size = new.len();
    let refuse =
        |allowed: String| Err(Error::RecipeValue { key: "model.keep_head".into(), given: "true".into(), allowed });
    let folder = source.path.is_dir();
    if checkpoint.head_rows().is_none() || !folder || !source.path.join("vocab.json").is_file() {
        if keep == Some(true) {
            return refuse(format!("false, or absent: {} has no head with a vocabulary", source.name));
        }
        let note = format!("vocabulary: {size} tokens from training text; the checkpoint has none with a head");
        return Ok((new, Head::Fresh, vec![note]));
    }
    if keep == Some(false) {
        let note = format!("vocabulary: {size} tokens from training text; the head starts afresh");
        return Ok((new, Head::Fresh, vec![note]));
    }
    let old = ModelSpec::read(source, checkpoint)?;
    let same_units = old.text.units == recipe.text.units;
    let lacking = old.vocabulary.out_of_vocabulary(texts.iter().map(String::as_str));
    // Its own vocabulary serves when every training character is in it: the head then keeps what it knows.
    if same_units && lacking.is_empty() {
        let note = format!("vocabulary and head: the checkpoint's, {} tokens", old.vocabulary.len());
        return Ok((old.vocabulary, Head::Load, vec![note]));
    }
    let difference = old.vocabulary.difference(&new);
    if keep == Some(true) {
        return refuse(if same_units {
            format!(
                "true where the checkpoint's vocabulary has every token of training text, which it has not: {difference}"
            )
        } else {
            format!("true where text.units is the checkpoint's: {:?}, not {:?}", old.text.units, recipe.text.units)
        });
    }
    let note = format!("vocabulary: new, {size} tokens from training text; the head starts afresh; {difference}");
    Ok((new, Head::Fresh, vec![note]))
}

/// The size's or checkpoint's configuration with the recipe's differences.
fn shape(recipe: &Recipe, base: &ModelConfig) -> Result<ModelConfig> {
    let refuse = |key: &str, given: String, allowed: String| Error::RecipeValue {
        key: format!("model.architecture.{key}"),
        given,
        allowed,
    };
    let document = serde_json::to_value(base);
    let document = document.map_err(|error| refuse("", error.to_string(), "a model configuration".into()))?;
    let Value::Object(mut map) = document else { return Ok(base.clone()) };
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
    let config: ModelConfig = serde_json::from_value(Value::Object(map))
        .map_err(|error| refuse("", error.to_string(), "a model configuration".into()))?;
    let config = recipe.model.tune.extend(ModelConfig { norm: recipe.model.norm.config(), ..config });
    config.check()?;
    Ok(config)
}
