//! A corpus's own layout → manifests, speaker-disjoint splits, statistics.
//!
//! Audio is not copied; the manifests point to it. Beside the manifests (`NAME.jsonl`) stands
//! `statistics.json`. A corpus that comes in several parts keeps them, one manifest each. One that comes
//! whole becomes `all`, and of that `train`, `dev` and `test`: whole speakers each; with two speakers, one
//! is `test` and sentences of the other are `dev`; with one or unknown speakers, sentences are kept apart.

mod audiofolder;
mod common_voice;
mod format;
mod kaldi;
mod librispeech;
mod output;
mod table;
mod usable;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use format::Format;

use crate::error::listed;
use crate::split::{self, Fractions, Split};
use crate::{Error, Statistics, Utterance};

/// How to prepare.
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareOptions {
    /// Decides who is in which split.
    pub seed: u64,
    /// What dev and test get of a corpus that comes whole.
    pub fractions: Fractions,
    /// Whether to look up durations that the corpus does not state in the audio files.
    pub probe_durations: bool,
    /// Whether to replace manifests that hold something else.
    pub overwrite: bool,
}

impl Default for PrepareOptions {
    fn default() -> PrepareOptions {
        PrepareOptions { seed: 1, fractions: Fractions::default(), probe_durations: true, overwrite: false }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Name, file and statistics of each manifest, in the corpus's order.
    pub manifests: Vec<(String, PathBuf, Statistics)>,
    /// What whoever uses the corpus should know: files left out, speakers or sentences in two splits.
    pub warnings: Vec<String>,
    /// How many utterances were left out because their audio cannot be used.
    pub left_out: usize,
}

/// Name and utterances of a part.
type Part = (String, Vec<Utterance>);

/// What an importer found.
struct Corpus {
    /// One part is a corpus that comes whole.
    parts: Vec<Part>,
    warnings: Vec<String>,
    /// The utterances that the corpus lists but that its importer could not take over, each with the reason.
    left_out: Vec<String>,
}

/// Reads a corpus in its own layout and writes its manifests into `out`, which is created if need be.
///
/// Audio that is missing, empty or unreadable is left out and named in the warnings.
///
/// # Errors
/// When `source` is not laid out as `format` says or a list in it is malformed, when no utterance is usable,
/// when a split is impossible, or when `out` holds other manifests of the same name and `overwrite` is false.
/// Nothing is written then.
pub fn prepare(format: Format, source: &Path, out: &Path, options: &PrepareOptions) -> Result<Prepared, Error> {
    let corpus = match format {
        Format::Table => table::import(source)?,
        Format::LibriSpeech => librispeech::import(source)?,
        Format::CommonVoice => common_voice::import(source)?,
        Format::Kaldi => kaldi::import(source)?,
        Format::AudioFolder => audiofolder::import(source)?,
    };
    let Corpus { mut parts, mut warnings, mut left_out } = corpus;
    let listed_utterances = parts.iter().map(|(_, utterances)| utterances.len()).sum::<usize>() + left_out.len();
    usable::keep(&mut parts, options.probe_durations, &mut left_out, &mut warnings);
    parts.retain(|(name, utterances)| {
        if utterances.is_empty() {
            warnings.push(format!("`{name}` has no usable utterance and is not written"));
        }
        !utterances.is_empty()
    });
    if parts.is_empty() {
        let first = left_out.first().cloned().unwrap_or_else(|| "nothing is listed".to_owned());
        return Err(Error::NothingUsable { path: source.to_path_buf(), utterances: listed_utterances, first });
    }
    if !left_out.is_empty() {
        let names = listed(left_out.iter().map(String::as_str), 20);
        warnings.push(format!("{} of {listed_utterances} utterances are left out: {names}", left_out.len()));
    }
    if parts.len() == 1 {
        parts = divide(parts, options, &mut warnings)?;
    }
    warn_of_overlap(&parts, &mut warnings);
    let manifests = output::write(out, &parts, options.overwrite)?;
    Ok(Prepared { manifests, warnings, left_out: left_out.len() })
}

/// Refuses two utterances with one id in a part.
fn unique_ids(source: &Path, corpus: &mut Corpus) -> Result<(), Error> {
    for (_, utterances) in &mut corpus.parts {
        crate::manifest::fill_ids(source, utterances)?;
    }
    Ok(())
}

/// `all` and its three splits.
fn divide(parts: Vec<Part>, options: &PrepareOptions, warnings: &mut Vec<String>) -> Result<Vec<Part>, Error> {
    let all: Vec<Utterance> = parts.into_iter().flat_map(|(_, utterances)| utterances).collect();
    let (fractions, seed) = (options.fractions, options.seed);
    let speakers: BTreeSet<&str> = all.iter().filter_map(|utterance| utterance.speaker.as_deref()).collect();
    let everyone_known = all.iter().all(|utterance| utterance.speaker.is_some());
    let needed = 1 + usize::from(fractions.dev > 0.0) + usize::from(fractions.test > 0.0);
    let Split { train, dev, test } = if everyone_known && speakers.len() >= needed {
        split::by_speaker(all.clone(), fractions, seed)?
    } else if everyone_known && speakers.len() == 2 {
        warnings.push("two speakers: one is test; dev has the speaker of train, with other sentences".to_owned());
        let apart = split::by_speaker(all.clone(), Fractions { dev: 0.0, ..fractions }, seed)?;
        let rest = split::by_sentence(apart.train, Fractions { test: 0.0, ..fractions }, seed)?;
        Split { test: apart.test, ..rest }
    } else {
        let why = if everyone_known { "only one speaker" } else { "not every speaker is known" };
        warnings.push(format!(
            "{why}: the splits keep sentences apart, not speakers, so a score on test says nothing about speakers never heard"
        ));
        split::by_sentence(all.clone(), fractions, seed)?
    };
    let splits = [("all", all), ("train", train), ("dev", dev), ("test", test)];
    Ok(splits.into_iter().filter(|(_, part)| !part.is_empty()).map(|(name, part)| (name.to_owned(), part)).collect())
}

/// Speakers and sentences that two parts share; `all` shares everything by design.
fn warn_of_overlap(parts: &[Part], warnings: &mut Vec<String>) {
    let apart = || parts.iter().filter(|(name, _)| name != "all");
    let mut shared = |what, of: fn(&Utterance) -> Option<String>| {
        let mut places: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (name, utterances) in apart() {
            for value in utterances.iter().filter_map(of) {
                places.entry(value).or_default().insert(name);
            }
        }
        let mut pairs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for names in places.values().filter(|names| names.len() > 1) {
            for (index, first) in names.iter().enumerate() {
                for second in names.iter().skip(index + 1) {
                    *pairs.entry((first, second)).or_default() += 1;
                }
            }
        }
        if !pairs.is_empty() {
            let pairs: Vec<String> =
                pairs.iter().map(|((first, second), count)| format!("{count} in {first} and {second}")).collect();
            let pairs = listed(pairs.iter().map(String::as_str), 12);
            warnings.push(format!("of {} {what}, some are in two parts: {pairs}", places.len()));
        }
    };
    shared("speakers", |utterance| utterance.speaker.clone());
    shared("sentences", Utterance::sentence);
}
