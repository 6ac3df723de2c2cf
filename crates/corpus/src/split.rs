//! Splits that keep speakers, or sentences, apart, and folds over speakers.
//!
//! A split depends on the seed and on what is in the corpus, not on the order in which it is listed.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{Error, Utterance};

/// How much of a corpus dev and test get, by duration if every duration is known, otherwise by count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fractions {
    /// In [0, 1); 0 leaves the part empty.
    pub dev: f64,
    /// In [0, 1); 0 leaves the part empty.
    pub test: f64,
}

impl Default for Fractions {
    fn default() -> Fractions {
        Fractions { dev: 0.1, test: 0.1 }
    }
}

/// A corpus in three; each part keeps the corpus's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Split {
    /// To learn from.
    pub train: Vec<Utterance>,
    /// To choose checkpoints and settings by.
    pub dev: Vec<Utterance>,
    /// To report.
    pub test: Vec<Utterance>,
}

/// One round of a cross-validation, as indices into the utterances given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fold {
    /// The speakers held out.
    pub held_out: Vec<String>,
    /// Everybody else's utterances.
    pub train: Vec<usize>,
    /// The held-out speakers' utterances.
    pub test: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Train,
    Dev,
    Test,
}

/// Whole speakers per part: nobody is in two. A part comes as near its fraction as whole speakers allow
/// and has at least one.
///
/// # Errors
/// When an utterance has no speaker, there are fewer speakers than parts, or the fractions are impossible.
pub fn by_speaker(utterances: Vec<Utterance>, fractions: Fractions, seed: u64) -> Result<Split, Error> {
    let keys = utterances.iter().map(speaker_of).collect::<Result<Vec<_>, _>>()?;
    let hint = "split by sentence, or hold out speakers in folds";
    split(utterances, keys, fractions, ChaCha8Rng::seed_from_u64(seed), "speakers", hint)
}

/// Whole sentences per part: the same text (case and spacing aside) is never in two. Speakers are in all
/// parts, so a score on such a test says nothing about speakers never heard. An utterance without text
/// counts as a sentence of its own.
///
/// # Errors
/// When there are fewer sentences than parts, or the fractions are impossible.
pub fn by_sentence(utterances: Vec<Utterance>, fractions: Fractions, seed: u64) -> Result<Split, Error> {
    let key = |utterance: &Utterance| match utterance.sentence() {
        Some(sentence) => sentence,
        None => format!("\n{}", utterance.id),
    };
    let keys = utterances.iter().map(key).collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(1);
    split(utterances, keys, fractions, random, "sentences", "record more, or make dev or test 0")
}

/// One fold per speaker, sorted by name.
///
/// # Errors
/// When an utterance has no speaker or there are fewer than two speakers.
pub fn leave_one_speaker_out(utterances: &[Utterance]) -> Result<Vec<Fold>, Error> {
    let speakers = speakers(utterances)?;
    few(&speakers, 2)?;
    folds(utterances, speakers.into_iter().map(|speaker| vec![speaker]).collect())
}

/// `count` folds whose sizes in speakers differ by at most one.
///
/// # Errors
/// When an utterance has no speaker, or `count` is less than 2 or more than there are speakers.
pub fn speaker_folds(utterances: &[Utterance], count: usize, seed: u64) -> Result<Vec<Fold>, Error> {
    if count < 2 {
        return Err(Error::TooFew { unit: "folds", found: count, needed: 2, hint: "leave one speaker out" });
    }
    let mut speakers = speakers(utterances)?;
    few(&speakers, count)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(2);
    speakers.shuffle(&mut random);
    let mut groups = vec![Vec::new(); count];
    for (group, speaker) in (0..groups.len()).cycle().zip(speakers) {
        if let Some(group) = groups.get_mut(group) {
            group.push(speaker);
        }
    }
    groups.iter_mut().for_each(|group| group.sort());
    folds(utterances, groups)
}

fn speaker_of(utterance: &Utterance) -> Result<String, Error> {
    let missing = || Error::NoSpeaker { id: utterance.id.clone(), line: utterance.line };
    utterance.speaker.clone().ok_or_else(missing)
}

/// All speakers, sorted.
fn speakers(utterances: &[Utterance]) -> Result<Vec<String>, Error> {
    let speakers: BTreeSet<String> = utterances.iter().map(speaker_of).collect::<Result<_, _>>()?;
    Ok(speakers.into_iter().collect())
}

