//! Many audio files to text on a GPU, in batches of windows of like length.
//!
//! One short utterance leaves a GPU idle between its kernels; a padded batch gives each utterance the logits it would have
//! alone. Files are read by several threads meanwhile.

use std::path::PathBuf;

use crossbeam_channel::{Receiver, bounded};
use tch::Tensor;

use crate::decode::{Decoder, Output, in_parallel};
use crate::error::{Error, Result};
use crate::in_order::InOrder;
use crate::model::Recogniser;
use crate::transcribe::{Heard, Prepared, caught, heard, prepare};
use crate::windows::join;

/// Seconds of audio in a batch, padding included: some 2 GB of activations for Base in bf16.
const BATCH_SECONDS: f64 = 120.0;

/// Seconds of audio from which batches are put together: the more, the less padding, and the longer the first text takes.
const GROUP_SECONDS: f64 = 600.0;

/// Threads that read files, however many cores there are.
const READERS: usize = 8;

impl Recogniser {
    /// [`Recogniser::transcribe_all`] in batches.
    pub(crate) fn transcribe_batched<E: From<Error>>(
        &self,
        paths: &[PathBuf],
        decoder: &Decoder,
        take: impl FnMut(usize, Result<Heard>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut order = InOrder::new(take);
        let spec = &self.spec;
        let count = (self.compute.threads.max(1) as usize).min(READERS).min(paths.len());
        std::thread::scope(|scope| {
            // Each reader has files of its own, and its channel holds one: files come in order whoever is faster.
            let readers = (0..count)
                .map(|reader| {
                    let (sender, receiver) = bounded(1);
                    let read = move || {
                        for path in paths.iter().skip(reader).step_by(count) {
                            if sender.send(caught(path, || prepare(spec, path))).is_err() {
                                return;
                            }
                        }
                    };
                    let thread = std::thread::Builder::new().name("reader".into()).spawn_scoped(scope, read);
                    thread.map(|_| receiver).map_err(|error| Error::no_thread(&error))
                })
                .collect::<Result<Vec<Receiver<Result<Prepared>>>>>()?;
            let mut group = Vec::new();
            let mut seconds = 0.0;
            for place in 0..paths.len() {
                let lost = || Error::Worker(format!("the thread that was to read {} ended", paths[place].display()));
                match readers[place % count].recv().unwrap_or_else(|_| Err(lost())) {
                    Ok(file) => {
                        seconds += file.duration;
                        group.push((place, file));
                    }
                    Err(error) => order.put(place, Err(error))?,
                }
                if seconds >= GROUP_SECONDS {
                    seconds = 0.0;
                    let files = std::mem::take(&mut group);
                    self.group(paths, files, decoder, &mut |place, result| order.put(place, result))?;
                }
            }
            self.group(paths, group, decoder, &mut |place, result| order.put(place, result))
        })
    }

    /// Transcribes some files together; a batch that fails fails the files in it.
    fn group<E: From<Error>>(
        &self,
        paths: &[PathBuf],
        files: Vec<(usize, Prepared)>,
        decoder: &Decoder,
        put: &mut dyn FnMut(usize, Result<Heard>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut logits: Vec<Result<Vec<Option<Tensor>>>> =
            files.iter().map(|(_, file)| Ok(file.windows.iter().map(|_| None).collect())).collect();
        let lengths = files.iter().map(|(_, file)| file.windows.iter().map(|window| window.samples.len()).collect());
        let most = (BATCH_SECONDS * f64::from(self.spec.audio.sampling_rate)) as usize;
        for batch in batches(lengths.collect(), most) {
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
        let mut outputs = Vec::new();
        for ((place, file), parts) in files.into_iter().zip(logits) {
            match parts.and_then(|parts| Output::of(&join(parts.into_iter().flatten().collect())?)) {
                Ok(output) => outputs.push((place, file, output)),
                Err(error) => put(place, Err(error))?,
            }
        }
        // Reading is the CPU's affair, on all its cores.
        let read =
            |(place, file, output): &(usize, Prepared, Output)| caught(&paths[*place], || heard(file, output, decoder));
        let texts = in_parallel(&outputs, self.compute.threads.max(1) as usize, read)?;
        outputs.iter().zip(texts).try_for_each(|((place, ..), text)| put(*place, text))
    }
}

/// Windows by (file, window), those of like length together, from each file's lengths in samples: at most `most` samples a
/// batch, padding included, or one window.
fn batches(files: Vec<Vec<usize>>, most: usize) -> Vec<Vec<(usize, usize)>> {
    let mut windows: Vec<(usize, (usize, usize))> = Vec::new();
    for (file, lengths) in files.into_iter().enumerate() {
        windows.extend(lengths.into_iter().enumerate().map(|(window, length)| (length, (file, window))));
    }
    windows.sort_by_key(|&(length, place)| (std::cmp::Reverse(length), place));
    let mut batches: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut longest = 0;
    for (length, place) in windows {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * longest <= most => batch.push(place),
            _ => {
                longest = length;
                batches.push(vec![place]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_is_in_one_batch_and_none_is_too_large() {
        let files = vec![vec![5, 9], vec![30], vec![4], vec![9, 9, 9, 2]];
        let batches = batches(files.clone(), 20);
        let mut seen: Vec<(usize, usize)> = batches.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, [(0, 0), (0, 1), (1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3)]);
        for batch in &batches {
            let longest = batch.iter().map(|&(file, window)| files[file][window]).max().unwrap();
            assert!(batch.len() == 1 || batch.len() * longest <= 20, "{batch:?}");
        }
        // 30 alone, twice two of 9, then 5, 4 and 2.
        assert_eq!(batches.len(), 4);
    }
}
