//! Data sets: manifests become utterances that the model can learn from or be scored on.

mod augment;
mod bad_audio;
mod batches;
mod loader;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use klang_corpus::{Manifest, Selection, Utterance, durations};
use klang_ctc::required_frames;
use klang_text::{Normaliser, Vocabulary};
use klang_wav2vec2::ModelConfig;

use crate::draw;
use crate::error::{Error, Result};
use crate::recipe::{Condition, Source};

pub use augment::Augmentation;
pub(crate) use bad_audio::allowed;
pub use bad_audio::{BadAudio, OnBadAudio, SkippedAudio};
pub use batches::{BatchPlan, EpochPlan, RowPlan, plan_in_order};
pub use loader::{AudioCache, LoadedBatch, LoadedRow, Loader, LoaderSettings};

/// An utterance with its transcript as the model sees it.
#[derive(Clone, Debug)]
pub struct Item {
    /// As the manifest has it.
    pub utterance: Utterance,
    /// Seconds of audio.
    pub duration: f64,
    /// The normalised transcript.
    pub text: String,
    /// Its labels.
    pub labels: Vec<u32>,
}

/// Why an utterance is not learnt from.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOut {
    /// The utterance.
    pub id: String,
    /// The manifest's line; 0 for a file of a folder.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// Utterances of one purpose.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its name: `train`, `dev`, or a test's.
    pub name: String,
    /// What is used.
    pub items: Vec<Arc<Item>>,
    /// What is not.
    pub left_out: Vec<LeftOut>,
    /// What is done to its audio before it is scored.
    pub condition: Condition,
}

impl Dataset {
    /// Hours of audio.
    pub fn hours(&self) -> f64 {
        self.items.iter().map(|item| item.duration).sum::<f64>() / 3600.0
    }

    /// Speakers, where its manifests name them.
    pub fn speakers(&self) -> usize {
        let speakers = self.items.iter().filter_map(|item| item.utterance.speaker.as_ref());
        speakers.collect::<std::collections::BTreeSet<_>>().len()
    }

    /// How much it holds, for whoever watches.
    pub fn size(&self) -> String {
        let (minutes, speakers) = (self.hours() * 60.0, self.speakers());
        format!("{}: {} utterances, {minutes:.1} min, {speakers} speakers", self.name, self.items.len())
    }

    /// What was left out of it, the first few by name; none where nothing was.
    pub fn omissions(&self) -> Option<String> {
        let count = self.left_out.len();
        let shown: Vec<String> = self
            .left_out
            .iter()
            .take(5)
            .map(|left| match left.line {
                0 => format!("`{}`: {}", left.id, left.why),
                line => format!("`{}` (line {line}): {}", left.id, left.why),
            })
            .collect();
        let rest = if count > 5 { format!("; and {} more", count - 5) } else { String::new() };
        (count > 0).then(|| format!("{}: {count} utterances left out: {}{rest}", self.name, shown.join("; ")))
    }
}

/// Whether utterances need a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transcripts {
    /// Each must have one.
    Needed,
    /// They are passed over.
    Unused,
}

/// The labelled utterances of some manifests, with their durations; nothing is judged yet.
///
/// # Errors
/// A manifest that cannot be read, an utterance without a transcript, a selection that leaves nothing, or audio whose
/// length neither manifest nor file tells.
pub fn read_sources(sources: &[Source], select: &Selection) -> Result<Vec<Utterance>> {
    Ok(flat(read_each(sources, select, Transcripts::Needed, OnBadAudio::Error, &mut Vec::new())?))
}

/// As [`read_sources`], manifest by manifest; with [`OnBadAudio::Skip`], also what was left out because neither manifest nor
/// file tells its length.
///
/// # Errors
/// As [`read_sources`].
pub(crate) fn read_sources_each(
    sources: &[Source],
    select: &Selection,
    on_bad: OnBadAudio,
) -> Result<(Lists, Vec<LeftOut>)> {
    let mut left_out = Vec::new();
    Ok((read_each(sources, select, Transcripts::Needed, on_bad, &mut left_out)?, left_out))
}

