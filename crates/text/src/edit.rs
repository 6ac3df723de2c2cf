//! Edit distance with unit costs (Levenshtein), counted as substitutions, deletions and insertions.
//!
//! Several alignments can have the fewest errors and yet differ in which kind they are. Ties are broken as jiwer ≥ 4 does
//! (rapidfuzz `Levenshtein.editops`), so that the counts agree and not the rate alone: a common beginning and a common end are
//! matched first; the rest is traced from its end to its start, preferring a deletion, then an insertion if the cell above
//! is one below the cell on the diagonal, then the diagonal. sclite weighs 0/3/3/4 instead, and its counts can differ.

use std::iter::Sum;
use std::ops::Add;

use serde::{Deserialize, Serialize};

/// Errors of a hypothesis against its reference, in whatever unit (words, characters) was aligned.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Units in the reference.
    pub reference_length: u64,
    /// Reference units replaced by another.
    pub substitutions: u64,
    /// Reference units missing from the hypothesis.
    pub deletions: u64,
    /// Hypothesis units that no reference unit accounts for.
    pub insertions: u64,
}

impl Counts {
    /// Substitutions, deletions and insertions together.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.substitutions + self.deletions + self.insertions
    }

    /// Errors per reference unit, as a fraction: at least 0, above 1 where insertions abound.
    ///
    /// Without any reference unit, insertions still count, each as if the reference had one unit (jiwer ≥ 4 does the same).
    /// `None` if there are neither reference units nor errors: nothing was measured.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // exact up to 2^53 units
    pub fn rate(&self) -> Option<f64> {
        match (self.errors(), self.reference_length) {
            (0, 0) => None,
            (errors, length) => Some(errors as f64 / length.max(1) as f64),
        }
    }

    /// The counts of an alignment.
    #[must_use]
    pub fn of(operations: &[Operation]) -> Self {
        let mut counts = Self::default();
        for operation in operations {
            counts.reference_length += u64::from(*operation != Operation::Insertion);
            match operation {
                Operation::Match => {}
                Operation::Substitution => counts.substitutions += 1,
                Operation::Deletion => counts.deletions += 1,
                Operation::Insertion => counts.insertions += 1,
            }
        }
        counts
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            reference_length: self.reference_length + other.reference_length,
            substitutions: self.substitutions + other.substitutions,
            deletions: self.deletions + other.deletions,
            insertions: self.insertions + other.insertions,
        }
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

/// One step of an alignment. Each but an insertion takes the next reference unit, each but a deletion the next hypothesis unit.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// The same unit in both.
    Match,
    /// A reference unit replaced by another.
    Substitution,
    /// A reference unit missing from the hypothesis.
    Deletion,
    /// A hypothesis unit without a reference unit.
    Insertion,
}

/// The errors of `hypothesis` against `reference`.
///
/// Time O(reference × hypothesis), memory O(reference). The counts are those of [`align`].
#[must_use]
pub fn count_errors<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Counts {
    let core = Core::of(reference, hypothesis);
    let (n, m) = (core.reference.len(), core.hypothesis.len());
    // (errors, substitutions) of each cell's own alignment; the substitutions follow from the cell it came from.
    let mut row: Vec<(usize, usize)> = (0..=n).map(|i| (i, 0)).collect();
    for heard in core.hypothesis {
        let mut diagonal = row[0];
        row[0].0 += 1;
        for (i, expected) in core.reference.iter().enumerate() {
            let (left, up) = (row[i], row[i + 1]);
            let (operation, errors) = step(left.0, up.0, diagonal.0, expected == heard);
            let substitutions = match operation {
                Operation::Deletion => left.1,
                Operation::Insertion => up.1,
                Operation::Match => diagonal.1,
                Operation::Substitution => diagonal.1 + 1,
            };
            row[i + 1] = (errors, substitutions);
            diagonal = up;
        }
    }
    let (errors, substitutions) = row[n];
    // deletions + insertions = errors − substitutions, and deletions − insertions = n − m.
    let deletions = (errors - substitutions + n - m) / 2;
    Counts {
        reference_length: reference.len() as u64,
        substitutions: substitutions as u64,
        deletions: deletions as u64,
        insertions: (errors - substitutions - deletions) as u64,
    }
}

