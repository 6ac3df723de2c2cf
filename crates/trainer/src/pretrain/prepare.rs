//! From a checked recipe to speech without transcripts, and the model that is to learn from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use klang_audio::{Segment, pauses};
use klang_corpus::Utterance;
use klang_wav2vec2::ModelConfig;

use super::model::{BEST_RQ, Pretrained, PretrainingSpec};
use super::probe::Probe;
use crate::data::{Dataset, Item, LeftOut, read_unlabelled, take_dev, unmatched};
use crate::device::Compute;
use crate::draw;
use crate::error::{Error, Result};
use crate::event::{Event, Observer};
use crate::model::AudioSpec;
use crate::prepare::Origin;
use crate::recipe::{Condition, ObjectiveKind, Recipe};
use crate::run::DataLine;

/// Everything that a recipe for pretraining names, read and fitted together.
#[derive(Debug)]
pub struct PretrainingPreparation {
    /// What is learnt from.
    pub train: Dataset,
    /// What the best checkpoint is chosen on.
    pub dev: Dataset,
    /// What shows whether it helps.
    pub probe: Option<Probe>,
    /// The model's shape.
    pub spec: PretrainingSpec,
    /// What a person should know before training.
    pub notes: Vec<String>,
    origin: Origin,
}

impl PretrainingPreparation {
    /// Reads manifests, cuts long recordings at their pauses, and fits the model.
    ///
    /// # Errors
    /// Whatever is wrong with the recipe's files, by file and line.
    pub fn new(recipe: &Recipe, observer: &mut dyn Observer) -> Result<PretrainingPreparation> {
        PretrainingPreparation::build(recipe, observer).map_err(Error::before_work)
    }

    fn build(recipe: &Recipe, observer: &mut dyn Observer) -> Result<PretrainingPreparation> {
        let pretrain = recipe.pretraining()?;
        let data = &recipe.data;
        let mut origin = Origin::find(&recipe.model, observer)?;
        let config = origin.shape(recipe)?;
        let best_rq = (pretrain.objective == ObjectiveKind::BestRq).then_some((pretrain.best_rq, pretrain.spectrum));
        if best_rq.is_none() && config.model_type != klang_wav2vec2::Family::Wav2Vec2 {
            return Err(Error::RecipeValue {
                key: "pretrain.objective".into(),
                given: format!("wav2vec2 for a model of type {}", config.model_type.model_type()),
                allowed: "wav2vec2 for wav2vec 2.0's own models; best_rq for all".into(),
            });
        }
        let audio = origin.audio;
        let spec = PretrainingSpec { config, audio, best_rq };
        Pretrained::check(&spec)?;
        let mut notes = Vec::new();
        if let Some((_, checkpoint)) = &mut origin.checkpoint {
            if Pretrained::has_other_quantiser(checkpoint, &spec)? {
                checkpoint.leave_out(BEST_RQ);
                notes.push(
                    "the checkpoint's quantiser is of another shape than pretrain.best_rq and pretrain.spectrum ask for: another one is drawn, and told from the start".into(),
                );
            }
            Pretrained::fit(checkpoint, &spec)?;
        }
        let mut cut = |name: &str, utterances: Vec<Utterance>| -> Result<(Vec<Utterance>, Vec<LeftOut>)> {
            let longest = data.duration[1];
            let long = utterances.iter().filter(|utterance| is_long(utterance, longest)).count();
            if long > 0 {
                observer.event(Event::Note(&format!(
                    "{name}: looking for pauses in {} of more than {longest} s",
                    recordings(long)
                )));
            }
            let Cut { pieces, cut, slow, left_out } = cut_long(utterances, longest, data.workers)?;
            if cut > 0 {
                notes.push(format!(
                    "{name}: cut at their pauses, being longer than {longest} s: {}; {} pieces in all",
                    recordings(cut),
                    pieces.len()
                ));
            }
            if slow > 0 {
                notes.push(format!(
                    "warning: {name}: of {} that were cut, each piece decodes all that lies before it, since they are neither WAV nor FLAC; convert long ones",
                    recordings(slow)
                ));
            }
            Ok((pieces, left_out))
        };
        let (mut train, mut unusable) = read_unlabelled(&data.train, &data.select)?;
        let (dev, mut unusable_dev) = match &data.dev {
            Some(source) => read_unlabelled(std::slice::from_ref(source), &Default::default())?,
            None => {
                let dev;
                (train, dev) = take_recordings(train, data.dev_share, recipe.seed);
                (dev, Vec::new())
            }
        };
        let (train, more) = cut("train", train)?;
        unusable.extend(more);
        let (dev, more) = cut("dev", dev)?;
        unusable_dev.extend(more);
        let (train, dev) = match (&data.dev, dev.is_empty()) {
            // Recordings too few to spare one: pieces of what is learnt from, which is better than nothing.
            (None, true) => {
                notes.push(
                    "dev: its pieces are of recordings that are learnt from too, since these are few; give data.dev for speech that is not".into(),
                );
                take_dev(train, data.dev_share, recipe.seed)
            }
            _ => (train, dev),
        };
        let least = pretrain.mask.length as i64;
        let set = |name: &str, utterances, left_out| {
            let dataset = Dataset { name: name.into(), items: Vec::new(), left_out, condition: Condition::default() };
            unlabelled(dataset, utterances, &spec.config, audio, data.duration, least)
        };
        let (train, dev) = (set("train", train, unusable), set("dev", dev, unusable_dev));
        for (set, source) in [(&train, &data.train[0]), (&dev, data.dev.as_ref().unwrap_or(&data.train[0]))] {
            if set.items.is_empty() {
                let reason = match set.left_out.first() {
                    Some(left) => format!("; the first that was left out, `{}`: {}", left.id, left.why),
                    None => "; data.dev_share took the only one: give more recordings, or data.dev".into(),
                };
                let message = format!("nothing left in {}{reason}", set.name);
                return Err(Error::Data { path: source.path().clone(), message });
            }
            notes.push(set.size());
            notes.extend(set.omissions());
        }
        for value in unmatched(&data.train, &data.select)? {
            notes.push(format!("warning: data.select names {value}, which no utterance has; is it spelt right?"));
        }
        let probe = match &pretrain.probe {
            Some(probe) => Some(Probe::prepare(probe, recipe, &spec)?),
            None => None,
        };
        notes.extend(probe.iter().flat_map(|probe| probe.notes()));
        Ok(PretrainingPreparation { train, dev, probe, spec, notes, origin })
    }

