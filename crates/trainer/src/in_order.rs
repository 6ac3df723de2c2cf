//! Results in the order of what they were asked for, whenever they come.

use std::collections::BTreeMap;

/// Hands results over in the order of their places, from 0 on; those that come early wait.
pub(crate) struct InOrder<R, F> {
    turn: usize,
    early: BTreeMap<usize, R>,
    take: F,
}

impl<R, E, F: FnMut(usize, R) -> Result<(), E>> InOrder<R, F> {
    pub(crate) fn new(take: F) -> InOrder<R, F> {
        InOrder { turn: 0, early: BTreeMap::new(), take }
    }

    /// The result of place `place`, handed over now or when those before it have been.
    ///
    /// # Errors
    /// What the receiver returns as one.
    pub(crate) fn put(&mut self, place: usize, result: R) -> Result<(), E> {
        self.early.insert(place, result);
        while let Some(result) = self.early.remove(&self.turn) {
            (self.take)(self.turn, result)?;
            self.turn += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_results_wait_for_their_turn() {
        let mut taken = Vec::new();
        let mut order = InOrder::new(|place, result: char| {
            taken.push((place, result));
            if result == 'x' { Err("stop") } else { Ok(()) }
        });
        order.put(1, 'b').unwrap();
        order.put(2, 'c').unwrap();
        order.put(0, 'a').unwrap();
        assert_eq!(order.put(3, 'x'), Err("stop"));
        assert_eq!(taken, [(0, 'a'), (1, 'b'), (2, 'c'), (3, 'x')]);
    }
}
