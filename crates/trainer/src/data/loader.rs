//! Worker threads that read, resample and change audio ahead of the model; batches arrive in the order planned.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use klang_audio::{Segment, Warning, Waveform, normalise};
use klang_wav2vec2::{ModelConfig, WaveformBatch};

use super::{BadAudio, BatchPlan, Item, RowPlan, SkippedAudio};
use crate::error::{Error, Result};
use crate::model::AudioSpec;

/// How to read.
#[derive(Clone, Debug)]
pub struct LoaderSettings {
    /// What the model expects.
    pub audio: AudioSpec,
    /// Threads.
    pub workers: usize,
    /// Decoded audio kept between epochs.
    pub cache: Arc<AudioCache>,
    /// What becomes of audio that cannot be read.
    pub bad_audio: Arc<BadAudio>,
}

/// Decoded audio at the model's rate, by utterance id, up to a number of bytes; the rest is decoded again.
#[derive(Debug)]
pub struct AudioCache {
    limit: usize,
    held: Mutex<(usize, HashMap<String, Waveform>)>,
}

impl AudioCache {
    /// A cache of at most `mib` MiB; 0 keeps nothing.
    pub fn new(mib: usize) -> Arc<AudioCache> {
        Arc::new(AudioCache { limit: mib << 20, held: Mutex::new((0, HashMap::new())) })
    }

    fn get(&self, key: &str) -> Option<Waveform> {
        let held = self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        held.1.get(key).cloned()
    }

    fn put(&self, key: String, waveform: &Waveform) {
        let bytes = waveform.len() * size_of::<f32>();
        let mut held = self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if held.0 + bytes <= self.limit && held.1.insert(key, waveform.clone()).is_none() {
            held.0 += bytes;
        }
    }
}

/// One row of a batch, ready.
#[derive(Clone, Debug)]
pub struct LoadedRow {
    /// The utterance, or those joined, in their order.
    pub items: Vec<Arc<Item>>,
    /// Samples at the model's rate, changed and normalised; none where none of the row could be read.
    pub samples: Vec<f32>,
}

impl LoadedRow {
    /// Labels of the row, with `delimiter` between joined utterances.
    pub fn labels(&self, delimiter: Option<u32>) -> Vec<u32> {
        let mut labels = Vec::new();
        for (number, item) in self.items.iter().enumerate() {
            labels.extend(delimiter.filter(|_| number > 0));
            labels.extend(&item.labels);
        }
        labels
    }

    /// Loudness of each of `frames` frames: the mean magnitude of its samples, `step` of them.
    pub fn energies(&self, step: usize, frames: i64) -> Vec<f32> {
        let mean =
            |samples: &[f32]| samples.iter().map(|sample| sample.abs()).sum::<f32>() / samples.len().max(1) as f32;
        self.samples.chunks(step).take(frames.max(0) as usize).map(mean).collect()
    }

    /// Frames that a model of this shape makes of it.
    pub fn frames(&self, config: &ModelConfig) -> i64 {
        config.frames(self.samples.len() as i64)
    }
}

/// One batch, ready.
#[derive(Debug, Default)]
pub struct LoadedBatch {
    /// In the order planned.
    pub rows: Vec<LoadedRow>,
    /// What is odd about their files, each said once by the reader: (id, warning).
    pub warnings: Vec<(String, Warning)>,
    /// Utterances that could not be read: those joined with others are left out of their row, the others' rows have no samples.
    pub skipped: Vec<SkippedAudio>,
}

impl LoadedBatch {
    /// Without the rows of which nothing could be read.
    pub fn drop_unread(&mut self) {
        self.rows.retain(|row| !row.samples.is_empty());
    }

    /// The padded tensor.
    ///
    /// # Errors
    /// When libtorch cannot allocate it.
    pub fn waveforms(&self) -> Result<WaveformBatch> {
        let samples: Vec<&[f32]> = self.rows.iter().map(|row| row.samples.as_slice()).collect();
        Ok(WaveformBatch::pad(&samples)?)
    }

    /// Samples, padding left out.
    pub fn samples(&self) -> usize {
        self.rows.iter().map(|row| row.samples.len()).sum()
    }

    /// Samples of the padded tensor.
    pub fn padded_samples(&self) -> usize {
        self.rows.iter().map(|row| row.samples.len()).max().unwrap_or(0) * self.rows.len()
    }

