//! The part of a recipe that `klang pretrain` needs.

use std::path::PathBuf;

use klang_wav2vec2::{BestRqConfig, Spans};
use serde::{Deserialize, Serialize};

use super::{ChooseBy, MaskRecipe, Recipe, Source, TrainRecipe};
use crate::error::{Error, Result};
use crate::model::TuneKind;

/// How to learn from speech without transcripts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainRecipe {
    /// What is to be told of masked frames.
    pub objective: ObjectiveKind,
    /// Spans of frames to mask. An utterance always has one, unless it is shorter.
    pub mask: SpanRecipe,
    /// `best_rq`: weight of telling the codes of frames that are not masked, beside 1 for those that are. They lie open to
    /// the encoder, which learns from them what a sound is before it learns what comes next. 0 in the paper.
    pub unmasked: f64,
    /// `best_rq`: its quantiser.
    pub best_rq: BestRqConfig,
    /// `best_rq`: what is quantised.
    pub spectrum: Spectrum,
    /// `wav2vec2`: what transformers' config.json has no keys for; those that it has (`num_negatives` and others) are
    /// `model.architecture`'s.
    pub wav2vec2: ContrastiveRecipe,
    /// What shows whether it helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeRecipe>,
}

impl Default for PretrainRecipe {
    fn default() -> Self {
        PretrainRecipe {
            objective: ObjectiveKind::BestRq,
            mask: SpanRecipe::default(),
            unmasked: 0.5,
            best_rq: BestRqConfig::default(),
            spectrum: Spectrum::default(),
            wav2vec2: ContrastiveRecipe::default(),
            probe: None,
        }
    }
}

/// Spans of frames to mask, as [`Spans`] has them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpanRecipe {
    /// Share of the frames that the spans would cover without overlap, above 0 to 1: 0.65, which masks about 49 %.
    pub share: f64,
    /// Length of a span in frames, at least 2: 10.
    pub length: usize,
}

impl Default for SpanRecipe {
    /// wav2vec 2.0's.
    fn default() -> Self {
        SpanRecipe { share: 0.65, length: 10 }
    }
}

impl SpanRecipe {
    /// As masks are drawn by.
    pub fn spans(&self) -> Spans {
        Spans { share: self.share, length: self.length }
    }
}

/// Objectives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveKind {
    /// The code that a random quantiser gives to the frame's spectrum (Chiu et al. 2022): the cheap one, which cannot
    /// collapse.
    #[default]
    BestRq,
    /// The frame's own quantised features among distractors (Baevski et al. 2020): wav2vec 2.0's, whose models transformers
    /// opens as `Wav2Vec2ForPreTraining`.
    Wav2vec2,
}

/// What a frame's code is taken from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spectrum {
    /// Cepstra: the 13 lowest cosines of the log-mel spectrum. They hardly correlate, so that a random projection gives each
    /// its say, and the codes tell sounds apart and not loudness.
    #[default]
    Cepstra,
    /// The log-mel spectrum itself, 80 bands, as the paper has it.
    LogMel,
}

/// What wav2vec 2.0's objective has beyond transformers' config.json. The defaults are fairseq's for Base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContrastiveRecipe {
    /// Temperature of the choice of codes at the start and at the end, above 0 to 100.
    pub temperature: [f64; 2],
    /// The share of the updates in which it falls from one to the other, by the same ratio each time. fairseq's factor of
    /// 0.999995 takes 0.7 of its 400,000 updates.
    pub temperature_phase: f64,
    /// Weight of the mean square of the convolutions' features, at least 0.
    pub feature_penalty: f64,
    /// What the convolutions' gradients are multiplied by, at least 0.
    pub feature_gradient: f64,
}

impl Default for ContrastiveRecipe {
    /// fairseq's, for Base.
    fn default() -> Self {
        ContrastiveRecipe {
            temperature: [2.0, 0.5],
            temperature_phase: 0.7,
            feature_penalty: 10.0,
            feature_gradient: 0.1,
        }
    }
}

impl ContrastiveRecipe {
    /// The temperature at a share of the updates, 0 to 1.
    pub fn temperature_at(&self, share: f64) -> f64 {
        let [start, end] = self.temperature;
        let way = if self.temperature_phase > 0.0 { (share / self.temperature_phase).min(1.0) } else { 1.0 };
        start * (end / start).powf(way)
    }
}

