//! The search for a language model's weights on development data, and the confidence that comes true there.

use klang_text::{Normaliser, Operation, Pair, Score, ScoreOptions, align_words, score};

use super::confidence::{Calibration, expected_calibration_error};
use super::decoder::Decoder;
use super::in_parallel;
use super::settings::{DecodeMethod, DecodeSettings, WordList};
use crate::data::{Dataset, LoaderSettings};
use crate::error::Result;
use crate::evaluate::{Emitted, emitted};
use crate::event::{Event, Observer};
use crate::model::Recogniser;
use crate::recipe::ChooseBy;

/// Weights of the first round; the second looks around the best of them.
const LM_WEIGHTS: [f64; 7] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0];
/// Of a word, and of a label.
const WORD_SCORES: [[f64; 6]; 2] = [[-1.0, 0.0, 1.0, 2.0, 3.0, 4.5], [0.0, 0.5, 1.0, 1.5, 2.0, 3.0]];
/// The second round's: factors of the weight, what is added to the score, and what an unknown word costs.
const FACTORS: [f64; 3] = [0.8, 1.0, 1.25];
const SHIFTS: [f64; 3] = [-0.5, 0.0, 0.5];
const UNKNOWN_SCORES: [f64; 3] = [-10.0, -4.0, -1.0];
/// Widths of the first round at most: what is best narrow is about best wide.
const NARROW: usize = 30;

/// Recognised words that a calibration takes: of fewer, each half says little of the other.
pub const LEAST_WORDS: usize = 100;

/// One try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TuneTry {
    /// The language model's weight.
    pub lm_weight: f64,
    /// Nats a word.
    pub word_score: f64,
    /// log10 beyond the model's own for a word that it does not know.
    pub unknown_score: f64,
    /// Texts followed at a time.
    pub width: usize,
    /// WER on dev, 0 to 1 and above; none without a word.
    pub wer: Option<f64>,
    /// CER on dev.
    pub cer: Option<f64>,
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
            hypothesis: normaliser.apply(&decoder.decode(&one.output).text),
        };
        Ok(score(&in_parallel(&heard, threads, pair)?, &ScoreOptions { resamples: 0, ..ScoreOptions::default() }))
    };
    let errors = |wer: Option<f64>, cer: Option<f64>| choose_by.order([wer.unwrap_or(0.0), cer.unwrap_or(0.0)]);
    decoder.set(DecodeSettings { method: DecodeMethod::Greedy, ..base.clone() })?;
    let greedy = scored(&decoder)?;

    let labels = decoder.is_of_labels();
    let open = !labels && base.words == WordList::Open;
    let first_round = LM_WEIGHTS.len() * WORD_SCORES[0].len();
    let second_round = FACTORS.len() * SHIFTS.len() + if open { UNKNOWN_SCORES.len() } else { 0 };
    let planned = if base.lm.is_some() { first_round + second_round } else { 1 };
    let mut tries: Vec<TuneTry> = Vec::new();
    // Tries a choice, unless it was tried, and gives what it came to.
    let mut attempt = |weights: [f64; 3], width: usize| -> Result<TuneTry> {
        let [lm_weight, word_score, unknown_score] = weights;
        let same = |one: &&TuneTry| ([one.lm_weight, one.word_score, one.unknown_score], one.width) == (weights, width);
        if let Some(known) = tries.iter().find(same) {
            return Ok(*known);
        }
        let settings = DecodeSettings { lm_weight, word_score, unknown_score, width, ..base.clone() };
        decoder.set(DecodeSettings { method: DecodeMethod::Beam, ..settings })?;
        let Score { wer, cer, .. } = scored(&decoder)?;
        let one = TuneTry { lm_weight, word_score, unknown_score, width, wer, cer };
        tries.push(one);
        observer.event(Event::Scored { done: tries.len(), total: planned });
        Ok(one)
    };
    // Of equal ones the first.
    let better = |one: TuneTry, best: Option<TuneTry>| match best {
        Some(best) if errors(best.wer, best.cer) <= errors(one.wer, one.cer) => Some(best),
        _ => Some(one),
    };
    let mut best: Option<TuneTry> = None;
    if base.lm.is_some() {
        let narrow = base.width.min(NARROW);
        for lm_weight in LM_WEIGHTS {
            for word_score in WORD_SCORES[usize::from(labels)] {
                best = better(attempt([lm_weight, word_score, base.unknown_score], narrow)?, best);
            }
        }
        // What was found by a narrow beam counts no more: the second round is as wide as what is kept.
        let first = best.take().map_or([base.lm_weight, base.word_score], |one| [one.lm_weight, one.word_score]);
        for factor in FACTORS {
            for shift in SHIFTS {
                let lm_weight = (first[0] * factor * 1000.0).round() / 1000.0;
                let choice = [lm_weight, first[1] + shift, base.unknown_score];
                best = better(attempt(choice, base.width)?, best);
            }
        }
        if let (true, Some(TuneTry { lm_weight, word_score, .. })) = (open, best) {
            for unknown_score in UNKNOWN_SCORES {
                best = better(attempt([lm_weight, word_score, unknown_score], base.width)?, best);
            }
        }
    } else {
        best = better(attempt([base.lm_weight, base.word_score, base.unknown_score], base.width)?, best);
    }
    // What is read greedily needs no language model.
    let mut settings = DecodeSettings { method: DecodeMethod::Greedy, lm: None, ..base.clone() };
    if let Some(best) = best.filter(|best| errors(best.wer, best.cer) < errors(greedy.wer, greedy.cer)) {
        let TuneTry { lm_weight, word_score, unknown_score, width, .. } = best;
        settings =
            DecodeSettings { method: DecodeMethod::Beam, lm_weight, word_score, unknown_score, width, ..base.clone() };
    }
    decoder.set(DecodeSettings { confidence: None, ..settings.clone() })?;
    let tuned = scored(&decoder)?;
    let words = words(&decoder, &heard, &normaliser, threads)?;
    let enough = words.iter().map(Vec::len).sum::<usize>() >= LEAST_WORDS;
    settings.confidence = if enough { Calibration::fit(&words.concat()) } else { None };
    let calibration_error = if enough { across_halves(&words) } else { None };
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
        let decoded = decoder.decode(&one.output);
        let timed = decoder.timed(&one.output, &decoded.labels, f64::INFINITY);
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
