//! From log probabilities to text, as the settings say.

use klang_ctc::beam::{BeamSearch, HotWords, Hypothesis, LabelScorer, Lexicon, Scorer, WordScorer, Words};
use klang_lm::{NgramModel, ReadOptions, WordId};
use klang_text::{Normaliser, Vocabulary};
use klang_transcript::Alternative;

use super::settings::{DecodeMethod, DecodeSettings};
use super::times::{Clock, TimedWord, calibrate, timed_words};
use crate::error::{Error, Result};
use crate::model::ModelSpec;

/// What stands for the space between words in a language model of characters, as in Wav2Vec2's own vocabularies.
pub const SPACE: &str = "|";

/// Words that are named in a message.
const NAMED: usize = 5;

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
}

/// What is known of texts.
#[derive(Debug)]
enum Knowledge {
    Nothing,
    /// A language model of words, which the labels spell; a vocabulary that parts words.
    Words {
        lm: Box<NgramModel>,
        lexicon: Lexicon,
        delimiter: u32,
    },
    /// A language model of the labels.
    Labels {
        lm: Box<NgramModel>,
        words: Vec<Option<WordId>>,
    },
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
        let (mut knowledge, mut hot_words) = (Knowledge::Nothing, None);
        if settings.method == DecodeMethod::Beam {
            if let Some(path) = &settings.lm {
                let lm = NgramModel::read_arpa(path, &ReadOptions::default())?;
                knowledge = know(lm, &vocabulary).map_err(|message| Error::Model { path: path.clone(), message })?;
            }
            if settings.word_list() == Words::Listed && !matches!(knowledge, Knowledge::Words { .. }) {
                return Err(Error::RecipeValue {
                    key: "decode.words".into(),
                    given: "listed, without a language model of words".into(),
                    allowed: "listed with decode.lm, a model of words; or open".into(),
                });
            }
            hot_words = hot(&settings, spec)?;
        }
        Ok(Decoder { settings, vocabulary, clock, knowledge, hot_words, alternatives: 0 })
    }

    /// The same, which also gives the best `count` texts of a beam search.
    #[must_use]
    pub fn giving(self, count: usize) -> Decoder {
        Decoder { alternatives: count, ..self }
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
            Knowledge::Words { lm, .. } => format!("{}-gram model of words", lm.order()),
            Knowledge::Labels { lm, .. } => format!("{}-gram model of labels", lm.order()),
        };
        format!("beam search {width} wide, {lm}")
    }

    /// The text of log probabilities (frame, vocabulary), natural logarithms.
    pub fn decode(&self, log_probabilities: &[f32]) -> Decoded {
        if self.settings.method == DecodeMethod::Greedy {
            let labels = greedy(log_probabilities, &self.vocabulary);
            return Decoded { text: self.vocabulary.decode(&labels), labels, alternatives: Vec::new() };
        }
        let hypotheses = match &self.knowledge {
            Knowledge::Nothing => self.search((), log_probabilities),
            Knowledge::Words { lm, lexicon, delimiter } => {
                let (words, weights) = (self.settings.word_list(), self.settings.weights());
                let scorer = WordScorer { lm: Some(lm), lexicon, words, delimiter: *delimiter, weights };
                self.search(scorer, log_probabilities)
            }
            Knowledge::Labels { lm, words } => {
                self.search(LabelScorer { lm, words, weights: self.settings.weights() }, log_probabilities)
            }
        };
        let mut alternatives: Vec<Alternative> = Vec::new();
        for hypothesis in &hypotheses {
            if alternatives.len() == self.alternatives {
                break;
            }
            let text = self.vocabulary.decode(&hypothesis.labels);
            // Texts that differ in labels alone (a space at the end) are one.
            if alternatives.iter().all(|other| other.text != text) {
                let lm = self.lm_log10(&text, &hypothesis.labels);
                alternatives.push(Alternative { text, score: hypothesis.total(), acoustic: hypothesis.acoustic, lm });
            }
        }
        let labels = hypotheses.into_iter().next().map(|best| best.labels).unwrap_or_default();
        Decoded { text: self.vocabulary.decode(&labels), labels, alternatives }
    }

    fn search(&self, scorer: impl Scorer, log_probabilities: &[f32]) -> Vec<Hypothesis> {
        let vocabulary = &self.vocabulary;
        let both = (scorer, self.hot_words.as_ref());
        let mut search = BeamSearch::new(self.settings.beam(), vocabulary.blank(), both);
        // Tokens that are no text (the unknown one, a sentence's ends) say nothing.
        let silent: Vec<usize> = (0..vocabulary.len())
            .filter(|&id| id as u32 != vocabulary.blank() && vocabulary.is_special(id as u32))
            .collect();
        let mut frame = vec![0.0; vocabulary.len()];
        for row in log_probabilities.chunks_exact(vocabulary.len()) {
            frame.copy_from_slice(row);
            silent.iter().for_each(|&id| frame[id] = f32::NEG_INFINITY);
            search.push(&frame);
        }
        search.finish(self.settings.width)
    }

    fn lm_log10(&self, text: &str, labels: &[u32]) -> Option<f64> {
        match &self.knowledge {
            Knowledge::Nothing => None,
            Knowledge::Words { lm, .. } => Some(lm.score_sentence(text.split_whitespace()).log10),
            Knowledge::Labels { lm, .. } => {
                let spelt: Vec<String> = labels.iter().map(|&label| spelling(&self.vocabulary, label)).collect();
                Some(lm.score_sentence(spelt.iter().map(String::as_str)).log10)
            }
        }
    }

    /// The words of labels that were read off `log_probabilities`, with times and confidence. `duration` is the recording's,
    /// in seconds.
    pub fn timed(&self, log_probabilities: &[f32], labels: &[u32], duration: f64) -> Vec<TimedWord> {
        let words = timed_words(&self.vocabulary, log_probabilities, labels, self.clock, duration);
        let mut words = words.unwrap_or_default();
        calibrate(&mut words, self.settings.confidence.as_ref());
        words
    }
}

