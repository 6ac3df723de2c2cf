//! The probe: what a linear CTC head makes of an encoder that it cannot change.
//!
//! Pretraining's own loss does not say whether it helps. A head that learns for a few seconds on a few labelled minutes does:
//! its CER falls while the encoder learns what fine-tuning will need.

use klang_ctc::{CtcHead, HeadConfig, LossBatch, alignment_loss, ctc_loss, even_alignment, greedy, required_frames};
use klang_text::{Normaliser, Pair, Score, ScoreOptions, Vocabulary, score};
use klang_wav2vec2::{Pass, Store, initialise_linear};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::model::{Pretrained, PretrainingSpec};
use crate::data::{Dataset, Keep, LoadedRow, Loader, LoaderSettings, encode, plan_in_order, read_sources};
use crate::draw;
use crate::error::{Error, Result};
use crate::evaluate::{number_or_null, split_short};
use crate::event::Observer;
use crate::optimiser::{AdamW, AdamWConfig};
use crate::recipe::{ProbeRecipe, Recipe, Source};
use crate::schedule::Schedule;

/// Utterances in an update of the head.
const BATCH: usize = 16;
/// The head's highest learning rate; it is one linear map, and stands on normalised channels.
const LEARNING_RATE: f64 = 5e-3;
/// The share of its updates in which the loss moves from an even alignment to CTC.
const FLAT: f64 = 0.3;

/// Labelled utterances to probe an encoder with.
#[derive(Debug)]
pub struct Probe {
    train: Dataset,
    dev: Dataset,
    vocabulary: Vocabulary,
    updates: u64,
    seed: u64,
}

/// What a probe shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Probed {
    /// CTC loss on its dev, nats per label: it tells encoders apart before the head writes a word.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// Score on its dev.
    pub score: Score,
}

/// An utterance as the head sees it.
struct Seen {
    hidden: Tensor, // (frame, channel), fp32, on the CPU
    energies: Vec<f32>,
    labels: Vec<u32>,
    pair: Pair,
}

impl Seen {
    fn frames(&self) -> i64 {
        self.energies.len() as i64
    }

    /// Whether its labels fit its frames: a file may hold less than its manifest promises.
    fn is_feasible(&self) -> bool {
        required_frames(&self.labels) <= self.energies.len()
    }
}

/// Bytes of hidden states that the head may learn from at most.
const MOST_BYTES: f64 = 2e9;

impl Probe {
    /// Reads the probe's manifests.
    ///
    /// # Errors
    /// A manifest that cannot be read, or one that leaves nothing to learn from or to be scored on, or too much to be held.
    pub fn prepare(probe: &ProbeRecipe, recipe: &Recipe, spec: &PretrainingSpec) -> Result<Probe> {
        let normaliser = Normaliser::new(&recipe.text)?;
        let read = |source: &Source| read_sources(std::slice::from_ref(source), &Default::default());
        let (train, dev) = (read(&probe.train)?, read(&probe.dev)?);
        let texts: Vec<String> =
            train.iter().filter_map(|utterance| Some(normaliser.apply(utterance.text.as_deref()?))).collect();
        let vocabulary = Vocabulary::of_units(recipe.text.units, texts.iter().map(String::as_str))?;
        let rate = spec.audio.sampling_rate;
        let set = |name, utterances, keep| encode(name, utterances, &normaliser, &vocabulary, &spec.config, rate, keep);
        let train = set("probe's train", train, Keep::Learnable(recipe.data.duration));
        let dev = set("probe's dev", dev, Keep::All);
        for (set, source) in [(&train, &probe.train), (&dev, &probe.dev)] {
            if set.items.is_empty() {
                let why = set.left_out.first().map_or(String::new(), |left| format!("; `{}`: {}", left.id, left.why));
                let message = format!("nothing left in {}{why}", set.name);
                return Err(Error::Data { path: source.path().clone(), message });
            }
        }
        let second = f64::from(rate) / spec.config.samples_per_frame() as f64
            * (spec.config.hidden_size as usize * size_of::<f32>()) as f64;
        let most = MOST_BYTES / second / 60.0;
        if train.hours() * 60.0 > most {
            return Err(Error::RecipeValue {
                key: "pretrain.probe.train".into(),
                given: format!("{:.0} minutes", train.hours() * 60.0),
                allowed: format!(
                    "at most {most:.0} minutes with this width, whose hidden states are held in memory; ten are enough"
                ),
            });
        }
        Ok(Probe { train, dev, vocabulary, updates: probe.updates, seed: recipe.seed })
    }

    /// What a person should know of it.
    pub fn notes(&self) -> Vec<String> {
        [&self.train, &self.dev].iter().flat_map(|set| [Some(set.size()), set.omissions()]).flatten().collect()
    }

    /// Learns a head on what `model` gives, and scores it.
    ///
    /// # Errors
    /// Audio that cannot be read, or libtorch's own.
    pub fn run(
        &self,
        model: &Pretrained,
        settings: &LoaderSettings,
        batch_seconds: f64,
        observer: &mut dyn Observer,
    ) -> Result<Probed> {
        let mut train = Vec::with_capacity(self.train.items.len());
        self.see(model, &self.train, settings, batch_seconds, observer, |seen| {
            if seen.is_feasible() && seen.frames() > 0 {
                train.push(seen);
            }
            Ok(())
        })?;
        let head = self.learn(model, &train)?;
        drop(train);
        let _guard = tch::no_grad_guard();
        let blank = self.vocabulary.blank();
        let mut pairs = Vec::with_capacity(self.dev.items.len());
        let (mut loss, mut count) = (0.0, 0);
        self.see(model, &self.dev, settings, batch_seconds, observer, |seen| {
            let (feasible, lengths) = (seen.is_feasible(), [seen.frames()]);
            let Seen { hidden, labels, pair, .. } = seen;
            let mut hypothesis = String::new();
            if lengths[0] > 0 {
                let logits = head.forward(&hidden.f_unsqueeze(0)?, &lengths, None)?.logits;
                let path = greedy(&logits, &lengths, blank)?.swap_remove(0);
                hypothesis = self.vocabulary.decode(&path.labels);
                if feasible {
                    count += labels.len();
                    let batch = LossBatch { logits: &logits, lengths: &lengths, labels: &[labels], blank };
                    loss += ctc_loss(&batch)?.f_sum(Kind::Double)?.f_double_value(&[])?;
                }
            }
            pairs.push(Pair { hypothesis, ..pair });
            Ok(())
        })?;
        Ok(Probed { loss: loss / count.max(1) as f64, score: score(&pairs, &ScoreOptions::default()) })
    }

