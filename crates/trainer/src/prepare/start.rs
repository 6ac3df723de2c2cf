//! From what a recipe names to the model that training starts from: shape, vocabulary, head.

use klang_corpus::Utterance;
use klang_text::{Normaliser, Units, Vocabulary};
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
    /// Whether that is a hub's model with its commit.
    pub(super) from_hub: bool,
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
            return Ok((
                Start { name: model.init.clone(), from_hub: false, checkpoint: None, config, vocabulary, audio },
                Vec::new(),
            ));
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
        Ok((
            Start {
                name: source.name,
                from_hub: source.from_hub,
                checkpoint: Some((checkpoint, head)),
                config,
                vocabulary,
                audio,
            },
            notes,
        ))
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
    let refuse =
        |allowed: String| Err(Error::RecipeValue { key: "model.keep_head".into(), given: "true".into(), allowed });
    let replaced = |new: Vocabulary, why: String| {
        let note = format!("vocabulary: new, {} tokens from training text; the head starts afresh{why}", new.len());
        Ok((new, Head::Fresh, vec![note]))
    };
    if checkpoint.head_rows().is_none() || !source.path.join("vocab.json").is_file() {
        if keep == Some(true) {
            return refuse(format!("false, or absent: {} has no head with a vocabulary", source.name));
        }
        return replaced(new, "; the checkpoint has none with a vocabulary".into());
    }
    let old = match ModelSpec::read(source, checkpoint) {
        Ok(old) => old,
        // What is to be replaced need not be sound, nor has a language been named whose it should be.
        Err(error) if keep != Some(true) => return replaced(new, format!("; the checkpoint's is not used: {error}")),
        Err(error) => return Err(error),
    };
    let difference = old.vocabulary.difference(&new);
    if keep == Some(false) {
        return replaced(new, format!("; {difference}"));
    }
    let lacking = match recipe.text.units {
        // A word that is spelt from shorter ones is another word.
        Units::Words => !difference.new.is_empty(),
        Units::Characters => !old.vocabulary.out_of_vocabulary(texts.iter().map(String::as_str)).is_empty(),
    };
    let same_units = old.text.units == recipe.text.units;
    // Its own vocabulary serves when it has everything that training text needs: the head then keeps what it knows.
    if same_units && !lacking {
        let note = format!("vocabulary and head: the checkpoint's, {} tokens", old.vocabulary.len());
        return Ok((old.vocabulary, Head::Load, vec![note]));
    }
    if keep == Some(true) {
        return refuse(if same_units {
            format!(
                "true where the checkpoint's vocabulary has all that training text needs, which it has not: {difference}"
            )
        } else {
            format!("true where text.units is the checkpoint's: {:?}, not {:?}", old.text.units, recipe.text.units)
        });
    }
    replaced(new, format!("; {difference}"))
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