    /// The model before its first update, with notes for whoever watches.
    ///
    /// # Errors
    /// A checkpoint whose weights do not fit.
    pub fn model(&self, compute: Compute, seed: u64) -> Result<(Pretrained, Vec<String>)> {
        let Some((_, checkpoint)) = &self.origin.checkpoint else {
            return Ok((Pretrained::random(self.spec.clone(), compute, seed)?, Vec::new()));
        };
        let (model, fit) = Pretrained::load(checkpoint, self.spec.clone(), compute, seed)?;
        Ok((model, self.origin.notes(&fit)))
    }

    /// What the model starts from, as a person would call it.
    pub fn start_name(&self) -> &str {
        &self.origin.name
    }

    /// The hub's model that it starts from, with its commit.
    pub fn pinned(&self) -> Option<&str> {
        self.origin.pinned()
    }

    /// The data sets in numbers, training's first.
    pub fn data(&self) -> Vec<DataLine> {
        [&self.train, &self.dev].into_iter().map(DataLine::of).collect()
    }
}

/// Utterances that something can be learnt from without a transcript; the others are left out, with the reason.
fn unlabelled(
    mut dataset: Dataset,
    utterances: Vec<Utterance>,
    config: &ModelConfig,
    audio: AudioSpec,
    [shortest, longest]: [f64; 2],
    least: i64,
) -> Dataset {
    for utterance in utterances {
        let duration = utterance.duration.unwrap_or(0.0);
        let frames = config.frames((duration * f64::from(audio.sampling_rate)).round() as i64);
        let why = if duration < shortest || duration > longest + ROUNDING {
            Some(format!("{duration:.2} s long; data.duration allows {shortest} to {longest}"))
        } else if frames <= least {
            Some(format!("{frames} frames, and a masked span takes {least} (pretrain.mask.length)"))
        } else {
            None
        };
        match why {
            Some(why) => dataset.left_out.push(LeftOut { id: utterance.id, line: utterance.line, why }),
            None => {
                let (text, labels) = (String::new(), Vec::new());
                dataset.items.push(Arc::new(Item { utterance, duration, text, labels }));
            }
        }
    }
    dataset
}