/// The best label of each frame, repeats merged, blanks dropped.
fn greedy(log_probabilities: &[f32], vocabulary: &Vocabulary) -> Vec<u32> {
    let best = |row: &[f32]| {
        // Of equal ones the first, as libtorch's argmax has it.
        let labels = (0u32..).zip(row).max_by(|(a, x), (b, y)| x.total_cmp(y).then(b.cmp(a)));
        labels.map_or(vocabulary.blank(), |(label, _)| label)
    };
    let mut labels: Vec<u32> = log_probabilities.chunks_exact(vocabulary.len()).map(best).collect();
    labels.dedup();
    labels.retain(|&label| label != vocabulary.blank());
    labels
}

/// A label as a language model of labels has it.
fn spelling(vocabulary: &Vocabulary, label: u32) -> String {
    if Some(label) == vocabulary.delimiter() { SPACE.into() } else { vocabulary.decode(&[label]) }
}

/// How a language model's words meet a model's labels.
fn know(lm: NgramModel, vocabulary: &Vocabulary) -> std::result::Result<Knowledge, String> {
    if lm.vocabulary().next().is_none() {
        return Err("the language model has no words; make one from text: klang lm TEXT --out FILE.arpa".into());
    }
    let of_characters = lm.vocabulary().all(|(_, word)| word.chars().count() == 1);
    let labels_are_characters =
        vocabulary.tokens().iter().all(|token| token.chars().count() == 1 || token.starts_with(['<', '[']));
    match vocabulary.delimiter() {
        Some(delimiter) if !(of_characters && labels_are_characters) => {
            let (mut spelt, mut unspelt) = (Vec::new(), Vec::new());
            for (id, word) in lm.vocabulary() {
                let encoded = vocabulary.encode(word);
                match encoded.unknown.is_empty() {
                    true => spelt.push((encoded.labels, Some(id))),
                    false => unspelt.push(word),
                }
            }
            if spelt.is_empty() {
                return Err(foreign("words", &unspelt, vocabulary));
            }
            let lexicon = Lexicon::new(spelt);
            Ok(Knowledge::Words { lm: Box::new(lm), lexicon, delimiter })
        }
        _ => {
            let word = |label: u32| match vocabulary.is_special(label) {
                true => None,
                false => lm.word(&spelling(vocabulary, label)),
            };
            let words: Vec<Option<WordId>> = (0..vocabulary.len() as u32).map(word).collect();
            if words.iter().flatten().count() == 0 {
                let all: Vec<&str> = lm.vocabulary().map(|(_, word)| word).collect();
                return Err(foreign("tokens", &all, vocabulary));
            }
            Ok(Knowledge::Labels { lm: Box::new(lm), words })
        }
    }
}