/// The alignment of `hypothesis` with `reference`, from the beginning to the end.
///
/// Time O(reference × hypothesis), memory O(reference × √hypothesis): rows are computed once forward, of which every √hypothesis-th
/// is kept, and once more block by block while tracing back.
#[must_use]
pub fn align<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Vec<Operation> {
    let core = Core::of(reference, hypothesis);
    let (n, m) = (core.reference.len(), core.hypothesis.len());
    let block = m.isqrt().max(1);
    let mut row: Vec<usize> = (0..=n).collect();
    let mut kept_rows = Vec::new();
    for (j, heard) in core.hypothesis.iter().enumerate() {
        if j % block == 0 {
            kept_rows.push(row.clone());
        }
        next_row(&mut row, core.reference, heard, |_| {});
    }

    let mut backwards = vec![Operation::Match; core.suffix];
    let (mut i, mut j) = (n, m);
    let mut moves = Vec::with_capacity(block * n);
    for (k, mut row) in kept_rows.into_iter().enumerate().rev() {
        let start = k * block;
        moves.clear();
        for heard in &core.hypothesis[start..j] {
            next_row(&mut row, core.reference, heard, |operation| moves.push(operation));
        }
        while j > start && i > 0 {
            let operation = moves[(j - 1 - start) * n + i - 1];
            i -= usize::from(operation != Operation::Insertion);
            j -= usize::from(operation != Operation::Deletion);
            backwards.push(operation);
        }
        // The reference is used up: the rest of the hypothesis, in this block and before, was inserted.
        if i == 0 {
            break;
        }
    }
    backwards.extend(std::iter::repeat_n(Operation::Deletion, i));
    backwards.extend(std::iter::repeat_n(Operation::Insertion, j));
    backwards.extend(std::iter::repeat_n(Operation::Match, core.prefix));
    backwards.reverse();
    backwards
}

/// What is left of both once the common beginning and the common end are taken off.
struct Core<'a, T> {
    reference: &'a [T],
    hypothesis: &'a [T],
    prefix: usize,
    suffix: usize,
}

impl<'a, T: PartialEq> Core<'a, T> {
    fn of(reference: &'a [T], hypothesis: &'a [T]) -> Self {
        let prefix = reference.iter().zip(hypothesis).take_while(|(r, h)| r == h).count();
        let (reference, hypothesis) = (&reference[prefix..], &hypothesis[prefix..]);
        let suffix = reference.iter().rev().zip(hypothesis.iter().rev()).take_while(|(r, h)| r == h).count();
        Self {
            reference: &reference[..reference.len() - suffix],
            hypothesis: &hypothesis[..hypothesis.len() - suffix],
            prefix,
            suffix,
        }
    }
}

/// The last operation and the errors of a cell, from those of its neighbours. The one place where ties are broken.
fn step(left: usize, up: usize, diagonal: usize, equal: bool) -> (Operation, usize) {
    let errors = (left + 1).min(up + 1).min(diagonal + usize::from(!equal));
    let operation = if left + 1 == errors {
        Operation::Deletion
    } else if up + 1 == diagonal {
        // A cell is never below its diagonal neighbour, so this insertion is among the best.
        Operation::Insertion
    } else if equal {
        Operation::Match
    } else {
        Operation::Substitution
    };
    (operation, errors)
}

