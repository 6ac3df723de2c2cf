//! Probabilities and back-off weights from counts.
//!
//! For an n-gram of context c and word w, with adjusted counts a, discounts D, and c′ = c without its first word,
//!
//! p(w | c) = (a(c w) − D(a(c w))) / A(c) + γ(c) p(w | c′),  A(c) = Σ a(c v) over all words v,
//! γ(c) = (Σ D(a(c v)) over kept n-grams c v + Σ a(c v) over pruned ones) / A(c).
//!
//! Below the unigrams is the uniform distribution over all words, the unknown one and the sentence's end among them. γ(c) is the
//! back-off weight of c.

use super::counts::{Counted, Counts, NONE, Positions};
use super::discounts::Discounts;
use super::text::{END, START, Text};
use crate::automaton::{Builder, Gram};
use crate::error::{Error, Result};
use crate::model::NgramModel;
use crate::words::Words;

/// The n-grams of one order that are kept, as the next order needs them.
struct Level {
    /// Which of them ends at each position of the text; `NONE` where there is none.
    ending: Vec<u32>,
    /// Of each its probability.
    probabilities: Vec<f64>,
    /// Of each its place among the builder's.
    places: Vec<u32>,
}

/// Estimates a model of as many orders as there are pruning thresholds.
pub(super) fn estimate(text: &Text, prune: &[u64], fallback: [f64; 3]) -> Result<(NgramModel, Vec<Discounts>)> {
    let positions = Positions::sort(&text.tokens, prune.len());
    let counts = positions.count(1);
    let mut discounts = vec![Discounts::estimate(&counts.grams, fallback)];
    let (words, ids) = keep_words(text, &counts.grams, prune[0]);
    let word = |position: usize| ids[text.tokens[position] as usize];
    let ending = (0..text.tokens.len()).map(word).collect();
    let (mut level, grams) = unigrams(words.len(), word, ending, &counts.grams, &discounts[0]);
    let mut builder = Builder::new(words, grams, true);
    for (order, threshold) in (2..).zip(&prune[1..]) {
        let counts = positions.count(order);
        let of_order = Discounts::estimate(&counts.grams, fallback);
        let contexts = Contexts::sum(&level, &counts.grams, *threshold, &of_order);
        builder.set_backoffs(level.places.iter().enumerate().map(|(gram, place)| (*place, contexts.backoff(gram))));
        let (next, grams) = extend(&level, word, counts, *threshold, &of_order, &contexts);
        builder.push(grams).map_err(|_| Error::TooLarge)?;
        level = next;
        discounts.push(of_order);
    }
    Ok((builder.finish().map_err(|_| Error::TooLarge)?, discounts))
}

/// The words that pruning leaves, and of each word of the text its id among them, or `NONE`.
fn keep_words(text: &Text, counted: &[Counted], threshold: u64) -> (Words, Vec<u32>) {
    let mut kept = Words::new();
    let mut ids: Vec<u32> = (0..=END).map(|special| kept.push(text.vocabulary.text(special))).collect();
    ids.resize(text.vocabulary.len() as usize, NONE);
    // In the order of their ids, since every word of the vocabulary is in the text.
    for gram in counted {
        let word = text.tokens[gram.position as usize];
        if word > END && u64::from(gram.seen) > threshold {
            ids[word as usize] = kept.push(text.vocabulary.text(word));
        }
    }
    (kept, ids)
}

