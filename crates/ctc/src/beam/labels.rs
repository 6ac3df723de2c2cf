//! A language model of the labels themselves: characters, or whole words where each label is one.

use klang_lm::{NgramModel, State, WordId};

use super::scorer::Scorer;
use super::words::{LmWeights, Words};

/// Scores every label as it comes.
#[derive(Clone, Copy, Debug)]
pub struct LabelScorer<'a> {
    /// The model.
    pub lm: &'a NgramModel,
    /// Its word for each label; labels without one are unknown words.
    pub words: &'a [Option<WordId>],
    /// Whether there may be labels without one.
    pub list: Words,
    /// How much each part counts; a label is a word.
    pub weights: LmWeights,
}

impl Scorer for LabelScorer<'_> {
    type State = State;

    fn start(&self) -> State {
        self.lm.start()
    }

    fn extend(&self, state: State, label: u32) -> Option<(f64, State)> {
        let LmWeights { lm, word, unknown } = self.weights;
        let known = self.words.get(label as usize).copied().flatten();
        if self.list == Words::Listed && known.is_none() {
            return None;
        }
        let (log10, next) = self.lm.score(state, known.unwrap_or(WordId::UNKNOWN));
        let unknown = if known.is_none() { unknown } else { 0.0 };
        Some((lm * (f64::from(log10) + unknown) * std::f64::consts::LN_10 + word, next))
    }

    fn end(&self, state: State) -> Option<f64> {
        Some(self.weights.lm * f64::from(self.lm.end(state)) * std::f64::consts::LN_10)
    }
}
