//! A recogniser: encoder, CTC head, vocabulary, and what is done to audio and text around them.

mod folder;
mod source;
#[cfg(test)]
mod tests;
mod tune;

use klang_ctc::{BOTTLENECK, Bottleneck, CtcHead, FoldedHead, GreedyPath, HeadConfig, HeadOutput, greedy};
use klang_text::{TextOptions, Vocabulary};
use klang_wav2vec2::checkpoint::{Checkpoint, Fit, Head};
use klang_wav2vec2::{
    EncoderOutput, Features, ModelConfig, Pass, Recomputed, SiteOutcomes, Stages, Store, Wav2Vec2, WaveformBatch,
    initialise, initialise_linear,
};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::device::Compute;
use crate::error::Result;

pub(crate) use folder::{fresh_folder, write_model};
pub use source::{ModelSource, find_model};
pub use tune::{Tune, TuneKind, TuneRecipe, freeze, is_of_posterior};

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
    /// Width of a bottleneck before the head while it learns; saved models have a plain head in its place.
    pub bottleneck: Option<i64>,
}

#[cfg(test)]
impl ModelSpec {
    /// `tiny`, over the letters a to d, for tests.
    pub(crate) fn example() -> ModelSpec {
        ModelSpec {
            config: ModelConfig::of_size("tiny").unwrap(),
            vocabulary: Vocabulary::from_texts(["abc d"]).unwrap(),
            audio: AudioSpec::default(),
            text: TextOptions::default(),
            bottleneck: None,
        }
    }
}

/// What audio a model expects (`preprocessor_config.json`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AudioSpec {
    /// Samples a second.
    pub sampling_rate: u32,
    /// Whether each utterance is brought to zero mean and unit variance.
    pub do_normalize: bool,
    /// Whether transformers is to be given a mask beside padded audio; klang needs none. Absent: as the published models
    /// have it, for layer-normed convolutions only.
    pub return_attention_mask: Option<bool>,
}

impl Default for AudioSpec {
    fn default() -> Self {
        AudioSpec { sampling_rate: 16_000, do_normalize: true, return_attention_mask: None }
    }
}

/// The head's place in a checkpoint.
const HEAD: &str = "lm_head";

/// A model with its weights.
#[derive(Debug)]
pub struct Recogniser {
    /// What it is.
    pub spec: ModelSpec,
    /// How it computes.
    pub compute: Compute,
    store: Store,
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
    /// What the transformer's norms give beside, in training.
    pub sites: SiteOutcomes,
    /// A bottleneck in training: its mean divergence over real frames (width), in nats, with its gradient.
    pub bottleneck: Option<Tensor>,
    /// What [`Recogniser::backward`] needs, where a training pass was to recompute its blocks.
    pub recomputed: Option<Recomputed>,
}

/// A forward with the hidden states at every named place, in the model's precision.
#[derive(Debug)]
pub struct RecognitionStages {
    /// The convolutions' features (batch, frame, feature).
    pub features: Tensor,
    /// After the feature projection (batch, frame, channel).
    pub projected: Tensor,
    /// The encoder's output (batch, frame, channel).
    pub hidden: Tensor,
    /// What the head makes of it.
    pub recognition: Recognition,
}

impl RecognitionStages {
    /// One batch of several, in evaluation; padding is zero.
    fn together(parts: &[RecognitionStages]) -> Result<RecognitionStages> {
        let pad = |part: fn(&RecognitionStages) -> &Tensor| -> Result<Tensor> {
            let rows =
                parts.iter().map(|stages| part(stages).f_squeeze_dim(0)).collect::<std::result::Result<Vec<_>, _>>()?;
            Ok(Tensor::f_pad_sequence(&rows, true, 0.0, "right")?)
        };
        Ok(RecognitionStages {
            features: pad(|stages| &stages.features)?,
            projected: pad(|stages| &stages.projected)?,
            hidden: pad(|stages| &stages.hidden)?,
            recognition: Recognition {
                logits: pad(|stages| &stages.recognition.logits)?,
                lengths: parts.iter().flat_map(|stages| stages.recognition.lengths.clone()).collect(),
                sites: SiteOutcomes::default(),
                bottleneck: None,
                recomputed: None,
            },
        })
    }
}