/// The unigrams, one for each word, named by its id.
fn unigrams(
    words: u32,
    word: impl Fn(usize) -> u32,
    ending: Vec<u32>,
    counted: &[Counted],
    discounts: &Discounts,
) -> (Level, Vec<Gram>) {
    let total: f64 = counted.iter().map(|gram| f64::from(gram.adjusted)).sum();
    let mut probabilities = vec![0.0; words as usize];
    let mut taken = 0.0;
    for gram in counted {
        let (count, discount) = (f64::from(gram.adjusted), discounts.of(gram.adjusted));
        match probabilities.get_mut(word(gram.position as usize) as usize) {
            Some(probability) => (*probability, taken) = ((count - discount) / total, taken + discount),
            // Pruned.
            None => taken += count,
        }
    }
    // The start of a sentence is no word that could be said.
    let uniform = 1.0 / f64::from(words - 1);
    probabilities.iter_mut().for_each(|probability| *probability += taken / total * uniform);
    // As lmplz has it: a sentence's start has happened. Nothing ever asks for it but a text with <s> among its words.
    probabilities[START as usize] = 1.0;
    let gram = |(word, probability): (u32, &f64)| Gram { context: 0, word, log10: log10(*probability), backoff: 0.0 };
    let grams = (0..).zip(&probabilities).map(gram).collect();
    (Level { ending, probabilities, places: (0..words).collect() }, grams)
}

/// What the n-grams of one context have together.
#[derive(Clone, Copy, Default)]
struct Context {
    /// The sum of their adjusted counts, A.
    total: f64,
    /// What of it discounts and pruning take away, A · γ.
    taken: f64,
}

struct Contexts(Vec<Context>);

impl Contexts {
    /// Sums up n-grams by contexts one order lower.
    fn sum(level: &Level, counted: &[Counted], threshold: u64, discounts: &Discounts) -> Self {
        let mut contexts = vec![Context::default(); level.probabilities.len()];
        for gram in counted {
            // What extends a pruned n-gram is pruned.
            let Some(context) = contexts.get_mut(level.ending[gram.position as usize - 1] as usize) else { continue };
            let count = f64::from(gram.adjusted);
            context.total += count;
            context.taken += if u64::from(gram.seen) > threshold { discounts.of(gram.adjusted) } else { count };
        }
        Self(contexts)
    }

    /// log10 of the back-off weight.
    fn backoff(&self, context: usize) -> f32 {
        let Context { total, taken } = self.0[context];
        if total > 0.0 { log10(taken / total) } else { 0.0 }
    }
}

/// The n-grams one order above `level`, whose last words are by the position where they end.
fn extend(
    level: &Level,
    word: impl Fn(usize) -> u32,
    Counts { grams: counted, mut ending }: Counts,
    threshold: u64,
    discounts: &Discounts,
    contexts: &Contexts,
) -> (Level, Vec<Gram>) {
    let mut kept = vec![NONE; counted.len()];
    let (mut probabilities, mut grams) = (Vec::new(), Vec::new());
    for (kept, gram) in kept.iter_mut().zip(&counted).filter(|(_, gram)| u64::from(gram.seen) > threshold) {
        *kept = grams.len() as u32;
        let at = gram.position as usize;
        let (context, shorter) = (level.ending[at - 1] as usize, level.ending[at] as usize);
        let Context { total, taken } = contexts.0[context];
        let own = f64::from(gram.adjusted) - discounts.of(gram.adjusted);
        let probability = (own + taken * level.probabilities[shorter]) / total;
        probabilities.push(probability);
        grams.push(Gram { context: level.places[context], word: word(at), log10: log10(probability), backoff: 0.0 });
    }
    for gram in ending.iter_mut().filter(|gram| **gram != NONE) {
        *gram = kept[*gram as usize];
    }
    let mut order: Vec<u32> = (0..grams.len() as u32).collect();
    order.sort_unstable_by_key(|gram| (grams[*gram as usize].context, grams[*gram as usize].word));
    let mut places = vec![0; grams.len()];
    (0..).zip(&order).for_each(|(place, gram)| places[*gram as usize] = place);
    let grams = order.into_iter().map(|gram| grams[gram as usize]).collect();
    (Level { ending, probabilities, places }, grams)
}

/// In single precision, rounding above 1 taken back. Zero, which discounts of 0 lead to, is written as −99, as SRILM does.
fn log10(probability: f64) -> f32 {
    probability.log10().clamp(-99.0, 0.0) as f32
}
