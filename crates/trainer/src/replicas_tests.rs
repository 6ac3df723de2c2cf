use std::sync::Arc;

use klang_corpus::Utterance;
use tch::TchError;

use super::*;
use crate::data::{Item, LoadedRow};

/// Counts rows, in memory for so many at a time.
#[derive(Debug)]
struct Counter {
    fits: usize,
}

impl Sums for Vec<usize> {
    fn add(&mut self, part: Vec<usize>) -> Result<()> {
        self.extend(part);
        Ok(())
    }
}

impl Learner for Counter {
    type Common = ();
    type Part = Vec<usize>;

    fn compute(&self, (): &(), batch: &LoadedBatch, number: usize) -> Result<Vec<usize>> {
        if batch.rows.len() > self.fits {
            let message = "CUDA out of memory. Tried to allocate 2.00 GiB.";
            let error = TchError::Torch(message.into());
            // As it comes from each of the crates below.
            return Err(match number % 3 {
                0 => error.into(),
                1 => klang_wav2vec2::Error::from(error).into(),
                _ => klang_ctc::Error::from(error).into(),
            });
        }
        Ok(batch.rows.iter().map(|row| row.samples.len()).collect())
    }
}

fn batch(rows: usize) -> LoadedBatch {
    let row = |number| {
        let utterance = Utterance::new(format!("u{number}"), "a.wav".to_string());
        let item = Item { utterance, duration: 1.0, text: String::new(), labels: Vec::new() };
        LoadedRow { items: vec![Arc::new(item)], samples: vec![0.0; 100 + number] }
    };
    LoadedBatch { rows: (0..rows).map(row).collect(), ..LoadedBatch::default() }
}

#[test]
fn too_large_a_batch_is_cut_further_until_it_fits_and_nothing_counts_twice() {
    for (workers, fits, parts) in [(0, 8, 1), (0, 4, 2), (0, 3, 4), (1, 8, 1), (1, 1, 8), (2, 8, 2), (2, 2, 4)] {
        let replicas = Replicas::start((0..=workers).map(|_| Counter { fits }).collect(), 1).unwrap();
        let Summed { sums, samples, .. } = replicas.sum(&(), &[batch(8), batch(2)], &|| false).unwrap();
        let lengths: Vec<usize> = (100..108).chain(100..102).collect();
        assert_eq!(sums, lengths, "{workers} workers, {fits} rows");
        assert_eq!(samples, lengths.iter().sum::<usize>());
        assert_eq!(replicas.parts(), parts, "{workers} workers, {fits} rows");
    }
}

#[test]
fn one_utterance_that_does_not_fit_ends_the_run() {
    let replicas = Replicas::start(vec![Counter { fits: 0 }], 1).unwrap();
    let error = replicas.sum(&(), &[batch(3)], &|| false).unwrap_err().to_string();
    assert!(error.contains("out of memory") && error.contains("u0, u1, u2"), "{error}");
}

/// Computes each part until it may go on.
#[derive(Debug)]
struct Held {
    goes_on: Receiver<()>,
}

impl Learner for Held {
    type Common = ();
    type Part = Vec<usize>;

    fn compute(&self, (): &(), batch: &LoadedBatch, _: usize) -> Result<Vec<usize>> {
        let _ = self.goes_on.recv();
        Ok(vec![batch.rows.len()])
    }
}

fn held(workers: usize) -> (Sender<()>, Replicas<Held>) {
    let (go, goes_on) = unbounded();
    let learners = (0..=workers).map(|_| Held { goes_on: goes_on.clone() }).collect();
    (go, Replicas::start(learners, 1).unwrap())
}

#[test]
fn an_update_that_is_not_over_soon_after_a_stop_is_wanted_is_given_up() {
    let (go, replicas) = held(2);
    let asked = Instant::now();
    let error = replicas.sum(&(), &[batch(2)], &|| true).unwrap_err();
    assert!(matches!(error, Error::StoppedEarly), "{error}");
    assert!(asked.elapsed() >= GRACE, "an update that is nearly done is waited for");
    // What is left of it would answer for another.
    let error = replicas.sum(&(), &[batch(2)], &|| false).unwrap_err();
    assert!(matches!(error, Error::Worker(_)), "{error}");
    // Its threads are held still, and are not waited for.
    drop(replicas);
    drop(go);
}

#[test]
fn an_update_that_ends_soon_after_a_stop_is_wanted_counts() {
    let (go, replicas) = held(2);
    let looks = Cell::new(0);
    let stops = || {
        looks.set(looks.get() + 1);
        // The stop is wanted from the first look on; both parts end behind it.
        if looks.get() == 1 {
            (0..2).for_each(|_| go.send(()).unwrap());
        }
        true
    };
    assert_eq!(replicas.sum(&(), &[batch(2)], &stops).unwrap().sums, [1, 1]);
    assert_eq!(looks.get(), 1);
}

#[test]
fn an_update_of_many_short_parts_is_given_up_like_one_of_long_parts() {
    // Each part is over before anybody looks; the second look finds that a stop is wanted.
    let replicas = Replicas::start((0..2).map(|_| Counter { fits: 8 }).collect(), 1).unwrap();
    let replicas = replicas.with_grace(Duration::ZERO);
    let looks = Cell::new(0);
    let stops = || {
        looks.set(looks.get() + 1);
        looks.get() > 1
    };
    let error = replicas.sum(&(), &[batch(1), batch(1), batch(1)], &stops).unwrap_err();
    assert!(matches!(error, Error::StoppedEarly), "{error}");
    assert_eq!(looks.get(), 2);
}

/// Fails at once, and counts how often it was asked.
#[derive(Debug)]
struct Failing {
    asked: Arc<std::sync::atomic::AtomicUsize>,
}

impl Learner for Failing {
    type Common = ();
    type Part = Vec<usize>;

    fn compute(&self, (): &(), _: &LoadedBatch, number: usize) -> Result<Vec<usize>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        Err(Error::Worker(format!("part {number}")))
    }
}

#[test]
fn a_part_that_fails_spares_the_others() {
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let learners = (0..2).map(|_| Failing { asked: asked.clone() }).collect();
    let replicas = Replicas::start(learners, 1).unwrap();
    let batches: Vec<LoadedBatch> = (0..40).map(|_| batch(1)).collect();
    let error = replicas.sum(&(), &batches, &|| false).unwrap_err();
    assert!(error.to_string().contains("part 0"), "{error}");
    // The next one or two may have begun before it was known.
    assert!(asked.load(Ordering::Relaxed) < 10, "{asked:?} of 40");
    let error = replicas.sum(&(), &[batch(1)], &|| false).unwrap_err();
    assert!(error.to_string().contains("part 0"), "nothing of the update before answers: {error}");
}
