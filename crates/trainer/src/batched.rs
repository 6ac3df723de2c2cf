//! Many audio files to text on a GPU, in batches of windows of like length.
//!
//! One short utterance leaves a GPU idle between its kernels; a padded batch gives each utterance the logits it would have
//! alone. Files are read by several threads meanwhile.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use tch::Tensor;

use crate::error::{Error, Result};
use crate::in_order::InOrder;
use crate::model::Recogniser;
use crate::transcribe::{Prepared, Transcript, prepare};

/// Seconds of audio in a batch, padding included: some 2 GB of activations for Base in bf16.
const BATCH_SECONDS: f64 = 120.0;

/// Seconds of audio from which batches are put together: the more, the less padding, and the longer the first text takes.
const GROUP_SECONDS: f64 = 600.0;

/// Threads that read files, however many cores there are.
const READERS: usize = 8;

type Read = (PathBuf, Result<Prepared>);

impl Recogniser {
    /// [`Recogniser::transcribe_all`] in batches.
    pub(crate) fn transcribe_batched<E: From<Error>>(
        &self,
        paths: &[PathBuf],
        take: impl FnMut(usize, Result<Transcript>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut order = InOrder::new(take);
        let spec = Arc::new(self.spec.clone());
        let count = std::thread::available_parallelism().map_or(1, |cores| cores.get()).min(READERS).min(paths.len());
        std::thread::scope(|scope| {
            // Each reader has files of its own, and its channel holds few: files come in order whoever is faster.
            let readers: Vec<Receiver<Read>> = (0..count)
                .map(|reader| {
                    let (sender, receiver): (Sender<Read>, _) = bounded(4);
                    let spec = spec.clone();
                    scope.spawn(move || {
                        for path in paths.iter().skip(reader).step_by(count) {
                            if sender.send((path.clone(), prepare(&spec, path))).is_err() {
                                return;
                            }
                        }
                    });
                    receiver
                })
                .collect();
            let mut group = Vec::new();
            let mut seconds = 0.0;
            for place in 0..paths.len() {
                let lost = || Error::Worker(format!("the thread that was to read {} ended", paths[place].display()));
                match readers[place % count].recv().map_err(|_| lost()).and_then(|(_, file)| file) {
                    Ok(file) => {
                        seconds += file.duration;
                        group.push((place, file));
                    }
                    Err(error) => order.put(place, Err(error))?,
                }
                if seconds >= GROUP_SECONDS {
                    seconds = 0.0;
                    self.group(std::mem::take(&mut group), &mut |place, result| order.put(place, result))?;
                }
            }
            self.group(group, &mut |place, result| order.put(place, result))
        })
    }

    /// Transcribes some files together; a batch that fails fails the files in it.
    fn group<E>(
        &self,
        files: Vec<(usize, Prepared)>,
        put: &mut dyn FnMut(usize, Result<Transcript>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut logits: Vec<Result<Vec<Option<Tensor>>>> =
            files.iter().map(|(_, file)| Ok(file.windows.iter().map(|_| None).collect())).collect();
        for batch in batches(&files, f64::from(self.spec.audio.sampling_rate)) {
            let windows: Vec<_> = batch.iter().map(|&(file, window)| &files[file].1.windows[window]).collect();
            let samples: Vec<_> =
                batch.iter().zip(&windows).map(|(&(file, _), window)| files[file].1.samples(window)).collect();
            match self.window_logits(&samples, &windows) {
                Ok(parts) => {
                    for (&(file, window), part) in batch.iter().zip(parts) {
                        if let Ok(logits) = &mut logits[file] {
                            logits[window] = Some(part);
                        }
                    }
                }
                Err(error) => {
                    let message = error.to_string();
                    for (file, _) in batch {
                        logits[file] = Err(Error::Worker(format!("a batch with this file failed: {message}")));
                    }
                }
            }
        }
        for ((place, file), parts) in files.into_iter().zip(logits) {
            let result = parts.and_then(|parts| self.transcript(&file, parts.into_iter().flatten().collect()));
            put(place, result)?;
        }
        Ok(())
    }
}

/// Windows by (file, window), those of like length together.
fn batches(files: &[(usize, Prepared)], rate: f64) -> Vec<Vec<(usize, usize)>> {
    let mut windows: Vec<(usize, (usize, usize))> = files
        .iter()
        .enumerate()
        .flat_map(|(place, (_, file))| {
            let lengths = file.windows.iter().map(|window| window.samples.len());
            lengths.enumerate().map(move |(window, length)| (length, (place, window)))
        })
        .collect();
    windows.sort_by_key(|&(length, place)| (std::cmp::Reverse(length), place));
    let mut batches: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut longest = 0;
    for (length, place) in windows {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) as f64 * longest as f64 <= BATCH_SECONDS * rate => batch.push(place),
            _ => {
                longest = length;
                batches.push(vec![place]);
            }
        }
    }
    batches
}
