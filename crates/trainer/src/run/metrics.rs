//! metrics.jsonl: one JSON object a line, of the kinds below.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use klang_text::Score;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::evaluate::{Behaviour, number_or_null};
use crate::event::{PretrainingMeasures, Regulariser};
use crate::pretrain::{HeldOut, Probed};
use crate::sites::SiteRate;

/// A line of metrics.jsonl.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MetricsLine {
    /// The run, once a start or resume.
    Run {
        /// klang's version.
        klang: String,
        /// Device, threads and precision.
        compute: String,
        /// Updates done already.
        update: u64,
        /// Parameters of the model.
        parameters: u64,
        /// Parameters that learn.
        trainable: u64,
        /// What the model started from.
        #[serde(default)]
        start: String,
        /// The data sets, training's first.
        #[serde(default)]
        data: Vec<DataLine>,
    },
    /// An update that was passed over because of a number that is not finite.
    NotFinite {
        /// The update.
        update: u64,
        /// Of what: loss or gradient.
        what: String,
        /// NaN, inf or -inf: JSON has no such numbers.
        value: String,
        /// The batch's utterances.
        ids: Vec<String>,
    },
    /// Means over the updates since the last such line.
    Train {
        /// Updates done.
        update: u64,
        /// Epoch, from 0.
        epoch: u64,
        /// CTC loss, reduced as the recipe says.
        #[serde(deserialize_with = "number_or_null")]
        loss: f64,
        /// Loss of the first update, before any step; on the first line only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        initial_loss: Option<f64>,
        /// KL-Norm's mean rate, nats per channel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<f64>,
        /// λ.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate_weight: Option<f64>,
        /// KL-Norm's rate by site, nats per channel, in the last of these updates.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        rates: BTreeMap<String, f64>,
        /// What regularisers beside KL-Norm add to the loss, before their weights but for L2-SP.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        regularisers: BTreeMap<Regulariser, f64>,
        /// Learning rate of the last of these updates.
        learning_rate: f64,
        /// Norm of the gradient before clipping.
        gradient_norm: f64,
        /// Share of real frames masked.
        masked: f64,
        /// Share of real frames whose best label is the blank.
        blank: f64,
        /// Seconds of audio a second.
        audio_seconds_per_second: f64,
        /// Share of the batches that is padding.
        padding: f64,
        /// Share of the time spent waiting for audio.
        waiting: f64,
        /// Wall-clock seconds of training so far, evaluations included, over all resumes.
        seconds: f64,
    },
    /// Pretraining: means over the updates since the last such line.
    Pretrain {
        /// Updates done.
        update: u64,
        /// Epoch, from 0.
        epoch: u64,
        /// The whole objective, nats a masked frame.
        #[serde(deserialize_with = "number_or_null")]
        loss: f64,
        /// What is measured of the masked frames.
        measures: PretrainingMeasures,
        /// KL-Norm's mean rate, nats per channel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<f64>,
        /// λ.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate_weight: Option<f64>,
        /// KL-Norm's rate by site, nats per channel, in the last of these updates.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        rates: BTreeMap<String, f64>,
        /// Learning rate of the last of these updates.
        learning_rate: f64,
        /// Norm of the gradient before clipping.
        gradient_norm: f64,
        /// Share of real frames masked.
        masked: f64,
        /// Seconds of audio a second.
        audio_seconds_per_second: f64,
        /// Share of the batches that is padding.
        padding: f64,
        /// Share of the time spent waiting for audio.
        waiting: f64,
        /// Wall-clock seconds of training so far, evaluations included, over all resumes.
        seconds: f64,
    },
    /// Pretraining: what speech shows that is not learnt from.
    HeldOut {
        /// Updates done.
        update: u64,
        /// Whether its loss is the best so far.
        best: bool,
        /// What it shows.
        held_out: HeldOut,
        /// What the probe shows, where there is a probe.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        probe: Option<Probed>,
        /// Wall-clock seconds of training so far, evaluations included, over all resumes.
        seconds: f64,
    },
    /// KL-Norm's rates channel by channel, once an evaluation: those of the last update before it.
    Rates {
        /// Updates done.
        update: u64,
        /// Nats of each channel by site, to four decimals. NaN is written as null.
        #[serde(deserialize_with = "numbers_or_null")]
        sites: BTreeMap<String, Vec<f32>>,
    },
    /// What came of keeping features on disk, once a start or resume, when its updates are done.
    Features {
        /// Updates done.
        update: u64,
        /// The file.
        file: String,
        /// Utterances whose features the file held before.
        at_hand: u64,
        /// Times that features were computed.
        computed: u64,
        /// Utterances whose features were written to the file.
        written: u64,
    },
    /// An utterance whose audio cannot be read, and that the run goes on without (`data.on_bad_audio: skip`); once an
    /// utterance.
    Skipped {
        /// The update that it is missing from; for a set that is scored, updates done.
        update: u64,
        /// Its data set: `train`, `dev` or a test's name.
        set: String,
        /// The utterance.
        id: String,
        /// Why, naming the file.
        why: String,
        /// How many of the set are skipped so far.
        count: usize,
    },
    /// A score on dev.
    Dev {
        /// Updates done.
        update: u64,
        /// Whether it is the best so far.
        best: bool,
        /// How the network behaved.
        behaviour: Behaviour,
        /// The score.
        score: Score,
        /// Wall-clock seconds of training so far, evaluations included, over all resumes.
        seconds: f64,
    },
    /// What the process took that ended the run.
    End {
        /// Updates done.
        update: u64,
        /// Of these, by this process.
        updates: u64,
        /// Its processor seconds, on all cores together, evaluations on dev included, the scoring of tests not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        processor_seconds: Option<f64>,
        /// The largest memory that it held, MiB.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peak_mib: Option<f64>,
    },
    /// The best checkpoint's score on a test set, at the end.
    Test {
        /// The test's name.
        name: String,
        /// How the network behaved.
        behaviour: Behaviour,
        /// The score.
        score: Score,
    },
}

