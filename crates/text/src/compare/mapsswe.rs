//! NIST's matched-pairs sentence-segment word error test, MAPSSWE (Gillick and Cox, "Some statistical issues in the comparison
//! of speech recognition algorithms", ICASSP 1989; Pallett, Fisher and Fiscus, "Tools for the analysis of benchmark speech
//! recognition tests", ICASSP 1990), by the rules of `sc_stats -t mapsswe` in NIST's SCTK.
//!
//! Errors of one utterance hang together; across two words in a row that both systems got right, they are taken not to. So an
//! utterance is cut there, and the differences of the errors in what lies between are the sample of a z-test.

use std::f64::consts::SQRT_2;

use serde::{Deserialize, Serialize};

use super::units::{check_number, uncomparable};
use crate::{Counts, Error, Operation};

/// How many words in a row both systems must have right for the errors around them to be taken for independent: sctk's number,
/// which its reports call "Minimum Number of Correct Boundary words".
const BETWEEN: usize = 2;

/// A stretch of speech in which at least one system erred.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The control's errors in it: substitutions, deletions and insertions.
    pub control: u64,
    /// The system's.
    pub system: u64,
}

/// What the test found.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct MatchedPairs {
    /// Segments. The test leans on the normal distribution, which needs many of them (say 50).
    pub segments: u64,
    /// The mean over segments of the system's errors − the control's: negative where the system is better. (sctk subtracts the
    /// second system from the first.)
    pub mean: f64,
    /// The standard deviation of these differences, with segments − 1 in the denominator.
    pub sd: f64,
    /// mean / (sd / √segments); 0 if no segment differs. `None` (null) if all differ by the same number, since their spread is
    /// then unknown and not 0. (sctk says 0 there, and thus "no difference".)
    pub z: Option<f64>,
    /// The two-sided p of that z under the normal distribution. (sctk rounds z down to hundredths first, and so says up to 0.008
    /// more.)
    pub p: Option<f64>,
}

/// The segments of one utterance, from the alignments of both hypotheses with the same reference.
///
/// A segment ends where two words in a row are right in both, with nothing inserted between them by either, and at the
/// utterance's end; the next begins with its first error. An insertion belongs before the reference word that follows it.
/// Where neither erred there is no segment. `None` if the alignments are not of as many reference words.
#[must_use]
pub fn segments(control: &[Operation], system: &[Operation]) -> Option<Vec<Segment>> {
    let (mut control, mut system) = (control.iter(), system.iter());
    let (mut found, mut open, mut right) = (Vec::new(), Segment::default(), 0);
    loop {
        let (of_control, of_system) = (step(&mut control), step(&mut system));
        open.control += of_control.inserted;
        open.system += of_system.inserted;
        if of_control.inserted + of_system.inserted > 0 {
            right = 0;
        }
        let (first, second) = match (of_control.word, of_system.word) {
            (Some(first), Some(second)) => (first, second),
            (None, None) => break,
            _ => return None,
        };
        let wrong = |operation| u64::from(operation != Operation::Match);
        open.control += wrong(first);
        open.system += wrong(second);
        right = if wrong(first) + wrong(second) == 0 { right + 1 } else { 0 };
        if right == BETWEEN {
            close(&mut open, &mut found);
        }
    }
    close(&mut open, &mut found);
    Some(found)
}

/// What an alignment says up to and with the next reference word.
struct Step {
    inserted: u64,
    /// `None` at the end.
    word: Option<Operation>,
}

fn step<'a>(operations: &mut impl Iterator<Item = &'a Operation>) -> Step {
    let mut inserted = 0;
    let word = operations.find(|operation| {
        let insertion = **operation == Operation::Insertion;
        inserted += u64::from(insertion);
        !insertion
    });
    Step { inserted, word: word.copied() }
}

fn close(open: &mut Segment, found: &mut Vec<Segment>) {
    let closed = std::mem::take(open);
    if closed != Segment::default() {
        found.push(closed);
    }
}

/// The test over all utterances, given as the alignments (by [`align`](crate::align)) of each system, in the same order.
///
/// `None` with fewer than two segments: there is nothing, or no spread, to test. The choice among alignments of equally few
/// errors can move an error from one segment to the next; sclite weighs errors otherwise and may choose another.
///
/// # Errors
/// [`Error::Uncomparable`] if the systems have not as many utterances, or an utterance not as many reference words.
pub fn mapsswe<A: AsRef<[Operation]>>(control: &[A], system: &[A]) -> Result<Option<MatchedPairs>, Error> {
    check_number(control.len(), system.len())?;
    let mut all = Vec::new();
    for (index, (control, system)) in control.iter().zip(system).enumerate() {
        let (control, system) = (control.as_ref(), system.as_ref());
        all.extend(segments(control, system).ok_or_else(|| {
            let words = |operations| Counts::of(operations).reference_length;
            let what = "both alignments must be with the same reference, but its words are";
            uncomparable(index, what, words(control), words(system))
        })?);
    }
    Ok(test(&all))
}

