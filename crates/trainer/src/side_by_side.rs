//! Many audio files to text on a CPU, several stretches at a time.
//!
//! One stretch on each core is faster than each on all of them: nobody waits for anybody within an operation, and while one is
//! decoded another is computed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Sender, bounded};

use crate::assembly::{Assembly, News};
use crate::decode::{Decoder, Output};
use crate::error::{Error, Result};
use crate::model::Recogniser;
use crate::stretches::{Stretch, Stretches};
use crate::transcribe::{Heard, Part, caught, heard};
use crate::windows::join;

/// Stretches at a time, however many cores there are: each holds activations of its own, some 10 MB a second for Base.
const MOST: usize = 4;

impl Recogniser {
    /// [`Recogniser::transcribe_all`] on a CPU.
    pub(crate) fn transcribe_side_by_side<E: From<Error>>(
        &self,
        paths: &[PathBuf],
        decoder: &Decoder,
        take: impl FnMut(usize, Result<Heard>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let threads = self.compute.threads.max(1) as usize;
        let mut assembly = Assembly::new(paths, take);
        let work = Work::new(paths.len());
        let count = match paths {
            [path] => match caught(path, || Stretches::open(&self.spec, path)) {
                Ok(file) => {
                    // Alone, a file of one stretch is computed on all threads.
                    let count = if file.is_read() { 1 } else { threads };
                    work.begin(file);
                    count
                }
                Err(error) => return assembly.put(0, News::Failed(error)),
            },
            _ => paths.len(),
        };
        let count = count.min(threads).clamp(1, MOST);
        let replicas = (0..count).map(|_| self.replica()).collect::<Result<Vec<_>>>()?;
        let share = (threads / count).max(1) as i32;
        let (sender, receiver) = bounded(2 * count);
        std::thread::scope(|scope| {
            for (number, model) in replicas.into_iter().enumerate() {
                let (sender, work, spec) = (sender.clone(), &work, &self.spec);
                let run = move || {
                    tch::set_num_threads(share);
                    let open = |place: usize| Stretches::open(spec, &paths[place]);
                    work.run(&model, paths, open, decoder, &sender);
                };
                match std::thread::Builder::new().name("transcriber".into()).spawn_scoped(scope, run) {
                    Ok(_) => {}
                    // The others do its work.
                    Err(_) if number > 0 => break,
                    Err(error) => return Err(Error::no_thread(&error).into()),
                }
            }
            drop(sender);
            for (place, news) in receiver.iter() {
                if let Err(error) = assembly.put(place, news) {
                    work.stop();
                    drop(receiver);
                    return Err(error);
                }
            }
            Ok(())
        })
    }
}

/// What is to be done, by whoever is free.
struct Work<'a> {
    files: usize,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

#[derive(Default)]
struct State<'a> {
    next: usize, // the next file to be opened
    /// Files that are open and that nobody reads just now.
    idle: VecDeque<Box<Open<'a>>>,
    /// Files that somebody opens or reads.
    busy: usize,
    stopped: bool,
}

/// An open file.
struct Open<'a> {
    place: usize,
    file: Stretches<'a>,
    /// Stretches that were given.
    count: usize,
    failed: Arc<AtomicBool>,
}

