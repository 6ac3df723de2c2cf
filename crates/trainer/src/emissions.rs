//! How a model reads single utterances: what it emits in which frame, over what there was to hear.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use klang_audio::LogMel;
use klang_text::{Pair, count_words};
use klang_wav2vec2::{ModelConfig, Pass};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::data::{Augmentation, BatchPlan, Dataset, Item, Loader, LoaderSettings, RowPlan};
use crate::error::{Error, Result};
use crate::evaluate::split_short;
use crate::files;
use crate::model::Recogniser;

/// Utterances that last longer, in seconds, are not shown: their labels would lie on one another.
const LONGEST: f64 = 10.0;
/// Bands of a spectrogram.
const BANDS: usize = 40;
/// Of the sample before, what is taken off each.
const EMPHASIS: f32 = 0.97;
/// What lies this far below the loudest band, in nats of energy, counts as silence: 60 dB.
const RANGE: f32 = 6.0 * std::f32::consts::LN_10;
/// Beyond this many bytes a file is not read again.
const MOST_BYTES: u64 = 1 << 22;

/// How a model reads an utterance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EmissionPath {
    /// The utterance.
    pub(crate) id: String,
    /// Who speaks, if known.
    pub(crate) speaker: Option<String>,
    /// What was said.
    pub(crate) reference: String,
    /// What was recognised.
    pub(crate) text: String,
    /// Frames a second.
    pub(crate) frames_per_second: f64,
    /// The greedy path's labels in their order.
    pub(crate) labels: Vec<EmittedLabel>,
    /// The log-mel spectrum, a string a band from the lowest up, a hexadecimal digit a frame: 4 dB each, f is the loudest.
    pub(crate) spectrogram: Vec<String>,
}

/// A label of a greedy path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EmittedLabel {
    /// Its token; `␣` between words.
    pub(crate) token: String,
    /// The frame in which it begins.
    pub(crate) frame: usize,
    /// What it was given in that frame, to three decimals.
    pub(crate) probability: f64,
}

/// How `model` reads the utterances at the quartiles of word errors, of those that are short enough; `pairs` are the data
/// set's.
///
/// # Errors
/// Audio that cannot be read, or libtorch's own.
pub(crate) fn emission_paths(
    model: &Recogniser,
    data: &Dataset,
    pairs: &[Pair],
    settings: &LoaderSettings,
) -> Result<Vec<EmissionPath>> {
    let items: HashMap<&str, &Arc<Item>> = data.items.iter().map(|item| (item.utterance.id.as_str(), item)).collect();
    let short = |pair: &&Pair| items.get(pair.id.as_str()).is_some_and(|item| item.duration <= LONGEST);
    let chosen = at_quartiles(pairs.iter().filter(short).collect());
    let plan = |pair: &&Pair| BatchPlan {
        rows: vec![RowPlan { parts: vec![(items[pair.id.as_str()].clone(), Augmentation::NONE)] }],
    };
    let config = &model.spec.config;
    let audio = |source| Error::Audio { id: "log-mel spectra".into(), source };
    let log_mel = LogMel::new(model.spec.audio.sampling_rate, BANDS).map_err(audio)?;
    let mut paths = Vec::new();
    for (batch, pair) in Loader::start(chosen.iter().map(plan).collect(), settings).zip(&chosen) {
        // What is odd about the file was said when it was scored.
        let (batch, _) = split_short(batch?, config.minimum_samples() as usize);
        let Some(row) = batch.rows.first() else { continue };
        let (labels, frames) = labels(model, &batch.waveforms()?)?;
        paths.push(EmissionPath {
            id: pair.id.clone(),
            speaker: pair.speaker.clone(),
            reference: pair.reference.clone(),
            text: pair.hypothesis.clone(),
            frames_per_second: f64::from(model.spec.audio.sampling_rate) / config.samples_per_frame() as f64,
            labels,
            spectrogram: spectrogram(&log_mel, config, &row.samples, frames),
        });
    }
    Ok(paths)
}

/// Writes paths, whole or not at all.
///
/// # Errors
/// A failing file system.
pub(crate) fn write_paths(file: &Path, paths: &[EmissionPath]) -> Result<()> {
    files::write_lines(file, paths)
}

/// Reads what can be read of such a file; nothing where it is missing or beyond all measure.
pub(crate) fn read_paths(file: &Path) -> Vec<EmissionPath> {
    files::read_lines(file, MOST_BYTES)
}