/// Turns the errors of one row into those of the next, and hands on the operation of each cell but the first.
fn next_row<T: PartialEq>(row: &mut [usize], reference: &[T], heard: &T, mut each: impl FnMut(Operation)) {
    let mut diagonal = row[0];
    row[0] += 1;
    for (i, expected) in reference.iter().enumerate() {
        let up = row[i + 1];
        let (operation, errors) = step(row[i], up, diagonal, expected == heard);
        each(operation);
        row[i + 1] = errors;
        diagonal = up;
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    fn counts(reference: &str, hypothesis: &str) -> (u64, u64, u64, u64) {
        let c = count_errors(&words(reference), &words(hypothesis));
        (c.reference_length, c.substitutions, c.deletions, c.insertions)
    }

    #[test]
    fn hand_derived_counts() {
        assert_eq!(counts("the cat sat", "the cat sat"), (3, 0, 0, 0));
        // cat → hat; "down" has no reference word.
        assert_eq!(counts("the cat sat", "the hat sat down"), (3, 1, 0, 1));
        // "cat" is missing.
        assert_eq!(counts("the cat sat", "the sat"), (3, 0, 1, 0));
        // Two errors either way (both substituted, or one deleted and one inserted): the deletion is preferred, traced from the end.
        assert_eq!(counts("a b", "b a"), (2, 0, 1, 1));
    }

    #[test]
    fn empty_sides() {
        assert_eq!(counts("", ""), (0, 0, 0, 0));
        assert_eq!(counts("", "a b"), (0, 0, 0, 2));
        assert_eq!(counts("a b", ""), (2, 0, 2, 0));
        assert_eq!(Counts::default().rate(), None);
        assert_eq!(count_errors(&[], &["a", "b"]).rate(), Some(2.0));
        assert_eq!(count_errors(&["a", "b"], &[]).rate(), Some(1.0));
    }

    #[test]
    fn alignment_reads_in_order() {
        use Operation::{Deletion, Insertion, Match, Substitution};
        let operations = align(&words("we saw the old cat"), &words("we have seen the cat"));
        // "have" inserted, saw → seen, "old" deleted: three errors; four substitutions would be worse.
        assert_eq!(operations, [Match, Insertion, Substitution, Match, Deletion, Match]);
    }

    /// Fewest errors by trying every last step: exponential, and with nothing in common with the code above.
    fn brute_force(reference: &[u8], hypothesis: &[u8]) -> u64 {
        match (reference, hypothesis) {
            ([], rest) | (rest, []) => rest.len() as u64,
            ([r @ .., x], [h @ .., y]) => {
                let diagonal = brute_force(r, h) + u64::from(x != y);
                diagonal.min(brute_force(r, hypothesis) + 1).min(brute_force(reference, h) + 1)
            }
        }
    }

    fn random(rng: &mut ChaCha8Rng, longest: usize, symbols: u8) -> Vec<u8> {
        (0..rng.random_range(0..=longest)).map(|_| rng.random_range(0..symbols)).collect()
    }

    #[test]
    fn errors_are_the_fewest_possible() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..2000 {
            let (reference, hypothesis) = (random(&mut rng, 6, 3), random(&mut rng, 6, 3));
            let counted = count_errors(&reference, &hypothesis);
            assert_eq!(counted.errors(), brute_force(&reference, &hypothesis), "{reference:?} {hypothesis:?}");
        }
    }

    #[test]
    fn operations_sum_to_the_counts_and_fit_both_sides() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for round in 0..1500 {
            let longest = if round % 10 == 0 { 120 } else { 12 };
            let (reference, hypothesis) = (random(&mut rng, longest, 4), random(&mut rng, longest, 4));
            let operations = align(&reference, &hypothesis);
            assert_eq!(Counts::of(&operations), count_errors(&reference, &hypothesis), "{reference:?} {hypothesis:?}");
            let (mut i, mut j) = (0, 0);
            for operation in operations {
                match operation {
                    Operation::Match => assert_eq!(reference[i], hypothesis[j]),
                    Operation::Substitution => assert_ne!(reference[i], hypothesis[j]),
                    Operation::Deletion | Operation::Insertion => {}
                }
                i += usize::from(operation != Operation::Insertion);
                j += usize::from(operation != Operation::Deletion);
            }
            assert_eq!((i, j), (reference.len(), hypothesis.len()));
        }
    }
}
