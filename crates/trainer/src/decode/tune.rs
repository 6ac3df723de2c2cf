//! The search for a language model's weights on development data, and the confidence that comes true there.

use klang_text::{Normaliser, Operation, Pair, Score, ScoreOptions, align_words, score};

use super::confidence::{Calibration, expected_calibration_error};
use super::decoder::Decoder;
use super::in_parallel;
use super::settings::{DecodeMethod, DecodeSettings};
use crate::data::{Dataset, LoaderSettings};
use crate::error::Result;
use crate::evaluate::{Emitted, emitted};
use crate::event::{Event, Observer};
use crate::model::Recogniser;
use crate::recipe::ChooseBy;

/// Weights of the first round; the second looks around the best of them.
const LM_WEIGHTS: [f64; 7] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0];
const WORD_SCORES: [f64; 6] = [-1.0, 0.0, 1.0, 2.0, 3.0, 4.5];
/// Widths of the first round at most: what is best narrow is about best wide.
const NARROW: usize = 30;

/// One try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TuneTry {
    /// The language model's weight.
    pub lm_weight: f64,
    /// Nats a word.
    pub word_score: f64,
    /// Texts followed at a time.
    pub width: usize,
    /// WER on dev, 0 to 1 and above.
    pub wer: f64,
    /// CER on dev.
    pub cer: f64,
}

/// What tuning came to.
#[derive(Clone, Debug)]
pub struct TunedDecoding {
    /// The settings to keep: greedy where no try was better.
    pub settings: DecodeSettings,
    /// Dev by greedy reading.
    pub greedy: Score,
    /// Dev by the settings.
    pub tuned: Score,
    /// All tries, in their order.
    pub tries: Vec<TuneTry>,
    /// The expected calibration error of confidences on halves of dev that the other half was fitted on: of the mean
    /// probability of a word's frames, and of the calibrated one. None where dev has too few words.
    pub calibration_error: Option<[f64; 2]>,
}

/// Searches the weights for the least errors on `data`, by WER or CER, and calibrates confidence there. Test data have no
/// place here.
///
/// # Errors
/// Audio that cannot be read; libtorch's own.
pub fn tune_decoding(
    model: &Recogniser,
    data: &Dataset,
    loading: &LoaderSettings,
    mut decoder: Decoder,
    choose_by: ChooseBy,
    observer: &mut dyn Observer,
) -> Result<TunedDecoding> {
    let heard = emitted(model, data, loading, observer)?;
    let normaliser = Normaliser::new(&model.spec.text)?;
    let threads = model.compute.threads.max(1) as usize;
    let base = decoder.settings().clone();
    let scored = |decoder: &Decoder| -> Result<Score> {
        let pair = |one: &Emitted| Pair {
            id: one.id.clone(),
            speaker: None,
            reference: one.reference.clone(),
            hypothesis: normaliser.apply(&decoder.decode(&one.log_probabilities).text),
        };
        Ok(score(&in_parallel(&heard, threads, pair)?, &ScoreOptions { resamples: 0, ..ScoreOptions::default() }))
    };
    let errors = |wer: f64, cer: f64| choose_by.order([wer, cer]);
    decoder.set(DecodeSettings { method: DecodeMethod::Greedy, ..base.clone() })?;
    let greedy = scored(&decoder)?;

    let (mut tries, mut best): (Vec<TuneTry>, Option<TuneTry>) = (Vec::new(), None);
    let mut attempt = |lm_weight: f64, word_score: f64, width: usize, best: &mut Option<TuneTry>| -> Result<()> {
        if tries.iter().any(|one| (one.lm_weight, one.word_score, one.width) == (lm_weight, word_score, width)) {
            return Ok(());
        }
        decoder.set(DecodeSettings { method: DecodeMethod::Beam, lm_weight, word_score, width, ..base.clone() })?;
        let score = scored(&decoder)?;
        let (wer, cer) = (score.wer.unwrap_or(0.0), score.cer.unwrap_or(0.0));
        let one = TuneTry { lm_weight, word_score, width, wer, cer };
        tries.push(one);
        observer.event(Event::Scored { done: tries.len(), total: tries.len() });
        if best.is_none_or(|best| errors(wer, cer) < errors(best.wer, best.cer)) {
            *best = Some(one);
        }
        Ok(())
    };
    if base.lm.is_some() {
        let narrow = base.width.min(NARROW);
        for lm_weight in LM_WEIGHTS {
            for word_score in WORD_SCORES {
                attempt(lm_weight, word_score, narrow, &mut best)?;
            }
        }
        let first = best.take().map_or((base.lm_weight, base.word_score), |first| (first.lm_weight, first.word_score));
        for factor in [0.8, 1.0, 1.25] {
            for shift in [-0.5, 0.0, 0.5] {
                let lm_weight = (first.0 * factor * 1000.0).round() / 1000.0;
                attempt(lm_weight, first.1 + shift, base.width, &mut best)?;
            }
        }
    } else {
        attempt(base.lm_weight, base.word_score, base.width, &mut best)?;
    }
    let mut settings = DecodeSettings { method: DecodeMethod::Greedy, ..base.clone() };
    let greedy_errors = errors(greedy.wer.unwrap_or(0.0), greedy.cer.unwrap_or(0.0));
    if let Some(best) = best.filter(|best| errors(best.wer, best.cer) < greedy_errors) {
        let TuneTry { lm_weight, word_score, width, .. } = best;
        settings = DecodeSettings { method: DecodeMethod::Beam, lm_weight, word_score, width, ..base };
    }
    decoder.set(DecodeSettings { confidence: None, ..settings.clone() })?;
    let tuned = scored(&decoder)?;
    let words = words(&decoder, &heard, &normaliser, threads)?;
    settings.confidence = Calibration::fit(&words.concat());
    let calibration_error = across_halves(&words);
    Ok(TunedDecoding { settings, greedy, tuned, tries, calibration_error })
}

/// By utterance, each recognised word's mean log probability, and whether it was right.
fn words(
    decoder: &Decoder,
    heard: &[Emitted],
    normaliser: &Normaliser,
    threads: usize,
) -> Result<Vec<Vec<(f64, bool)>>> {
    in_parallel(heard, threads, |one| {
        let decoded = decoder.decode(&one.log_probabilities);
        let timed = decoder.timed(&one.log_probabilities, &decoded.labels, f64::INFINITY);
        let aligned = align_words(&one.reference, &normaliser.apply(&decoded.text));
        let right: Vec<bool> = aligned
            .iter()
            .filter(|word| word.hypothesis.is_some())
            .map(|word| word.operation == Operation::Match)
            .collect();
        // Where normalisation parted or joined words, which is which cannot be told.
        if right.len() != timed.len() {
            return Vec::new();
        }
        timed.iter().map(|word| word.log_probability).zip(right).collect()
    })
}

/// The calibration error of every second utterance under what the others taught, and the other way round.
fn across_halves(words: &[Vec<(f64, bool)>]) -> Option<[f64; 2]> {
    let half =
        |parity: usize| -> Vec<(f64, bool)> { words.iter().skip(parity).step_by(2).flatten().copied().collect() };
    let (even, odd) = (half(0), half(1));
    let (of_even, of_odd) = (Calibration::fit(&even)?, Calibration::fit(&odd)?);
    let all = || words.iter().flatten().map(|&(x, right)| (x.exp(), right));
    let promised = even.iter().map(|&(x, right)| (of_odd.probability(x), right));
    let promised = promised.chain(odd.iter().map(|&(x, right)| (of_even.probability(x), right)));
    Some([expected_calibration_error(all())?, expected_calibration_error(promised)?])
}