/// What a sum of seconds may be off by.
const ROUNDING: f64 = 1e-6;

fn is_long(utterance: &Utterance, longest: f64) -> bool {
    utterance.duration.unwrap_or(0.0) > longest + ROUNDING
}

fn recordings(count: usize) -> String {
    if count == 1 { "1 recording".into() } else { format!("{count} recordings") }
}

/// Takes whole recordings for dev, drawn by seed and id, until they hold a share of the audio; none where each is too long for
/// it.
fn take_recordings(utterances: Vec<Utterance>, share: f64, seed: u64) -> (Vec<Utterance>, Vec<Utterance>) {
    let seconds = |utterance: &Utterance| utterance.duration.unwrap_or(0.0);
    let wanted = share * utterances.iter().map(seconds).sum::<f64>();
    let mut order: Vec<usize> = (0..utterances.len()).collect();
    order
        .sort_by_cached_key(|&place| (draw::seed(seed, "dev", &[&utterances[place].id]), utterances[place].id.clone()));
    let mut taken = vec![false; utterances.len()];
    let mut held = 0.0;
    for place in order {
        let with = held + seconds(&utterances[place]);
        if held < wanted && with <= MOST_DEV * wanted {
            (taken[place], held) = (true, with);
        }
    }
    let mut flags = taken.into_iter();
    let (dev, train) = utterances.into_iter().partition(|_| flags.next().unwrap_or(false));
    (train, dev)
}

/// How much more than its share dev may take, since recordings are taken whole.
const MOST_DEV: f64 = 2.0;

/// What cutting gives.
#[derive(Debug, Default)]
struct Cut {
    pieces: Vec<Utterance>,
    /// How many recordings were cut.
    cut: usize,
    /// How many of them are in a format in which klang cannot go to a place.
    slow: usize,
    left_out: Vec<LeftOut>,
}