impl<'a> Open<'a> {
    fn new(place: usize, file: Stretches<'a>) -> Box<Open<'a>> {
        Box::new(Open { place, file, count: 0, failed: Arc::default() })
    }
}

enum Task<'a> {
    Open(usize),
    Read(Box<Open<'a>>),
}

impl<'a> Work<'a> {
    fn new(files: usize) -> Work<'a> {
        Work { files, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Takes the first file for open.
    fn begin(&self, file: Stretches<'a>) {
        let mut state = self.lock();
        state.next = 1;
        state.idle.push_back(Open::new(0, file));
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Open files first, so that few are open at a time. None when nothing is left, nor will come.
    fn take(&self) -> Option<Task<'a>> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(open) = state.idle.pop_front() {
                state.busy += 1;
                return Some(Task::Read(open));
            }
            if state.next < self.files {
                (state.next, state.busy) = (state.next + 1, state.busy + 1);
                return Some(Task::Open(state.next - 1));
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A file that was busy may be read on, or has ended.
    fn release(&self, open: Option<Box<Open<'a>>>) {
        let mut state = self.lock();
        state.busy -= 1;
        state.idle.extend(open);
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    fn run(
        &self,
        model: &Recogniser,
        paths: &[PathBuf],
        open: impl Fn(usize) -> Result<Stretches<'a>>,
        decoder: &Decoder,
        results: &Sender<(usize, News)>,
    ) {
        while let Some(task) = self.take() {
            let (place, news) = match task {
                Task::Open(place) => match caught(&paths[place], || open(place)) {
                    Ok(file) => {
                        self.release(Some(Open::new(place, file)));
                        continue;
                    }
                    Err(error) => {
                        self.release(None);
                        (place, News::Failed(error))
                    }
                },
                Task::Read(open) => (open.place, self.read(open, model, paths, decoder)),
            };
            if results.send((place, news)).is_err() {
                return;
            }
        }
    }

    /// Reads a file's next stretch, leaves the file to the others, and transcribes the stretch.
    fn read(&self, mut open: Box<Open<'a>>, model: &Recogniser, paths: &[PathBuf], decoder: &Decoder) -> News {
        let path = &paths[open.place];
        let stretch = match caught(path, || open.file.next()) {
            Ok(Some(stretch)) => stretch,
            Ok(None) => {
                self.release(None);
                return News::End(open.count, open.file.end());
            }
            Err(error) => {
                self.release(None);
                return News::Failed(error);
            }
        };
        let (number, failed) = (open.count, open.failed.clone());
        open.count += 1;
        // Nothing more is wanted of a file that failed.
        self.release((!failed.load(Ordering::Relaxed)).then_some(open));
        match model.transcribe_stretch(&stretch, decoder, path) {
            Ok(part) => News::Part(number, part),
            Err(error) => {
                failed.store(true, Ordering::Relaxed);
                News::Failed(error)
            }
        }
    }
}

impl Recogniser {
    fn transcribe_stretch(&self, stretch: &Stretch, decoder: &Decoder, path: &Path) -> Result<Part> {
        caught(path, || Ok(heard(stretch, &self.stretch_output(stretch)?, decoder)))
    }

    /// What the model computes of a stretch, window by window.
    pub(crate) fn stretch_output(&self, stretch: &Stretch) -> Result<Output> {
        let mut parts = Vec::new();
        for window in &stretch.windows {
            parts.extend(self.window_logits(&[stretch.samples(window)], &[window])?);
        }
        Output::of(&join(parts)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::DecodeSettings;
    use crate::device::Compute;
    use crate::model::ModelSpec;
    use klang_wav2vec2::{Pass, WaveformBatch};
    use tch::{Device, Kind};

    fn model(threads: i32) -> Recogniser {
        let spec = ModelSpec::example();
        Recogniser::random(spec, Compute { device: Device::Cpu, kind: Kind::Float, int8: false, threads }, 1).unwrap()
    }

    fn decoder() -> Decoder {
        Decoder::new(DecodeSettings::default(), &model(1).spec).unwrap()
    }

    /// Sounds whose text is not empty: of 1 s, of 70 s, no sound at all, of 3 s and of 45 s.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let seconds = [1, 70, 0, 3, 45];
        let write = |(number, &seconds): (usize, &usize)| {
            let path = folder.join(format!("{number}.wav"));
            if seconds == 0 {
                std::fs::write(&path, "no sound").unwrap();
                return path;
            }
            let mut writer = hound::WavWriter::create(&path, spec).unwrap();
            for index in 0..seconds * 16_000 {
                // The pitch changes every tenth of a second.
                let pitch = 0.02 + 0.05 * ((index / 1600 * (number + 3)) % 13) as f32;
                writer.write_sample(((index as f32 * pitch).sin() * 9000.0) as i16).unwrap();
            }
            writer.finalize().unwrap();
            path
        };
        seconds.iter().enumerate().map(write).collect()
    }

    type Results = Vec<std::result::Result<String, String>>;

    fn results(work: impl FnOnce(&mut dyn FnMut(usize, Result<Heard>) -> Result<()>) -> Result<()>) -> Results {
        let mut results = Vec::new();
        work(&mut |place, result| {
            assert_eq!(place, results.len());
            results.push(result.map(|heard| heard.transcript.text()).map_err(|error| error.to_string()));
            Ok(())
        })
        .unwrap();
        results
    }

    #[test]
    fn every_way_gives_the_same_texts_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let paths = files(folder.path());
        let one = results(|take| model(1).transcribe_side_by_side(&paths, &decoder(), take));
        assert!(one[2].as_ref().unwrap_err().contains("2.wav"), "{one:?}");
        let texts: Vec<&String> = one.iter().flatten().collect();
        assert!(texts.iter().all(|text| !text.is_empty()) && texts[1].len() > 2 * texts[2].len(), "{one:?}");
        for threads in [2, 4] {
            assert_eq!(
                results(|take| model(threads).transcribe_side_by_side(&paths, &decoder(), take)),
                one,
                "{threads} threads"
            );
        }
        assert_eq!(results(|take| model(2).transcribe_batched(&paths, &decoder(), take)), one);
        for (path, text) in paths.iter().zip(&one) {
            let alone = results(|take| model(4).transcribe_side_by_side(std::slice::from_ref(path), &decoder(), take));
            assert_eq!(&alone, std::slice::from_ref(text));
        }
    }

    #[test]
    fn a_short_file_is_computed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let paths = files(folder.path());
        let model = model(1);
        let samples = klang_audio::load(&paths[3], 16_000, None).unwrap().waveform.into_samples();
        let mut samples = samples;
        klang_audio::normalise(&mut samples);
        let whole =
            tch::no_grad(|| model.forward(&WaveformBatch::pad(&[&samples]).unwrap(), Pass::Evaluation)).unwrap();
        let text = model.read(&whole).unwrap().remove(0).text;
        assert_eq!(results(|take| model.transcribe_side_by_side(&paths[3..4], &decoder(), take)), [Ok(text)]);
    }

    #[test]
    fn who_stops_taking_stops_the_work() {
        // More files than the channels hold: a worker whose receiver is gone must not wait.
        let paths: Vec<PathBuf> = (0..100).map(|number| format!("nowhere/{number}.wav").into()).collect();
        for batched in [false, true] {
            let mut taken = 0;
            let mut take = |_: usize, _: Result<Heard>| {
                taken += 1;
                Err(Error::Worker("enough".into()))
            };
            let model = model(2);
            let stopped = match batched {
                true => model.transcribe_batched(&paths, &decoder(), &mut take),
                false => model.transcribe_side_by_side(&paths, &decoder(), &mut take),
            };
            assert!(stopped.unwrap_err().to_string().contains("enough"));
            assert_eq!(taken, 1);
        }
    }

    #[test]
    fn open_files_come_first_and_after_a_stop_nothing_does() {
        let folder = tempfile::tempdir().unwrap();
        let (model, paths) = (model(1), files(folder.path()));
        let work = Work::new(2);
        assert!(matches!(work.take(), Some(Task::Open(0))));
        let file = Stretches::open(&model.spec, &paths[1]).unwrap();
        assert!(!file.is_read());
        work.release(Some(Open::new(0, file)));
        let Some(Task::Read(open)) = work.take() else { panic!("an open file is read on") };
        // While somebody reads it, another file is opened.
        assert!(matches!(work.take(), Some(Task::Open(1))));
        work.release(Some(open));
        work.stop();
        assert!(work.take().is_none());
    }
}
