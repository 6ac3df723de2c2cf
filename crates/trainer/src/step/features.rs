//! Features of frozen convolutions, computed once an utterance.
//!
//! The convolutions take a third of a forward pass, and frozen they give in every epoch what they gave in the first. Each
//! utterance is computed alone, kept or not: whether it was kept, and which others were in its batch, changes nothing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use klang_wav2vec2::{Features, WaveformBatch};
use tch::{Device, Tensor};

use crate::data::LoadedBatch;
use crate::error::Result;
use crate::model::Recogniser;
use crate::recipe::{AugmentRecipe, Recipe};

/// Features of one model's frozen convolutions by what was heard, up to a number of bytes.
#[derive(Debug)]
pub struct FrozenFeatures {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    rows: HashMap<Heard, Tensor>, // (frame, feature)
}

/// The samples of an utterance, by 128 bits of hash and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Heard {
    samples: usize,
    hashes: [u64; 2],
}

impl FrozenFeatures {
    /// For a training of `learnt` on a CPU; none where the convolutions learn. Where audio is heard differently each time,
    /// nothing is kept.
    pub fn of(recipe: &Recipe, model: &Recogniser, learnt: &[(String, Tensor)]) -> Option<Arc<FrozenFeatures>> {
        let frozen = !learnt.iter().any(|(name, _)| name.contains("feature_extractor."));
        // A GPU computes them faster in one batch than it would be handed them.
        if !frozen || model.compute.device != Device::Cpu {
            return None;
        }
        let mib = if is_heard_again(&recipe.data.augment) { recipe.data.feature_cache_mib } else { 0 };
        Some(Arc::new(FrozenFeatures { limit: mib << 20, held: Mutex::default() }))
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

    /// One utterance's features (frame, feature).
    fn row(&self, model: &Recogniser, samples: &[f32]) -> Result<Tensor> {
        let heard = (self.limit > 0).then(|| Heard::new(samples));
        let known = heard.and_then(|heard| self.lock().rows.get(&heard).map(Tensor::shallow_clone));
        if let Some(known) = known {
            return Ok(known);
        }
        let row = model.features(&WaveformBatch::pad(&[samples])?)?.hidden.f_squeeze_dim(0)?;
        if let Some(heard) = heard {
            let bytes = row.numel() * row.kind().elt_size_in_bytes();
            let mut held = self.lock();
            if held.bytes + bytes <= self.limit && held.rows.insert(heard, row.shallow_clone()).is_none() {
                held.bytes += bytes;
            }
        }
        Ok(row)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn new(samples: &[f32]) -> Heard {
        let mut hashers = [DefaultHasher::new(), DefaultHasher::new()];
        hashers[1].write_u8(1); // another start, another hash
        for sample in samples {
            hashers.iter_mut().for_each(|hasher| hasher.write_u32(sample.to_bits()));
        }
        Heard { samples: samples.len(), hashes: hashers.map(|hasher| hasher.finish()) }
    }
}

/// Whether an utterance sounds the same in every epoch.
fn is_heard_again(augment: &AugmentRecipe) -> bool {
    let AugmentRecipe { speed, noise_db, colour_db, silence, join_chance, .. } = augment;
    speed.is_none() && noise_db.is_none() && colour_db.is_none() && silence.is_none() && *join_chance == 0.0
}
