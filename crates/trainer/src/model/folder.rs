//! Models as folders in transformers' layout, with klang's own keys beside the stock ones.

use std::path::{Path, PathBuf};

use klang_text::{SpecialTokens, TextOptions, Vocabulary};
use klang_wav2vec2::ModelConfig;
use klang_wav2vec2::checkpoint::{Head, LoadReport, load_weights, read_text, save_weights};
use serde_json::{Value, json};

use super::{AudioSpec, ModelSpec, Recogniser};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::files;

/// Bound on the JSON files of a model: the largest vocabularies take some hundred kilobytes.
const JSON_BYTES: u64 = 16 << 20;
/// klang's key in config.json for what was done to training transcripts.
const TEXT_KEY: &str = "klang_text";

/// A folder that holds a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPath(pub PathBuf);

/// The folder that a command's MODEL means: a run folder's best checkpoint, else its last, or the folder itself.
///
/// # Errors
/// A path that holds no model, with what was looked for.
pub fn find_model(path: &Path) -> Result<ModelPath> {
    let found = [path.join("best"), path.join("last"), path.to_path_buf()]
        .into_iter()
        .find(|path| path.join("config.json").is_file());
    found.map(ModelPath).ok_or_else(|| Error::Model {
        path: path.into(),
        message: if path.exists() {
            "no model: neither best/config.json, last/config.json nor config.json is in it".into()
        } else {
            "no such folder; allowed: a run folder, or a folder in transformers' layout".into()
        },
    })
}

impl ModelSpec {
    /// Reads everything but the weights.
    ///
    /// # Errors
    /// A file that is missing or does not parse, by its name.
    pub fn read(ModelPath(folder): &ModelPath) -> Result<ModelSpec> {
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let text = text_options(folder)?;
        let audio = ModelSpec::read_audio(&ModelPath(folder.clone()))?;
        Ok(ModelSpec { config, vocabulary: read_vocabulary(folder)?, audio, text })
    }

    /// Reads what audio the model expects; without a `preprocessor_config.json`, 16 kHz and normalised.
    ///
    /// # Errors
    /// A file that does not parse.
    pub fn read_audio(ModelPath(folder): &ModelPath) -> Result<AudioSpec> {
        match read_json(&folder.join("preprocessor_config.json"))? {
            Some(value) => {
                serde_json::from_value(value).map_err(|error| model_error(folder, "preprocessor_config.json", error))
            }
            None => Ok(AudioSpec::default()),
        }
    }

    /// Writes everything but the weights.
    ///
    /// # Errors
    /// A failing file system.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let vocabulary = &self.vocabulary;
        let token = |id: Option<u32>| id.and_then(|id| vocabulary.token(id));
        let pad = token(Some(vocabulary.blank()));
        let mut config =
            serde_json::to_value(&self.config).map_err(|error| model_error(folder, "config.json", error))?;
        if let Value::Object(map) = &mut config {
            map.insert("architectures".into(), json!(["Wav2Vec2ForCTC"]));
            map.insert("model_type".into(), json!("wav2vec2"));
            map.insert("dtype".into(), json!("float32"));
            map.insert("num_feat_extract_layers".into(), json!(self.config.conv_dim.len()));
            map.insert("vocab_size".into(), json!(vocabulary.len()));
            map.insert("pad_token_id".into(), json!(vocabulary.blank()));
            map.insert("bos_token_id".into(), Value::Null);
            map.insert("eos_token_id".into(), Value::Null);
            map.insert("ctc_loss_reduction".into(), json!("sum"));
            map.insert(TEXT_KEY.into(), json!(self.text));
        }
        let special = json!({
            "pad_token": pad, "unk_token": token(vocabulary.unknown()), "bos_token": null, "eos_token": null,
        });
        let tokenizer = json!({
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "pad_token": pad, "unk_token": token(vocabulary.unknown()), "bos_token": null, "eos_token": null,
            "word_delimiter_token": token(vocabulary.delimiter()),
            "do_lower_case": false, "replace_word_delimiter_char": " ",
        });
        let preprocessor = json!({
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "sampling_rate": self.audio.sampling_rate, "do_normalize": self.audio.do_normalize,
            // As the published checkpoints have it: a mask for layer-normed encoders, none for group-normed ones.
            "return_attention_mask": self.config.feat_extract_norm == klang_wav2vec2::FeatureNorm::Layer,
            "feature_size": 1, "padding_side": "right", "padding_value": 0.0,
        });
        let documents = [
            ("config.json", config),
            ("special_tokens_map.json", special),
            ("tokenizer_config.json", tokenizer),
            ("preprocessor_config.json", preprocessor),
        ];
        for (name, document) in documents {
            let text = serde_json::to_string_pretty(&document).map_err(|error| model_error(folder, name, error))?;
            files::write(&folder.join(name), (text + "\n").as_bytes())?;
        }
        files::write(&folder.join("vocab.json"), self.vocabulary.to_vocab_json().as_bytes())
    }
}

