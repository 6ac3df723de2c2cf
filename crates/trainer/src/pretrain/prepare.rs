//! From a checked recipe to speech without transcripts, and the model that is to learn from it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use klang_audio::{Segment, pauses};
use klang_corpus::Utterance;
use klang_wav2vec2::ModelConfig;

use super::model::{Pretrained, PretrainingSpec};
use super::probe::Probe;
use crate::data::{Dataset, Item, LeftOut, Transcripts, read_sources, take_dev};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::event::Observer;
use crate::model::AudioSpec;
use crate::prepare::Origin;
use crate::recipe::{ObjectiveKind, Recipe};
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
        let origin = Origin::find(&recipe.model, observer)?;
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
        if let Some((_, checkpoint)) = &origin.checkpoint {
            Pretrained::fit(checkpoint, &spec)?;
        }
        let mut notes = Vec::new();
        let mut cut = |utterances, path: &Path| -> Result<Vec<Utterance>> {
            let (pieces, recordings) = cut_long(utterances, data.duration[1], data.workers, path)?;
            if recordings > 0 {
                let count = pieces.len();
                let longest = data.duration[1];
                notes.push(format!(
                    "{}: {recordings} recordings of more than {longest} s were cut at their pauses; {count} pieces in all",
                    path.display()
                ));
            }
            Ok(pieces)
        };
        let first = data.train[0].path();
        let train = read_sources(&data.train, &data.select, Transcripts::Unused)?;
        let mut train = cut(train, first)?;
        let dev = match &data.dev {
            Some(source) => {
                let dev = read_sources(std::slice::from_ref(source), &Default::default(), Transcripts::Unused)?;
                cut(dev, source.path())?
            }
            None => {
                let dev;
                (train, dev) = take_dev(train, data.dev_share, recipe.seed);
                dev
            }
        };
        let least = pretrain.mask.length as i64;
        let set = |name: &str, utterances| unlabelled(name, utterances, &spec.config, audio, data.duration, least);
        let (train, dev) = (set("train", train), set("dev", dev));
        for set in [&train, &dev] {
            if set.items.is_empty() {
                let reason = set
                    .left_out
                    .first()
                    .map_or(String::new(), |left| format!("; the first, `{}`: {}", left.id, left.why));
                let message = format!("nothing left in {}{reason}", set.name);
                return Err(Error::Data { path: first.clone(), message });
            }
            notes.push(set.size());
            notes.extend(set.omissions());
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
    name: &str,
    utterances: Vec<Utterance>,
    config: &ModelConfig,
    audio: AudioSpec,
    [shortest, longest]: [f64; 2],
    least: i64,
) -> Dataset {
    let mut dataset = Dataset { name: name.into(), items: Vec::new(), left_out: Vec::new() };
    for utterance in utterances {
        let duration = utterance.duration.unwrap_or(0.0);
        let frames = config.frames((duration * f64::from(audio.sampling_rate)).round() as i64);
        let why = if duration < shortest || duration > longest {
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

/// Cuts recordings of more than `longest` seconds at their pauses; gives the pieces and how many recordings were cut.
fn cut_long(utterances: Vec<Utterance>, longest: f64, workers: usize, path: &Path) -> Result<(Vec<Utterance>, usize)> {
    let long: Vec<&Utterance> =
        utterances.iter().filter(|utterance| utterance.duration.unwrap_or(0.0) > longest).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut cut = Vec::new();
        while let Some((place, utterance)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|place| Some((place, long.get(place)?)))
        {
            cut.push((place, pieces(utterance, longest)));
        }
        cut
    };
    let mut cut: Vec<Option<Result<Vec<Utterance>>>> = (0..long.len()).map(|_| None).collect();
    let threads = workers.clamp(1, long.len().max(1));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let others = threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>();
        for (place, pieces) in work().into_iter().chain(others) {
            cut[place] = Some(pieces);
        }
    });
    let recordings = long.len();
    let mut cut = cut.into_iter();
    let mut all = Vec::with_capacity(utterances.len());
    for utterance in utterances {
        if utterance.duration.unwrap_or(0.0) <= longest {
            all.push(utterance);
            continue;
        }
        // A decoder that panicked took its thread's results with it.
        let lost = || Error::Data { path: path.into(), message: format!("`{}`: the decoder failed", utterance.id) };
        all.extend(cut.next().flatten().ok_or_else(lost)??);
    }
    Ok((all, recordings))
}

fn pieces(utterance: &Utterance, longest: f64) -> Result<Vec<Utterance>> {
    let duration = utterance.duration.unwrap_or(0.0);
    let start = utterance.offset.unwrap_or(0.0);
    let segment = utterance.offset.map(|offset| Segment { offset, duration: Some(duration) });
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
        let (all, recordings) = cut_long(vec![whole, short, second], 10.0, 2, &path).unwrap();
        assert_eq!(recordings, 2);
        let parts: Vec<(&str, f64, f64)> =
            all.iter().map(|u| (u.id.as_str(), u.offset.unwrap_or(0.0), u.duration.unwrap())).collect();
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
