//! From log probabilities to text, as the settings say.

use klang_ctc::AlignedLabel;
use klang_ctc::beam::{BeamSearch, HotWords, Hypothesis, LabelScorer, Lexicon, Scorer, WordScorer, Words};
use klang_lm::{NgramModel, ReadOptions, WordId};
use klang_text::{Normaliser, Vocabulary};
use klang_transcript::Alternative;

use super::Output;
use super::knowledge::{Knowledge, know};
use super::listener::{BeamListener, GreedyListener, Listener, greedy};
use super::settings::{DecodeMethod, DecodeSettings};
use super::times::{Clock, TimedWord, calibrate, timed_words, words};
use crate::error::{Error, Result};
use crate::model::ModelSpec;

/// A text, with what else it may have been.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The best text.
    pub text: String,
    /// Its labels, without blanks.
    pub labels: Vec<u32>,
    /// The best texts of a beam search, the best first, each text once; empty of a greedy reading.
    pub alternatives: Vec<Alternative>,
}

/// Reads text off a model's output.
#[derive(Debug)]
pub struct Decoder {
    settings: DecodeSettings,
    vocabulary: Vocabulary,
    clock: Clock,
    knowledge: Knowledge,
    hot_words: Option<HotWords>,
    alternatives: usize,
    timing: bool,
    warnings: Vec<String>,
}

impl Decoder {
    /// The decoder of a model. It reads the language model.
    ///
    /// # Errors
    /// Settings out of range; a language model that cannot be read, or none of whose words the model's labels spell; hot words
    /// of letters that the model lacks.
    pub fn new(settings: DecodeSettings, spec: &ModelSpec) -> Result<Decoder> {
        settings.check()?;
        let vocabulary = spec.vocabulary.clone();
        let clock = Clock { samples_per_frame: spec.config.samples_per_frame(), rate: spec.audio.sampling_rate };
        let (mut knowledge, mut hot_words, mut warnings) = (Knowledge::Nothing, None, Vec::new());
        if settings.method == DecodeMethod::Beam {
            if let Some(path) = &settings.lm {
                let lm = NgramModel::read_arpa(path, &ReadOptions::default())?;
                (knowledge, warnings) =
                    know(lm, &vocabulary).map_err(|message| Error::Decoding { path: path.clone(), message })?;
            }
            if settings.word_list() == Words::Listed && !knowledge.is_of_words(&vocabulary) {
                return Err(Error::DecodeValue {
                    key: "words".into(),
                    given: "listed, without a language model of words".into(),
                    allowed: "listed with a language model of words; or open".into(),
                });
            }
            hot_words = hot(&settings, spec)?;
        }
        Ok(Decoder { settings, vocabulary, clock, knowledge, hot_words, warnings, alternatives: 0, timing: true })
    }

    /// The same, which also gives the best `count` texts of a beam search.
    #[must_use]
    pub fn giving(self, count: usize) -> Decoder {
        Decoder { alternatives: count, ..self }
    }

    /// The same, which gives texts alone: an alignment takes time by a recording's length times its text's.
    #[must_use]
    pub fn untimed(self) -> Decoder {
        Decoder { timing: false, ..self }
    }

    /// Whether it gives times.
    pub(crate) fn gives_times(&self) -> bool {
        self.timing
    }

    /// What a user should know of the language model.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether its language model is of labels that are less than words.
    pub(super) fn is_of_labels(&self) -> bool {
        matches!(self.knowledge, Knowledge::Labels { .. }) && !self.knowledge.is_of_words(&self.vocabulary)
    }

    /// How it reads.
    pub fn settings(&self) -> &DecodeSettings {
        &self.settings
    }

    /// The same with other weights and width, which must not need another language model.
    ///
    /// # Errors
    /// Settings out of range.
    pub(crate) fn set(&mut self, settings: DecodeSettings) -> Result<()> {
        settings.check()?;
        self.settings = settings;
        Ok(())
    }

    /// The language model's order and what it is of, for whoever asks.
    pub fn describe(&self) -> String {
        let DecodeSettings { method, width, .. } = &self.settings;
        if *method == DecodeMethod::Greedy {
            return "greedy reading".into();
        }
        let lm = match &self.knowledge {
            Knowledge::Nothing => "no language model".into(),
            Knowledge::Labels { lm, .. } if self.is_of_labels() => format!("{}-gram model of labels", lm.order()),
            Knowledge::Words { lm, .. } | Knowledge::Labels { lm, .. } => {
                format!("{}-gram model of words", lm.order())
            }
        };
        format!("beam search {width} wide, {lm}")
    }

    /// The text of a model's output.
    pub fn decode(&self, output: &Output) -> Decoded {
        if self.settings.method == DecodeMethod::Greedy {
            let labels = greedy(output, &self.vocabulary);
            return Decoded { text: self.vocabulary.decode(&labels), labels, alternatives: Vec::new() };
        }
        let hypotheses = match &self.knowledge {
            Knowledge::Nothing => self.search((), output),
            Knowledge::Words { lm, lexicon, delimiter } => {
                self.search(self.word_scorer(lm, lexicon, *delimiter), output)
            }
            Knowledge::Labels { lm, words } => self.search(self.label_scorer(lm, words), output),
        };
        let mut alternatives: Vec<Alternative> = Vec::new();
        for hypothesis in &hypotheses {
            if alternatives.len() == self.alternatives {
                break;
            }
            let text = self.vocabulary.decode(&hypothesis.labels);
            // Texts that differ in labels alone (a space at the end) are one.
            if alternatives.iter().all(|other| other.text != text) {
                let lm = self.lm_log10(&hypothesis.labels);
                alternatives.push(Alternative { text, score: hypothesis.total(), acoustic: hypothesis.acoustic, lm });
            }
        }
        let labels = hypotheses.into_iter().next().map(|best| best.labels).unwrap_or_default();
        Decoded { text: self.vocabulary.decode(&labels), labels, alternatives }
    }

