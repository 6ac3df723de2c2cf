//! Where a model comes from: random weights of a named size, or a checkpoint.

use klang_wav2vec2::ModelConfig;
use klang_wav2vec2::checkpoint::{Checkpoint, Fit};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::event::Observer;
use crate::model::{AudioSpec, ModelSource, ModelSpec, find_model};
use crate::recipe::{ModelRecipe, Recipe};

/// Where a model comes from.
#[derive(Debug)]
pub(crate) struct Origin {
    /// What it is called.
    pub(crate) name: String,
    /// Whether that is a hub's model with its commit.
    pub(crate) from_hub: bool,
    /// The weights; none where all are random.
    pub(crate) checkpoint: Option<(ModelSource, Checkpoint)>,
    /// What audio it expects.
    pub(crate) audio: AudioSpec,
    config: ModelConfig,
}

impl Origin {
    /// Finds what a recipe's `model` names.
    ///
    /// # Errors
    /// No model there, or weights that do not say their shape.
    pub(crate) fn find(model: &ModelRecipe, observer: &mut dyn Observer) -> Result<Origin> {
        if model.init == "random" {
            let config = ModelConfig::of_size(&model.size).unwrap_or_default();
            let audio = AudioSpec::default();
            return Ok(Origin { name: model.init.clone(), from_hub: false, checkpoint: None, audio, config });
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
        Ok(Origin {
            name: source.name.clone(),
            from_hub: source.from_hub,
            checkpoint: Some((source, checkpoint)),
            audio,
            config,
        })
    }

    /// What was taken from the checkpoint and what was not, for whoever watches.
    pub(crate) fn notes(&self, fit: &Fit) -> Vec<String> {
        let mut notes = vec![format!("starting from {}", self.name)];
        for (what, names) in [("drawn afresh", &fit.fresh), ("of the checkpoint not used", &fit.skipped)] {
            if !names.is_empty() {
                let shown = names.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
                let rest = if names.len() > 4 { format!(" and {} more", names.len() - 4) } else { String::new() };
                notes.push(format!("{what}: {shown}{rest}"));
            }
        }
        notes
    }

    /// The hub's model that it is, with its commit.
    pub(crate) fn pinned(&self) -> Option<&str> {
        self.from_hub.then_some(self.name.as_str())
    }

    /// The size's or checkpoint's configuration with the recipe's differences.
    pub(crate) fn shape(&self, recipe: &Recipe) -> Result<ModelConfig> {
        let refuse = |key: &str, given: String, allowed: String| Error::RecipeValue {
            key: format!("model.architecture.{key}"),
            given,
            allowed,
        };
        let base = &self.config;
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
        base.norm.check_kept(&config.norm)?;
        Ok(config)
    }
}