#[allow(clippy::cast_precision_loss)] // exact up to 2^53 errors
fn test(segments: &[Segment]) -> Option<MatchedPairs> {
    if segments.len() < 2 {
        return None;
    }
    let n = segments.len() as f64;
    let differences = || segments.iter().map(|segment| segment.system as f64 - segment.control as f64);
    let mean = differences().sum::<f64>() / n;
    // Whether all are equal is asked of themselves: around a rounded mean, their variance need not be 0.
    let spread = differences().any(|difference| Some(difference) != differences().next());
    let variance = differences().map(|difference| (difference - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let sd = if spread { variance.sqrt() } else { 0.0 };
    let z = if spread { Some(mean / (sd / n.sqrt())) } else { (mean == 0.0).then_some(0.0) };
    Some(MatchedPairs { segments: segments.len() as u64, mean, sd, z, p: z.map(two_sided) })
}

/// The probability of a standard normal variable at least as far from 0 as `z`.
fn two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() / SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An alignment from sclite's letters, as its reports write it.
    fn steps(letters: &str) -> Vec<Operation> {
        let step = |letter| match letter {
            'C' => Operation::Match,
            'S' => Operation::Substitution,
            'D' => Operation::Deletion,
            _ => Operation::Insertion,
        };
        letters.chars().map(step).collect()
    }

    fn cut(control: &str, system: &str) -> Vec<(u64, u64)> {
        let found = segments(&steps(control), &steps(system)).unwrap();
        found.iter().map(|segment| (segment.control, segment.system)).collect()
    }

    #[test]
    fn two_right_words_part_segments_and_one_does_not() {
        assert_eq!(cut("SCCS", "CCCC"), [(1, 0), (1, 0)]);
        assert_eq!(cut("SCS", "CCC"), [(2, 0)]);
        // Right for the control alone: the system's error ends the run of right words.
        assert_eq!(cut("SCCCS", "CCSCC"), [(2, 1)]);
        assert_eq!(cut("SCCCCS", "CCCSCC"), [(1, 0), (1, 1)]);
        // The rest of an utterance is a segment without two right words behind it, and the next utterance starts anew.
        assert_eq!(cut("CCCSC", "CCCCC"), [(1, 0)]);
    }

    #[test]
    fn an_insertion_parts_right_words() {
        assert_eq!(cut("SCICS", "CCCC"), [(3, 0)]);
        // Two right words before it, and two behind it.
        assert_eq!(cut("SCCICCS", "CCCCCC"), [(1, 0), (1, 0), (1, 0)]);
        // Behind the last word and before the first.
        assert_eq!(cut("CCI", "CCII"), [(1, 2)]);
        assert_eq!(cut("IICC", "CC"), [(2, 0)]);
    }

    #[test]
    fn without_errors_there_is_no_segment() {
        assert_eq!(cut("CCCCC", "CCCCC"), []);
        assert_eq!(cut("", ""), []);
        assert_eq!(cut("", "II"), [(0, 2)]);
        assert_eq!(cut("D", "C"), [(1, 0)]);
        assert_eq!(segments(&steps("CC"), &steps("CCC")), None);
    }

    fn sample(differences: &[u64]) -> Vec<Segment> {
        differences.iter().map(|system| Segment { control: 1, system: *system }).collect()
    }

    #[test]
    fn hand_derived_statistics() {
        // Differences 1, −1, 2, 2: mean 1, squares 0 + 4 + 1 + 1 = 6, sd √(6/3) = √2, z = 1 / (√2 / √4) = √2.
        let found = test(&sample(&[2, 0, 3, 3])).unwrap();
        assert_eq!((found.segments, found.mean), (4, 1.0));
        assert!((found.sd - SQRT_2).abs() < 1e-15 && (found.z.unwrap() - SQRT_2).abs() < 1e-15, "{found:?}");
        // P(|Z| ≥ √2) = erfc(1) = 0.157299207050285.
        assert!((found.p.unwrap() - 0.157_299_207_050_285).abs() < 1e-14, "{found:?}");
    }

    #[test]
    fn the_normal_distribution_at_its_tabled_points() {
        // Two-sided points of 5 %, 1 % and 0.1 %, given to seven digits: p to 2 φ(z) · 5e-7, at most 6e-8.
        for (z, p) in [(1.959_964, 0.05), (-2.575_829, 0.01), (3.290_527, 0.001), (0.0, 1.0)] {
            assert!((two_sided(z) - p).abs() < 6e-8, "{z}");
        }
    }

    #[test]
    fn without_spread_there_is_no_test() {
        assert_eq!(test(&sample(&[])), None);
        assert_eq!(test(&sample(&[3])), None);
        let none = test(&sample(&[1, 1, 1])).unwrap();
        assert_eq!((none.mean, none.sd, none.z, none.p), (0.0, 0.0, Some(0.0), Some(1.0)));
        let constant = test(&sample(&[2, 2, 2])).unwrap();
        assert_eq!((constant.mean, constant.sd, constant.z, constant.p), (1.0, 0.0, None, None));
    }

    #[test]
    fn what_cannot_be_paired_is_named() {
        let (one, two) = ([steps("CC"), steps("CCC")], [steps("CS"), steps("CC")]);
        let message =
            |first: &[Vec<Operation>], second: &[Vec<Operation>]| mapsswe(first, second).unwrap_err().to_string();
        assert!(message(&one, &two).starts_with("utterance 2 cannot be compared"), "{}", message(&one, &two));
        assert!(message(&one, &two).ends_with("3 and 2"), "{}", message(&one, &two));
        assert!(message(&one, &two[..1]).ends_with("2 and 1"));
        // One segment in each utterance, none across.
        let found = mapsswe(&[steps("CS"), steps("SC")], &[steps("CC"), steps("CC")]).unwrap().unwrap();
        assert_eq!((found.segments, found.mean), (2, -1.0));
    }
}
