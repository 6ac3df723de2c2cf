//! Many audio files to text, several at a time.
//!
//! On a CPU one file on each core is faster than each file on all of them: nobody waits for anybody within an operation,
//! and while one file is decoded another is computed.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crossbeam_channel::bounded;

use crate::error::{Error, Result};
use crate::model::Recogniser;
use crate::transcribe::Transcript;

/// Files at a time, however many cores there are: each holds activations of its own.
const MOST: usize = 4;

/// Seconds of audio that are computed at a time, together; a longer file is computed alone, on all threads. Base takes
/// some 10 MB a second.
const SECONDS: f64 = 120.0;

impl Recogniser {
    /// Transcribes files, and hands each result over in the order of `paths`, with its place in it.
    ///
    /// # Errors
    /// What `take` returns as an error, after which no further file is begun; too little memory for a second model's
    /// bookkeeping. A file's own error is handed over.
    pub fn transcribe_all<E: From<Error>>(
        &self,
        paths: &[PathBuf],
        mut take: impl FnMut(usize, Result<Transcript>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let threads = match self.compute.device {
            tch::Device::Cpu => self.compute.threads.max(1) as usize,
            _ => 1,
        };
        let count = threads.min(paths.len()).min(MOST);
        if count < 2 {
            return paths.iter().enumerate().try_for_each(|(place, path)| take(place, self.transcribe(path)));
        }
        let replicas = (0..count).map(|_| self.replica()).collect::<Result<Vec<_>>>()?;
        let (next, budget) = (AtomicUsize::new(0), Budget::default());
        let share = NonZero::new(threads / count).unwrap_or(NonZero::<usize>::MIN).get();
        // Results wait here for their turn; a worker far ahead of the others waits as well.
        let (sender, receiver) = bounded(2 * count);
        std::thread::scope(|scope| {
            for model in replicas {
                let (sender, next, budget) = (sender.clone(), &next, &budget);
                scope.spawn(move || {
                    while let Some((place, path)) = next_of(next, paths) {
                        let work = || model.transcribe_within(path, budget, share, threads);
                        // A worker that died in silence would leave its file without a result.
                        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                            Err(Error::Worker(format!("it panicked while transcribing {}", path.display())))
                        });
                        if sender.send((place, result)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            let mut early = std::collections::BTreeMap::new();
            let mut turn = 0;
            for (place, result) in receiver.iter() {
                early.insert(place, result);
                while let Some(result) = early.remove(&turn) {
                    if let Err(error) = take(turn, result) {
                        next.store(paths.len(), Ordering::Relaxed);
                        drop(receiver);
                        return Err(error);
                    }
                    turn += 1;
                }
            }
            Ok(())
        })
    }

    fn transcribe_within(&self, path: &Path, budget: &Budget, share: usize, all: usize) -> Result<Transcript> {
        let prepared = self.prepare(path)?;
        let _taken = budget.take(prepared.duration);
        tch::set_num_threads(if prepared.duration > SECONDS { all } else { share } as i32);
        self.transcribe_prepared(prepared)
    }
}

fn next_of<'a>(next: &AtomicUsize, paths: &'a [PathBuf]) -> Option<(usize, &'a PathBuf)> {
    // Stopping stores the number of paths; whoever comes after it counts on from there.
    let place = next.fetch_add(1, Ordering::Relaxed);
    paths.get(place).map(|path| (place, path))
}

/// Seconds of audio in work.
#[derive(Default)]
struct Budget {
    taken: Mutex<f64>,
    given_back: Condvar,
}

/// Seconds to give back.
struct Taken<'a> {
    budget: &'a Budget,
    seconds: f64,
}

impl Budget {
    /// Waits until `seconds` more fit, or nothing else is in work.
    fn take(&self, seconds: f64) -> Taken<'_> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken > 0.0 && *taken + seconds > SECONDS {
            taken = self.given_back.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += seconds;
        Taken { budget: self, seconds }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // What is left of sums and differences of fractions must not keep a long file waiting.
        *taken = if *taken - self.seconds < 1e-6 { 0.0 } else { *taken - self.seconds };
        self.budget.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn a_long_file_is_computed_alone_and_short_ones_together() {
        let budget = Budget::default();
        let (first, second) = (budget.take(0.1), budget.take(SECONDS - 0.2));
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let budget = &budget;
            scope.spawn(move || {
                let _long = budget.take(10.0 * SECONDS);
                sender.send(()).unwrap();
            });
            assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err(), "beside two others");
            drop(first);
            assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err(), "beside another");
            drop(second);
            receiver.recv_timeout(Duration::from_secs(60)).unwrap();
        });
        assert_eq!(*budget.taken.lock().unwrap(), 0.0);
    }
}
