//! Features of frozen convolutions, computed once an utterance, or once a corpus and model.
//!
//! The convolutions take a third of a forward pass, and frozen they give in every epoch what they gave in the first. Each
//! utterance is computed alone, kept or not: whether it was kept, and which others were in its batch, changes nothing.
//!
//! ```text
//! samples ─► Heard ─► Disk, where a folder is named ─► Memory ─► the convolutions
//! ```

mod digest;
mod disk;
mod memory;
mod record;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use klang_wav2vec2::{Features, WaveformBatch};
use tch::{Device, Tensor};

use crate::data::LoadedBatch;
use crate::error::Result;
use crate::model::Recogniser;
use crate::recipe::{AugmentRecipe, Recipe};

use digest::{Heard, of_convolutions};
use disk::Disk;
use memory::Memory;
use record::Header;

/// Features of one model's frozen convolutions by what was heard: on disk where the recipe names a folder, else in memory;
/// in both together up to a number of bytes.
#[derive(Debug)]
pub struct FrozenFeatures {
    limit: u64,
    disk: Option<Disk>,
    memory: Mutex<Memory>,
    computed: AtomicU64,
}

/// What came of keeping features on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFeatures {
    /// The file.
    pub file: String,
    /// Utterances of this training whose features the file held before it.
    pub at_hand: u64,
    /// Times that features were computed.
    pub computed: u64,
    /// Utterances whose features were written to the file.
    pub written: u64,
}

impl FrozenFeatures {
    /// For a training of `learnt` on a CPU; none where the convolutions learn. Where audio is heard differently each time,
    /// nothing is kept.
    ///
    /// # Errors
    /// A folder or file that cannot be opened, or a file that is not what its name says.
    pub fn of(recipe: &Recipe, model: &Recogniser, learnt: &[(String, Tensor)]) -> Result<Option<Arc<FrozenFeatures>>> {
        // A GPU computes them faster in one batch than it would be handed them.
        if learn(learnt) || model.compute.device != Device::Cpu {
            return Ok(None);
        }
        let mib = if is_heard_again(&recipe.data.augment) { recipe.data.feature_cache_mib } else { 0 };
        let limit = (mib as u64).saturating_mul(1 << 20);
        let unused = why_not_kept(recipe, model, learnt);
        let folder = recipe.data.feature_cache_dir.as_deref().filter(|_| unused.is_none());
        let disk = match folder {
            Some(folder) => Some(Disk::open(folder, Header::new(model, of_convolutions(model)?), limit)?),
            None => None,
        };
        Ok(Some(Arc::new(FrozenFeatures { limit, disk, memory: Mutex::default(), computed: AtomicU64::new(0) })))
    }

    /// The batch's features, padded with zeros.
    ///
    /// # Errors
    /// An utterance shorter than one frame, or libtorch's own.
    pub fn features(&self, model: &Recogniser, batch: &LoadedBatch) -> Result<Features> {
        let _guard = tch::no_grad_guard();
        let rows = batch.rows.iter().map(|row| self.row(model, &row.samples)).collect::<Result<Vec<_>>>()?;
        let lengths = rows.iter().map(|row| row.size()[0]).collect();
        let hidden = match rows.as_slice() {
            [row] => row.f_unsqueeze(0)?,
            rows => Tensor::f_pad_sequence(rows, true, 0.0, "right")?,
        };
        Ok(Features { hidden, lengths })
    }

    /// What came of keeping features on disk, where that was asked for.
    pub fn kept(&self) -> Option<KeptFeatures> {
        self.disk.as_ref().map(|disk| disk.kept(self.computed.load(Ordering::Relaxed)))
    }

    /// What is odd about the file and was not said yet.
    pub fn take_warnings(&self) -> Vec<String> {
        self.disk.as_ref().map(Disk::take_warnings).unwrap_or_default()
    }

    /// One utterance's features (frame, feature), contiguous.
    fn row(&self, model: &Recogniser, samples: &[f32]) -> Result<Tensor> {
        let compute = || -> Result<Tensor> {
            Ok(model.features(&WaveformBatch::pad(&[samples])?)?.hidden.f_squeeze_dim(0)?.f_contiguous()?)
        };
        if self.limit == 0 {
            return compute();
        }
        let heard = Heard::new(samples);
        let on_disk = self.disk.as_ref().map_or(Ok(None), |disk| disk.get(&heard))?;
        if let Some(row) = on_disk.or_else(|| self.memory().get(&heard)) {
            return Ok(row);
        }
        let row = compute()?;
        self.computed.fetch_add(1, Ordering::Relaxed);
        let (written, taken) = match &self.disk {
            Some(disk) => (disk.keep(heard, &row)?, disk.bytes()),
            None => (false, 0),
        };
        if !written {
            self.memory().keep(heard, &row, self.limit.saturating_sub(taken));
        }
        Ok(row)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a training of `learnt` would make no use of a folder for features; none where it does.
pub fn why_not_kept(recipe: &Recipe, model: &Recogniser, learnt: &[(String, Tensor)]) -> Option<&'static str> {
    if learn(learnt) {
        Some("the convolutions learn, and give other features after each update")
    } else if model.compute.device != Device::Cpu {
        Some("this device computes features faster than it would be handed them")
    } else if !is_heard_again(&recipe.data.augment) {
        Some("data.augment has every utterance sound different each time")
    } else if recipe.data.feature_cache_mib == 0 {
        Some("data.feature_cache_mib is 0")
    } else {
        None
    }
}

/// Whether convolutions are among what learns.
fn learn(learnt: &[(String, Tensor)]) -> bool {
    learnt.iter().any(|(name, _)| name.contains("feature_extractor."))
}

/// Whether an utterance sounds the same in every epoch.
fn is_heard_again(augment: &AugmentRecipe) -> bool {
    let AugmentRecipe { speed, noise_db, colour_db, silence, join_chance, .. } = augment;
    speed.is_none() && noise_db.is_none() && colour_db.is_none() && silence.is_none() && *join_chance == 0.0
}
