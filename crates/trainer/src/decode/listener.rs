//! A reading of frames as they come.

use klang_ctc::beam::{BeamSearch, Scorer};
use klang_text::Vocabulary;

use super::Output;

/// A reading that goes on: frames in, labels out.
pub trait Listener {
    /// Hears frames.
    fn push(&mut self, output: &Output);

    /// The labels that no later frame can change, from the first one on.
    fn settled(&mut self) -> Vec<u32>;

    /// How many labels the best text has so far.
    fn length(&self) -> usize;

    /// Settles on the best text so far that may end here, if there is one.
    fn commit(&mut self) -> bool;

    /// All labels, as nothing more will come.
    fn end(&mut self) -> Vec<u32>;
}

/// Greedily: every frame is settled.
pub(super) struct GreedyListener<'a> {
    vocabulary: &'a Vocabulary,
    /// The best label of the last frame.
    last: u32,
    labels: Vec<u32>,
}

impl<'a> GreedyListener<'a> {
    pub(super) fn new(vocabulary: &'a Vocabulary) -> Self {
        GreedyListener { vocabulary, last: vocabulary.blank(), labels: Vec::new() }
    }
}

impl Listener for GreedyListener<'_> {
    fn push(&mut self, output: &Output) {
        for &label in &output.best {
            if label != self.last && label != self.vocabulary.blank() {
                self.labels.push(label);
            }
            self.last = label;
        }
    }

    fn settled(&mut self) -> Vec<u32> {
        self.labels.clone()
    }

    fn length(&self) -> usize {
        self.labels.len()
    }

    fn commit(&mut self) -> bool {
        true
    }

    fn end(&mut self) -> Vec<u32> {
        self.labels.clone()
    }
}

/// By a search, which is told of no label that is no text.
pub(super) struct BeamListener<'a, S: Scorer> {
    pub(super) search: BeamSearch<S>,
    pub(super) vocabulary: &'a Vocabulary,
}

impl<S: Scorer> Listener for BeamListener<'_, S> {
    fn push(&mut self, output: &Output) {
        let vocabulary = self.vocabulary;
        // Tokens that are no text (the unknown one, a sentence's ends) say nothing, nor does what is no token.
        let is_text = |id: usize| id < vocabulary.len() && !vocabulary.is_special(id as u32);
        let silent: Vec<usize> =
            (0..output.width).filter(|&id| id != vocabulary.blank() as usize && !is_text(id)).collect();
        let mut frame = vec![0.0; output.width];
        for row in output.rows() {
            frame.copy_from_slice(row);
            silent.iter().for_each(|&id| frame[id] = f32::NEG_INFINITY);
            self.search.push(&frame);
        }
    }

    fn settled(&mut self) -> Vec<u32> {
        self.search.settle().to_vec()
    }

    fn length(&self) -> usize {
        self.search.best().len()
    }

    fn commit(&mut self) -> bool {
        self.search.commit()
    }

    fn end(&mut self) -> Vec<u32> {
        self.search.finish(1).pop().map(|best| best.labels).unwrap_or_default()
    }
}

/// The best label of each frame, repeats merged, blanks dropped.
pub(super) fn greedy(output: &Output, vocabulary: &Vocabulary) -> Vec<u32> {
    let mut listener = GreedyListener::new(vocabulary);
    listener.push(output);
    listener.labels
}
