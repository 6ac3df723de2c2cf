//! What a beam search knows of texts, beside what the acoustics say: language models, word scores, lexicons, hot words.

use std::fmt::Debug;

/// Scores texts label by label. Every score is in nats and is added to the logarithm of a text's probability under CTC.
///
/// The scores of a text's labels, each as its prefix was extended, and that of its end add up to the text's score. What is
/// certain only later (a word's probability) may be promised before and taken back then, so that a beam ranks unfinished
/// words by it.
pub trait Scorer {
    /// What of a prefix still matters.
    type State: Copy + Debug;

    /// The state of the empty text.
    fn start(&self) -> Self::State;

    /// The change of score when `label` follows, and the state then; none where it may not follow.
    fn extend(&self, state: Self::State, label: u32) -> Option<(f64, Self::State)>;

    /// The change of score when the text ends here; none where it may not.
    fn end(&self, state: Self::State) -> Option<f64>;
}

/// Every text is as good as any other.
impl Scorer for () {
    type State = ();

    fn start(&self) {}

    fn extend(&self, _: (), _: u32) -> Option<(f64, ())> {
        Some((0.0, ()))
    }

    fn end(&self, (): ()) -> Option<f64> {
        Some(0.0)
    }
}

/// Both: scores add, and what either forbids is forbidden.
impl<A: Scorer, B: Scorer> Scorer for (A, B) {
    type State = (A::State, B::State);

    fn start(&self) -> Self::State {
        (self.0.start(), self.1.start())
    }

    fn extend(&self, state: Self::State, label: u32) -> Option<(f64, Self::State)> {
        let (one, first) = self.0.extend(state.0, label)?;
        let (other, second) = self.1.extend(state.1, label)?;
        Some((one + other, (first, second)))
    }

    fn end(&self, state: Self::State) -> Option<f64> {
        Some(self.0.end(state.0)? + self.1.end(state.1)?)
    }
}

/// One, where there is one.
impl<A: Scorer> Scorer for Option<A> {
    type State = Option<A::State>;

    fn start(&self) -> Self::State {
        self.as_ref().map(A::start)
    }

    fn extend(&self, state: Self::State, label: u32) -> Option<(f64, Self::State)> {
        match (self, state) {
            (Some(scorer), Some(state)) => scorer.extend(state, label).map(|(change, state)| (change, Some(state))),
            _ => Some((0.0, None)),
        }
    }

    fn end(&self, state: Self::State) -> Option<f64> {
        match (self, state) {
            (Some(scorer), Some(state)) => scorer.end(state),
            _ => Some(0.0),
        }
    }
}

/// A borrowed one.
impl<A: Scorer> Scorer for &A {
    type State = A::State;

    fn start(&self) -> Self::State {
        (**self).start()
    }

    fn extend(&self, state: Self::State, label: u32) -> Option<(f64, Self::State)> {
        (**self).extend(state, label)
    }

    fn end(&self, state: Self::State) -> Option<f64> {
        (**self).end(state)
    }
}
