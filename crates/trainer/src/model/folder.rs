//! Models as folders in transformers' layout, with klang's own keys beside the stock ones.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use klang_text::{TextOptions, TokenizerFile, TokenizerFiles, Vocabulary};
use klang_wav2vec2::checkpoint::{Checkpoint, Head, Own, read_text, save_weights};
use klang_wav2vec2::{FeatureNorm, ModelConfig, NormConfig};
use serde_json::{Map, Value, json};

use super::{AudioSpec, ModelSource, ModelSpec, Recogniser};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::files;

/// Bound on the JSON files of a model: the largest vocabularies take some hundred kilobytes.
const JSON_BYTES: u64 = 16 << 20;
/// klang's key in config.json for what was done to training transcripts.
const TEXT_KEY: &str = "klang_text";
/// Sampling rates that a model may expect, in Hz.
const RATES: RangeInclusive<u32> = 1_000..=192_000;

impl ModelSpec {
    /// Reads everything but the weights, for the head of `checkpoint`.
    ///
    /// # Errors
    /// A file that is missing or does not parse, by its name.
    pub fn read(source: &ModelSource, checkpoint: &Checkpoint) -> Result<ModelSpec> {
        let folder = &source.path;
        if folder.is_file() {
            let message = match checkpoint.fairseq() {
                Some(_) => "a checkpoint of fairseq's has no vocabulary: it can only be trained from",
                None => "weights alone, without shape and vocabulary; give the folder that they are in",
            };
            let message = message.into();
            return Err(Error::Model { path: folder.clone(), message });
        }
        if checkpoint.head_rows().is_none() && !folder.join("vocab.json").is_file() {
            let message = "an encoder without a CTC head and its vocabulary, as pretraining leaves it: train from it first, with this folder or its run as `model.init` of a recipe for klang train";
            return Err(Error::Model { path: folder.clone(), message: message.into() });
        }
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let text = text_options(folder)?;
        let audio = ModelSpec::read_audio(folder)?;
        Ok(ModelSpec { config, vocabulary: read_vocabulary(source, checkpoint)?, audio, text, bottleneck: None })
    }

    /// Reads what audio a folder's model expects; without a `preprocessor_config.json`, 16 kHz and normalised.
    ///
    /// # Errors
    /// A file that does not parse, or a sampling rate that no audio has.
    pub fn read_audio(folder: &Path) -> Result<AudioSpec> {
        let name = "preprocessor_config.json";
        let Some(value) = read_json(&folder.join(name))? else { return Ok(AudioSpec::default()) };
        let spec: AudioSpec = serde_json::from_value(value).map_err(|error| model_error(folder, name, error))?;
        if RATES.contains(&spec.sampling_rate) {
            return Ok(spec);
        }
        let message =
            format!("sampling_rate is {}; allowed: {} to {} Hz", spec.sampling_rate, RATES.start(), RATES.end());
        Err(Error::Model { path: folder.join(name), message })
    }

    /// Writes everything but the weights.
    ///
    /// # Errors
    /// A failing file system.
    pub fn write(&self, folder: &Path, own: Own) -> Result<()> {
        let vocabulary = &self.vocabulary;
        let norm = match own {
            Own::Keep => self.config.norm.clone(),
            Own::Drop => NormConfig::LayerNorm,
        };
        let mut config = ModelConfig { norm, ..self.config.clone() }.to_json();
        config.insert("vocab_size".into(), json!(vocabulary.len()));
        config.insert("pad_token_id".into(), json!(vocabulary.blank()));
        config.insert("bos_token_id".into(), json!(vocabulary.start()));
        config.insert("eos_token_id".into(), json!(vocabulary.end()));
        config.insert("ctc_loss_reduction".into(), json!("sum"));
        config.insert(TEXT_KEY.into(), json!(self.text));
        self.audio.write(folder, config, &self.config)?;
        for (name, text) in self.vocabulary.tokenizer_files() {
            files::write(&folder.join(name), text.as_bytes())?;
        }
        Ok(())
    }
}

