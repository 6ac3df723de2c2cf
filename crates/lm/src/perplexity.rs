//! The probability of sentences, and the perplexity of a text.

use crate::model::NgramModel;
use crate::words::WordId;

/// The score of one sentence.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SentenceScore {
    /// log10 of the probability of all its words and of its end.
    pub log10: f64,
    /// Its words, without the sentence's end.
    pub words: u64,
    /// Those of them that the model does not know (out of vocabulary, OOV).
    pub unknown: u64,
    /// What the unknown words contribute to `log10`.
    pub log10_unknown: f64,
}

/// The score of a text, sentence by sentence; the same figures as KenLM's `query` prints.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TextScore {
    /// log10 of the probability of all sentences.
    pub log10: f64,
    /// Words and sentence ends.
    pub tokens: u64,
    /// How many of them the model does not know.
    pub unknown: u64,
    /// What the unknown words contribute to `log10`.
    pub log10_unknown: f64,
    /// How many sentences there are.
    pub sentences: u64,
}

impl NgramModel {
    /// Scores a sentence from its start to its end. Words that are not the model's, the special tokens among them, are unknown.
    #[must_use]
    pub fn score_sentence<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> SentenceScore {
        let mut sentence = SentenceScore::default();
        let mut state = self.start();
        for word in words {
            let id = self.word(word).unwrap_or(WordId::UNKNOWN);
            let (log10, next) = self.score(state, id);
            sentence.words += 1;
            sentence.log10 += f64::from(log10);
            if id == WordId::UNKNOWN {
                sentence.unknown += 1;
                sentence.log10_unknown += f64::from(log10);
            }
            state = next;
        }
        sentence.log10 += f64::from(self.end(state));
        sentence
    }

    /// Scores all sentences of a text.
    #[must_use]
    pub fn score_text<'a, S: IntoIterator<Item = &'a str>>(&self, sentences: impl IntoIterator<Item = S>) -> TextScore {
        let mut text = TextScore::default();
        sentences.into_iter().for_each(|sentence| text.add(&self.score_sentence(sentence)));
        text
    }
}

impl TextScore {
    /// Adds a sentence.
    pub fn add(&mut self, sentence: &SentenceScore) {
        self.log10 += sentence.log10;
        self.tokens += sentence.words + 1;
        self.unknown += sentence.unknown;
        self.log10_unknown += sentence.log10_unknown;
        self.sentences += 1;
    }

    /// Perplexity per token, unknown words with the probability that the model has for them; nothing for a text without
    /// sentences.
    #[must_use]
    pub fn perplexity(&self) -> Option<f64> {
        perplexity(self.log10, self.tokens)
    }

    /// Perplexity per token that the model knows; nothing for a text without sentences.
    ///
    /// It falls where words are harder to know: compare two models by it only if they share a vocabulary.
    #[must_use]
    pub fn perplexity_without_unknown(&self) -> Option<f64> {
        perplexity(self.log10 - self.log10_unknown, self.tokens - self.unknown)
    }
}

#[allow(clippy::cast_precision_loss)] // exact up to 2^53 tokens
fn perplexity(log10: f64, tokens: u64) -> Option<f64> {
    (tokens > 0).then(|| 10_f64.powf(-log10 / tokens as f64))
}
