//! Scoring a model on a data set.

use klang_ctc::{LossBatch, ctc_loss, required_frames};
use klang_text::{Normaliser, Pair, Score, ScoreOptions, score};
use klang_wav2vec2::Pass;
use serde::{Deserialize, Serialize};
use tch::Kind;

use crate::data::{Dataset, Item, LoadedBatch, LoadedRow, Loader, LoaderSettings, plan_in_order};
use crate::decode::{Decoder, Output, in_parallel};
use crate::error::{Error, Result};
use crate::event::{Event, Observer, Oddities};
use crate::model::{Recogniser, Recognition};

/// What scoring gives.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// WER, CER and their parts.
    pub score: Score,
    /// References and hypotheses, in the data set's order.
    pub pairs: Vec<Pair>,
    /// How the network behaved.
    pub behaviour: Behaviour,
    /// The same by another reading of the same output, if one was asked for.
    pub decoded: Option<DecodedScore>,
}

/// How a decoder reads what the greedy reading was scored on.
#[derive(Clone, Debug)]
pub struct DecodedScore {
    /// WER, CER and their parts.
    pub score: Score,
    /// References and hypotheses, in the data set's order.
    pub pairs: Vec<Pair>,
    /// Wall-clock seconds of decoding, on all threads.
    pub seconds: f64,
}

/// How to score.
#[derive(Clone, Copy, Debug)]
pub struct EvaluateOptions<'a> {
    /// Audio in a batch, padding included, in seconds.
    pub batch_seconds: f64,
    /// What reads beside the greedy reading.
    pub decoder: Option<&'a Decoder>,
}

/// What shows whether a network has learnt to speak at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// CTC loss in nats per label, over utterances whose labels fit their frames. NaN is written as null.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// Share of real frames whose best label is the blank.
    pub blank: f64,
    /// Share of hypotheses that are not empty.
    pub non_empty: f64,
    /// Utterances whose labels do not fit their frames; they count in the WER.
    pub infeasible: u64,
    /// Seconds of audio.
    pub audio_seconds: f64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Scores `model` on `data` by its greedy text, and by a decoder's beside it.
///
/// # Errors
/// Audio that cannot be read, or libtorch's own.
pub fn evaluate(
    model: &Recogniser,
    data: &Dataset,
    settings: &LoaderSettings,
    options: &EvaluateOptions,
    observer: &mut dyn Observer,
) -> Result<Evaluation> {
    let start = std::time::Instant::now();
    let blank = model.spec.vocabulary.blank();
    // References went through it as well: a stock model may write capitals where references have none.
    let normaliser = Normaliser::new(&model.spec.text)?;
    let (mut loss, mut labels, mut frames, mut blank_frames) = (0.0, 0usize, 0usize, 0usize);
    let mut behaviour = Behaviour::default();
    let mut pairs = Vec::new();
    let (mut decoded, mut decoding) = (Vec::new(), 0.0);
    let mut oddities = Oddities::default();
    let _guard = tch::no_grad_guard();
    for batch in Loader::start(plan_in_order(&data.items, &data.condition, options.batch_seconds), settings) {
        let batch = batch?;
        if observer.stops() {
            return Err(Error::StoppedEarly);
        }
        oddities.say(&batch.warnings, observer);
        settings.bad_audio.note(&data.name, data.items.len(), &batch.skipped, observer)?;
        let (batch, short) = split_short(batch, model.spec.config.minimum_samples() as usize);
        for row in &short {
            // Too short for one frame, or not to be read at all: nothing can be heard in it, and its words count as deleted.
            behaviour.infeasible += u64::from(!row.samples.is_empty());
            pairs.push(pair(&row.items[0], String::new()));
            decoded.push(pair(&row.items[0], String::new()));
        }
        if batch.rows.is_empty() {
            continue;
        }
        for (batch, recognition) in within_memory(model, batch)? {
            let readings = model.read(&recognition)?;
            if let Some(decoder) = options.decoder {
                let begun = std::time::Instant::now();
                let texts = decode_rows(decoder, &recognition, model.compute.threads.max(1) as usize)?;
                let rows = batch.rows.iter().zip(texts);
                decoded.extend(rows.map(|(loaded, text)| pair(&loaded.items[0], normaliser.apply(&text))));
                decoding += begun.elapsed().as_secs_f64();
            }
            let mut feasible = Vec::new();
            for (row, (loaded, reading)) in batch.rows.iter().zip(readings).enumerate() {
                let item = &loaded.items[0];
                if required_frames(&item.labels) <= reading.path.frames {
                    feasible.push(row as i64);
                }
                frames += reading.path.frames;
                blank_frames += reading.path.blank_frames;
                behaviour.audio_seconds += item.duration;
                pairs.push(pair(item, normaliser.apply(&reading.text)));
            }
            behaviour.infeasible += (batch.rows.len() - feasible.len()) as u64;
            let (batch_loss, batch_labels) = loss_over(&recognition, &batch, &feasible, blank)?;
            loss += batch_loss;
            labels += batch_labels;
        }
        observer.event(Event::Scored { done: pairs.len(), total: data.items.len() });
    }
    // Back to the manifest's order: batches went by length.
    let place: std::collections::HashMap<&str, usize> =
        data.items.iter().enumerate().map(|(place, item)| (item.utterance.id.as_str(), place)).collect();
    let sort = |pairs: &mut Vec<Pair>| {
        pairs.sort_by_key(|pair| place.get(pair.id.as_str()).copied().unwrap_or(usize::MAX));
    };
    sort(&mut pairs);
    sort(&mut decoded);
    let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    behaviour.loss = if labels == 0 { 0.0 } else { loss / labels as f64 };
    behaviour.blank = share(blank_frames, frames);
    behaviour.non_empty = non_empty(&pairs);
    behaviour.seconds = start.elapsed().as_secs_f64();
    let decoded = options.decoder.map(|_| DecodedScore {
        score: score(&decoded, &ScoreOptions::default()),
        pairs: decoded,
        seconds: decoding,
    });
    Ok(Evaluation { score: score(&pairs, &ScoreOptions::default()), pairs, behaviour, decoded })
}

