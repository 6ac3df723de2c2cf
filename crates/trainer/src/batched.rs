//! Many audio files to text on a GPU, in batches of windows of like length.
//!
//! One short utterance leaves a GPU idle between its kernels; a padded batch gives each utterance the logits it would have
//! alone. Files are read by several threads meanwhile.

use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, bounded};
use tch::Tensor;

use crate::assembly::{Assembly, News};
use crate::decode::{Decoder, Output, in_parallel};
use crate::error::{Error, Result};
use crate::model::{ModelSpec, Recogniser};
use crate::stretches::{FileEnd, Stretch, Stretches};
use crate::transcribe::{Heard, caught, heard};
use crate::windows::join;

/// Seconds of audio in a batch, padding included: some 2 GB of activations for Base in bf16.
const BATCH_SECONDS: f64 = 120.0;

/// Seconds of audio from which batches are put together: the more, the less padding, and the longer the first text takes.
const GROUP_SECONDS: f64 = 600.0;

/// Threads that read files, however many cores there are.
const READERS: usize = 8;

/// What a reader has to say of a file.
enum Reading {
    Stretch(Stretch),
    End(FileEnd),
    Failed(Error),
}

/// A stretch, where it belongs.
struct Placed {
    /// Its file's place.
    place: usize,
    /// Its number in the file.
    number: usize,
    stretch: Stretch,
}

impl Recogniser {
    /// [`Recogniser::transcribe_all`] in batches.
    pub(crate) fn transcribe_batched<E: From<Error>>(
        &self,
        paths: &[PathBuf],
        decoder: &Decoder,
        take: impl FnMut(usize, Result<Heard>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut assembly = Assembly::new(paths, take);
        let spec = &self.spec;
        let count = (self.compute.threads.max(1) as usize).min(READERS).min(paths.len());
        std::thread::scope(|scope| {
            // Each reader has files of its own, and its channel holds little: files come in order whoever is faster.
            let readers = (0..count)
                .map(|reader| {
                    let (sender, receiver) = bounded(1);
                    let read = move || {
                        let mut own = paths.iter().skip(reader).step_by(count);
                        own.all(|path| read(spec, path, &sender));
                    };
                    let thread = std::thread::Builder::new().name("reader".into()).spawn_scoped(scope, read);
                    thread.map(|_| receiver).map_err(|error| Error::no_thread(&error))
                })
                .collect::<Result<Vec<Receiver<Reading>>>>()?;
            let mut group = Vec::new();
            let mut seconds = 0.0;
            for place in 0..paths.len() {
                for number in 0.. {
                    let lost =
                        || Error::Worker(format!("the thread that was to read {} ended", paths[place].display()));
                    match readers[place % count].recv().unwrap_or_else(|_| Reading::Failed(lost())) {
                        Reading::Stretch(stretch) => {
                            seconds += stretch.duration;
                            group.push(Placed { place, number, stretch });
                        }
                        Reading::End(end) => {
                            assembly.put(place, News::End(number, end))?;
                            break;
                        }
                        Reading::Failed(error) => {
                            assembly.put(place, News::Failed(error))?;
                            break;
                        }
                    }
                    if seconds >= GROUP_SECONDS {
                        seconds = 0.0;
                        for (place, news) in self.group(paths, std::mem::take(&mut group), decoder)? {
                            assembly.put(place, news)?;
                        }
                    }
                }
            }
            let mut news = self.group(paths, group, decoder)?.into_iter();
            news.try_for_each(|(place, news)| assembly.put(place, news))
        })
    }

    /// Transcribes some stretches together; a batch that fails fails the files in it.
    fn group(&self, paths: &[PathBuf], group: Vec<Placed>, decoder: &Decoder) -> Result<Vec<(usize, News)>> {
        let windows_of = |placed: &Placed| placed.stretch.windows.len();
        let mut logits: Vec<Result<Vec<Option<Tensor>>>> =
            group.iter().map(|placed| Ok((0..windows_of(placed)).map(|_| None).collect())).collect();
        let lengths = |placed: &Placed| placed.stretch.windows.iter().map(|window| window.samples.len()).collect();
        let most = (BATCH_SECONDS * f64::from(self.spec.audio.sampling_rate)) as usize;
        for batch in batches(group.iter().map(lengths).collect(), most) {
            let stretch = |number: usize| &group[number].stretch;
            let windows: Vec<_> = batch.iter().map(|&(number, window)| &stretch(number).windows[window]).collect();
            let samples: Vec<_> =
                batch.iter().zip(&windows).map(|(&(number, _), window)| stretch(number).samples(window)).collect();
            match self.window_logits(&samples, &windows) {
                Ok(parts) => {
                    for (&(number, window), part) in batch.iter().zip(parts) {
                        if let Ok(logits) = &mut logits[number] {
                            logits[window] = Some(part);
                        }
                    }
                }
                Err(error) => {
                    let message = error.to_string();
                    for (number, _) in batch {
                        logits[number] = Err(Error::Worker(format!("a batch with this file failed: {message}")));
                    }
                }
            }
        }
        let (mut news, mut outputs) = (Vec::new(), Vec::new());
        for (placed, parts) in group.into_iter().zip(logits) {
            match parts.and_then(|parts| Output::of(&join(parts.into_iter().flatten().collect())?)) {
                Ok(output) => outputs.push((placed, output)),
                Err(error) => news.push((placed.place, News::Failed(error))),
            }
        }
        // Reading is the CPU's affair, on all its cores.
        let read = |(placed, output): &(Placed, Output)| {
            let part = caught(&paths[placed.place], || Ok(heard(&placed.stretch, output, decoder)));
            (placed.place, part.map_or_else(News::Failed, |part| News::Part(placed.number, part)))
        };
        news.extend(in_parallel(&outputs, self.compute.threads.max(1) as usize, read)?);
        Ok(news)
    }
}

/// Reads a file and hands its stretches over; false where nobody takes them any more.
fn read(spec: &ModelSpec, path: &Path, sender: &Sender<Reading>) -> bool {
    let mut file = match caught(path, || Stretches::open(spec, path)) {
        Ok(file) => file,
        Err(error) => return sender.send(Reading::Failed(error)).is_ok(),
    };
    loop {
        let (reading, is_last) = match caught(path, || file.next()) {
            Ok(Some(stretch)) => (Reading::Stretch(stretch), false),
            Ok(None) => (Reading::End(file.end()), true),
            Err(error) => (Reading::Failed(error), true),
        };
        if sender.send(reading).is_err() {
            return false;
        }
        if is_last {
            return true;
        }
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