/// The pairs a quarter, a half and three quarters of the way from the fewest word errors to the most; ids decide between
/// equals.
fn at_quartiles(pairs: Vec<&Pair>) -> Vec<&Pair> {
    let mut ranked: Vec<(u64, &Pair)> =
        pairs.into_iter().map(|pair| (count_words(&pair.reference, &pair.hypothesis).errors(), pair)).collect();
    ranked.sort_by(|a, b| (a.0, &a.1.id).cmp(&(b.0, &b.1.id)));
    let Some(last) = ranked.len().checked_sub(1) else { return Vec::new() };
    let mut places: Vec<usize> = [1, 2, 3].map(|quarter| (last * quarter + 2) / 4).into();
    places.dedup();
    places.into_iter().map(|place| ranked[place].1).collect()
}

/// The labels of one utterance's greedy path, and its frames.
fn labels(model: &Recogniser, waveforms: &klang_wav2vec2::WaveformBatch) -> Result<(Vec<EmittedLabel>, usize)> {
    let _guard = tch::no_grad_guard();
    let recognition = model.forward(waveforms, Pass::Evaluation)?;
    let probabilities = recognition.logits.f_softmax(-1, Kind::Float)?.f_to_device(Device::Cpu)?; // (1, frame, vocabulary)
    let vocabulary = &model.spec.vocabulary;
    let mut labels = Vec::new();
    let mut frames = 0;
    for reading in model.read(&recognition)? {
        frames = reading.path.frames;
        for (&label, &frame) in reading.path.labels.iter().zip(&reading.path.starts) {
            let is_space = Some(label) == vocabulary.delimiter();
            let token = if is_space { "␣" } else { vocabulary.token(label).map_or("?", str::trim_start) };
            let probability = probabilities.f_double_value(&[0, frame as i64, i64::from(label)])?;
            let probability = (probability * 1e3).round() / 1e3;
            labels.push(EmittedLabel { token: token.into(), frame, probability });
        }
    }
    Ok((labels, frames))
}

/// A spectrum of each frame, in digits by band.
fn spectrogram(log_mel: &LogMel, config: &ModelConfig, samples: &[f32], frames: usize) -> Vec<String> {
    // As is usual before a spectrum is looked at: the high bands are brought out, and silence is silence whatever the mean.
    let before = std::iter::once(&0.0).chain(samples);
    let samples: Vec<f32> = samples.iter().zip(before).map(|(sample, before)| sample - EMPHASIS * before).collect();
    // The window lies around the middle of what the frame hears.
    let first = (config.minimum_samples() - log_mel.window() as i64) / 2;
    let mut values = Vec::with_capacity(frames * BANDS); // (frame, band)
    for frame in 0..frames as i64 {
        log_mel.spectrum(&samples, first + frame * config.samples_per_frame(), &mut values);
    }
    digits(&values, BANDS)
}

/// Energies (frame, band), in nats, as digits by band.
fn digits(values: &[f32], bands: usize) -> Vec<String> {
    let loudest = values.iter().copied().fold(f32::MIN, f32::max);
    let digit = |value: f32| {
        // The cast holds what lies below the range at 0.
        let level = ((value - loudest) / RANGE * 15.0 + 15.0).round() as u8;
        char::from_digit(u32::from(level.min(15)), 16).unwrap_or('0')
    };
    (0..bands).map(|band| values.iter().skip(band).step_by(bands).map(|&value| digit(value)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(id: &str, hypothesis: &str) -> Pair {
        Pair { id: id.into(), speaker: None, reference: "a b c d".into(), hypothesis: hypothesis.into() }
    }

    #[test]
    fn examples_stand_at_the_quartiles_of_word_errors() {
        let ids = |pairs: &[Pair]| -> Vec<String> {
            at_quartiles(pairs.iter().collect()).iter().map(|pair| pair.id.clone()).collect()
        };
        // By errors and id: w y (0), v (1), x z (4). Places 1, 2 and 3.
        let all = [pair("z", ""), pair("y", "a b c d"), pair("x", ""), pair("w", "a b c d"), pair("v", "a b c")];
        assert_eq!(ids(&all), ["y", "v", "x"]);
        let backwards: Vec<Pair> = all.iter().rev().cloned().collect();
        assert_eq!(ids(&backwards), ids(&all), "whatever their order");
        assert_eq!(ids(&all[..2]), ["y", "z"]);
        assert_eq!(ids(&all[..1]), ["z"]);
        assert!(ids(&[]).is_empty());
    }

    #[test]
    fn a_digit_is_four_decibels() {
        let decibels = |value: f32| value / 10.0 * std::f32::consts::LN_10;
        // Two bands of three frames; the loudest is 7 dB.
        let values = [7.0, 3.0, -53.0, -200.0, f32::NAN, 5.1].map(decibels);
        assert_eq!(digits(&values, 2), ["f00", "e0f"]);
        assert_eq!(digits(&[], 2), ["", ""]);
    }
}