/// A data set in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataLine {
    /// `train`, `dev` or the test's name.
    pub name: String,
    /// Utterances.
    pub utterances: usize,
    /// Their audio together, in seconds.
    pub seconds: f64,
    /// Speakers, where the manifests name them.
    pub speakers: usize,
}

impl DataLine {
    /// Of a data set.
    pub(crate) fn of(set: &Dataset) -> DataLine {
        DataLine {
            name: set.name.clone(),
            utterances: set.items.len(),
            seconds: set.hours() * 3600.0,
            speakers: set.speakers(),
        }
    }
}

impl MetricsLine {
    /// KL-Norm's rates in the update `update`; none without KL-Norm.
    pub(crate) fn rates(update: u64, rates: &[SiteRate]) -> Option<MetricsLine> {
        // Four decimals are a hundredth of what counts as switched off, and keep a line of 50,000 channels short.
        let short = |&nats: &f32| (nats * 1e4).round() / 1e4;
        let sites = rates.iter().map(|rate| (rate.name(), rate.channels.iter().map(short).collect()));
        (!rates.is_empty()).then(|| MetricsLine::Rates { update, sites: sites.collect() })
    }

    /// Updates done when the line was written; a test's lines come behind all others.
    pub fn update(&self) -> u64 {
        match self {
            MetricsLine::Run { update, .. }
            | MetricsLine::Train { update, .. }
            | MetricsLine::Features { update, .. }
            | MetricsLine::Pretrain { update, .. }
            | MetricsLine::Skipped { update, .. }
            | MetricsLine::NotFinite { update, .. }
            | MetricsLine::Rates { update, .. }
            | MetricsLine::HeldOut { update, .. }
            | MetricsLine::Dev { update, .. } => *update,
            MetricsLine::Test { .. } | MetricsLine::End { .. } => u64::MAX,
        }
    }

