//! The head: one linear map from hidden states to the vocabulary.

use klang_wav2vec2::Path;
use klang_wav2vec2::{Linear, Noise, dropout};
use tch::{Kind, Tensor};

use crate::Result;

/// Dropout and a linear map (`lm_head` of `Wav2Vec2ForCTC`).
#[derive(Debug)]
pub struct CtcHead {
    linear: Linear,
    dropout: f64,
}

impl CtcHead {
    /// Registers `weight` (vocabulary, channel) and `bias` (vocabulary) under `path`.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(path: &Path, channels: i64, vocabulary: i64, dropout: f64) -> Result<CtcHead> {
        Ok(CtcHead { linear: Linear::new(path, channels, vocabulary)?, dropout })
    }

    /// Logits (batch, frame, vocabulary) in fp32 from hidden states (batch, frame, channel); no noise means evaluation.
    ///
    /// # Errors
    /// When libtorch refuses the shapes.
    pub fn forward(&self, hidden: &Tensor, noise: Option<&Noise>) -> Result<Tensor> {
        Ok(self.linear.forward(&dropout(hidden.shallow_clone(), self.dropout, noise)?)?.f_to_kind(Kind::Float)?)
    }
}
