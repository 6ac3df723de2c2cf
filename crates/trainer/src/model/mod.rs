//! A recogniser: encoder, CTC head, vocabulary, and what is done to audio and text around them.

mod folder;

use klang_ctc::{CtcHead, GreedyPath, greedy};
use klang_text::{TextOptions, Vocabulary};
use klang_wav2vec2::{
    EncoderOutput, KlRates, ModelConfig, Pass, Wav2Vec2, WaveformBatch, initialise, initialise_linear, named_parameters,
};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::VarStore;

use crate::device::Compute;
use crate::error::Result;

pub use folder::{ModelPath, find_model};

/// What a model is, without its weights.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    /// The encoder's shape.
    pub config: ModelConfig,
    /// The head's outputs.
    pub vocabulary: Vocabulary,
    /// What audio it expects.
    pub audio: AudioSpec,
    /// What was done to its training transcripts.
    pub text: TextOptions,
}

/// What audio a model expects (`preprocessor_config.json`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AudioSpec {
    /// Samples a second.
    pub sampling_rate: u32,
    /// Whether each utterance is brought to zero mean and unit variance.
    pub do_normalize: bool,
}

impl Default for AudioSpec {
    fn default() -> Self {
        AudioSpec { sampling_rate: 16_000, do_normalize: true }
    }
}

/// A model with its weights.
#[derive(Debug)]
pub struct Recogniser {
    /// What it is.
    pub spec: ModelSpec,
    /// How it computes.
    pub compute: Compute,
    store: VarStore,
    encoder: Wav2Vec2,
    head: CtcHead,
}

/// What a forward gives.
#[derive(Debug)]
pub struct Recognition {
    /// (batch, frame, vocabulary), fp32.
    pub logits: Tensor,
    /// Real frames of each row.
    pub lengths: Vec<i64>,
    /// KL-Norm's rates; none in evaluation or without KL-Norm.
    pub kl: Option<KlRates>,
}

/// A text read off the logits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The text.
    pub text: String,
    /// The path behind it.
    pub path: GreedyPath,
}

impl Recogniser {
    /// A model with fresh weights, drawn from `seed`.
    ///
    /// # Errors
    /// A configuration that cannot be built, or too little memory.
    pub fn random(spec: ModelSpec, compute: Compute, seed: u64) -> Result<Recogniser> {
        let model = Recogniser::blank(spec, compute)?;
        model.initialise(seed)?;
        Ok(model)
    }

    /// A second model over the same weights, for another thread: what changes one of them changes both.
    ///
    /// # Errors
    /// Too little memory.
    pub fn replica(&self) -> Result<Recogniser> {
        let replica = Recogniser::blank(self.spec.clone(), self.compute)?;
        for ((_, mut copy), (_, original)) in replica.parameters().into_iter().zip(self.parameters()) {
            copy.f_set_data(&original.f_detach()?)?;
        }
        Ok(replica)
    }

    /// A model whose weights are zeros.
    fn blank(spec: ModelSpec, compute: Compute) -> Result<Recogniser> {
        let store = VarStore::new(compute.device);
        let encoder = Wav2Vec2::new(&(store.root() / "wav2vec2"), &spec.config)?;
        let outputs = spec.vocabulary.len() as i64;
        let head =
            CtcHead::new(&(store.root() / "lm_head"), spec.config.hidden_size, outputs, spec.config.final_dropout)?;
        Ok(Recogniser { spec, compute, store, encoder, head })
    }

    fn initialise(&self, seed: u64) -> Result<()> {
        let parameters = self.parameters();
        let find = |name: &str| parameters.iter().find(|(other, _)| other == name).map(|(_, tensor)| tensor);
        if let (Some(weight), Some(bias)) = (find("lm_head.weight"), find("lm_head.bias")) {
            initialise_linear("lm_head", weight, bias, &self.spec.config, seed)?;
        }
        let encoder: Vec<(String, Tensor)> = parameters
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix("wav2vec2.")?.to_string(), tensor.shallow_clone())))
            .collect();
        Ok(initialise(&encoder, &self.spec.config, seed)?)
    }

    /// Every parameter by name, sorted.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        named_parameters(&self.store)
    }

    /// Logits of a batch of waveforms at the model's rate, normalised as [`AudioSpec`] says.
    ///
    /// # Errors
    /// An utterance shorter than one frame, or libtorch's own.
    pub fn forward(&self, batch: &WaveformBatch, pass: Pass) -> Result<Recognition> {
        let samples = batch.samples.f_to_device(self.compute.device)?.f_to_kind(self.compute.kind)?;
        let batch = WaveformBatch { samples, lengths: batch.lengths.clone() };
        let EncoderOutput { hidden, lengths, kl } = self.encoder.forward(&batch, pass)?;
        let noise = match pass {
            Pass::Training(drawn) => Some(&drawn.noise),
            Pass::Evaluation => None,
        };
        let logits = self.head.forward(&hidden, noise)?;
        Ok(Recognition { logits, lengths, kl })
    }

    /// Reads text off logits, greedily.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn read(&self, recognition: &Recognition) -> Result<Vec<Reading>> {
        let paths = greedy(&recognition.logits, &recognition.lengths, self.spec.vocabulary.blank())?;
        Ok(paths.into_iter().map(|path| Reading { text: self.spec.vocabulary.decode(&path.labels), path }).collect())
    }
}