/// Cuts recordings of more than `longest` seconds at their pauses. Those of a folder that cannot be decoded are left out.
fn cut_long(utterances: Vec<Utterance>, longest: f64, workers: usize) -> Result<Cut> {
    let long: Vec<&Utterance> = utterances.iter().filter(|utterance| is_long(utterance, longest)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(utterance) = long.get(place) else { return done };
            done.push((place, pieces(utterance, longest)));
        }
    };
    let mut cut: Vec<Option<Result<Vec<Utterance>>>> = (0..long.len()).map(|_| None).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..workers.clamp(1, long.len().max(1))).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default());
        for (place, pieces) in own.into_iter().chain(others.collect::<Vec<_>>()) {
            cut[place] = Some(pieces);
        }
    });
    let mut cut = cut.into_iter();
    let mut all = Cut::default();
    for utterance in utterances {
        if !is_long(&utterance, longest) {
            all.pieces.push(utterance);
            continue;
        }
        // A decoder that panicked took its thread's results with it.
        let lost = || Err(Error::Worker(format!("the decoder failed on `{}`", utterance.id)));
        match cut.next().flatten().unwrap_or_else(lost) {
            Ok(pieces) => {
                all.cut += 1;
                let ending = utterance.audio.extension().unwrap_or_default().to_string_lossy().to_lowercase();
                all.slow += usize::from(!matches!(ending.as_str(), "wav" | "flac"));
                all.pieces.extend(pieces);
            }
            Err(error) if utterance.line == 0 => {
                all.left_out.push(LeftOut { id: utterance.id, line: 0, why: error.to_string() });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn pieces(utterance: &Utterance, longest: f64) -> Result<Vec<Utterance>> {
    let duration = utterance.duration.unwrap_or(0.0);
    let start = utterance.offset.unwrap_or(0.0);
    // What a manifest states counts, and not what else is in the file.
    let stated = utterance.line > 0 || utterance.offset.is_some();
    let segment = stated.then_some(Segment { offset: start, duration: Some(duration) });
    // Loudness alone is looked at, for which telephone's rate will do.
    let decoded = klang_audio::load(&utterance.audio, 8_000, segment)
        .map_err(|source| Error::Audio { id: utterance.id.clone(), source })?;
    let mut ends = pauses(&decoded.waveform, longest);
    ends.push(decoded.waveform.duration().min(duration));
    let mut from = 0.0;
    let mut pieces = Vec::with_capacity(ends.len());
    for (number, end) in ends.into_iter().enumerate() {
        pieces.push(Utterance {
            id: format!("{}#{}", utterance.id, number + 1),
            offset: Some(start + from),
            duration: Some(end - from),
            ..utterance.clone()
        });
        from = end;
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use klang_audio::Waveform;

    #[test]
    fn dev_takes_whole_recordings_or_none() {
        let recording = |(number, &minutes): (usize, &f64)| Utterance {
            duration: Some(60.0 * minutes),
            ..Utterance::new(format!("r{number}"), "a.wav")
        };
        let take = |minutes: &[f64]| {
            let (train, dev) = take_recordings(minutes.iter().enumerate().map(recording).collect(), 0.1, 1);
            assert_eq!(train.len() + dev.len(), minutes.len());
            dev.iter().map(|utterance| utterance.duration.unwrap() / 60.0).sum::<f64>()
        };
        // A tenth of 100 minutes, in recordings of 5; never the long one.
        assert_eq!(take(&[5.0; 20]), 10.0);
        let held = take(&[60.0, 4.0, 6.0, 5.0, 5.0, 7.0, 3.0, 5.0, 5.0]);
        assert!((10.0..=20.0).contains(&held), "{held}");
        assert_eq!(take(&[60.0, 50.0]), 0.0);
    }

    #[test]
    fn a_long_recording_becomes_pieces_that_lie_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("interview.wav");
        // A tone with a pause of 0.5 s every 4 s.
        let sample = |n: u32| if n % 32_000 < 28_000 { (n as f32 * 0.3).sin() * 0.5 } else { 0.0 };
        let waveform = Waveform::new((0..8_000 * 25).map(sample).collect(), 8_000).unwrap();
        klang_audio::write_wav(&path, &waveform).unwrap();
        let whole = Utterance { duration: Some(25.0), ..Utterance::new("interview", &path) };
        let short = Utterance { duration: Some(2.0), ..Utterance::new("short", &path) };
        let second = Utterance { duration: Some(20.0), offset: Some(5.0), ..Utterance::new("second", &path) };
        let broken = Utterance { duration: Some(20.0), ..Utterance::new("broken", folder.path().join("none.wav")) };
        let asked = Utterance { line: 7, ..broken.clone() };
        assert!(cut_long(vec![asked], 10.0, 1).unwrap_err().to_string().contains("none.wav"));
        let Cut { pieces: all, cut, slow, left_out } = cut_long(vec![whole, short, broken, second], 10.0, 2).unwrap();
        assert_eq!((cut, slow, left_out.len()), (2, 0, 1));
        assert!(left_out[0].why.contains("none.wav"), "{left_out:?}");
        let parts: Vec<(&str, f64, f64)> =
            all.iter().map(|u| (u.id.as_str(), u.offset.unwrap_or(0.0), u.duration.unwrap())).collect();
        // Of a file of 25 s a manifest states 15: no piece goes beyond.
        let stated = Utterance { duration: Some(15.0), line: 3, ..Utterance::new("stated", &path) };
        let ends: Vec<f64> = cut_long(vec![stated], 10.0, 1)
            .unwrap()
            .pieces
            .iter()
            .map(|piece| piece.offset.unwrap() + piece.duration.unwrap())
            .collect();
        assert!(ends.len() == 2 && (ends[1] - 15.0).abs() < 1e-9, "{ends:?}");
        let of = |name: &str| -> Vec<(f64, f64)> {
            parts.iter().filter(|part| part.0.starts_with(name)).map(|part| (part.1, part.2)).collect()
        };
        assert_eq!(of("short"), [(0.0, 2.0)]);
        for (name, start, end) in [("interview#", 0.0, 25.0), ("second#", 5.0, 25.0)] {
            let parts = of(name);
            assert!(parts.len() > 2 && (parts[0].0 - start).abs() < 1e-9, "{parts:?}");
            assert!(parts.iter().all(|part| part.1 <= 10.0 + 1e-9), "{parts:?}");
            assert!(parts.windows(2).all(|pair| (pair[0].0 + pair[0].1 - pair[1].0).abs() < 1e-9), "{parts:?}");
            // Each cut in a pause: between 3.5 and 4 s of a period.
            assert!(parts[1..].iter().all(|part| part.0 % 4.0 > 3.5), "{parts:?}");
            let last = parts[parts.len() - 1];
            assert!((last.0 + last.1 - end).abs() < 1e-9, "{parts:?}");
        }
    }
}
