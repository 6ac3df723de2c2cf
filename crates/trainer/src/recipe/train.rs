//! How a recipe has a model learn: optimiser, schedule, batches, and what decides which checkpoint is the best.

use klang_ctc::Reduction;
use klang_wav2vec2::Spans;
use serde::{Deserialize, Serialize};

use crate::optimiser::AdamWConfig;
use crate::regularise::L2SpRecipe;
use crate::schedule::Schedule;

/// Which loss and optimiser, how long, on what batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainRecipe {
    /// Steps of the optimiser.
    pub updates: u64,
    /// Audio in a batch, padding included, in seconds.
    pub batch_seconds: f64,
    /// Batches in an update.
    pub accumulate: usize,
    /// Keep of each block its input alone and compute the rest again for the gradient: less memory, more time, the same
    /// update but for rounding.
    pub gradient_checkpointing: bool,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How the learning rate goes.
    pub schedule: Schedule,
    /// Shares of the updates for the schedule's rise, plateau and fall; linear and cosine have no plateau.
    pub phases: [f64; 3],
    /// Learning rate at the end, as a share of the highest.
    pub final_scale: f64,
    /// AdamW's β₁ and β₂.
    pub betas: [f64; 2],
    /// AdamW's ε.
    pub epsilon: f64,
    /// AdamW's decoupled weight decay, on matrices only.
    pub weight_decay: f64,
    /// Largest norm of the gradient; larger ones are scaled down to it. 0: never.
    pub clip: f64,
    /// Decay towards the pretrained weights.
    pub l2_sp: L2SpRecipe,
    /// Mixout: chance that a weight of a linear map takes its pretrained value for an update. 0: none.
    pub mixout: f64,
    /// R-Drop: weight of the divergence between two passes that differ in dropout and noise, of which each update then
    /// computes both. Beside the mean of their losses: half of the paper's α, which stands beside their sum. 0: one pass.
    pub r_drop: f64,
    /// What the summed CTC loss is divided by.
    pub loss_reduction: Reduction,
    /// Masking of the projected features.
    pub mask: MaskRecipe,
    /// Updates between evaluations on dev, after each of which the state is saved.
    pub evaluate_every: u64,
    /// What the best checkpoint is chosen by.
    pub choose_by: ChooseBy,
    /// Evaluations without a better one after which training stops. Absent: never.
    pub patience: Option<u64>,
    /// Updates whose loss or gradient is not finite and that are passed over, in a whole run; one more ends it.
    pub skip_not_finite: u64,
    /// Updates between lines of metrics.jsonl.
    pub log_every: u64,
    /// Epochs at the start whose batches go from short to long utterances.
    pub short_first_epochs: u64,
    /// Updates over which the loss moves from an even alignment to CTC, which leaves the all-blank plateau early when
    /// training from random weights. Nothing is joined meanwhile. 0: CTC from the start.
    pub flat_start_updates: u64,
}

impl Default for TrainRecipe {
    fn default() -> Self {
        TrainRecipe {
            updates: 2000,
            batch_seconds: 60.0,
            accumulate: 1,
            gradient_checkpointing: false,
            learning_rate: 1.0e-3,
            schedule: Schedule::TriStage,
            phases: [0.1, 0.4, 0.5],
            final_scale: 0.05,
            betas: [0.9, 0.98],
            epsilon: 1e-8,
            weight_decay: 0.01,
            clip: 1.0,
            l2_sp: L2SpRecipe::default(),
            mixout: 0.0,
            r_drop: 0.0,
            loss_reduction: Reduction::Label,
            mask: MaskRecipe::default(),
            evaluate_every: 200,
            choose_by: ChooseBy::default(),
            patience: None,
            skip_not_finite: 0,
            log_every: 20,
            short_first_epochs: 0,
            flat_start_updates: 0,
        }
    }
}

/// What the best checkpoint is chosen by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChooseBy {
    /// Dev's WER, and CER between equal ones.
    #[default]
    Wer,
    /// Dev's CER, and WER between equal ones: where hardly a word is right yet, WER is noise.
    Cer,
}

impl ChooseBy {
    /// WER and CER in the order in which they decide; and, applied to that, WER and CER again.
    pub fn order(self, [wer, cer]: [f64; 2]) -> [f64; 2] {
        match self {
            ChooseBy::Wer => [wer, cer],
            ChooseBy::Cer => [cer, wer],
        }
    }
}

impl TrainRecipe {
    /// The learning rate of the update after `done` updates.
    pub fn learning_rate_at(&self, done: u64) -> f64 {
        self.learning_rate * self.schedule.scale(done, self.updates, self.phases, self.final_scale)
    }

    /// Updates in which the learning rate rises.
    pub fn rise(&self) -> f64 {
        self.phases[0] * self.updates as f64
    }

    /// The optimiser's numbers.
    pub fn adamw(&self) -> AdamWConfig {
        AdamWConfig { betas: self.betas, epsilon: self.epsilon, weight_decay: self.weight_decay }
    }
}

/// Masking of the projected features in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskRecipe {
    /// Spans of frames replaced by the mask embedding.
    pub time: Spans,
    /// Spans of channels set to zero.
    pub channel: Spans,
}

impl Default for MaskRecipe {
    fn default() -> Self {
        MaskRecipe { time: Spans::NONE, channel: Spans::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_first_is_what_the_recipe_says() {
        // Fewer words wrong, or fewer characters.
        let (words, characters) = ([0.98, 0.8], [0.99, 0.5]);
        for (choose_by, better, worse) in [(ChooseBy::Wer, words, characters), (ChooseBy::Cer, characters, words)] {
            assert!(choose_by.order(better) < choose_by.order(worse));
            assert_eq!(choose_by.order(choose_by.order(better)), better);
        }
    }
}
