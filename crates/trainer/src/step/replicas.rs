//! Threads that compute parts of an update side by side, each with a replica of the model over the same weights.
//!
//! A small model's operations are too short to be split among libtorch's threads: two cores train a two-million-parameter
//! model hardly faster than one. Halves of a batch, each computed by a core of its own, nearly double the speed.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tch::Tensor;

use super::part::{Common, Learner, Part};
use crate::data::LoadedBatch;
use crate::error::{Error, Result};
use crate::model::Recogniser;
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
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    jobs: Option<Sender<Job>>,
    parts: Receiver<Result<Part>>,
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
    /// Too little memory.
    pub fn start(recipe: &'a Recipe, model: &'a Recogniser, learnt: &[(String, Tensor)]) -> Result<Replicas<'a>> {
        let bytes: usize = learnt.iter().map(|(_, tensor)| tensor.numel() * size_of::<f32>()).sum();
        let count = match model.compute.device {
            tch::Device::Cpu => (model.compute.threads.max(1) as usize).min(GRADIENT_BYTES / bytes.max(1)).max(1),
            _ => 1,
        };
        let names: Arc<Vec<String>> = Arc::new(learnt.iter().map(|(name, _)| name.clone()).collect());
        let shared = Arc::new(recipe.clone());
        let workers = (1..count)
            .map(|_| Ok(Worker::start(shared.clone(), model.replica()?, names.clone())))
            .collect::<Result<_>>()?;
        let learnt = learnt.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        Ok(Replicas { recipe, model, learnt, workers })
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
        for (number, batch) in parts.into_iter().enumerate() {
            match number % busy {
                0 => own.push(batch),
                place => self.workers[place - 1].give(Job { common: *common, batch, number, threads: share })?,
            }
        }
        tch::set_num_threads(share);
        let learner = Learner { recipe: self.recipe, model: self.model, learnt: &self.learnt };
        let mut own = own.into_iter();
        let mut failed = None;
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
    fn start(recipe: Arc<Recipe>, model: Recogniser, names: Arc<Vec<String>>) -> Worker {
        let (jobs, inbox) = unbounded::<Job>();
        let (outbox, parts) = unbounded();
        let thread = std::thread::spawn(move || {
            let parameters = model.parameters();
            let find = |name: &String| parameters.iter().find(|(other, _)| other == name);
            let learnt: Vec<Tensor> = names.iter().filter_map(find).map(|(_, tensor)| tensor.shallow_clone()).collect();
            let learner = Learner { recipe: &recipe, model: &model, learnt: &learnt };
            for Job { common, batch, number, threads } in inbox {
                tch::set_num_threads(threads);
                if outbox.send(learner.compute(&common, &batch, number)).is_err() {
                    return;
                }
            }
        });
        Worker { jobs: Some(jobs), parts, thread: Some(thread) }
    }

    fn give(&self, job: Job) -> Result<()> {
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if sent { Ok(()) } else { Err(Self::ended()) }
    }

    fn take(&self) -> Result<Part> {
        self.parts.recv().unwrap_or_else(|_| Err(Self::ended()))
    }

    fn ended() -> Error {
        Error::Worker("a thread that computes part of the batch ended".into())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
