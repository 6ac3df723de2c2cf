//! What a training says while it runs; the binary decides how it looks.

use std::collections::{BTreeMap, HashMap};
use std::mem::Discriminant;

use klang_text::Score;

use crate::pretrain::{HeldOut, Probed};

/// Something worth saying.
#[derive(Debug)]
pub enum Event<'a> {
    /// A sentence for whoever watches.
    Note(&'a str),
    /// Something odd that does not stop the work.
    Warning(&'a str),
    /// A file of a model comes from a hub.
    Fetching {
        /// Its name.
        file: &'a str,
        /// Bytes that are here.
        done: u64,
        /// Bytes in all, where the hub says it.
        total: Option<u64>,
    },
    /// A file of a model is here, and checked.
    Fetched {
        /// Its name.
        file: &'a str,
        /// Its bytes.
        bytes: u64,
    },
    /// Training begins, or goes on.
    Start {
        /// Updates done already.
        done: u64,
        /// Updates in all.
        updates: u64,
    },
    /// An update was applied.
    Update(&'a UpdateReport),
    /// Batches of an evaluation that are done.
    Scored {
        /// Utterances so far.
        done: usize,
        /// Utterances in all.
        total: usize,
    },
    /// Dev was scored.
    Evaluated {
        /// After this many updates.
        update: u64,
        /// Its score.
        score: &'a Score,
        /// Whether it is the best so far.
        best: bool,
    },
    /// In pretraining, speech was looked at that is not learnt from.
    HeldOut {
        /// After this many updates.
        update: u64,
        /// What it shows.
        held_out: &'a HeldOut,
        /// What the probe shows, where there is a probe.
        probe: Option<&'a Probed>,
        /// Whether its loss is the best so far.
        best: bool,
    },
}

/// One update in numbers.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct UpdateReport {
    /// Its number, from 1.
    pub update: u64,
    /// The epoch it belongs to, from 0.
    pub epoch: u64,
    /// CTC loss, reduced as the recipe says; in pretraining, the objective's in nats a masked frame.
    pub loss: f64,
    /// KL-Norm's mean rate, in nats per channel; absent without KL-Norm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// λ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_weight: Option<f64>,
    /// What regularisers beside KL-Norm add to the loss, before their weights but for L2-SP.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub regularisers: BTreeMap<Regulariser, f64>,
    /// Learning rate.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Share of real frames that was masked.
    pub masked: f64,
    /// What is measured of what is learnt.
    #[serde(flatten)]
    pub measures: Measures,
    /// Seconds of audio, padding not counted.
    pub audio_seconds: f64,
    /// Share of the batch that is padding.
    pub padding: f64,
    /// Wall-clock seconds of the update.
    pub seconds: f64,
    /// Of these, seconds spent waiting for audio.
    pub waited_seconds: f64,
}

/// A regulariser whose part of the loss is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regulariser {
    /// L2-SP: its penalty.
    L2Sp,
    /// The bottleneck before the head: its rate, in nats per channel.
    Bottleneck,
    /// R-Drop: the passes' disagreement, reduced as the loss is.
    RDrop,
}

/// What is measured of an update, by what is learnt.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Measures {
    /// Fine-tuning by CTC.
    Ctc {
        /// Share of real frames whose best label is the blank.
        blank: f64,
    },
    /// Pretraining.
    Pretraining(PretrainingMeasures),
}

impl Default for Measures {
    fn default() -> Self {
        Measures::Ctc { blank: 0.0 }
    }
}

/// What is measured of the masked frames in pretraining.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PretrainingMeasures {
    /// −log of the probability that the target had, nats a masked frame.
    pub prediction: f64,
    /// Share of masked frames whose target was told.
    pub accuracy: f64,
    /// Perplexity of the codebook, in codes, within what a thread computes of an update, in the mean.
    pub perplexity: f64,
    /// Perplexity of what is predicted, in codes; absent where no codes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_perplexity: Option<f64>,
    /// Share of the codebook that lies idle; absent where it does not learn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<f64>,
    /// Mean square of the convolutions' features; absent where it is not penalised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<f64>,
    /// Temperature of the choice of codes; absent where they are not chosen at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
}

/// Whoever watches.
pub trait Observer {
    /// Takes an event; must not block for long.
    fn event(&mut self, event: Event);

    /// Whether a training, or an evaluation, is to stop as soon as it can go on from there. On a CPU an update that takes long
    /// is given up then, and its threads may compute for a while after the training has returned: a process that ends should
    /// not tear libtorch down beneath them (`_exit`).
    fn stops(&self) -> bool {
        false
    }
}

/// Nobody watches.
impl Observer for () {
    fn event(&mut self, _: Event) {}
}

/// Passes on what is odd about audio files: each kind a few times by name, then only that there are more.
#[derive(Debug, Default)]
pub(crate) struct Oddities {
    said: HashMap<Discriminant<klang_audio::Warning>, usize>,
}

/// Files named for each kind of oddity.
const NAMED: usize = 3;

impl Oddities {
    /// Says what is new about (id, warning) pairs.
    pub(crate) fn say(&mut self, warnings: &[(String, klang_audio::Warning)], observer: &mut dyn Observer) {
        for (id, warning) in warnings {
            let count = self.said.entry(std::mem::discriminant(warning)).or_default();
            *count += 1;
            match *count {
                NAMED => {
                    observer.event(Event::Warning(&format!("{id}: {warning} (more files like this are not named)")))
                }
                count if count < NAMED => observer.event(Event::Warning(&format!("{id}: {warning}"))),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Vec<String>);

    impl Observer for Heard {
        fn event(&mut self, event: Event) {
            if let Event::Warning(text) = event {
                self.0.push(text.into());
            }
        }
    }

    #[test]
    fn a_thousand_upsampled_files_give_three_lines_and_other_oddities_are_still_said() {
        let mut heard = Heard::default();
        let mut oddities = Oddities::default();
        for number in 0..1000 {
            oddities.say(&[(format!("u{number}"), klang_audio::Warning::Upsampled { from: 8000 })], &mut heard);
        }
        oddities.say(&[("late".into(), klang_audio::Warning::Damaged { packets: 1 })], &mut heard);
        assert_eq!(heard.0.len(), NAMED + 1);
        assert!(heard.0[NAMED - 1].contains("more files") && heard.0[NAMED].starts_with("late"), "{:?}", heard.0);
    }
}