impl Recogniser {
    /// Opens a model with its own head.
    ///
    /// # Errors
    /// A folder that is no model, or weights that do not fit its configuration.
    pub fn open(path: &ModelPath, compute: Compute) -> Result<Recogniser> {
        let spec = ModelSpec::read(path)?;
        Ok(Recogniser::load(path, spec, Head::Load, compute, 0)?.0)
    }

    /// Opens a model's weights as `spec` says; what the file lacks is drawn from `seed`.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn load(
        ModelPath(folder): &ModelPath,
        spec: ModelSpec,
        head: Head,
        compute: Compute,
        seed: u64,
    ) -> Result<(Recogniser, LoadReport)> {
        let model = Recogniser::random(spec, compute, seed)?;
        let report = load_weights(&folder.join("model.safetensors"), &model.parameters(), head)?;
        Ok((model, report))
    }

    /// Writes the model as a folder: beside the old one, then in its place.
    ///
    /// # Errors
    /// A failing file system; the old folder then still stands, whole.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        files::make_folder(parent)?;
        let fresh =
            tempfile::Builder::new().prefix(".model-").suffix(".tmp").tempdir_in(parent).map_err(Error::io(parent))?;
        save_weights(&fresh.path().join("model.safetensors"), &self.parameters())?;
        self.spec.write(fresh.path())?;
        files::replace_folder(fresh, folder)
    }
}

fn text_options(folder: &Path) -> Result<TextOptions> {
    let config = read_json(&folder.join("config.json"))?;
    match config.as_ref().and_then(|config| config.get(TEXT_KEY)) {
        Some(options) => serde_json::from_value(options.clone())
            .map_err(|error| model_error(folder, "config.json, klang_text", error)),
        None => Ok(TextOptions::default()),
    }
}

fn read_vocabulary(folder: &Path) -> Result<Vocabulary> {
    let path = folder.join("vocab.json");
    let specials = ["tokenizer_config.json", "special_tokens_map.json"]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| path.is_file());
    let specials = match specials {
        Some(path) => SpecialTokens::from_json(read_text(&path, JSON_BYTES)?.as_bytes(), &path)?,
        None => SpecialTokens::default(),
    };
    let vocabulary = Vocabulary::from_vocab_json(read_text(&path, JSON_BYTES)?, &path, &specials)?;
    let added = folder.join("added_tokens.json");
    if added.is_file() {
        return Ok(vocabulary.with_added_tokens(read_text(&added, JSON_BYTES)?, &added)?);
    }
    Ok(vocabulary)
}

fn read_json(path: &Path) -> Result<Option<Value>> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = read_text(path, JSON_BYTES)?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Error::Model { path: path.into(), message: error.to_string() })
}

fn model_error(folder: &Path, name: &str, error: serde_json::Error) -> Error {
    Error::Model { path: folder.join(name), message: error.to_string() }
}