/// A linear CTC head on what the encoder gives, learnt anew at each evaluation while the encoder stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeRecipe {
    /// The labelled manifest that the head learns from.
    pub train: Source,
    /// The labelled manifest that it is scored on.
    pub dev: Source,
    /// Updates of the head.
    pub updates: u64,
}

impl Default for ProbeRecipe {
    /// Without manifests, which a recipe must name.
    fn default() -> Self {
        let none = Source::Whole(PathBuf::new());
        ProbeRecipe { train: none.clone(), dev: none, updates: 400 }
    }
}

impl Recipe {
    /// The part for `klang pretrain`, and that no key is set which it would pass over.
    ///
    /// # Errors
    /// A recipe without that part, or with a key that means nothing in pretraining.
    pub fn pretraining(&self) -> Result<&PretrainRecipe> {
        let refuse = |key: &str, given: &str, allowed: &str| Error::RecipeValue {
            key: key.into(),
            given: given.into(),
            allowed: allowed.into(),
        };
        let Some(pretrain) = &self.pretrain else {
            let allowed = "a section that says how to pretrain, such as `pretrain: {objective: best_rq}`; without one this is a recipe for klang train";
            return Err(refuse("pretrain", "absent", allowed));
        };
        let nothing = [
            ("data.test", !self.data.test.is_empty(), "absent: nothing is scored; a probe has manifests of its own"),
            ("model.tune.kind", self.model.tune.kind != TuneKind::All, "all"),
            ("model.keep_head", self.model.keep_head.is_some(), "absent: pretraining has no CTC head"),
            (
                "model.freeze.encoder_updates",
                self.model.freeze.encoder_updates > 0,
                "0: nothing but the encoder learns",
            ),
            ("data.feature_cache_dir", self.data.feature_cache_dir.is_some(), "absent: the convolutions learn"),
            (
                "train.choose_by",
                self.train.choose_by != ChooseBy::default(),
                "absent: the loss on held-out speech decides",
            ),
            (
                "train.loss_reduction",
                self.train.loss_reduction != TrainRecipe::default().loss_reduction,
                "absent: the loss is a mean over masked frames",
            ),
            (
                "model.freeze.feature_encoder",
                self.model.init == "random" && self.model.freeze.feature_encoder == Some(true),
                "false, or absent: random convolutions learn",
            ),
            ("train.mask", self.train.mask != MaskRecipe::default(), "absent: pretrain.mask is the one that counts"),
            ("train.flat_start_updates", self.train.flat_start_updates > 0, "0: there are no labels to align"),
        ];
        match nothing.into_iter().find(|(_, set, _)| *set) {
            Some((key, _, allowed)) => Err(refuse(key, "set", allowed)),
            None => Ok(pretrain),
        }
    }

    /// That the recipe is none for `klang pretrain`.
    ///
    /// # Errors
    /// A recipe that is.
    pub fn fine_tuning(&self) -> Result<()> {
        if self.pretrain.is_none() {
            return Ok(());
        }
        let allowed = "absent in a recipe for klang train; this one is for klang pretrain";
        Err(Error::RecipeValue { key: "pretrain".into(), given: "a section".into(), allowed: allowed.into() })
    }
}