impl AudioSpec {
    /// Writes a model's config.json, and beside it what audio it expects.
    ///
    /// # Errors
    /// A failing file system.
    pub(crate) fn write(&self, folder: &Path, mut config: Map<String, Value>, shape: &ModelConfig) -> Result<()> {
        config.insert("dtype".into(), json!("float32"));
        let mask = self.return_attention_mask.unwrap_or(shape.feat_extract_norm == FeatureNorm::Layer);
        let preprocessor = json!({
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "sampling_rate": self.sampling_rate, "do_normalize": self.do_normalize,
            "return_attention_mask": mask,
            "feature_size": 1, "padding_side": "right", "padding_value": 0.0,
        });
        let documents = [("config.json", Value::Object(config)), ("preprocessor_config.json", preprocessor)];
        for (name, document) in documents {
            let text = serde_json::to_string_pretty(&document).map_err(|error| model_error(folder, name, error))?;
            files::write(&folder.join(name), (text + "\n").as_bytes())?;
        }
        Ok(())
    }
}

/// Writes a model's folder: beside the old one, then in its place; `fill` writes the files.
pub(crate) fn write_model(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    files::replace_folder(fresh_folder(files::parent(folder), fill)?, folder)
}

/// A model's folder of a temporary name in `place`.
pub(crate) fn fresh_folder(place: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<tempfile::TempDir> {
    files::make_folder(place)?;
    let fresh =
        tempfile::Builder::new().prefix(".model-").suffix(".tmp").tempdir_in(place).map_err(Error::io(place))?;
    fill(fresh.path())?;
    Ok(fresh)
}

impl Recogniser {
    /// Opens a model with its own head.
    ///
    /// # Errors
    /// A folder that is no model, or weights that do not fit its configuration.
    pub fn open(source: &ModelSource, compute: Compute) -> Result<Recogniser> {
        let checkpoint = source.checkpoint()?;
        let spec = ModelSpec::read(source, &checkpoint)?;
        let fit = Recogniser::fit(&checkpoint, &spec, Head::Load)?;
        // What is not learnt further must be there whole, but for what masks training alone.
        let lacking = fit.fresh.iter().filter(|name| !name.ends_with("masked_spec_embed"));
        let problems: Vec<String> = lacking.map(|name| format!("{name}: missing")).collect();
        if !problems.is_empty() {
            let path = checkpoint.path().to_path_buf();
            return Err(klang_wav2vec2::Error::Mismatch { path, problems }.into());
        }
        Recogniser::filled(&checkpoint, &fit, spec, compute, 0)?.ready()
    }

    /// Writes the model as a folder: beside the old one, then in its place. Low-rank factors are merged.
    ///
    /// # Errors
    /// A failing file system; the old folder then still stands, whole.
    pub fn save(&self, folder: &Path, own: Own) -> Result<()> {
        files::replace_folder(self.write_in(files::parent(folder), own)?, folder)
    }

    /// Writes the model as a folder of a temporary name in `place`.
    pub(crate) fn write_in(&self, place: &Path, own: Own) -> Result<tempfile::TempDir> {
        if self.compute.int8 {
            // Their fp32 weights are given up, and stand as zeros.
            return Err(Error::Model {
                path: place.into(),
                message: "a model in int8 cannot be written; open it in fp32".into(),
            });
        }
        fresh_folder(place, |folder| {
            save_weights(&folder.join("model.safetensors"), &self.with_plain_head()?, &self.spec.config, own)?;
            self.spec.write(folder, own)
        })
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

fn read_vocabulary(source: &ModelSource, checkpoint: &Checkpoint) -> Result<Vocabulary> {
    let path = |name: &str| source.path.join(name);
    let names = ["vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"].map(path);
    let read = |path: &PathBuf| read_text(path, JSON_BYTES);
    let optional = |path: &PathBuf| path.is_file().then(|| read(path)).transpose();
    let vocab = read(&names[0])?;
    let [config, map, added] = [optional(&names[1])?, optional(&names[2])?, optional(&names[3])?];
    Ok(Vocabulary::from_files(&TokenizerFiles {
        tokenizer_config: config.as_deref().map(|text| TokenizerFile { text, path: &names[1] }),
        special_tokens_map: map.as_deref().map(|text| TokenizerFile { text, path: &names[2] }),
        added_tokens: added.as_deref().map(|text| TokenizerFile { text, path: &names[3] }),
        language: source.language.as_deref(),
        head_rows: checkpoint.head_rows(),
        ..TokenizerFiles::new(TokenizerFile { text: &vocab, path: &names[0] })
    })?)
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