    /// The name of the test that it is of.
    pub(crate) fn test_name(&self) -> Option<&String> {
        match self {
            MetricsLine::Test { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Appends the line to a file.
    ///
    /// # Errors
    /// A failing file system.
    pub fn append(&self, path: &Path) -> Result<()> {
        let line = serde_json::to_string(self).map_err(|error| Error::io(path)(error.into()))? + "\n";
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(Error::io(path))?;
        file.write_all(line.as_bytes()).map_err(Error::io(path))
    }
}

/// As [`number_or_null`], of lists by name.
fn numbers_or_null<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, Vec<f32>>, D::Error> {
    let lists = BTreeMap::<String, Vec<Option<f32>>>::deserialize(deserializer)?;
    let numbers = |list: Vec<Option<f32>>| list.into_iter().map(|number| number.unwrap_or(f32::NAN)).collect();
    Ok(lists.into_iter().map(|(name, list)| (name, numbers(list))).collect())
}

/// An evaluation on dev, beside what training came to meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evaluated<'a> {
    /// Updates done.
    pub(crate) update: u64,
    /// Mean training loss over the updates since the evaluation before; none where no line has it.
    pub(crate) train_loss: Option<f64>,
    /// How the network behaved on dev.
    pub(crate) behaviour: &'a Behaviour,
    /// Dev's score.
    pub(crate) score: &'a Score,
}

/// Dev's evaluations in their order.
pub(crate) fn evaluated(lines: &[MetricsLine]) -> Vec<Evaluated<'_>> {
    let mut found = Vec::new();
    // The sum of the losses since the last evaluation, over as many updates; and the update that the last line reached.
    let (mut sum, mut updates, mut reached) = (0.0, 0, 0);
    for line in lines {
        match line {
            MetricsLine::Train { update, loss, .. } => {
                // A line is the mean over its updates, and the one before an evaluation may be of fewer than the others.
                let covered = update.saturating_sub(reached);
                reached = *update;
                if loss.is_finite() {
                    sum += loss * covered as f64;
                    updates += covered;
                }
            }
            MetricsLine::Dev { update, behaviour, score, .. } => {
                let train_loss = (updates > 0).then(|| sum / updates as f64);
                found.push(Evaluated { update: *update, train_loss, behaviour, score });
                (sum, updates) = (0.0, 0);
            }
            _ => {}
        }
    }
    found
}

/// A hundred thousand evaluations, or some thousand with the rates of a large model; the bound keeps a wrong file from being
/// read whole.
const METRICS_BYTES: u64 = 1 << 30;

/// Reads metrics; a last line that a crash cut short is passed over.
///
/// # Errors
/// A file that cannot be read, or a line in the middle that is no metric.
pub fn read_metrics(path: &Path) -> Result<Vec<MetricsLine>> {
    let text = klang_wav2vec2::checkpoint::read_text(path, METRICS_BYTES).map_err(|error| match error {
        // Of this crate: whether a file is there yet is for callers to ask.
        klang_wav2vec2::Error::Io { path, source } => Error::Io { path, source },
        other => other.into(),
    })?;
    let lines: Vec<&str> = text.lines().collect();
    let mut metrics = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(metric) => metrics.push(metric),
            Err(_) if index + 1 == lines.len() => {}
            Err(error) => {
                return Err(Error::Run { path: path.into(), message: format!("line {}: {error}", index + 1) });
            }
        }
    }
    Ok(metrics)
}

/// Evaluations that are recorded.
pub(super) fn evaluations(lines: &[MetricsLine]) -> usize {
    lines.iter().filter(|line| matches!(line, MetricsLine::Dev { .. } | MetricsLine::HeldOut { .. })).count()
}

/// Drops what was written after `update`: a resumed run writes it again.
pub(super) fn rewind(path: &Path, update: u64) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let kept =
        read_metrics(path)?.into_iter().filter(|line| line.update() <= update && !(update == 0 && line.update() == 0));
    let lines = kept.map(|line| serde_json::to_string(&line)).collect::<std::result::Result<Vec<_>, _>>();
    let text: String =
        lines.map_err(|error| Error::io(path)(error.into()))?.into_iter().map(|line| line + "\n").collect();
    crate::files::write(path, text.as_bytes())
}
