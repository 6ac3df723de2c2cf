//! Recipes: everything that decides a training, in one YAML document.

mod check;
mod condition;
mod norm;
mod pretrain;
mod read;
mod train;
mod yaml;

use std::collections::BTreeMap;
use std::path::PathBuf;

use klang_corpus::Selection;
use klang_text::TextOptions;
use serde::{Deserialize, Serialize};

use crate::data::OnBadAudio;
use crate::decode::DecodeSettings;
use crate::device::{DeviceChoice, PrecisionChoice};
use crate::model::TuneRecipe;

pub use condition::Condition;
pub use norm::{NormKind, NormRecipe};
pub use pretrain::{ContrastiveRecipe, ObjectiveKind, PretrainRecipe, ProbeRecipe, SpanRecipe, Spectrum};
pub(crate) use read::RECIPE_BYTES;
pub use read::{resolved_settings, setting};
pub use train::{ChooseBy, MaskRecipe, TrainRecipe};
pub(crate) use yaml::parse as parse_yaml;

/// A recipe with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// A recipe that this one differs from; resolved away after reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<PathBuf>,
    /// Words that stand for `${name}` in this recipe's strings; nothing else is expanded.
    pub variables: BTreeMap<String, String>,
    /// Everything random follows from it.
    pub seed: u64,
    /// Where to compute.
    pub device: DeviceChoice,
    /// In what to compute.
    pub precision: PrecisionChoice,
    /// Threads on the CPU; absent, one a core. Each computes its part of every batch, with masks and noise of its own: a
    /// run repeats on the same number only.
    pub threads: Option<usize>,
    /// The model.
    pub model: ModelRecipe,
    /// What is done to transcripts before anything else.
    pub text: TextOptions,
    /// What is learnt from, and scored on.
    pub data: DataRecipe,
    /// How it is learnt.
    pub train: TrainRecipe,
    /// How the tests are read, and the best model from then on, beside the greedy reading; in training dev is read greedily. Its
    /// `confidence` and `language` are a model's, not a recipe's.
    pub decode: DecodeSettings,
    /// How `klang pretrain` learns; absent in a recipe for `klang train`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretrain: Option<PretrainRecipe>,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            extends: None,
            variables: BTreeMap::new(),
            seed: 1,
            device: DeviceChoice::Auto,
            precision: PrecisionChoice::Auto,
            threads: None,
            model: ModelRecipe::default(),
            text: TextOptions::default(),
            data: DataRecipe::default(),
            train: TrainRecipe::default(),
            decode: DecodeSettings::default(),
            pretrain: None,
        }
    }
}

/// The model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRecipe {
    /// `random`, a folder in transformers' layout, a run folder, a checkpoint of fairseq's, or a hub name such as
    /// `facebook/wav2vec2-base`, with `@REVISION` behind it if it is to stay the same one.
    pub init: String,
    /// The language whose adapter and vocabulary to start from, of a checkpoint that has several (MMS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether to keep the checkpoint's vocabulary and head. Absent: kept where it has every token that the training text
    /// needs. `true`: as that, and an error where it lacks one. `false`: a new vocabulary, of training text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_head: Option<bool>,
    /// With `init: random`, a named size: tiny, small, base.
    pub size: String,
    /// Keys of transformers' config.json that differ from the size's or the checkpoint's.
    pub architecture: BTreeMap<String, serde_json::Value>,
    /// What does not learn.
    pub freeze: FreezeRecipe,
    /// What learns: all of it, or few parameters.
    pub tune: TuneRecipe,
    /// The normalisation of the transformer's blocks.
    pub norm: NormRecipe,
    /// A variational information bottleneck before the head; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck: Option<BottleneckRecipe>,
}

impl Default for ModelRecipe {
    fn default() -> Self {
        ModelRecipe {
            init: "random".into(),
            language: None,
            keep_head: None,
            size: "tiny".into(),
            architecture: BTreeMap::new(),
            freeze: FreezeRecipe::default(),
            tune: TuneRecipe::default(),
            norm: NormRecipe::default(),
            bottleneck: None,
        }
    }
}

/// A variational information bottleneck before the head. Saved models hold the plain head that it equals in evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BottleneckRecipe {
    /// Channels that the head sees.
    pub width: i64,
    /// Weight of its rate (nats per channel) in the loss.
    pub weight: f64,
}

impl Default for BottleneckRecipe {
    fn default() -> Self {
        BottleneckRecipe { width: 128, weight: 0.01 }
    }
}

/// What does not learn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FreezeRecipe {
    /// The convolutions. Absent: frozen when the model starts from a checkpoint. With random weights they always learn,
    /// whatever stands here.
    pub feature_encoder: Option<bool>,
    /// Updates during which only the head learns.
    pub encoder_updates: u64,
}

/// A manifest, and which of its utterances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a manifest's path, or {manifest: path, select: {column: values}, condition: {noise_db: 10}}"
)]
pub enum Source {
    /// All of a manifest.
    Whole(PathBuf),
    /// Part of one.
    Part(SourcePart),
}