    /// Copies of at most `count` parts of neighbouring rows, about as long as one another.
    pub fn cut(&self, count: usize) -> Vec<LoadedBatch> {
        let count = count.clamp(1, self.rows.len().max(1));
        let total = self.samples();
        let mut parts: Vec<LoadedBatch> = (0..count).map(|_| LoadedBatch::default()).collect();
        let (rows, mut done, mut last) = (self.rows.len(), 0, None);
        for (place, row) in self.rows.iter().enumerate() {
            // By the row's middle; and no part is left without a row, neither by skipping it nor for want of rows.
            let middle = (done + row.samples.len() / 2) * count / total.max(1);
            let next = last.map_or(0, |last| last + 1).min(count - 1);
            let part = middle.min(next).max((place + count).saturating_sub(rows));
            last = Some(part);
            done += row.samples.len();
            parts[part].rows.push(row.clone());
        }
        parts.retain(|part| !part.rows.is_empty());
        parts
    }

    /// The utterances' ids.
    pub fn ids(&self) -> Vec<String> {
        self.rows.iter().flat_map(|row| &row.items).map(|item| item.utterance.id.clone()).collect()
    }
}

/// Batches that are being read; dropping it ends the threads.
#[derive(Debug)]
pub struct Loader {
    ready: Option<Receiver<(usize, Result<LoadedBatch>)>>,
    permits: Option<Sender<()>>,
    early: BTreeMap<usize, Result<LoadedBatch>>,
    next: usize,
    count: usize,
    threads: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Starts reading `plans`; at most two batches a worker wait to be taken.
    pub fn start(plans: Vec<BatchPlan>, settings: &LoaderSettings) -> Loader {
        let count = plans.len();
        let workers = settings.workers.clamp(1, count.max(1));
        let plans = Arc::new(plans);
        let taken = Arc::new(AtomicUsize::new(0));
        let (give, ready) = bounded(2 * workers);
        // A batch is begun against a permit, and taking one gives a permit back: memory stays bounded.
        let (permits, begin) = bounded(2 * workers);
        for _ in 0..2 * workers {
            let _ = permits.send(());
        }
        let threads = (0..workers)
            .map(|_| {
                let (plans, taken, give, begin, settings) =
                    (plans.clone(), taken.clone(), give.clone(), begin.clone(), settings.clone());
                std::thread::spawn(move || {
                    while begin.recv().is_ok() {
                        let index = taken.fetch_add(1, Ordering::Relaxed);
                        let Some(plan) = plans.get(index) else { return };
                        if give.send((index, guarded(plan, &settings))).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        Loader { ready: Some(ready), permits: Some(permits), early: BTreeMap::new(), next: 0, count, threads }
    }
}

impl Iterator for Loader {
    type Item = Result<LoadedBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.count {
            return None;
        }
        while !self.early.contains_key(&self.next) {
            match self.ready.as_ref().and_then(|ready| ready.recv().ok()) {
                Some((index, batch)) => {
                    self.early.insert(index, batch);
                }
                None => {
                    self.next = self.count;
                    return Some(Err(Error::Worker("it ended before its batches were read".into())));
                }
            }
        }
        let batch = self.early.remove(&self.next);
        self.next += 1;
        if let Some(permits) = &self.permits {
            let _ = permits.try_send(());
        }
        batch
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Both ends closed, every worker's next send or receive fails.
        self.ready = None;
        self.permits = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// RMS that utterances are brought to before they are joined, so that none drowns another.
const JOINED_LEVEL: f64 = 0.1;

/// A decoder's panic becomes an error: a thread that died in silence would leave the model waiting for ever.
fn guarded(plan: &BatchPlan, settings: &LoaderSettings) -> Result<LoadedBatch> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| load(plan, settings))).unwrap_or_else(|_| {
        let ids: Vec<&str> =
            plan.rows.iter().flat_map(|row| &row.parts).map(|(item, _)| item.utterance.id.as_str()).collect();
        Err(Error::Worker(format!("it panicked while reading one of {}", ids.join(", "))))
    })
}

fn load(plan: &BatchPlan, settings: &LoaderSettings) -> Result<LoadedBatch> {
    let mut batch =
        LoadedBatch { rows: Vec::with_capacity(plan.rows.len()), warnings: Vec::new(), skipped: Vec::new() };
    for row in &plan.rows {
        let loaded = load_row(row, settings, &mut batch)?;
        batch.rows.push(loaded);
    }
    Ok(batch)
}

fn load_row(row: &RowPlan, settings: &LoaderSettings, batch: &mut LoadedBatch) -> Result<LoadedRow> {
    let mut samples = Vec::new();
    let mut items = Vec::with_capacity(row.parts.len());
    for (item, change) in &row.parts {
        let (waveform, odd) = match read(item, settings) {
            Ok(read) => read,
            Err(Error::Audio { id, source }) if settings.bad_audio.is_skipped() => {
                batch.skipped.push(SkippedAudio { id, why: source.to_string() });
                continue;
            }
            Err(error) => return Err(error),
        };
        items.push(item.clone());
        batch.warnings.extend(odd.into_iter().map(|warning| (item.utterance.id.clone(), warning)));
        let mut part = change.apply(waveform, &item.utterance.id)?;
        if row.parts.len() > 1 {
            let power = part.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / part.len().max(1) as f64;
            let gain = (JOINED_LEVEL / (power.sqrt() + 1e-4)) as f32;
            part.iter_mut().for_each(|sample| *sample *= gain);
        }
        if samples.is_empty() {
            samples = part;
        } else {
            samples.extend(part);
        }
    }
    if settings.audio.do_normalize && !samples.is_empty() {
        normalise(&mut samples);
    }
    if items.is_empty() {
        items.extend(row.parts.iter().map(|(item, _)| item.clone()));
    }
    Ok(LoadedRow { items, samples })
}

fn read(item: &Item, settings: &LoaderSettings) -> Result<(Waveform, Vec<Warning>)> {
    let utterance = &item.utterance;
    // One id may name other audio in another manifest; the file and offset do not.
    let key =
        format!("{}@{:?}+{:?}", utterance.audio.display(), utterance.offset, utterance.offset.map(|_| item.duration));
    if let Some(waveform) = settings.cache.get(&key) {
        return Ok((waveform, Vec::new()));
    }
    let segment = utterance.offset.map(|offset| Segment { offset, duration: Some(item.duration) });
    let decoded = klang_audio::load(&utterance.audio, settings.audio.sampling_rate, segment)
        .map_err(|source| Error::Audio { id: utterance.id.clone(), source })?;
    settings.cache.put(key, &decoded.waveform);
    Ok((decoded.waveform, decoded.warnings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Augmentation;
    use klang_corpus::Utterance;

    fn item(folder: &std::path::Path, number: usize) -> Arc<Item> {
        let path = folder.join(format!("{number}.wav"));
        let samples = (0..1600 + number).map(|index| (index as f32 * 0.1).sin() * 0.5).collect();
        klang_audio::write_wav(&path, &Waveform::new(samples, 16_000).unwrap()).unwrap();
        Arc::new(Item {
            utterance: Utterance::new(format!("u{number}"), path),
            duration: 0.1,
            text: String::new(),
            labels: vec![],
        })
    }

    fn settings(workers: usize, mib: usize) -> LoaderSettings {
        LoaderSettings {
            audio: AudioSpec { do_normalize: false, ..AudioSpec::default() },
            workers,
            cache: AudioCache::new(mib),
            bad_audio: BadAudio::refused(),
        }
    }

    fn plans(items: &[Arc<Item>]) -> Vec<BatchPlan> {
        items
            .iter()
            .map(|item| BatchPlan { rows: vec![RowPlan { parts: vec![(item.clone(), Augmentation::NONE)] }] })
            .collect()
    }

    #[test]
    fn batches_arrive_in_order_from_any_number_of_workers() {
        let folder = tempfile::tempdir().unwrap();
        let items: Vec<Arc<Item>> = (0..23).map(|number| item(folder.path(), number)).collect();
        for workers in [1, 3, 40] {
            let lengths: Vec<usize> = Loader::start(plans(&items), &settings(workers, 0))
                .map(|batch| batch.unwrap().rows[0].samples.len())
                .collect();
            assert_eq!(lengths, (1600..1623).collect::<Vec<_>>());
        }
    }

    #[test]
    fn joined_utterances_follow_one_another_with_a_delimiter() {
        let folder = tempfile::tempdir().unwrap();
        let labelled = |number, labels: &[u32]| {
            Arc::new(Item { labels: labels.to_vec(), ..(*item(folder.path(), number)).clone() })
        };
        let parts = vec![(labelled(0, &[5, 6]), Augmentation::NONE), (labelled(4, &[6]), Augmentation::NONE)];
        let plan = vec![BatchPlan { rows: vec![RowPlan { parts }] }];
        let batch = Loader::start(plan, &settings(1, 0)).next().unwrap().unwrap();
        assert_eq!(batch.rows[0].samples.len(), 1600 + 1604);
        assert_eq!(batch.rows[0].labels(Some(2)), [5, 6, 2, 6]);
        assert_eq!(batch.rows[0].labels(None), [5, 6, 6]);
        assert_eq!(batch.ids(), ["u0", "u4"]);
    }

    #[test]
    fn a_batch_is_cut_into_neighbours_of_about_the_same_length() {
        let folder = tempfile::tempdir().unwrap();
        let item = item(folder.path(), 0);
        let batch = |lengths: &[usize]| LoadedBatch {
            rows: lengths
                .iter()
                .map(|&length| LoadedRow { items: vec![item.clone()], samples: vec![0.0; length] })
                .collect(),
            warnings: Vec::new(),
            skipped: Vec::new(),
        };
        let cut = |rows: &[usize], count| -> Vec<Vec<usize>> {
            let lengths = |part: LoadedBatch| part.rows.iter().map(|row| row.samples.len()).collect();
            batch(rows).cut(count).into_iter().map(lengths).collect()
        };
        assert_eq!(cut(&[4, 4, 4, 4], 2), [[4, 4], [4, 4]]);
        assert_eq!(cut(&[9, 1, 1, 1], 2), [vec![9], vec![1, 1, 1]]);
        assert_eq!(cut(&[1, 1, 1, 9], 3), [vec![1, 1], vec![1], vec![9]]);
        assert_eq!(cut(&[100, 1, 1], 3), [[100], [1], [1]]);
        assert_eq!(cut(&[5, 5, 150, 150, 45, 45], 4), [vec![5, 5, 150], vec![150], vec![45], vec![45]]);
        assert_eq!(cut(&[5], 4), [[5]]);
        for count in 1..=7 {
            let parts = cut(&[3, 8, 2, 2, 9, 1], count);
            assert_eq!(parts.len(), count.min(6));
            assert_eq!(parts.concat(), [3, 8, 2, 2, 9, 1]);
        }
    }

    #[test]
    fn a_cached_file_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let items = vec![item(folder.path(), 0)];
        let settings = settings(1, 1);
        let first = Loader::start(plans(&items), &settings).next().unwrap().unwrap();
        std::fs::remove_file(&items[0].utterance.audio).unwrap();
        let second = Loader::start(plans(&items), &settings).next().unwrap().unwrap();
        assert_eq!(first.rows[0].samples, second.rows[0].samples);
    }

    #[test]
    fn skipped_audio_costs_its_utterance_whoever_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let items: Vec<Arc<Item>> = (0..4).map(|number| item(folder.path(), number)).collect();
        std::fs::write(&items[1].utterance.audio, b"not audio").unwrap();
        let row = |places: &[usize]| RowPlan {
            parts: places.iter().map(|&place| (items[place].clone(), Augmentation::NONE)).collect(),
        };
        let plans = || {
            vec![
                BatchPlan { rows: vec![row(&[0, 1, 2]), row(&[3])] },
                BatchPlan { rows: vec![row(&[1]), row(&[0])] },
                BatchPlan { rows: vec![row(&[1])] },
            ]
        };
        let metrics = folder.path().join("metrics.jsonl");
        for workers in [1, 3] {
            let settings =
                LoaderSettings { bad_audio: BadAudio::skipped(1.0, metrics.clone(), &[]), ..settings(workers, 0) };
            let mut batches: Vec<LoadedBatch> =
                Loader::start(plans(), &settings).collect::<Result<_>>().expect("batches");
            for batch in &batches {
                let [SkippedAudio { id, why }] = &batch.skipped[..] else { panic!("{:?}", batch.skipped) };
                assert!(id == "u1" && why.contains("1.wav") && why.contains("not audio"), "{why}");
            }
            // Of joined utterances the others stay; alone it is a row without samples, which keeps its place in a score.
            assert_eq!(batches[0].ids(), ["u0", "u2", "u3"]);
            assert_eq!(batches[0].rows[0].samples.len(), 1600 + 1602);
            assert_eq!((batches[1].ids(), batches[1].rows[0].samples.len()), (vec!["u1".into(), "u0".into()], 0));
            batches.iter_mut().for_each(LoadedBatch::drop_unread);
            let rows: Vec<usize> = batches.iter().map(|batch| batch.rows.len()).collect();
            assert_eq!(rows, [2, 1, 0]);
        }
    }

    #[test]
    fn an_unreadable_file_is_named_and_the_threads_end() {
        let folder = tempfile::tempdir().unwrap();
        let items: Vec<Arc<Item>> = (0..9).map(|number| item(folder.path(), number)).collect();
        std::fs::write(&items[2].utterance.audio, b"not audio").unwrap();
        let mut loader = Loader::start(plans(&items), &settings(2, 0));
        let message = loader.find_map(|batch| batch.err()).unwrap().to_string();
        assert!(message.contains("u2") && message.contains("2.wav"), "{message}");
    }
}
