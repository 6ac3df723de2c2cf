//! Threads that compute parts of an update side by side, each with a replica of the model over the same weights.
//!
//! A small model's operations are too short to be split among libtorch's threads: two cores train a two-million-parameter
//! model hardly faster than one. A core of its own for each half of a batch is what brings the second core to work.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use tch::{Device, Tensor};

use crate::data::LoadedBatch;
use crate::device::Compute;
use crate::error::{Error, Result};

/// Bytes of gradients that all replicas together may hold: a large model's operations are long enough for libtorch's own
/// threads, and a copy of its gradients for each core is not worth its memory.
const GRADIENT_BYTES: usize = 1 << 30;

/// How long an update under way may go on once a stop is wanted. A large model's takes longer than whoever asked would wait, and
/// the weights of before it stand until its end.
const GRACE: Duration = Duration::from_secs(2);

/// How often the calling thread looks, while it waits for a part, whether a stop is wanted.
const LOOK: Duration = Duration::from_millis(50);

/// A replica of a model, and what is computed with it.
pub trait Learner: std::fmt::Debug + Send + 'static {
    /// What all parts of an update have in common.
    type Common: Copy + Send + std::fmt::Debug;
    /// What a part gives.
    type Part: Sums + Send + std::fmt::Debug;

    /// Computes part number `number` of an update; nothing of the model changes.
    ///
    /// # Errors
    /// A loss that is not finite, with the utterances; libtorch's own.
    fn compute(&self, common: &Self::Common, batch: &LoadedBatch, number: usize) -> Result<Self::Part>;
}

/// What adds up over the parts of an update.
pub trait Sums: Default {
    /// Adds another part of the same update.
    ///
    /// # Errors
    /// libtorch's own.
    fn add(&mut self, part: Self) -> Result<()>;
}

/// Learners over the same weights: one of the calling thread's, and one a worker. Where there are workers, they compute all of
/// an update, so that the calling thread can give it up.
#[derive(Debug)]
pub struct Replicas<L: Learner> {
    own: L,
    threads: i32,
    workers: Vec<Worker<L>>,
    /// Parts into which each batch is cut: one a worker, more where these take too much memory.
    parts: Cell<usize>,
    grace: Duration,
    /// Whether an update was given up: its threads compute what nobody waits for any more.
    given_up: Cell<bool>,
}

/// An update, summed over its parts.
#[derive(Debug)]
pub struct Summed<P> {
    /// The sums.
    pub sums: P,
    /// Samples of its rows.
    pub samples: usize,
    /// Samples of its parts with their padding.
    pub padded: usize,
}

#[derive(Debug)]
struct Worker<L: Learner> {
    jobs: Option<Sender<Job<L>>>,
    parts: Option<Receiver<Result<L::Part>>>,
    thread: Option<Thread>,
}

#[derive(Debug)]
struct Thread {
    handle: JoinHandle<()>,
    /// By which its priority is lowered.
    #[cfg(target_os = "linux")]
    id: Receiver<rustix::thread::Pid>,
}

/// For how long an update is waited for.
struct Wait<'a> {
    stops: &'a dyn Fn() -> bool,
    grace: Duration,
    /// When it was first seen that a stop is wanted.
    since: Option<Instant>,
}

struct Job<L: Learner> {
    common: L::Common,
    batch: LoadedBatch,
    number: usize,
    threads: i32,
    /// Whether the update still counts.
    wanted: Arc<AtomicBool>,
}

