//! Threads that compute parts of an update side by side, each with a replica of the model over the same weights.
//!
//! A small model's operations are too short to be split among libtorch's threads: two cores train a two-million-parameter
//! model hardly faster than one. A core of its own for each half of a batch is what brings the second core to work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use tch::Tensor;

use super::features::{FrozenFeatures, KeptFeatures};
use super::part::{Common, Learner, Part};
use crate::data::LoadedBatch;
use crate::error::{Error, Result};
use crate::model::{Recogniser, freeze};
use crate::recipe::Recipe;

/// Bytes of gradients that all replicas together may hold: a large model's operations are long enough for libtorch's own
/// threads, and a copy of its gradients for each core is not worth its memory.
const GRADIENT_BYTES: usize = 1 << 30;

/// A model and its replicas.
#[derive(Debug)]
pub struct Replicas<'a> {
    recipe: &'a Recipe,
    model: &'a Recogniser,
    learnt: Vec<Tensor>,
    frozen: Option<Arc<FrozenFeatures>>,
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    jobs: Option<Sender<Job>>,
    parts: Option<Receiver<Result<Part>>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    common: Common,
    batch: LoadedBatch,
    number: usize,
    threads: i32,
}

impl<'a> Replicas<'a> {
    /// Replicas of `model` for all of its threads, where they help; `learnt` names the parameters that learn.
    ///
    /// # Errors
    /// Too little memory, a system that gives no more threads, or a folder for features that cannot be used.
    pub fn start(recipe: &'a Recipe, model: &'a Recogniser, learnt: &[(String, Tensor)]) -> Result<Replicas<'a>> {
        let bytes: usize = learnt.iter().map(|(_, tensor)| tensor.numel() * size_of::<f32>()).sum();
        let count = match model.compute.device {
            tch::Device::Cpu => (model.compute.threads.max(1) as usize).min(GRADIENT_BYTES / bytes.max(1)).max(1),
            _ => 1,
        };
        let shared = Arc::new(recipe.clone());
        let frozen = FrozenFeatures::of(recipe, model, learnt)?;
        let workers = (1..count)
            .map(|_| {
                let replica = model.replica()?;
                freeze(&replica, learnt)?;
                let mut parameters: std::collections::BTreeMap<String, Tensor> =
                    replica.parameters().into_iter().collect();
                let same: Vec<Tensor> = learnt.iter().filter_map(|(name, _)| parameters.remove(name)).collect();
                if same.len() < learnt.len() {
                    return Err(Error::Worker("a replica lacks a parameter of its model".into()));
                }
                Worker::start(shared.clone(), replica, same, frozen.clone())
            })
            .collect::<Result<_>>()?;
        let learnt = learnt.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        Ok(Replicas { recipe, model, learnt, frozen, workers })
    }

    /// The recipe.
    pub fn recipe(&self) -> &'a Recipe {
        self.recipe
    }

    /// The model.
    pub fn model(&self) -> &'a Recogniser {
        self.model
    }

    /// What came of keeping features on disk, where that was asked for.
    pub fn kept_features(&self) -> Option<KeptFeatures> {
        self.frozen.as_ref().and_then(|frozen| frozen.kept())
    }

    /// What is odd about features on disk and was not said yet.
    pub fn take_warnings(&self) -> Vec<String> {
        self.frozen.as_ref().map(|frozen| frozen.take_warnings()).unwrap_or_default()
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
        common: &Common,
        parts: Vec<LoadedBatch>,
        mut take: impl FnMut(Part) -> Result<()>,
    ) -> Result<()> {
        let count = parts.len();
        let busy = count.clamp(1, self.count());
        let threads = self.model.compute.threads;
        let share = (threads / busy as i32).max(1);
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
        let frozen = self.frozen.as_deref();
        let learner = Learner { recipe: self.recipe, model: self.model, learnt: &self.learnt, frozen };
        let mut own = own.into_iter();
        for number in 0..count {
            // Every part is waited for, whatever became of another: a job left over would answer the next update.
            let part = match number % busy {
                0 => own.next().map_or_else(
                    || Err(Error::Worker("a part of the batch was lost".into())),
                    |batch| learner.compute(common, &batch, number),
                ),
                place => self.workers[place - 1].take(),
            };
            if let Err(error) = part.and_then(&mut take) {
                failed.get_or_insert(error);
            }
        }
        tch::set_num_threads(threads);
        failed.map_or(Ok(()), Err)
    }
}

impl Worker {
    fn start(
        recipe: Arc<Recipe>,
        model: Recogniser,
        learnt: Vec<Tensor>,
        frozen: Option<Arc<FrozenFeatures>>,
    ) -> Result<Worker> {
        let (jobs, inbox) = unbounded::<Job>();
        // One part waits to be taken: a worker that runs ahead would pile up gradients.
        let (outbox, parts) = bounded(1);
        let work = move || {
            let learner = Learner { recipe: &recipe, model: &model, learnt: &learnt, frozen: frozen.as_deref() };
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

    fn give(&self, job: Job) -> Result<()> {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(Self::ended()) }
    }

    fn take(&self) -> Result<Part> {
        self.parts.as_ref().and_then(|parts| parts.recv().ok()).unwrap_or_else(|| Err(Self::ended()))
    }

    fn ended() -> Error {
        Error::Worker("a thread that computes part of the batch ended".into())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both ends closed, its next send or receive fails.
        self.jobs = None;
        self.parts = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
