//! The words of a reference and a hypothesis side by side.

use unicode_normalization::UnicodeNormalization;

use crate::edit::{Operation, align};

/// One step of an alignment, with its words in NFC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlignedWord {
    /// What became of the reference's word.
    pub operation: Operation,
    /// The reference's word; none for an insertion.
    pub reference: Option<String>,
    /// The hypothesis's word; none for a deletion.
    pub hypothesis: Option<String>,
}

/// The alignment behind [`crate::count_words`], from the beginning to the end.
#[must_use]
pub fn align_words(reference: &str, hypothesis: &str) -> Vec<AlignedWord> {
    let words = |text: &str| -> Vec<String> {
        let text: String = text.nfc().collect();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let (reference, hypothesis) = (words(reference), words(hypothesis));
    let operations = align(&reference, &hypothesis);
    let (mut said, mut heard) = (reference.into_iter(), hypothesis.into_iter());
    let step = |operation| AlignedWord {
        operation,
        reference: if operation == Operation::Insertion { None } else { said.next() },
        hypothesis: if operation == Operation::Deletion { None } else { heard.next() },
    };
    operations.into_iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_the_words_that_it_takes() {
        let aligned = align_words("we saw  the old caf\u{e9}", "we have seen the cafe\u{301}");
        let steps: Vec<_> = (aligned.iter())
            .map(|word| (word.operation, word.reference.as_deref(), word.hypothesis.as_deref()))
            .collect();
        assert_eq!(
            steps,
            [
                (Operation::Match, Some("we"), Some("we")),
                (Operation::Insertion, None, Some("have")),
                (Operation::Substitution, Some("saw"), Some("seen")),
                (Operation::Match, Some("the"), Some("the")),
                (Operation::Deletion, Some("old"), None),
                (Operation::Match, Some("caf\u{e9}"), Some("caf\u{e9}")),
            ]
        );
        assert!(align_words(" ", "").is_empty());
    }
}