    fn word_scorer<'a>(&'a self, lm: &'a NgramModel, lexicon: &'a Lexicon, delimiter: u32) -> WordScorer<'a> {
        let (words, weights) = (self.settings.word_list(), self.settings.weights());
        WordScorer { lm, lexicon, words, delimiter, weights }
    }

    fn label_scorer<'a>(&'a self, lm: &'a NgramModel, words: &'a [Option<WordId>]) -> LabelScorer<'a> {
        LabelScorer { lm, words, list: self.settings.word_list(), weights: self.settings.weights() }
    }

    fn beam<'a, S: Scorer + 'a>(&'a self, scorer: S) -> BeamListener<'a, (S, Option<&'a HotWords>)> {
        let both = (scorer, self.hot_words.as_ref());
        let search = BeamSearch::new(self.settings.beam(), self.vocabulary.blank(), both);
        BeamListener { search, vocabulary: &self.vocabulary }
    }

    fn search<'a>(&'a self, scorer: impl Scorer + 'a, output: &Output) -> Vec<Hypothesis> {
        let mut listener = self.beam(scorer);
        listener.push(output);
        // Of texts that differ in spaces alone one counts.
        listener.search.finish(if self.alternatives == 0 { 1 } else { 4 * self.alternatives })
    }

    /// A reading of speech that goes on.
    pub fn listener(&self) -> Box<dyn Listener + '_> {
        match (self.settings.method, &self.knowledge) {
            (DecodeMethod::Greedy, _) => Box::new(GreedyListener::new(&self.vocabulary)),
            (DecodeMethod::Beam, Knowledge::Nothing) => Box::new(self.beam(())),
            (DecodeMethod::Beam, Knowledge::Words { lm, lexicon, delimiter }) => {
                Box::new(self.beam(self.word_scorer(lm, lexicon, *delimiter)))
            }
            (DecodeMethod::Beam, Knowledge::Labels { lm, words }) => Box::new(self.beam(self.label_scorer(lm, words))),
        }
    }

    fn lm_log10(&self, labels: &[u32]) -> Option<f64> {
        let (lm, words): (_, Vec<WordId>) = match &self.knowledge {
            Knowledge::Nothing => return None,
            Knowledge::Words { lm, lexicon, delimiter } => {
                let spelt = labels.split(|label| label == delimiter).filter(|word| !word.is_empty());
                (lm, spelt.map(|word| lexicon.find(word).unwrap_or(WordId::UNKNOWN)).collect())
            }
            Knowledge::Labels { lm, words } => {
                let word = |&label: &u32| words.get(label as usize).copied().flatten().unwrap_or(WordId::UNKNOWN);
                (lm, labels.iter().map(word).collect())
            }
        };
        let (sum, state) = words.into_iter().fold((0.0, lm.start()), |(sum, state), word| {
            let (log10, next) = lm.score(state, word);
            (sum + f64::from(log10), next)
        });
        Some(sum + f64::from(lm.end(state)))
    }

    /// Where a frame begins, in seconds.
    pub(super) fn time(&self, frame: usize) -> f64 {
        self.clock.time(frame)
    }

    /// The words of labels whose frames are known. `duration` is the recording's, in seconds.
    pub(super) fn words(&self, labels: &[u32], places: &[AlignedLabel], duration: f64) -> Vec<TimedWord> {
        let mut words = words(&self.vocabulary, labels, places, self.clock, duration);
        calibrate(&mut words, self.settings.confidence.as_ref());
        words
    }

    /// The words of labels that were read off `output`, with times and confidence. `duration` is the recording's,
    /// in seconds.
    pub fn timed(&self, output: &Output, labels: &[u32], duration: f64) -> Vec<TimedWord> {
        let words = timed_words(&self.vocabulary, output, labels, self.clock, duration);
        let mut words = words.unwrap_or_default();
        calibrate(&mut words, self.settings.confidence.as_ref());
        words
    }
}

/// Hot words by their labels.
fn hot(settings: &DecodeSettings, spec: &ModelSpec) -> Result<Option<HotWords>> {
    if settings.hot_words.is_empty() {
        return Ok(None);
    }
    let refuse = |phrase: &str, given: String| Error::DecodeValue {
        key: format!("the hot word `{phrase}`"),
        given,
        allowed: "words that the model can write".into(),
    };
    let delimiter = spec.vocabulary.delimiter();
    if delimiter.is_none() && !spec.vocabulary.labels_are_words() {
        let phrase = settings.hot_words.keys().next().cloned().unwrap_or_default();
        return Err(refuse(&phrase, "for a model whose vocabulary has no token between words".into()));
    }
    let normaliser = Normaliser::new(&spec.text)?;
    let mut phrases = Vec::new();
    for (phrase, weight) in &settings.hot_words {
        let encoded = spec.vocabulary.encode(&normaliser.apply(phrase));
        if !encoded.unknown.is_empty() || encoded.labels.is_empty() {
            let unknown: String = encoded.unknown.iter().collect();
            let what = if spec.vocabulary.labels_are_words() {
                "words that the model lacks, with"
            } else {
                "letters that the model lacks:"
            };
            return Err(refuse(phrase, format!("of {what} `{unknown}`")));
        }
        phrases.push((encoded.labels, *weight));
    }
    Ok(Some(HotWords::new(&phrases, delimiter)))
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
