//! Threads that compute parts of an update side by side, each with a replica of the model over the same weights.
//!
//! A small model's operations are too short to be split among libtorch's threads: two cores train a two-million-parameter
//! model hardly faster than one. A core of its own for each half of a batch is what brings the second core to work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use tch::{Device, Tensor};

use crate::data::LoadedBatch;
use crate::device::Compute;
use crate::error::{Error, Result};

/// Bytes of gradients that all replicas together may hold: a large model's operations are long enough for libtorch's own
/// threads, and a copy of its gradients for each core is not worth its memory.
const GRADIENT_BYTES: usize = 1 << 30;

/// A replica of a model, and what is computed with it.
pub trait Learner: std::fmt::Debug + Send + 'static {
    /// What all parts of an update have in common.
    type Common: Copy + Send + std::fmt::Debug;
    /// What a part gives.
    type Part: Send + std::fmt::Debug;

    /// Computes part number `number` of an update; nothing of the model changes.
    ///
    /// # Errors
    /// A loss that is not finite, with the utterances; libtorch's own.
    fn compute(&self, common: &Self::Common, batch: &LoadedBatch, number: usize) -> Result<Self::Part>;
}

/// Learners over the same weights.
#[derive(Debug)]
pub struct Replicas<L: Learner> {
    own: L,
    threads: i32,
    workers: Vec<Worker<L>>,
}

#[derive(Debug)]
struct Worker<L: Learner> {
    jobs: Option<Sender<Job<L>>>,
    parts: Option<Receiver<Result<L::Part>>>,
    thread: Option<JoinHandle<()>>,
}

struct Job<L: Learner> {
    common: L::Common,
    batch: LoadedBatch,
    number: usize,
    threads: i32,
}

/// How many replicas are worth having where `learnt` learns.
pub fn worthwhile(compute: &Compute, learnt: &[(String, Tensor)]) -> usize {
    let bytes: usize = learnt.iter().map(|(_, tensor)| tensor.numel() * size_of::<f32>()).sum();
    match compute.device {
        Device::Cpu => (compute.threads.max(1) as usize).min(GRADIENT_BYTES / bytes.max(1)).max(1),
        _ => 1,
    }
}

/// Of a replica's parameters those that `learnt` names, in its order, after all others were taken out of the backward pass:
/// nothing is then kept for their gradients.
///
/// # Errors
/// A replica that lacks one; libtorch's own.
pub fn learnt_of(parameters: Vec<(String, Tensor)>, learnt: &[(String, Tensor)]) -> Result<Vec<Tensor>> {
    let mut parameters: std::collections::BTreeMap<String, Tensor> = parameters.into_iter().collect();
    let same: Vec<Tensor> = learnt.iter().filter_map(|(name, _)| parameters.remove(name)).collect();
    for tensor in parameters.values() {
        let _ = tensor.f_set_requires_grad(false)?;
    }
    if same.len() < learnt.len() {
        return Err(Error::Worker("a replica lacks a parameter of its model".into()));
    }
    Ok(same)
}

impl<L: Learner> Replicas<L> {
    /// Starts a thread for each learner but the first, on all of `threads` threads together.
    ///
    /// # Errors
    /// No learner at all, or a system that gives no more threads.
    pub fn start(mut learners: Vec<L>, threads: i32) -> Result<Replicas<L>> {
        let others = learners.split_off(learners.len().min(1));
        let own = learners.pop().ok_or_else(|| Error::Worker("there is no model to compute with".into()))?;
        let workers = others.into_iter().map(Worker::start).collect::<Result<_>>()?;
        Ok(Replicas { own, threads, workers })
    }

    /// The learner of the calling thread.
    pub fn own(&self) -> &L {
        &self.own
    }

    /// Parts into which a batch is worth cutting.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Computes the parts, and hands each over in their order: sums do not depend on who was first.
    ///
    /// # Errors
    /// The first part's that fails, by number; a thread that ended.
    pub fn compute(
        &self,
        common: &L::Common,
        parts: Vec<LoadedBatch>,
        mut take: impl FnMut(L::Part) -> Result<()>,
    ) -> Result<()> {
        let count = parts.len();
        let busy = count.clamp(1, self.count());
        let share = (self.threads / busy as i32).max(1);
        let mut own = Vec::new();
        let mut failed = None;
        for (number, batch) in parts.into_iter().enumerate() {
            match number % busy {
                0 => own.push(batch),
                place => {
                    let job = Job { common: *common, batch, number, threads: share };
                    self.workers[place - 1].give(job).unwrap_or_else(|error| _ = failed.get_or_insert(error));
                }
            }
        }
        tch::set_num_threads(share);
        let mut own = own.into_iter();
        for number in 0..count {
            // Every part is waited for, whatever became of another: a job left over would answer the next update.
            let part = match number % busy {
                0 => own.next().map_or_else(
                    || Err(Error::Worker("a part of the batch was lost".into())),
                    |batch| self.own.compute(common, &batch, number),
                ),
                place => self.workers[place - 1].take(),
            };
            if let Err(error) = part.and_then(&mut take) {
                failed.get_or_insert(error);
            }
        }
        tch::set_num_threads(self.threads);
        failed.map_or(Ok(()), Err)
    }
}

impl<L: Learner> Worker<L> {
    fn start(learner: L) -> Result<Worker<L>> {
        let (jobs, inbox) = unbounded::<Job<L>>();
        // One part waits to be taken: a worker that runs ahead would pile up gradients.
        let (outbox, parts) = bounded(1);
        let work = move || {
            for Job { common, batch, number, threads } in inbox {
                tch::set_num_threads(threads);
                // A thread that died in silence would leave the others without a reason.
                let part = catch_unwind(AssertUnwindSafe(|| learner.compute(&common, &batch, number)));
                let part = part.unwrap_or_else(|_| {
                    let ids = batch.ids().join(", ");
                    Err(Error::Worker(format!("it panicked while computing a batch that holds {ids}")))
                });
                if outbox.send(part).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("replica".into()).spawn(work);
        let thread = thread.map_err(|error| Error::no_thread(&error))?;
        Ok(Worker { jobs: Some(jobs), parts: Some(parts), thread: Some(thread) })
    }

    fn give(&self, job: Job<L>) -> Result<()> {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(Self::ended()) }
    }

    fn take(&self) -> Result<L::Part> {
        self.parts.as_ref().and_then(|parts| parts.recv().ok()).unwrap_or_else(|| Err(Self::ended()))
    }

    fn ended() -> Error {
        Error::Worker("a thread that computes part of the batch ended".into())
    }
}

impl<L: Learner> Drop for Worker<L> {
    fn drop(&mut self) {
        // Both ends closed, its next send or receive fails.
        self.jobs = None;
        self.parts = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