impl PretrainRecipe {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// The first key outside its range, what was given and what is allowed.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |key: &str, given: &dyn std::fmt::Display, allowed: &str| {
            let key = format!("pretrain.{key}");
            Err(Error::RecipeValue { key, given: given.to_string(), allowed: allowed.into() })
        };
        let SpanRecipe { share, length } = self.mask;
        if !(share > 0.0 && share <= 1.0) {
            return refuse("mask.share", &share, "above 0, at most 1");
        }
        if !(2..=10_000).contains(&length) {
            return refuse("mask.length", &length, "2 to 10000");
        }
        if !(0.0..=100.0).contains(&self.unmasked) {
            return refuse("unmasked", &self.unmasked, "0 to 100");
        }
        let BestRqConfig { codes, code_dimension, codebooks } = self.best_rq;
        for (key, value, least, most) in [
            ("best_rq.codes", codes, 2, 1 << 16),
            ("best_rq.code_dimension", code_dimension, 1, 1 << 10),
            ("best_rq.codebooks", codebooks, 1, 64),
        ] {
            if !(least..=most).contains(&value) {
                return refuse(key, &value, &format!("{least} to {most}"));
            }
        }
        let ContrastiveRecipe { temperature, temperature_phase, feature_penalty, feature_gradient } = &self.wav2vec2;
        if temperature.iter().any(|value| !(*value > 0.0 && *value <= 100.0)) {
            return refuse("wav2vec2.temperature", &format!("{temperature:?}"), "two numbers above 0, at most 100");
        }
        for (key, value, most) in [
            ("wav2vec2.temperature_phase", *temperature_phase, 1.0),
            ("wav2vec2.feature_penalty", *feature_penalty, 1e6),
            ("wav2vec2.feature_gradient", *feature_gradient, 100.0),
        ] {
            if !(0.0..=most).contains(&value) {
                return refuse(key, &value, &format!("0 to {most}"));
            }
        }
        for (key, source) in self.probe.iter().flat_map(|probe| [("train", &probe.train), ("dev", &probe.dev)]) {
            if source.path().as_os_str().is_empty() {
                return refuse(&format!("probe.{key}"), &"absent", "a labelled manifest");
            }
        }
        match &self.probe {
            Some(probe) if !(1..=1_000_000).contains(&probe.updates) => {
                refuse("probe.updates", &probe.updates, "1 to 1000000")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temperature_falls_as_fairseqs_does() {
        let recipe = ContrastiveRecipe::default();
        assert_eq!([0.0, 0.7, 1.0].map(|share| recipe.temperature_at(share)), [2.0, 0.5, 0.5]);
        assert!((recipe.temperature_at(0.35) - 1.0).abs() < 1e-12);
        // After 100,000 of 400,000 updates: 2 × 0.999995¹⁰⁰⁰⁰⁰ = 1.2131, to the 0.7 that stands for 0.693.
        assert!((recipe.temperature_at(0.25) - 1.2131).abs() < 0.01);
        assert_eq!(ContrastiveRecipe { temperature_phase: 0.0, ..recipe }.temperature_at(0.0), 0.5);
    }

    #[test]
    fn each_command_refuses_the_others_recipe() {
        let mut recipe = Recipe::default();
        assert!(recipe.fine_tuning().is_ok());
        assert!(recipe.pretraining().unwrap_err().to_string().contains("klang train"));
        recipe.pretrain = Some(PretrainRecipe::default());
        assert!(recipe.fine_tuning().unwrap_err().to_string().contains("klang pretrain"));
        assert!(recipe.pretraining().is_ok());
        recipe.train.mask.time = Spans { share: 0.5, length: 10 };
        assert!(recipe.pretraining().unwrap_err().to_string().contains("pretrain.mask"));
    }

    #[test]
    fn each_value_outside_its_range_is_refused_by_its_key() {
        type Spoil = fn(&mut PretrainRecipe);
        let cases: [(&str, Spoil); 7] = [
            ("pretrain.mask.share", |recipe| recipe.mask.share = 0.0),
            ("pretrain.mask.length", |recipe| recipe.mask.length = 1),
            ("pretrain.best_rq.codes", |recipe| recipe.best_rq.codes = 1),
            ("pretrain.wav2vec2.temperature", |recipe| recipe.wav2vec2.temperature = [f64::NAN, 1.0]),
            ("pretrain.wav2vec2.feature_penalty", |recipe| recipe.wav2vec2.feature_penalty = -1.0),
            ("pretrain.probe.train", |recipe| recipe.probe = Some(ProbeRecipe::default())),
            ("pretrain.probe.updates", |recipe| {
                let source = Source::Whole("a.jsonl".into());
                recipe.probe = Some(ProbeRecipe { train: source.clone(), dev: source, updates: 0 });
            }),
        ];
        for (key, spoil) in cases {
            let mut recipe = PretrainRecipe::default();
            recipe.check().unwrap();
            spoil(&mut recipe);
            let message = recipe.check().expect_err(key).to_string();
            assert!(message.contains(key), "{key}: {message}");
        }
    }
}