/// How many learners are worth having where `learnt` learns. A GPU's updates are short, and its one learner is the calling
/// thread's.
pub fn worthwhile(compute: &Compute, learnt: &[(String, Tensor)]) -> usize {
    let bytes: usize = learnt.iter().map(|(_, tensor)| tensor.numel() * size_of::<f32>()).sum();
    match compute.device {
        Device::Cpu => 1 + (compute.threads.max(1) as usize).min(GRADIENT_BYTES / bytes.max(1)).max(1),
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
        let workers: Vec<_> = others.into_iter().map(Worker::start).collect::<Result<_>>()?;
        let parts = Cell::new(workers.len().max(1));
        Ok(Replicas { own, threads, workers, parts, grace: GRACE, given_up: Cell::new(false) })
    }

    /// Cuts batches into as many parts as a run did before: its masks and noise are drawn part by part.
    pub fn cut_into(&self, parts: usize) {
        self.parts.set(parts.max(1));
    }

    /// Parts into which each batch is cut.
    pub fn parts(&self) -> usize {
        self.parts.get()
    }

    /// Computes the parts of an update and sums what they give. Where memory does not suffice, all is computed anew in twice
    /// as many parts, and so are later updates.
    ///
    /// # Errors
    /// As [`Learner::compute`]; memory that does not suffice for one utterance. [`Error::StoppedEarly`] where `stops` has been
    /// true for longer than an update may go on then: it is given up, and these replicas compute no other. Their threads go on
    /// for a while, with the lowest priority, and only read the weights.
    pub fn sum(
        &self,
        common: &L::Common,
        batches: &[LoadedBatch],
        stops: &dyn Fn() -> bool,
    ) -> Result<Summed<L::Part>> {
        let mut wait = Wait { stops, grace: self.grace, since: None };
        loop {
            let count = self.parts();
            let parts: Vec<LoadedBatch> = batches.iter().flat_map(|batch| batch.cut(count)).collect();
            let samples = parts.iter().map(LoadedBatch::samples).sum();
            let padded = parts.iter().map(LoadedBatch::padded_samples).sum();
            let rows = parts.iter().map(|part| part.rows.len()).max().unwrap_or(0);
            let mut sums = L::Part::default();
            let Err(error) = self.compute_within(&mut wait, common, parts, |part| sums.add(part)) else {
                return Ok(Summed { sums, samples, padded });
            };
            let message = error.out_of_memory()?;
            if rows <= 1 {
                return Err(Error::OutOfMemory { ids: batches.iter().flat_map(LoadedBatch::ids).collect(), message });
            }
            self.parts.set(2 * count);
        }
    }

    /// The learner of the calling thread.
    pub fn own(&self) -> &L {
        &self.own
    }

    /// Computes the parts, and hands each over in their order: sums do not depend on who was first.
    ///
    /// # Errors
    /// The first part's that fails, by number; a thread that ended.
    #[cfg(test)]
    pub fn compute(
        &self,
        common: &L::Common,
        parts: Vec<LoadedBatch>,
        take: impl FnMut(L::Part) -> Result<()>,
    ) -> Result<()> {
        self.compute_within(&mut Wait { stops: &|| false, grace: self.grace, since: None }, common, parts, take)
    }

    fn compute_within(
        &self,
        wait: &mut Wait,
        common: &L::Common,
        parts: Vec<LoadedBatch>,
        mut take: impl FnMut(L::Part) -> Result<()>,
    ) -> Result<()> {
        if self.workers.is_empty() {
            let mut parts = parts.into_iter().enumerate();
            return parts.try_for_each(|(number, batch)| take(self.own.compute(common, &batch, number)?));
        }
        if self.given_up.get() {
            // What is still computed would answer for it.
            return Err(Error::Worker("an update was given up before this one".into()));
        }
        let count = parts.len();
        let busy = count.clamp(1, self.workers.len());
        let threads = (self.threads / busy as i32).max(1);
        let wanted = Arc::new(AtomicBool::new(true));
        let mut failed = None;
        for (number, batch) in parts.into_iter().enumerate() {
            let job = Job { common: *common, batch, number, threads, wanted: wanted.clone() };
            self.workers[number % busy].give(job).unwrap_or_else(|error| _ = failed.get_or_insert(error));
        }
        for number in 0..count {
            // Every part is waited for, whatever became of another: a job left over would answer the next update.
            let Some(part) = self.workers[number % busy].take(wait) else {
                wanted.store(false, Ordering::Relaxed);
                self.give_up();
                return Err(Error::StoppedEarly);
            };
            if failed.is_none() {
                failed = part.and_then(&mut take).err();
                wanted.store(failed.is_none(), Ordering::Relaxed);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Lets what is under way be: nobody waits for it any more, and it is not to hinder whoever saves a state.
    fn give_up(&self) {
        self.given_up.set(true);
        for thread in self.workers.iter().filter_map(|worker| worker.thread.as_ref()) {
            thread.yield_to_others();
        }
    }

    /// Gives updates up so long after a stop is wanted.
    #[cfg(test)]
    pub fn with_grace(mut self, grace: Duration) -> Replicas<L> {
        self.grace = grace;
        self
    }
}

impl Wait<'_> {
    fn is_over(&mut self) -> bool {
        if self.since.is_none() && (self.stops)() {
            self.since = Some(Instant::now());
        }
        self.since.is_some_and(|since| since.elapsed() >= self.grace)
    }
}

impl Thread {
    /// The lowest priority, where the system has one for a thread. A wish.
    fn yield_to_others(&self) {
        #[cfg(target_os = "linux")]
        if let Ok(id) = self.id.try_recv() {
            let _ = rustix::process::setpriority_process(Some(id), 19);
        }
    }
}

impl<L: Learner> Worker<L> {
    fn start(learner: L) -> Result<Worker<L>> {
        let (jobs, inbox) = unbounded::<Job<L>>();
        // One part waits to be taken: a worker that runs ahead would pile up gradients.
        let (outbox, parts) = bounded(1);
        #[cfg(target_os = "linux")]
        let (named, id) = bounded(1);
        let work = move || {
            #[cfg(target_os = "linux")]
            let _ = named.send(rustix::thread::gettid());
            for Job { common, batch, number, threads, wanted } in inbox {
                if !wanted.load(Ordering::Relaxed) {
                    if outbox.send(Err(Error::Worker("its update failed or was given up".into()))).is_err() {
                        return;
                    }
                    continue;
                }
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
        let handle = std::thread::Builder::new().name("replica".into()).spawn(work);
        let thread = Thread {
            handle: handle.map_err(|error| Error::no_thread(&error))?,
            #[cfg(target_os = "linux")]
            id,
        };
        Ok(Worker { jobs: Some(jobs), parts: Some(parts), thread: Some(thread) })
    }

    fn give(&self, job: Job<L>) -> Result<()> {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(Self::ended()) }
    }

    /// The next part, or none where the wait is over before it is there.
    fn take(&self, wait: &mut Wait) -> Option<Result<L::Part>> {
        let Some(parts) = &self.parts else { return Some(Err(Self::ended())) };
        loop {
            // Between parts, too: many short ones make a long update.
            let is_over = wait.is_over();
            match parts.recv_timeout(if is_over { Duration::ZERO } else { LOOK }) {
                Err(RecvTimeoutError::Disconnected) => return Some(Err(Self::ended())),
                _ if is_over => return None,
                Ok(part) => return Some(part),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn ended() -> Error {
        Error::Worker("a thread that computes part of the batch ended".into())
    }
}

impl<L: Learner> Drop for Replicas<L> {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // Both ends closed, its next send or receive fails.
            worker.jobs = None;
            worker.parts = None;
            if let Some(thread) = worker.thread.take()
                && !self.given_up.get()
            {
                let _ = thread.handle.join();
            }
        }
    }
}

#[cfg(test)]
#[path = "replicas_tests.rs"]
mod tests;
