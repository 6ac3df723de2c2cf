//! Estimation by interpolated modified Kneser-Ney smoothing (Chen and Goodman, "An Empirical Study of Smoothing Techniques for
//! Language Modeling", TR-10-98, 1998; Heafield et al., "Scalable Modified Kneser-Ney Language Model Estimation", ACL 2013), as
//! KenLM's lmplz does it: from the same text comes the same model, within rounding. (But lmplz counts one n-gram of each order
//! below the highest, the last in its own sorting, by how often it was seen, and so may find discounts a little off.)

mod counts;
mod discounts;
mod estimate;
mod text;

pub use discounts::{Discounts, FallbackReason};
pub use text::SpecialsInText;

use crate::MAX_ORDER;
use crate::error::{Error, Result};
use crate::model::NgramModel;

/// How a model is estimated.
#[derive(Debug, Clone, PartialEq)]
pub struct ModifiedKneserNey {
    /// The number of words of the longest n-grams, 1 to [`MAX_ORDER`]. lmplz: `-o`. 3 to 5 are common for words, 5 to 10 for
    /// characters.
    pub order: usize,
    /// What to subtract from counts of 1, of 2, and of 3 and more, in an order whose own discounts cannot be computed: 0 to 1, 0
    /// to 2, 0 to 3. lmplz: `--discount_fallback`, with these defaults (0.5, 1, 1.5); there it must be asked for, here
    /// [`Estimate::discounts`] says where it was used.
    pub fallback: [f64; 3],
    /// For each order, n-grams seen as often or less are left out: none for no pruning. The thresholds may not fall from one
    /// order to the next; the last is for all higher orders. lmplz: `--prune`.
    pub prune: Vec<u64>,
    /// What to do with special tokens in the text. lmplz: `--skip_symbols`.
    pub specials: SpecialsInText,
}

impl Default for ModifiedKneserNey {
    fn default() -> Self {
        Self { order: 3, fallback: [0.5, 1.0, 1.5], prune: Vec::new(), specials: SpecialsInText::Refuse }
    }
}

/// An estimated model, and what its estimation has to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// The model.
    pub model: NgramModel,
    /// The discounts of each order, from 1 on, and which of them are a fallback.
    pub discounts: Vec<Discounts>,
    /// How many sentences the text had, those without words among them.
    pub sentences: u64,
    /// How many words it had, without the ends of sentences.
    pub words: u64,
}

impl Estimate {
    /// What whoever asked for the model should know: one sentence for each order whose discounts are a fallback.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        (1..).zip(&self.discounts).filter_map(|(order, discounts)| discounts.warning(order))
    }
}

impl ModifiedKneserNey {
    /// Estimates a model from sentences, each an iterator over its words.
    ///
    /// A sentence without words counts as one that ends at once, as an empty line does for lmplz. The unknown word gets its share
    /// of the uniform distribution. The order of the sentences does not matter; words are numbered by their bytes' order.
    /// Needs about 15 bytes for each word of the text and 110 for each distinct n-gram, and some 3 seconds for a million words.
    ///
    /// # Errors
    /// Settings out of range; a text without words, with special tokens (unless skipped), with words that hold white space, or
    /// too long.
    pub fn estimate<S, W>(&self, sentences: impl IntoIterator<Item = S>) -> Result<Estimate>
    where
        S: IntoIterator<Item = W>,
        W: AsRef<str>,
    {
        let prune = self.thresholds()?;
        let text = text::Text::read(sentences, self.specials)?;
        let (model, discounts) = estimate::estimate(&text, &prune, self.fallback)?;
        Ok(Estimate { model, discounts, sentences: text.sentences, words: text.words })
    }

    /// The checked pruning threshold of each order.
    fn thresholds(&self) -> Result<Vec<u64>> {
        let wrong = |setting, given, allowed| Err(Error::Setting { setting, given, allowed });
        if !(1..=MAX_ORDER).contains(&self.order) {
            return wrong("the order of the language model", self.order.to_string(), format!("1 to {MAX_ORDER}"));
        }
        for (discount, limit) in self.fallback.iter().zip([1.0, 2.0, 3.0]) {
            if !(0.0..=limit).contains(discount) {
                let allowed = "0 to 1 for counts of 1, 0 to 2 for counts of 2, 0 to 3 for higher counts".to_owned();
                return wrong("the fallback of the discounts", format!("{:?}", self.fallback), allowed);
            }
        }
        if self.prune.len() > self.order || !self.prune.is_sorted() {
            let allowed =
                format!("at most {} thresholds, one for each order, none lower than the one before", self.order);
            return wrong("the pruning of the language model", format!("{:?}", self.prune), allowed);
        }
        let mut thresholds = self.prune.clone();
        thresholds.resize(self.order, self.prune.last().copied().unwrap_or(0));
        Ok(thresholds)
    }
}

#[cfg(test)]
mod tests;