/// Part of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePart {
    /// Its path.
    pub manifest: PathBuf,
    /// Which utterances, by any column.
    #[serde(default)]
    pub select: Selection,
    /// Of a test: what is done to its audio before it is scored.
    #[serde(default, skip_serializing_if = "Condition::is_none")]
    pub condition: Condition,
}

impl Source {
    /// The manifest's path.
    pub fn path(&self) -> &PathBuf {
        match self {
            Source::Whole(path) => path,
            Source::Part(part) => &part.manifest,
        }
    }

    /// What is done to its audio.
    pub fn condition(&self) -> Condition {
        match self {
            Source::Whole(_) => Condition::default(),
            Source::Part(part) => part.condition,
        }
    }

    /// Which of its utterances.
    pub fn selection(&self) -> Selection {
        match self {
            Source::Whole(_) => Selection::default(),
            Source::Part(part) => part.select.clone(),
        }
    }
}

/// What is learnt from, and scored on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataRecipe {
    /// Manifests to learn from; in pretraining also folders with audio.
    pub train: Vec<Source>,
    /// The manifest that the best checkpoint is chosen on.
    pub dev: Option<Source>,
    /// Without `dev`: the share of the training utterances to take for it, drawn by seed; in pretraining by whole recordings,
    /// up to twice as much.
    pub dev_share: f64,
    /// Manifests scored when training ends, by name; never chosen on.
    pub test: BTreeMap<String, Source>,
    /// Which utterances of the training manifests, and of `dev_share`'s.
    pub select: Selection,
    /// Whether a test may share audio or speakers with `train`: a warning then, and otherwise refused.
    pub allow_overlap: bool,
    /// What becomes of audio that cannot be read while a run is under way.
    pub on_bad_audio: OnBadAudio,
    /// With `on_bad_audio: skip`, the share of a data set's utterances that may be skipped, 0 to 1, rounded up to whole ones;
    /// one more ends the run.
    pub bad_audio_limit: f64,
    /// Learn from at most so many minutes of the training data, behind `select` and `dev_share`, drawn by seed utterance by
    /// utterance: what fewer minutes hold, more minutes hold too. Absent: from all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// Shortest and longest training utterance, in seconds; others are left out and counted. In pretraining dev's too, and what
    /// is longer is cut at its pauses.
    pub duration: [f64; 2],
    /// What is done to training audio.
    pub augment: AugmentRecipe,
    /// Threads that decode ahead of the model.
    pub workers: usize,
    /// Decoded audio kept in memory between epochs, in MiB; the rest is decoded again.
    pub cache_mib: usize,
    /// Features of frozen convolutions kept between epochs, in MiB, on a CPU and where no augmentation changes them; the
    /// rest is computed again. An hour of Base takes 352 MiB in fp32.
    pub feature_cache_mib: usize,
    /// The folder that they are kept in from one run to the next, in a file for each model, which grows to
    /// `feature_cache_mib` at most. Absent: they are kept in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_cache_dir: Option<PathBuf>,
}

impl Default for DataRecipe {
    fn default() -> Self {
        DataRecipe {
            train: Vec::new(),
            dev: None,
            dev_share: 0.1,
            test: BTreeMap::new(),
            select: Selection::default(),
            allow_overlap: false,
            on_bad_audio: OnBadAudio::Error,
            bad_audio_limit: 0.01,
            minutes: None,
            duration: [0.1, 30.0],
            augment: AugmentRecipe::default(),
            workers: 2,
            cache_mib: 1024,
            feature_cache_mib: 2048,
            feature_cache_dir: None,
        }
    }
}

/// What is done to training audio, drawn anew for each utterance in each epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentRecipe {
    /// Slowest and fastest speed; pitch and formants move along. Absent: as recorded.
    pub speed: Option<[f64; 2]>,
    /// Signal-to-noise ratio of added noise, white or pink, in dB, lowest and highest. Absent: none.
    pub noise_db: Option<[f64; 2]>,
    /// Chance that noise is added.
    pub noise_chance: f64,
    /// Deviation, in dB, of a random smooth gain over the spectrum: another microphone, another room. Absent: none.
    pub colour_db: Option<f64>,
    /// Chance that the spectrum is coloured.
    pub colour_chance: f64,
    /// Longest near-silence put before and behind an utterance, in seconds. Absent: none.
    pub silence: Option<f64>,
    /// Chance that an utterance is joined with others, of any speaker, into one. 0: never.
    pub join_chance: f64,
    /// Most utterances joined, at least 2.
    pub join_most: usize,
}

impl Default for AugmentRecipe {
    fn default() -> Self {
        AugmentRecipe {
            speed: None,
            noise_db: None,
            noise_chance: 1.0,
            colour_db: None,
            colour_chance: 1.0,
            silence: None,
            join_chance: 0.0,
            join_most: 4,
        }
    }
}