/// Draws those of the given parameters that are an encoder's; `name` is a parameter's name from the root of all names.
pub(crate) fn initialise_encoder(parameters: &[(String, Tensor)], config: &ModelConfig, seed: u64) -> Result<()> {
    let root = format!("{}.", config.model_type.root());
    let encoder: Vec<(String, Tensor)> = parameters
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(&root)?.to_string(), tensor.shallow_clone())))
        .collect();
    Ok(initialise(&encoder, config, seed)?)
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
        let model = Recogniser::blank(spec, compute, Store::new(compute.device))?;
        model.initialise(seed, |_| true)?;
        model.ready()
    }

    /// The model as its precision wants it, once its weights are there.
    fn ready(self) -> Result<Recogniser> {
        if self.compute.int8 {
            self.store.to_int8()?;
        }
        Ok(self)
    }

    /// A model with a checkpoint's weights; what the checkpoint lacks is drawn from `seed`.
    ///
    /// Whether everything fits is known before anything is allocated: a configuration that claims a larger model than
    /// its weights hold costs nothing.
    ///
    /// # Errors
    /// Weights that do not fit, or too little memory.
    pub fn load(
        checkpoint: &Checkpoint,
        spec: ModelSpec,
        head: Head,
        compute: Compute,
        seed: u64,
    ) -> Result<(Recogniser, Fit)> {
        let fit = Recogniser::fit(checkpoint, &spec, head)?;
        Ok((Recogniser::filled(checkpoint, &fit, spec, compute, seed)?, fit))
    }

    /// Which tensor of a checkpoint goes where in a model of this spec; nothing is allocated.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn fit(checkpoint: &Checkpoint, spec: &ModelSpec, head: Head) -> Result<Fit> {
        Ok(checkpoint.fit(&Recogniser::shapes(spec)?, spec.config.model_type.root(), head)?)
    }

    fn filled(checkpoint: &Checkpoint, fit: &Fit, spec: ModelSpec, compute: Compute, seed: u64) -> Result<Recogniser> {
        let model = Recogniser::blank(spec, compute, Store::new(compute.device))?;
        model.initialise(seed, |name| fit.fresh.iter().any(|fresh| fresh == name))?;
        fit.copy(checkpoint, &model.parameters())?;
        Ok(model)
    }

    /// Every parameter of a model by name, with its shape and no memory behind it.
    ///
    /// # Errors
    /// A configuration that cannot be built.
    pub fn shapes(spec: &ModelSpec) -> Result<Vec<(String, Tensor)>> {
        let store = Store::declaring();
        Recogniser::networks(spec, &store)?;
        Ok(store.named())
    }

    /// A second model over the same weights, for another thread: what changes one of them changes both.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn replica(&self) -> Result<Recogniser> {
        Recogniser::blank(self.spec.clone(), self.compute, Store::sharing(&self.store))
    }

    /// A model whose weights are as the store gives them.
    fn blank(spec: ModelSpec, compute: Compute, store: Store) -> Result<Recogniser> {
        let (encoder, head) = Recogniser::networks(&spec, &store)?;
        Ok(Recogniser { spec, compute, store, encoder, head })
    }

    fn networks(spec: &ModelSpec, store: &Store) -> Result<(Wav2Vec2, CtcHead)> {
        let config = &spec.config;
        let encoder = Wav2Vec2::new(&(store.root() / config.model_type.root()), config)?;
        let shape = HeadConfig {
            channels: config.hidden_size,
            vocabulary: spec.vocabulary.len() as i64,
            dropout: config.final_dropout,
            bottleneck: spec.bottleneck,
        };
        let head = CtcHead::new(&(store.root() / HEAD), shape)?;
        Ok((encoder, head))
    }

    /// Draws the parameters that `wanted` names.
    fn initialise(&self, seed: u64, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let config = &self.spec.config;
        let parameters: Vec<_> = self.parameters().into_iter().filter(|(name, _)| wanted(name)).collect();
        let find = |part: &str| {
            parameters.iter().find(|(name, _)| *name == format!("{HEAD}.{part}")).map(|(_, tensor)| tensor)
        };
        if let (Some(weight), Some(bias)) = (find("weight"), find("bias")) {
            initialise_linear(HEAD, weight, bias, config, seed)?;
        }
        // Means of the hidden states' size, and one deviation for all.
        let spread = |deviation| ModelConfig { initializer_range: deviation, ..config.clone() };
        for (part, deviation) in [("mean", (1.0 / config.hidden_size as f64).sqrt()), ("log_sigma", 0.0)] {
            let part = format!("{BOTTLENECK}.{part}");
            if let (Some(weight), Some(bias)) = (find(&format!("{part}.weight")), find(&format!("{part}.bias"))) {
                initialise_linear(&format!("{HEAD}.{part}"), weight, bias, &spread(deviation), seed)?;
                if deviation == 0.0 {
                    let log = Bottleneck::SIGMA_INIT.ln();
                    tch::no_grad(|| bias.shallow_clone().f_fill_(log).map(|_| ()))?;
                }
            }
        }
        initialise_encoder(&parameters, config, seed)
    }

    /// The encoder.
    pub fn encoder(&self) -> &Wav2Vec2 {
        &self.encoder
    }

    /// Every parameter and buffer by name, sorted.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        self.store.named()
    }

    /// The same, with a plain head in the place of one with a bottleneck.
    pub(crate) fn with_plain_head(&self) -> Result<Vec<(String, Tensor)>> {
        let mut parameters = self.parameters();
        if let Some(FoldedHead { weight, bias }) = tch::no_grad(|| self.head.fold())? {
            parameters.retain(|(name, _)| !name.starts_with(HEAD));
            parameters.extend([(format!("{HEAD}.weight"), weight), (format!("{HEAD}.bias"), bias)]);
        }
        Ok(parameters)
    }

    /// Logits of a batch of waveforms at the model's rate, normalised as [`AudioSpec`] says.
    ///
    /// # Errors
    /// An utterance shorter than one frame, or libtorch's own.
    pub fn forward(&self, batch: &WaveformBatch, pass: Pass) -> Result<Recognition> {
        Ok(self.stages(batch, pass)?.recognition)
    }

    /// As [`Recogniser::forward`], with what stood in between.
    ///
    /// # Errors
    /// As [`Recogniser::forward`].
    pub fn stages(&self, batch: &WaveformBatch, pass: Pass) -> Result<RecognitionStages> {
        if self.compute.int8 && batch.lengths.len() > 1 {
            // Rounding takes one scale for a tensor: neighbours and padding would have a say in it.
            let rows = batch.rows()?;
            let stages = rows.iter().map(|row| self.stages(row, pass)).collect::<Result<Vec<_>>>()?;
            return RecognitionStages::together(&stages);
        }
        let batch = self.here(batch)?;
        self.recognise(self.encoder.stages(&batch, pass)?, pass)
    }

    /// The convolutions' features of a batch, in the model's precision.
    ///
    /// # Errors
    /// As [`Recogniser::forward`].
    pub fn features(&self, batch: &WaveformBatch) -> Result<Features> {
        Ok(self.encoder.features(&self.here(batch)?)?)
    }

    /// As [`Recogniser::forward`], from what [`Recogniser::features`] gave.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn forward_features(&self, features: Features, pass: Pass) -> Result<Recognition> {
        Ok(self.recognise(self.encoder.encode(features, pass)?, pass)?.recognition)
    }

    /// The batch where the model is, in its precision.
    fn here(&self, batch: &WaveformBatch) -> Result<WaveformBatch> {
        let samples = batch.samples.f_to_device(self.compute.device)?.f_to_kind(self.compute.kind)?;
        Ok(WaveformBatch { samples, lengths: batch.lengths.clone() })
    }

    fn recognise(&self, stages: Stages, pass: Pass) -> Result<RecognitionStages> {
        let Stages { features, projected, output, .. } = stages;
        let EncoderOutput { hidden, lengths, sites, recomputed } = output;
        let noise = match pass {
            Pass::Training(drawn) => Some(&drawn.noise),
            Pass::Evaluation | Pass::Masked(_) => None,
        };
        let HeadOutput { logits, rate } = self.head.forward(&hidden, &lengths, noise)?;
        let recognition = Recognition { logits, lengths, sites, bottleneck: rate, recomputed };
        Ok(RecognitionStages { features, projected, hidden, recognition })
    }

    /// Gradients of an objective made of a training pass's recognition, as [`Wav2Vec2::backward`] gives them.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn backward(
        &self,
        objective: Tensor,
        recomputed: Option<Recomputed>,
        learnt: &[Tensor],
    ) -> Result<Vec<Tensor>> {
        Ok(self.encoder.backward(objective, recomputed, learnt)?)
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