fn foreign(what: &str, words: &[&str], vocabulary: &Vocabulary) -> String {
    let text = (0..vocabulary.len() as u32).filter(|&label| !vocabulary.is_special(label));
    let letters: Vec<String> = text.map(|label| vocabulary.decode(&[label])).filter(|text| !text.is_empty()).collect();
    format!(
        "none of its {} {what} ({} …) can be written with the model's labels ({} …): was it made from text of another script or casing? Make it from the training transcripts: klang lm TEXT --model MODEL --out FILE.arpa",
        words.len(),
        words.iter().take(NAMED).copied().collect::<Vec<_>>().join(", "),
        letters.iter().take(4 * NAMED).cloned().collect::<Vec<_>>().join(" ")
    )
}

/// Hot words by their labels.
fn hot(settings: &DecodeSettings, spec: &ModelSpec) -> Result<Option<HotWords>> {
    if settings.hot_words.is_empty() {
        return Ok(None);
    }
    let refuse = |phrase: &str, given: String| Error::RecipeValue {
        key: format!("decode.hot_words.{phrase}"),
        given,
        allowed: "words of letters that the model writes".into(),
    };
    let Some(delimiter) = spec.vocabulary.delimiter() else {
        let phrase = settings.hot_words.keys().next().cloned().unwrap_or_default();
        return Err(refuse(&phrase, "for a model whose vocabulary has no token between words".into()));
    };
    let normaliser = Normaliser::new(&spec.text)?;
    let mut phrases = Vec::new();
    for (phrase, weight) in &settings.hot_words {
        let encoded = spec.vocabulary.encode(&normaliser.apply(phrase));
        if !encoded.unknown.is_empty() || encoded.labels.is_empty() {
            let unknown: String = encoded.unknown.iter().collect();
            return Err(refuse(phrase, format!("of letters that the model lacks: `{unknown}`")));
        }
        phrases.push((encoded.labels, *weight));
    }
    Ok(Some(HotWords::new(&phrases, delimiter)))
}

#[cfg(test)]
mod tests {
    use super::super::settings::WordList;
    use super::*;
    use crate::model::AudioSpec;
    use klang_lm::ModifiedKneserNey;
    use klang_text::{TextOptions, Units};
    use klang_wav2vec2::ModelConfig;

    fn spec(units: Units) -> ModelSpec {
        ModelSpec {
            config: ModelConfig::of_size("tiny").unwrap(),
            vocabulary: Vocabulary::of_units(units, ["ab ba c"]).unwrap(),
            audio: AudioSpec::default(),
            text: TextOptions::default(),
            bottleneck: None,
        }
    }

    fn lm(folder: &tempfile::TempDir, sentences: &[&[&str]]) -> std::path::PathBuf {
        let path = folder.path().join("lm.arpa");
        let estimated =
            ModifiedKneserNey { order: 2, ..Default::default() }.estimate(sentences.iter().map(|one| one.iter()));
        estimated.unwrap().model.write_arpa(&path).unwrap();
        path
    }

    /// ln of probabilities: each frame's labels with their probabilities, the rest all but impossible.
    fn rows(vocabulary: &Vocabulary, frames: &[&[(&str, f32)]]) -> Vec<f32> {
        let mut rows = vec![-25.0f32; frames.len() * vocabulary.len()];
        for (frame, labels) in frames.iter().enumerate() {
            for (token, p) in *labels {
                let id = vocabulary.tokens().iter().position(|known| known == token).unwrap();
                rows[frame * vocabulary.len() + id] = p.ln();
            }
        }
        rows
    }

    fn beam() -> DecodeSettings {
        DecodeSettings { method: DecodeMethod::Beam, lm_weight: 1.0, word_score: 0.0, ..DecodeSettings::default() }
    }

