//! Many audio files to text on a CPU, several windows at a time.
//!
//! One window on each core is faster than each window on all of them: nobody waits for anybody within an operation, and while
//! one file is decoded another is computed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Sender, bounded};
use tch::Tensor;

use crate::decode::{Decoder, Output};
use crate::error::{Error, Result};
use crate::in_order::InOrder;
use crate::model::Recogniser;
use crate::transcribe::{Heard, Prepared, caught, heard, prepare};
use crate::windows::join;

/// Windows at a time, however many cores there are: each holds activations of its own, some 10 MB a second for Base.
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
        let mut order = InOrder::new(take);
        let work = Work::default();
        let count = match paths {
            // Alone, a file of one window is computed on all threads.
            [path] => match caught(path, || prepare(&self.spec, path)) {
                Ok(file) => {
                    let count = file.windows.len();
                    work.lock().add(0, file);
                    work.lock().next = 1;
                    count
                }
                Err(error) => return order.put(0, Err(error)),
            },
            _ => paths.len(),
        };
        let count = count.min(threads).clamp(1, MOST);
        let replicas = (0..count).map(|_| self.replica()).collect::<Result<Vec<_>>>()?;
        let share = (threads / count).max(1) as i32;
        let (sender, receiver) = bounded(2 * count);
        std::thread::scope(|scope| {
            for (number, model) in replicas.into_iter().enumerate() {
                let (sender, work) = (sender.clone(), &work);
                let run = move || {
                    tch::set_num_threads(share);
                    work.run(&model, paths, decoder, &sender);
                };
                match std::thread::Builder::new().name("transcriber".into()).spawn_scoped(scope, run) {
                    Ok(_) => {}
                    // The others do its work.
                    Err(_) if number > 0 => break,
                    Err(error) => return Err(Error::no_thread(&error).into()),
                }
            }
            drop(sender);
            for (place, result) in receiver.iter() {
                if let Err(error) = order.put(place, result) {
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
#[derive(Default)]
struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: usize, // the next file to be opened
    opening: usize,
    pieces: VecDeque<Piece>,
    stopped: bool,
}

/// One window of an open file.
struct Piece {
    file: Arc<Open>,
    number: usize,
}

struct Open {
    place: usize,
    file: Prepared,
    progress: Mutex<Progress>,
}

struct Progress {
    logits: Vec<Option<Tensor>>, // of each window, (frame, vocabulary)
    failed: bool,
}

enum Task {
    Open(usize),
    Compute(Piece),
}

impl State {
    fn add(&mut self, place: usize, file: Prepared) {
        let count = file.windows.len();
        let progress = Progress { logits: (0..count).map(|_| None).collect(), failed: false };
        let file = Arc::new(Open { place, file, progress: Mutex::new(progress) });
        self.pieces.extend((0..count).map(|number| Piece { file: file.clone(), number }));
    }
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Windows of open files first, so that few files are open at a time. None when nothing is left, nor will come.
    fn take(&self, files: usize) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(piece) = state.pieces.pop_front() {
                return Some(Task::Compute(piece));
            }
            if state.next < files {
                state.next += 1;
                state.opening += 1;
                return Some(Task::Open(state.next - 1));
            }
            if state.opening == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn opened(&self, place: usize, file: Option<Prepared>) {
        let mut state = self.lock();
        state.opening -= 1;
        if let Some(file) = file {
            state.add(place, file);
        }
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    fn run(&self, model: &Recogniser, paths: &[PathBuf], decoder: &Decoder, results: &Sender<(usize, Result<Heard>)>) {
        while let Some(task) = self.take(paths.len()) {
            let result = match task {
                Task::Open(place) => match caught(&paths[place], || prepare(&model.spec, &paths[place])) {
                    Ok(file) => {
                        self.opened(place, Some(file));
                        None
                    }
                    Err(error) => {
                        self.opened(place, None);
                        Some((place, Err(error)))
                    }
                },
                Task::Compute(piece) => {
                    let place = piece.file.place;
                    piece.compute(model, decoder, &paths[place]).map(|result| (place, result))
                }
            };
            if result.is_some_and(|result| results.send(result).is_err()) {
                return;
            }
        }
    }
}

impl Piece {
    /// The file's result, if this was its last window or the first to fail.
    fn compute(self, model: &Recogniser, decoder: &Decoder, path: &Path) -> Option<Result<Heard>> {
        let Open { file, progress, .. } = &*self.file;
        let lock = || progress.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().failed {
            return None;
        }
        let window = &file.windows[self.number];
        let logits = match caught(path, || Ok(model.window_logits(&[file.samples(window)], &[window])?.remove(0))) {
            Ok(logits) => logits,
            Err(error) => {
                let first = !std::mem::replace(&mut lock().failed, true);
                return first.then_some(Err(error));
            }
        };
        let parts: Vec<Tensor> = {
            let mut progress = lock();
            progress.logits[self.number] = Some(logits);
            if progress.logits.iter().any(Option::is_none) {
                return None;
            }
            progress.logits.drain(..).flatten().collect()
        };
        Some(caught(path, || heard(file, &Output::of(&join(parts)?)?, decoder)))
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
    fn windows_of_open_files_come_first_and_after_a_stop_nothing_does() {
        let folder = tempfile::tempdir().unwrap();
        let long = prepare(&model(1).spec, &files(folder.path())[1]).unwrap();
        let windows = long.windows.len();
        let work = Work::default();
        assert!(matches!(work.take(2), Some(Task::Open(0))));
        work.opened(0, Some(long));
        for number in 0..windows - 1 {
            assert!(matches!(work.take(2), Some(Task::Compute(piece)) if piece.number == number));
        }
        work.stop();
        assert!(work.take(2).is_none());
    }
}