fn few(speakers: &[String], needed: usize) -> Result<(), Error> {
    if speakers.len() < needed {
        let hint = "ask for fewer folds; one speaker allows none";
        return Err(Error::TooFew { unit: "speakers", found: speakers.len(), needed, hint });
    }
    Ok(())
}

fn folds(utterances: &[Utterance], groups: Vec<Vec<String>>) -> Result<Vec<Fold>, Error> {
    let fold = |held_out: Vec<String>| {
        let mut fold = Fold { held_out, train: Vec::new(), test: Vec::new() };
        for (index, utterance) in utterances.iter().enumerate() {
            let held_out = utterance.speaker.as_ref().is_some_and(|speaker| fold.held_out.contains(speaker));
            if held_out { fold.test.push(index) } else { fold.train.push(index) }
        }
        fold
    };
    Ok(groups.into_iter().map(fold).collect())
}

fn split(
    utterances: Vec<Utterance>,
    keys: Vec<String>,
    fractions: Fractions,
    mut random: ChaCha8Rng,
    unit: &'static str,
    hint: &'static str,
) -> Result<Split, Error> {
    let Fractions { dev, test } = fractions;
    // Written so that NaN is refused too.
    if !(dev >= 0.0 && test >= 0.0 && dev + test < 1.0) {
        return Err(Error::Fractions { dev, test });
    }
    let needed = 1 + usize::from(dev > 0.0) + usize::from(test > 0.0);
    let weights = weights(&utterances, &keys);
    if weights.len() < needed {
        return Err(Error::TooFew { unit, found: weights.len(), needed, hint });
    }
    let total: u64 = weights.values().sum();
    let mut open: Vec<(&str, u64)> = weights.iter().map(|(key, weight)| (*key, *weight)).collect();
    open.shuffle(&mut random);
    let mut parts: BTreeMap<&str, Part> = BTreeMap::new();
    // Test first: it is the part that must not be starved.
    for (part, fraction, reserved) in [(Part::Test, test, 1 + usize::from(dev > 0.0)), (Part::Dev, dev, 1)] {
        if fraction > 0.0 {
            let room = open.len() - reserved;
            for key in draw(&mut open, (total as f64 * fraction) as u64, room) {
                parts.insert(key, part);
            }
        }
    }
    let parts: Vec<Part> = keys.iter().map(|key| parts.get(key.as_str()).copied().unwrap_or(Part::Train)).collect();
    let mut split = Split::default();
    for (utterance, part) in utterances.into_iter().zip(parts) {
        match part {
            Part::Train => split.train.push(utterance),
            Part::Dev => split.dev.push(utterance),
            Part::Test => split.test.push(utterance),
        }
    }
    Ok(split)
}

/// What each speaker or sentence weighs: milliseconds, or utterances where a duration is missing. Whole
/// numbers, because a sum of fractions depends on the order.
fn weights<'a>(utterances: &[Utterance], keys: &'a [String]) -> BTreeMap<&'a str, u64> {
    let timed = utterances.iter().all(|utterance| utterance.duration.is_some_and(|seconds| seconds > 0.0));
    let mut weights = BTreeMap::new();
    for (utterance, key) in utterances.iter().zip(keys) {
        let weight = match utterance.duration {
            Some(seconds) if timed => ((seconds * 1000.0) as u64).clamp(1, 1 << 40),
            _ => 1,
        };
        let sum: &mut u64 = weights.entry(key.as_str()).or_insert(0);
        *sum = sum.saturating_add(weight);
    }
    weights
}

/// Takes out of `open`, in its order, whatever brings the sum nearer to `target`; at least one, at most `room`.
fn draw<'a>(open: &mut Vec<(&'a str, u64)>, target: u64, room: usize) -> Vec<&'a str> {
    let mut sum: u64 = 0;
    let mut drawn = Vec::new();
    open.retain(|(key, weight)| {
        let with = sum.saturating_add(*weight);
        let nearer = with.abs_diff(target) < sum.abs_diff(target);
        let take = nearer && drawn.len() < room;
        if take {
            sum = with;
            drawn.push(*key);
        }
        !take
    });
    if drawn.is_empty() {
        // Everyone is more than twice the target: the first of the smallest.
        let smallest = open.iter().enumerate().min_by_key(|(_, (_, weight))| *weight).map(|(index, _)| index);
        drawn.extend(smallest.map(|index| open.remove(index).0));
    }
    drawn
}

#[cfg(test)]
mod tests;
