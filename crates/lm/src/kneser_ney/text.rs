//! The text as numbers.

use crate::error::{Error, Result, excerpt};
use crate::words::{SENTENCE_END, SENTENCE_START, Words, is_special};

/// What is done with `<s>`, `</s>`, `<unk>` and `<UNK>` in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpecialsInText {
    /// The text is refused.
    #[default]
    Refuse,
    /// They are left out, as if they were not there.
    Skip,
}

/// The id of the start of a sentence; 0 is the unknown word.
pub(super) const START: u32 = 1;
/// The id of the end of a sentence.
pub(super) const END: u32 = 2;

/// A text's words.
pub(super) struct Text {
    pub(super) vocabulary: Words,
    /// Of every sentence START, its words, and END.
    pub(super) tokens: Vec<u32>,
    pub(super) sentences: u64,
    pub(super) words: u64,
}

impl Text {
    pub(super) fn read<S, W>(sentences: impl IntoIterator<Item = S>, specials: SpecialsInText) -> Result<Self>
    where
        S: IntoIterator<Item = W>,
        W: AsRef<str>,
    {
        let mut vocabulary = specials_alone();
        let (mut tokens, mut count, mut words) = (Vec::new(), 0, 0);
        for sentence in sentences {
            count += 1;
            tokens.push(START);
            for word in sentence {
                let word = word.as_ref();
                if is_special(word) {
                    match specials {
                        SpecialsInText::Skip => continue,
                        SpecialsInText::Refuse => {
                            return Err(Error::SpecialInText { sentence: count, token: word.to_owned() });
                        }
                    }
                }
                if word.is_empty() || word.contains(['\0', '\t', '\n', '\r', ' ']) {
                    return Err(Error::BadWord { sentence: count, word: excerpt(word) });
                }
                tokens.push(vocabulary.push(word));
                words += 1;
            }
            tokens.push(END);
            // Positions, words and n-grams are all numbered in 32 bits.
            if tokens.len() >= u32::MAX as usize {
                return Err(Error::TextTooLong);
            }
        }
        if words == 0 {
            return Err(Error::NoWords { sentences: count });
        }
        let mut text = Self { vocabulary, tokens, sentences: count, words };
        text.renumber();
        Ok(text)
    }

    /// Numbers words in the order of their bytes, so that the order of the text leaves no trace.
    fn renumber(&mut self) {
        let old = &self.vocabulary;
        let mut ids: Vec<u32> = (0..old.len()).collect();
        ids[END as usize + 1..].sort_unstable_by_key(|id| old.text(*id));
        let mut vocabulary = specials_alone();
        let mut new = vec![0; ids.len()];
        for id in ids {
            new[id as usize] = vocabulary.push(old.text(id));
        }
        self.tokens.iter_mut().for_each(|token| *token = new[*token as usize]);
        self.vocabulary = vocabulary;
    }
}

fn specials_alone() -> Words {
    let mut words = Words::new();
    words.push(SENTENCE_START);
    words.push(SENTENCE_END);
    words
}
