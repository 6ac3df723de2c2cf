//! One update: its batches cut into parts, their gradients summed, clipped and applied.

mod features;
mod part;
mod r_drop;
#[cfg(test)]
mod tests;

use std::time::Instant;

use klang_ctc::{Reduction, required_frames};

use crate::data::LoadedBatch;
use crate::error::Result;
use crate::event::{Measures, Regulariser, UpdateReport};
use crate::model::ModelSpec;
use crate::optimiser::{AdamW, Applied};
use crate::recipe::Recipe;
use crate::regularise::Anchored;
use crate::replicas::{Replicas, Summed};
use crate::sites::SiteRate;

pub use features::{KeptFeatures, why_not_kept};
use part::Common;
pub use part::CtcLearner;
#[cfg(test)]
use part::Part;

/// What decides an update.
#[derive(Debug)]
pub struct Step<'a> {
    /// Who computes it, from which recipe.
    pub replicas: &'a Replicas<CtcLearner>,
    /// Updates done before it.
    pub update: u64,
    /// What pulls towards the pretrained weights, if anything does.
    pub anchored: Option<&'a Anchored>,
}

/// What an update gives.
#[derive(Debug)]
pub struct StepOutcome {
    /// The update in numbers.
    pub report: UpdateReport,
    /// KL-Norm's rates by site.
    pub rates: Vec<SiteRate>,
    /// Utterances that were left out of it: (id, why).
    pub left_out: Vec<(String, String)>,
}

impl Step<'_> {
    /// Applies one update from the given batches; without a row that can be learnt from, nothing.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, with the utterances; [`StoppedEarly`](crate::Error::StoppedEarly) where `stops`
    /// becomes true and the update is not over soon. Nothing has been applied then.
    pub fn run(
        &self,
        mut batches: Vec<LoadedBatch>,
        optimiser: &mut AdamW,
        stops: &dyn Fn() -> bool,
    ) -> Result<StepOutcome> {
        let start = Instant::now();
        let Recipe { train, model, .. } = self.replicas.own().recipe();
        let learning_rate = train.learning_rate_at(self.update);
        let rate_weight = model.norm.weight_at(self.update as f64 / train.updates as f64);
        let spec = self.replicas.own().spec();
        let left_out = take_infeasible(spec, &mut batches);
        if batches.is_empty() {
            let report = UpdateReport { update: self.update + 1, learning_rate, ..UpdateReport::default() };
            return Ok(StepOutcome { report, rates: Vec::new(), left_out });
        }
        let delimiter = spec.vocabulary.delimiter();
        let rows = || batches.iter().flat_map(|batch| &batch.rows);
        let common = Common {
            update: self.update,
            divisor: match train.loss_reduction {
                Reduction::Label => rows().map(|row| row.labels(delimiter).len()).sum::<usize>() as f64,
                Reduction::Utterance => rows().count() as f64,
                Reduction::Sum => 1.0,
            },
            frames: rows().map(|row| row.frames(&spec.config)).sum(),
            rate_weight,
            flat: match train.flat_start_updates {
                flat if self.update < flat => 1.0 - self.update as f64 / flat as f64,
                _ => 0.0,
            },
        };
        let ids: Vec<String> = batches.iter().flat_map(LoadedBatch::ids).collect();
        let mixed = self.anchored.map(|anchored| anchored.mix(self.update)).transpose()?;
        let mut summed = self.replicas.sum(&common, &batches, stops);
        if let Some(mixed) = mixed {
            // Whatever became of the update: the weights are not to stay mixed.
            mixed.restore(summed.as_mut().map_or(&mut [], |summed| &mut summed.sums.gradients))?;
        }
        let Summed { mut sums, samples, padded } = summed?;
        let pull = self.anchored.map(|anchored| anchored.pull(&mut sums.gradients)).transpose()?.flatten();
        sums.regularisers.extend(pull.map(|pull| (Regulariser::L2Sp, pull)));
        let applied = Applied { update: self.update + 1, learning_rate, clip: train.clip, divisor: 1.0 };
        let gradient_norm = applied.apply(&sums.gradients, ids, optimiser)?;

        let share = |count: i64| count as f64 / common.frames as f64;
        sums.sites.follow(self.replicas.own().encoder())?;
        let rates = sums.sites.rates()?;
        let report = UpdateReport {
            update: self.update + 1,
            loss: sums.loss,
            rate: (!rates.is_empty()).then_some(sums.rate),
            rate_weight: (!rates.is_empty()).then_some(rate_weight),
            learning_rate,
            gradient_norm,
            regularisers: sums.regularisers,
            masked: share(sums.masked),
            measures: Measures::Ctc { blank: share(sums.blank) },
            audio_seconds: samples as f64 / f64::from(spec.audio.sampling_rate),
            padding: 1.0 - samples as f64 / padded.max(1) as f64,
            seconds: start.elapsed().as_secs_f64(),
            ..UpdateReport::default()
        };
        Ok(StepOutcome { report, rates, left_out })
    }
}

/// Takes out the rows whose labels do not fit their frames after all: a faster speed was drawn, or the file holds less than
/// its manifest promises. Returns what was taken out.
fn take_infeasible(spec: &ModelSpec, batches: &mut Vec<LoadedBatch>) -> Vec<(String, String)> {
    let mut left_out = Vec::new();
    for batch in batches.iter_mut() {
        batch.rows.retain(|row| {
            let frames = row.frames(&spec.config);
            let needed = required_frames(&row.labels(spec.vocabulary.delimiter())) as i64;
            if frames >= needed && frames > 0 {
                return true;
            }
            let seconds = row.samples.len() as f64 / f64::from(spec.audio.sampling_rate);
            let why = format!("left out of this update: its {seconds:.2} s, after the change of speed, give {frames} frames, and its labels need {needed}");
            left_out.extend(row.items.iter().map(|item| (item.utterance.id.clone(), why.clone())));
            false
        });
    }
    batches.retain(|batch| !batch.rows.is_empty());
    left_out
}