    #[test]
    fn a_model_of_words_turns_the_balance() {
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(Units::Characters);
        let path = lm(&folder, &[&["ba", "c"], &["ba"], &["c", "ba"], &["ab"]]);
        // "ac" is a little more probable than "ab", and no word.
        let frames: [&[(&str, f32)]; 2] = [&[("a", 1.0)], &[("b", 0.45), ("c", 0.55)]];
        let rows = rows(&spec.vocabulary, &frames);
        let read = |settings: DecodeSettings| Decoder::new(settings, &spec).unwrap().giving(5).decode(&rows);
        assert_eq!(read(DecodeSettings::default()).text, "ac");
        let free = read(beam());
        assert_eq!(
            (free.text.as_str(), free.alternatives[1].text.as_str(), free.alternatives[0].lm),
            ("ac", "ab", None)
        );
        assert!((free.alternatives[0].acoustic - 0.55f64.ln()).abs() < 1e-6);
        for words in [WordList::Open, WordList::Listed] {
            let found = read(DecodeSettings { lm: Some(path.clone()), words, unknown_score: -1.0, ..beam() });
            assert_eq!(found.text, "ab", "{words:?}");
            let texts: Vec<&str> = found.alternatives.iter().map(|one| one.text.as_str()).collect();
            assert_eq!(texts.contains(&"ac"), words == WordList::Open, "{texts:?}");
            let lm = NgramModel::read_arpa(&path, &ReadOptions::default()).unwrap();
            assert_eq!(found.alternatives[0].lm, Some(lm.score_sentence(["ab"]).log10));
        }
        let hot = DecodeSettings { hot_words: [("Ab!".to_owned(), 3.0)].into(), ..beam() };
        assert_eq!(read(hot).text, "ab", "hot words are normalised as transcripts are");
    }

    #[test]
    fn a_model_of_characters_and_one_of_words_that_are_labels() {
        let folder = tempfile::tempdir().unwrap();
        let characters = spec(Units::Characters);
        let path = lm(&folder, &[&["a", "b", "|", "c"], &["a", "b"]]);
        let frames: [&[(&str, f32)]; 2] = [&[("a", 1.0)], &[("b", 0.45), ("c", 0.55)]];
        let decoder = Decoder::new(DecodeSettings { lm: Some(path), ..beam() }, &characters).unwrap().giving(1);
        assert_eq!(decoder.describe(), "beam search 100 wide, 2-gram model of labels");
        let found = decoder.decode(&rows(&characters.vocabulary, &frames));
        assert_eq!(found.text, "ab");
        assert!(found.alternatives[0].lm.is_some());

        let words = spec(Units::Words);
        let path = lm(&folder, &[&["ba", "c"], &["ba", "c"], &["ab", "ba"]]);
        let frames: [&[(&str, f32)]; 3] = [&[("ba", 1.0)], &[("|", 1.0)], &[("ab", 0.55), ("c", 0.45)]];
        let decoder = Decoder::new(DecodeSettings { lm: Some(path), ..beam() }, &words).unwrap();
        assert_eq!(decoder.describe(), "beam search 100 wide, 2-gram model of words");
        assert_eq!(decoder.decode(&rows(&words.vocabulary, &frames)).text, "ba c");
    }

    #[test]
    fn what_a_decoder_cannot_use_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let spec = spec(Units::Characters);
        let path = lm(&folder, &[&["\u{434}\u{430}", "\u{43d}\u{435}\u{442}"]]);
        let of = |settings: DecodeSettings| Decoder::new(settings, &spec).map(|_| ()).unwrap_err();
        let cases = [
            (DecodeSettings { lm: Some(path), ..beam() }, "none of its 2 words"),
            (DecodeSettings { words: WordList::Listed, ..beam() }, "without a language model"),
            (DecodeSettings { hot_words: [("xyz".to_owned(), 1.0)].into(), ..beam() }, "`xyz`"),
            (DecodeSettings { lm: Some("nowhere.arpa".into()), ..beam() }, "nowhere.arpa"),
            (DecodeSettings { width: 0, ..beam() }, "decode.width"),
        ];
        for (settings, said) in cases {
            let message = of(settings).to_string();
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn greedy_reading_is_libtorchs() {
        let spec = spec(Units::Characters);
        let logits = tch::Tensor::randn([40, spec.vocabulary.len() as i64], (tch::Kind::Float, tch::Device::Cpu));
        let path = klang_ctc::greedy(&logits.unsqueeze(0), &[40], spec.vocabulary.blank()).unwrap().remove(0);
        let rows = super::super::log_probabilities(&logits).unwrap();
        let decoder = Decoder::new(DecodeSettings::default(), &spec).unwrap();
        assert_eq!(decoder.decode(&rows).labels, path.labels);
    }
}
