//! Connectionist temporal classification (Graves et al. 2006): head, loss, feasibility, flat start, decoding, alignment.

mod align;
pub mod beam;
mod bottleneck;
mod flat_start;
mod greedy;
mod head;
mod loss;

pub use align::{AlignedLabel, Alignment, align};
pub use bottleneck::Bottleneck;
pub use flat_start::{alignment_loss, even_alignment};
pub use greedy::{GreedyPath, greedy};
pub use head::{BOTTLENECK, CtcHead, FoldedHead, HeadConfig, HeadOutput};
pub use loss::{LossBatch, Reduction, ctc_loss, required_frames};

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An utterance with fewer frames than its labels need.
    #[error(
        "utterance {index} of the batch: {frames} frames cannot carry {labels} labels with {repeats} adjacent repeats, which need {needed}"
    )]
    Infeasible {
        /// Position in the batch.
        index: usize,
        /// Its frames.
        frames: usize,
        /// Its labels.
        labels: usize,
        /// Labels that equal the one before, each of which needs a blank between.
        repeats: usize,
        /// Frames needed.
        needed: usize,
    },
    /// A label that the head has no output for, or the blank among the labels.
    #[error("utterance {index} of the batch: label {label}; allowed: 0 to {last}, but not the blank {blank}")]
    Label {
        /// Position in the batch.
        index: usize,
        /// The label.
        label: u32,
        /// The last label.
        last: i64,
        /// The blank.
        blank: u32,
    },
    /// Lengths, labels and logits that do not belong together.
    #[error("{rows} rows of logits with {lengths} lengths and {labels} transcripts: the three must agree")]
    Batch {
        /// Rows of the logits.
        rows: i64,
        /// Lengths given.
        lengths: usize,
        /// Transcripts given.
        labels: usize,
    },
    /// The layer under the head.
    #[error(transparent)]
    Model(#[from] klang_wav2vec2::Error),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;