/// The utterances of some manifests, whatever their transcripts, and of folders with audio, with their durations; and what of
/// a folder is no audio that can be used.
///
/// # Errors
/// As [`read_sources`], or a folder without an audio file.
pub fn read_unlabelled(sources: &[Source], select: &Selection) -> Result<(Vec<Utterance>, Vec<LeftOut>)> {
    let mut left_out = Vec::new();
    let lists = read_each(sources, select, Transcripts::Unused, OnBadAudio::Error, &mut left_out)?;
    Ok((flat(lists), left_out))
}

/// Utterances with their manifests.
pub(crate) type Lists = Vec<(PathBuf, Vec<Utterance>)>;

pub(crate) fn flat(lists: Lists) -> Vec<Utterance> {
    lists.into_iter().flat_map(|(_, utterances)| utterances).collect()
}

fn read_each(
    sources: &[Source],
    select: &Selection,
    transcripts: Transcripts,
    on_bad: OnBadAudio,
    left_out: &mut Vec<LeftOut>,
) -> Result<Lists> {
    let mut lists = select_each(sources, select, transcripts)?;
    for (path, utterances) in &mut lists {
        fill_durations(utterances, path, on_bad, left_out)?;
    }
    Ok(lists)
}

/// The utterances that manifests list and selections keep, manifest by manifest, with what is known of them there.
///
/// # Errors
/// A manifest that cannot be read, an utterance without a transcript that is needed, or a selection that leaves nothing.
pub(crate) fn select_each(sources: &[Source], select: &Selection, transcripts: Transcripts) -> Result<Lists> {
    let mut all = Vec::new();
    let mut nothing = None;
    for source in sources {
        let path = source.path();
        let manifest = match transcripts {
            Transcripts::Unused if path.is_dir() => Manifest::of_folder(path)?,
            _ => Manifest::read(path)?,
        };
        let utterances = source.selection().apply(manifest.utterances, path)?;
        let utterances = match select.apply(utterances, path) {
            Ok(utterances) => utterances,
            // One of several manifests may hold nothing that is selected.
            Err(error @ klang_corpus::Error::NothingSelected { .. }) if sources.len() > 1 => {
                nothing.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let unlabelled = utterances.iter().find(|utterance| utterance.text.is_none());
        if let Some(utterance) = unlabelled.filter(|_| transcripts == Transcripts::Needed) {
            let message = format!(
                "line {}, `{}`: no transcript; `text` is needed to learn to write and to be scored",
                utterance.line, utterance.id
            );
            return Err(Error::Data { path: path.clone(), message });
        }
        all.push((path.clone(), utterances));
    }
    match nothing {
        Some(error) if all.is_empty() => Err(error.into()),
        _ => Ok(all),
    }
}

/// Values that a selection names and no utterance of the manifests has, such as a misspelt speaker.
///
/// # Errors
/// A manifest that cannot be read.
pub fn unmatched(sources: &[Source], select: &Selection) -> Result<Vec<String>> {
    // A manifest may be of a million lines: it is not read once more for nothing.
    if select.is_empty() {
        return Ok(Vec::new());
    }
    let manifests = sources
        .iter()
        .filter(|source| !source.path().is_dir())
        .map(|source| Manifest::read(source.path()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(select.unmatched(manifests.iter().flat_map(|manifest| &manifest.utterances)))
}

/// Fills in durations that a manifest does not state. Where a file cannot be used, it is left out if no manifest has asked for
/// it, being of a folder, or if bad audio is skipped.
fn fill_durations(
    utterances: &mut Vec<Utterance>,
    path: &Path,
    on_bad: OnBadAudio,
    left_out: &mut Vec<LeftOut>,
) -> Result<()> {
    let probes = durations::probe_all(utterances.iter().filter(|utterance| utterance.duration.is_none()));
    let mut failed = None;
    utterances.retain_mut(|utterance| {
        if utterance.duration.is_some() {
            return true;
        }
        let message = match probes.get(&utterance.audio) {
            Some(Ok(probe)) => match probe.duration - utterance.offset.unwrap_or(0.0) {
                duration if duration > 0.0 => {
                    utterance.duration = Some(duration);
                    return true;
                }
                _ => "its offset lies behind the end of the file".into(),
            },
            Some(Err(fault)) => fault.to_string(),
            None => "not probed".into(),
        };
        if utterance.line == 0 || on_bad == OnBadAudio::Skip {
            left_out.push(LeftOut { id: utterance.id.clone(), line: utterance.line, why: message });
        } else {
            let message = format!("line {}, `{}`: {message}", utterance.line, utterance.id);
            failed.get_or_insert(Error::Data { path: path.into(), message });
        }
        false
    });
    failed.map_or(Ok(()), Err)
}

/// Takes a share of the utterances for dev, drawn by seed and id, whatever their order.
pub fn take_dev(utterances: Vec<Utterance>, share: f64, seed: u64) -> (Vec<Utterance>, Vec<Utterance>) {
    let mut ranked: Vec<(u64, Utterance)> =
        utterances.into_iter().map(|utterance| (draw::seed(seed, "dev", &[&utterance.id]), utterance)).collect();
    let count = ((ranked.len() as f64 * share).round() as usize).clamp(1.min(ranked.len()), ranked.len());
    let mut order: Vec<usize> = (0..ranked.len()).collect();
    order.sort_by(|&a, &b| ranked[a].0.cmp(&ranked[b].0).then_with(|| ranked[a].1.id.cmp(&ranked[b].1.id)));
    let mut is_dev = vec![false; ranked.len()];
    order[..count].iter().for_each(|&index| is_dev[index] = true);
    let mut flags = is_dev.into_iter();
    let (dev, train): (Vec<_>, Vec<_>) = ranked.drain(..).partition(|_| flags.next().unwrap_or(false));
    let strip = |part: Vec<(u64, Utterance)>| part.into_iter().map(|(_, utterance)| utterance).collect();
    (strip(train), strip(dev))
}

/// At most `minutes` of the utterances, drawn by seed and id whatever their order, which they keep: what fewer minutes hold,
/// more minutes hold too. At least one.
pub fn take_minutes(utterances: Vec<Utterance>, minutes: f64, seed: u64) -> Vec<Utterance> {
    let mut order: Vec<usize> = (0..utterances.len()).collect();
    order.sort_by_cached_key(|&index| {
        let id = &utterances[index].id;
        (draw::seed(seed, "minutes", &[id]), id.clone())
    });
    let (mut taken, mut seconds) = (vec![false; utterances.len()], 0.0);
    for (rank, &index) in order.iter().enumerate() {
        seconds += utterances[index].duration.unwrap_or(0.0);
        // Ends at the first that is too much: passing it over would draw short ones to the end.
        if seconds > minutes * 60.0 && rank > 0 {
            break;
        }
        taken[index] = true;
    }
    utterances.into_iter().zip(taken).filter_map(|(utterance, taken)| taken.then_some(utterance)).collect()
}

/// Which utterances a data set keeps.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    /// Those that can be learnt from, within these seconds.
    Learnable([f64; 2]),
    /// All: what is scored is never left out.
    All,
}

/// Normalises and encodes transcripts, and leaves out what cannot be learnt from, with the reason.
pub fn encode(
    name: &str,
    utterances: Vec<Utterance>,
    normaliser: &Normaliser,
    vocabulary: &Vocabulary,
    config: &ModelConfig,
    sampling_rate: u32,
    keep: Keep,
) -> Dataset {
    let mut dataset =
        Dataset { name: name.into(), items: Vec::new(), left_out: Vec::new(), condition: Condition::default() };
    for utterance in utterances {
        let text = normaliser.apply(utterance.text.as_deref().unwrap_or_default());
        let labels = vocabulary.encode(&text).labels;
        let duration = utterance.duration.unwrap_or(0.0);
        let frames = config.frames((duration * f64::from(sampling_rate)).round() as i64);
        let needed = required_frames(&labels);
        let why = match keep {
            Keep::All => None,
            Keep::Learnable([shortest, longest]) => {
                if duration < shortest || duration > longest {
                    Some(format!("{duration:.2} s long; data.duration allows {shortest} to {longest}"))
                } else if labels.is_empty() {
                    Some("its transcript is empty after normalisation".into())
                } else if frames < needed as i64 {
                    Some(format!("infeasible for CTC: {frames} frames, its {} labels need {needed}", labels.len()))
                } else {
                    None
                }
            }
        };
        match why {
            Some(why) => dataset.left_out.push(LeftOut { id: utterance.id, line: utterance.line, why }),
            None => dataset.items.push(Arc::new(Item { utterance, duration, text, labels })),
        }
    }
    dataset
}

#[cfg(test)]
mod tests {
    use super::*;
    use klang_text::TextOptions;

    fn utterance(id: &str, text: &str, duration: f64) -> Utterance {
        Utterance { text: Some(text.into()), duration: Some(duration), ..Utterance::new(id, "a.wav") }
    }

    #[test]
    fn what_cannot_be_learnt_is_left_out_with_the_reason_and_what_is_scored_never() {
        let utterances = || {
            vec![
                utterance("good", "ab", 1.0),
                utterance("long", "ab", 31.0),
                utterance("empty", "…", 1.0),
                // 0.05 s is 800 samples: two frames. "aa" needs three, "ab" two.
                utterance("repeat", "aa", 0.05),
                utterance("tight", "ab", 0.05),
            ]
        };
        let normaliser = Normaliser::new(&TextOptions::default()).unwrap();
        let vocabulary = Vocabulary::from_texts(["ab"]).unwrap();
        let config = ModelConfig::default();
        let encode = |keep| encode("train", utterances(), &normaliser, &vocabulary, &config, 16_000, keep);
        let train = encode(Keep::Learnable([0.01, 30.0]));
        let kept: Vec<&str> = train.items.iter().map(|item| item.utterance.id.as_str()).collect();
        assert_eq!(kept, ["good", "tight"]);
        let reasons: Vec<&str> = train.left_out.iter().map(|left| left.why.as_str()).collect();
        assert!(
            reasons[0].contains("31.00 s") && reasons[1].contains("empty") && reasons[2].contains("need 3"),
            "{reasons:?}"
        );
        assert_eq!(encode(Keep::All).items.len(), 5);
    }

    #[test]
    fn fewer_minutes_are_part_of_more_whatever_the_order() {
        let utterances: Vec<Utterance> =
            (0..200).map(|number| utterance(&format!("u{number}"), "a", 1.0 + f64::from(number % 7))).collect();
        let ids = |utterances: &[Utterance]| utterances.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
        let take = |minutes: f64, seed: u64| ids(&take_minutes(utterances.clone(), minutes, seed));
        let seconds = |ids: &[String]| -> f64 {
            utterances.iter().filter(|one| ids.contains(&one.id)).filter_map(|one| one.duration).sum()
        };
        let (two, five) = (take(2.0, 1), take(5.0, 1));
        assert!(two.iter().all(|id| five.contains(id)) && two.len() < five.len());
        // The next utterance would have been too much, and none is longer than 7 s.
        assert!((113.0..=120.0).contains(&seconds(&two)) && (293.0..=300.0).contains(&seconds(&five)));
        let mut reversed = utterances.clone();
        reversed.reverse();
        let mut backwards = ids(&take_minutes(reversed, 2.0, 1));
        backwards.reverse();
        assert_eq!(backwards, two);
        assert_ne!(take(2.0, 2), two);
        assert_eq!((take(1e6, 1).len(), take(1e-6, 1).len()), (200, 1));
    }

    #[test]
    fn dev_is_the_same_share_whatever_the_order() {
        let utterances: Vec<Utterance> = (0..50).map(|number| utterance(&format!("u{number}"), "a", 1.0)).collect();
        let ids = |part: &[Utterance]| {
            let mut ids: Vec<String> = part.iter().map(|utterance| utterance.id.clone()).collect();
            ids.sort();
            ids
        };
        let (train, dev) = take_dev(utterances.clone(), 0.1, 1);
        let (_, reversed) = take_dev(utterances.iter().rev().cloned().collect(), 0.1, 1);
        let (_, other) = take_dev(utterances.clone(), 0.1, 2);
        assert_eq!((train.len(), dev.len()), (45, 5));
        assert_eq!(ids(&dev), ids(&reversed));
        assert_ne!(ids(&dev), ids(&other));
    }
}