    /// Hands over what the encoder gives for each utterance, short to long; nothing for one that is shorter than a frame.
    fn see(
        &self,
        model: &Pretrained,
        data: &Dataset,
        settings: &LoaderSettings,
        batch_seconds: f64,
        observer: &mut dyn Observer,
        mut take: impl FnMut(Seen) -> Result<()>,
    ) -> Result<()> {
        let config = &model.spec.config;
        let seen = |row: &LoadedRow, hidden: Tensor, frames| {
            let item = &row.items[0];
            let pair = Pair {
                id: item.utterance.id.clone(),
                speaker: item.utterance.speaker.clone(),
                reference: item.text.clone(),
                hypothesis: String::new(),
            };
            let energies = row.energies(config.samples_per_frame() as usize, frames);
            Seen { hidden, energies, labels: item.labels.clone(), pair }
        };
        for batch in Loader::start(plan_in_order(&data.items, &data.condition, batch_seconds), settings) {
            let batch = batch?;
            if observer.stops() {
                return Err(Error::StoppedEarly);
            }
            settings.bad_audio.note(&data.name, data.items.len(), &batch.skipped, observer)?;
            let (batch, short) = split_short(batch, config.minimum_samples() as usize);
            for row in &short {
                take(seen(row, Tensor::new(), 0))?;
            }
            if batch.rows.is_empty() {
                continue;
            }
            let _guard = tch::no_grad_guard();
            let output = model.stages(&batch, Pass::Evaluation)?.output;
            let hidden = output.hidden.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?;
            for (place, (row, &frames)) in batch.rows.iter().zip(&output.lengths).enumerate() {
                let hidden = hidden.f_get(place as i64)?.f_narrow(0, 0, frames)?.f_detach_copy()?;
                take(seen(row, hidden, frames))?;
            }
        }
        Ok(())
    }

    fn learn(&self, model: &Pretrained, train: &[Seen]) -> Result<CtcHead> {
        let store = Store::new(Device::Cpu);
        let config = &model.spec.config;
        let head = CtcHead::new(
            &(store.root() / "lm_head"),
            HeadConfig {
                channels: config.hidden_size,
                vocabulary: self.vocabulary.len() as i64,
                dropout: 0.0,
                bottleneck: None,
            },
        )?;
        let parameters = store.named();
        if let [(_, bias), (_, weight)] = parameters.as_slice() {
            initialise_linear("lm_head", weight, bias, config, self.seed)?;
        }
        let tensors: Vec<Tensor> = parameters.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        let adam = AdamWConfig { betas: [0.9, 0.98], epsilon: 1e-8, weight_decay: 0.0 };
        let mut optimiser = AdamW::new(parameters, adam);
        let blank = self.vocabulary.blank();
        let mut order: Vec<usize> = Vec::new();
        // Files that all hold less than promised leave a head that has learnt nothing.
        let updates = if train.is_empty() { 0 } else { self.updates };
        for update in 0..updates {
            // The same batches at each evaluation: what differs is the encoder.
            if order.len() < BATCH.min(train.len()) {
                order = (0..train.len()).collect();
                order.shuffle(&mut draw::generator(self.seed, "probe", &[&update]));
            }
            let rows: Vec<&Seen> =
                order.split_off(order.len() - BATCH.min(train.len())).into_iter().map(|place| &train[place]).collect();
            let hidden: Vec<&Tensor> = rows.iter().map(|row| &row.hidden).collect();
            let lengths: Vec<i64> = hidden.iter().map(|hidden| hidden.size()[0]).collect();
            let labels: Vec<Vec<u32>> = rows.iter().map(|row| row.labels.clone()).collect();
            let padded = Tensor::f_pad_sequence(&hidden, true, 0.0, "right")?;
            let logits = head.forward(&padded, &lengths, None)?.logits;
            let share = update as f64 / self.updates as f64;
            let flat = (1.0 - share / FLAT).max(0.0);
            let mut losses = ctc_loss(&LossBatch { logits: &logits, lengths: &lengths, labels: &labels, blank })?
                .f_mul_scalar(1.0 - flat)?;
            if flat > 0.0 {
                let alignments: Vec<Vec<u32>> =
                    rows.iter().map(|row| even_alignment(&row.energies, &row.labels, blank)).collect();
                losses = losses.f_add(&alignment_loss(&logits, &alignments)?.f_mul_scalar(flat)?)?;
            }
            let count = labels.iter().map(Vec::len).sum::<usize>().max(1);
            let loss = losses.f_sum(Kind::Float)?.f_div_scalar(count as f64)?;
            let gradients = Tensor::f_run_backward(&[loss], &tensors, false, false)?;
            let rate = LEARNING_RATE * Schedule::Cosine.scale(update, self.updates, [0.05, 0.0, 0.95], 0.05);
            optimiser.step(&gradients, rate, 1.0)?;
        }
        Ok(head)
    }
}
