//! How well a model tells masked frames of speech that it does not learn from.

use klang_wav2vec2::{MaskedFrames, Pass, spread};
use serde::{Deserialize, Serialize};

use super::TooShort;
use super::learner::masks;
use super::model::{Drawn, Pretrained};
use crate::data::{Dataset, Loader, LoaderSettings, plan_in_order};
use crate::draw;
use crate::error::{Error, Result};
use crate::evaluate::{number_or_null, split_short};
use crate::event::{Event, Observer, Oddities};
use crate::recipe::Recipe;

/// What held-out speech shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// −log of the probability that the target had, nats a masked frame.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// Share of masked frames whose target was told.
    pub accuracy: f64,
    /// Perplexity of the codebook, in codes, mean over batches.
    pub perplexity: f64,
    /// Perplexity of what is predicted, in codes; absent where no codes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_perplexity: Option<f64>,
    /// Codes of the codebook, of all its groups together.
    pub codes: i64,
    /// Its groups, below which its perplexity cannot fall.
    pub groups: i64,
    /// Masked frames of a batch, in the mean.
    pub frames: f64,
    /// 1 less the mean cosine between hidden states of two frames, mean over batches: 0 is collapse.
    #[serde(deserialize_with = "number_or_null")]
    pub spread: f64,
    /// Share of real frames that was masked.
    pub masked: f64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Judges `model` on `data`, with masks that are the same each time.
///
/// # Errors
/// Audio that cannot be read, or libtorch's own.
pub fn held_out(
    model: &Pretrained,
    data: &Dataset,
    recipe: &Recipe,
    settings: &LoaderSettings,
    too_short: &mut TooShort,
    observer: &mut dyn Observer,
) -> Result<HeldOut> {
    let start = std::time::Instant::now();
    let _guard = tch::no_grad_guard();
    let spans = recipe.pretraining()?.mask.spans();
    let mut sums = HeldOut::default();
    let (mut count, mut frames, mut done, mut batches) = (0.0, 0.0, 0, 0.0);
    let mut predicted = None;
    let mut oddities = Oddities::default();
    for (number, batch) in
        Loader::start(plan_in_order(&data.items, &data.condition, recipe.train.batch_seconds), settings).enumerate()
    {
        let mut batch = batch?;
        if observer.stops() {
            return Err(Error::StoppedEarly);
        }
        oddities.say(&batch.warnings, observer);
        settings.bad_audio.note(&data.name, data.items.len(), &batch.skipped, observer)?;
        done += batch.rows.len();
        batch.drop_unread();
        let (batch, short) = split_short(batch, model.spec.config.minimum_samples() as usize);
        too_short.say(&short, observer);
        let mut random = draw::generator(recipe.seed, "held out", &[&number]);
        let rows = masks(&spans, &batch, &model.spec.config, &mut random);
        let masked = MaskedFrames::new(&rows, rows.iter().map(Vec::len).max().unwrap_or(0), model.compute.device)?;
        if masked.count() == 0 {
            continue;
        }
        let stages = model.stages(&batch, Pass::Masked(&masked.mask))?;
        let targets = model.targets(&batch)?;
        let told = model.predict(&stages, &targets, &masked, Drawn { random: &mut random, choice: None })?;
        let share = masked.count() as f64;
        count += share;
        batches += 1.0;
        frames += rows.iter().map(Vec::len).sum::<usize>() as f64;
        sums.loss += told.loss.f_double_value(&[])?;
        sums.accuracy += told.correct.f_int64_value(&[])? as f64;
        sums.perplexity += share * told.perplexity.f_double_value(&[])?;
        if let Some(perplexity) = told.predicted_perplexity {
            *predicted.get_or_insert(0.0) += share * perplexity.f_double_value(&[])?;
        }
        sums.spread += share * spread(&stages.output.hidden, &stages.output.lengths)?;
        observer.event(Event::Scored { done, total: data.items.len() });
    }
    let count = f64::max(count, 1.0);
    let [groups, codes] = model.perplexities();
    Ok(HeldOut {
        loss: sums.loss / count,
        accuracy: sums.accuracy / count,
        perplexity: sums.perplexity / count,
        predicted_perplexity: predicted.map(|sum| sum / count),
        codes,
        groups,
        frames: count / f64::max(batches, 1.0),
        spread: sums.spread / count,
        masked: count / f64::max(frames, 1.0),
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Hidden states whose spread is less point the same way.
const LEAST_SPREAD: f64 = 0.01;
/// A codebook of which less is in use has collapsed.
const LEAST_IN_USE: f64 = 0.02;

impl HeldOut {
    /// What is wrong with a model that shows this, in plain words; none where nothing is.
    pub fn collapse(&self) -> Option<String> {
        let HeldOut { perplexity, predicted_perplexity, codes, groups, frames, spread, .. } = *self;
        let least = groups as f64;
        if spread < LEAST_SPREAD {
            return Some(format!(
                "the encoder has collapsed: hidden states of all frames point the same way (spread {spread:.4} of 1). Lower train.learning_rate or raise the rise in train.phases"
            ));
        }
        // A batch cannot ask for more codes than it has frames, and a codebook that does not learn cannot collapse.
        if predicted_perplexity.is_none() && perplexity - least < LEAST_IN_USE * (frames.min(codes as f64) - least) {
            return Some(format!(
                "the codebook has collapsed: {perplexity:.1} of {codes} codes in use. Raise model.architecture.diversity_loss_weight, or take pretrain.objective: best_rq, whose codebook does not learn"
            ));
        }
        let alike = predicted_perplexity.filter(|&predicted| predicted - least < LEAST_IN_USE * (perplexity - least));
        alike.map(|predicted| {
            format!("the model answers nearly the same to every masked frame: {predicted:.1} codes predicted, {perplexity:.1} asked for. Train longer, or raise train.learning_rate")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_collapse_is_named() {
        let sound = HeldOut {
            perplexity: 300.0,
            predicted_perplexity: Some(40.0),
            codes: 1024,
            groups: 1,
            frames: 700.0,
            spread: 0.6,
            ..HeldOut::default()
        };
        assert_eq!(sound.collapse(), None);
        let said = |held_out: HeldOut| held_out.collapse().unwrap();
        assert!(said(HeldOut { spread: 0.001, ..sound }).contains("encoder"));
        assert!(said(HeldOut { perplexity: 2.0, predicted_perplexity: None, ..sound }).contains("codebook"));
        // Of few frames a few codes are many, and a random quantiser has what the speech has.
        let few = HeldOut { perplexity: 9.0, predicted_perplexity: None, frames: 20.0, ..sound };
        assert_eq!(few.collapse(), None);
        assert_eq!(HeldOut { perplexity: 9.0, predicted_perplexity: Some(4.0), ..sound }.collapse(), None);
        assert!(said(HeldOut { predicted_perplexity: Some(1.2), ..sound }).contains("same to every"));
        // A small codebook, which has collapsed when each of its groups has one code left.
        let small = HeldOut { codes: 8, groups: 2, predicted_perplexity: None, ..sound };
        assert!(said(HeldOut { perplexity: 2.02, ..small }).contains("codebook"));
        assert_eq!(HeldOut { perplexity: 3.0, ..small }.collapse(), None);
        let few = HeldOut { codes: 16, perplexity: 12.0, ..sound };
        assert!(said(HeldOut { predicted_perplexity: Some(1.1), ..few }).contains("same to every"));
    }
}