/// The share of hypotheses that are not empty; 0 of none.
pub(crate) fn non_empty(pairs: &[Pair]) -> f64 {
    pairs.iter().filter(|pair| !pair.hypothesis.is_empty()).count() as f64 / pairs.len().max(1) as f64
}

/// CTC's loss over the `feasible` rows of a batch, in nats, and their labels.
fn loss_over(recognition: &Recognition, batch: &LoadedBatch, feasible: &[i64], blank: u32) -> Result<(f64, usize)> {
    if feasible.is_empty() {
        return Ok((0.0, 0));
    }
    let rows = tch::Tensor::f_from_slice(feasible)?.f_to_device(recognition.logits.device())?;
    let lengths: Vec<i64> = feasible.iter().map(|&row| recognition.lengths[row as usize]).collect();
    let labels: Vec<Vec<u32>> = feasible.iter().map(|&row| batch.rows[row as usize].labels(None)).collect();
    let logits = recognition.logits.f_index_select(0, &rows)?;
    let losses = ctc_loss(&LossBatch { logits: &logits, lengths: &lengths, labels: &labels, blank })?;
    Ok((losses.f_sum(Kind::Double)?.f_double_value(&[])?, labels.iter().map(Vec::len).sum()))
}

/// What a model makes of an utterance, before it is read.
#[derive(Debug)]
pub(crate) struct Emitted {
    /// The utterance.
    pub id: String,
    /// What was said, normalised.
    pub reference: String,
    /// What is read; nothing of an utterance without a frame.
    pub output: Output,
}

/// Seconds of audio in a batch.
const BATCH_SECONDS: f64 = 60.0;

/// A model's output on a whole data set, which takes memory for all of it: 200 bytes for each token of the vocabulary a second.
///
/// # Errors
/// Audio that cannot be read, or libtorch's own.
pub(crate) fn emitted(
    model: &Recogniser,
    data: &Dataset,
    settings: &LoaderSettings,
    observer: &mut dyn Observer,
) -> Result<Vec<Emitted>> {
    let mut all = Vec::new();
    let mut oddities = Oddities::default();
    let _guard = tch::no_grad_guard();
    for batch in Loader::start(plan_in_order(&data.items, &data.condition, BATCH_SECONDS), settings) {
        let batch = batch?;
        oddities.say(&batch.warnings, observer);
        let (batch, short) = split_short(batch, model.spec.config.minimum_samples() as usize);
        let of = |item: &Item, output| Emitted { id: item.utterance.id.clone(), reference: item.text.clone(), output };
        all.extend(short.iter().map(|row| of(&row.items[0], Output::default())));
        if batch.rows.is_empty() {
            continue;
        }
        for (batch, recognition) in within_memory(model, batch)? {
            for (loaded, rows) in batch.rows.iter().zip(rows(&recognition)?) {
                all.push(of(&loaded.items[0], rows));
            }
        }
        observer.event(Event::Scored { done: all.len(), total: data.items.len() });
    }
    Ok(all)
}

/// A batch's output: whole, or of its halves where memory does not suffice for it.
fn within_memory(model: &Recogniser, batch: LoadedBatch) -> Result<Vec<(LoadedBatch, Recognition)>> {
    match batch.waveforms().and_then(|waveforms| model.forward(&waveforms, Pass::Evaluation)) {
        Ok(recognition) => Ok(vec![(batch, recognition)]),
        Err(error) => {
            let message = error.out_of_memory()?;
            if batch.rows.len() <= 1 {
                return Err(Error::OutOfMemory { ids: batch.ids(), message });
            }
            let halves = batch.cut(2).into_iter().map(|half| within_memory(model, half));
            Ok(halves.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        }
    }
}

/// The output of each utterance, without padding.
fn rows(recognition: &Recognition) -> Result<Vec<Output>> {
    let row = |(row, &length): (usize, &i64)| {
        Output::of(&recognition.logits.f_select(0, row as i64)?.f_narrow(0, 0, length)?)
    };
    recognition.lengths.iter().enumerate().map(row).collect()
}

/// The texts of a batch's rows, several at a time.
fn decode_rows(decoder: &Decoder, recognition: &Recognition, threads: usize) -> Result<Vec<String>> {
    in_parallel(&rows(recognition)?, threads, |row| decoder.decode(row).text)
}

fn pair(item: &Item, hypothesis: String) -> Pair {
    Pair {
        id: item.utterance.id.clone(),
        speaker: item.utterance.speaker.clone(),
        reference: item.text.clone(),
        hypothesis,
    }
}

/// Parts a batch from its rows that are too short for one frame.
pub(crate) fn split_short(batch: LoadedBatch, minimum: usize) -> (LoadedBatch, Vec<LoadedRow>) {
    let LoadedBatch { rows, warnings, skipped } = batch;
    let (rows, short) = rows.into_iter().partition(|row| row.samples.len() >= minimum);
    (LoadedBatch { rows, warnings, skipped }, short)
}

/// JSON has no NaN and no infinity; both are written as null, and read as NaN.
pub(crate) fn number_or_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
