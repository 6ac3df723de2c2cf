//! From log probabilities to text, as the settings say.

use klang_ctc::AlignedLabel;
use klang_ctc::beam::{BeamSearch, HotWords, Hypothesis, LabelScorer, Lexicon, Scorer, WordScorer, Words};
use klang_lm::{NgramModel, ReadOptions, WordId};
use klang_text::{Normaliser, Vocabulary};
use klang_transcript::Alternative;

use super::settings::{DecodeMethod, DecodeSettings};
use super::times::{Clock, TimedWord, calibrate, timed_words, words};
use crate::error::{Error, Result};
use crate::model::ModelSpec;

/// What stands for the space between words in a language model of characters, as in Wav2Vec2's own vocabularies.
pub const SPACE: &str = "|";

/// The share of a language model's words that a model is expected to be able to write.
const WRITABLE: f64 = 0.9;

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
    timing: bool,
    warnings: Vec<String>,
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
        let (mut knowledge, mut hot_words, mut warnings) = (Knowledge::Nothing, None, Vec::new());
        if settings.method == DecodeMethod::Beam {
            if let Some(path) = &settings.lm {
                let lm = NgramModel::read_arpa(path, &ReadOptions::default())?;
                (knowledge, warnings) =
                    know(lm, &vocabulary).map_err(|message| Error::Decoding { path: path.clone(), message })?;
            }
            if settings.word_list() == Words::Listed && !matches!(knowledge, Knowledge::Words { .. }) {
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

    /// Whether its language model is of labels, not of words.
    pub(super) fn is_of_labels(&self) -> bool {
        matches!(self.knowledge, Knowledge::Labels { .. })
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
                let scorer = WordScorer { lm, lexicon, words, delimiter: *delimiter, weights };
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
                let lm = self.lm_log10(&hypothesis.labels);
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
        // Of texts that differ in spaces alone one counts.
        search.finish(if self.alternatives == 0 { 1 } else { 4 * self.alternatives })
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
pub(super) fn greedy(log_probabilities: &[f32], vocabulary: &Vocabulary) -> Vec<u32> {
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

/// How a language model's words meet a model's labels; with what a user should know of it.
fn know(lm: NgramModel, vocabulary: &Vocabulary) -> std::result::Result<(Knowledge, Vec<String>), String> {
    if lm.vocabulary().next().is_none() {
        return Err("the language model has no words; make one from text: klang lm TEXT --out FILE.arpa".into());
    }
    let of_characters = lm.vocabulary().all(|(_, word)| word.chars().count() == 1);
    let text = || (0..vocabulary.len() as u32).filter(|&label| !vocabulary.is_special(label));
    let long = text().find(|&label| vocabulary.decode(&[label]).chars().count() > 1);
    if let (true, Some(long)) = (of_characters, long) {
        return Err(format!(
            "a language model of characters, for a recogniser whose labels are longer (`{}`): make one of words, klang lm TEXT --out FILE.arpa",
            vocabulary.decode(&[long])
        ));
    }
    let all = lm.vocabulary().count();
    let warnings = |known: usize, unspelt: &[&str]| {
        let few = (known as f64) < WRITABLE * all as f64;
        let warning = || {
            format!(
                "only {known} of the language model's {all} words can be written with the model's labels; not: {} …",
                unspelt.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ")
            )
        };
        few.then(warning).into_iter().collect()
    };
    if let (false, Some(delimiter)) = (of_characters, vocabulary.delimiter()) {
        let (mut spelt, mut unspelt) = (Vec::new(), Vec::new());
        for (id, word) in lm.vocabulary() {
            let encoded = vocabulary.encode(word);
            match encoded.unknown.is_empty() {
                true => spelt.push((encoded.labels, id)),
                false => unspelt.push(word),
            }
        }
        if spelt.is_empty() {
            return Err(foreign("words", &unspelt, vocabulary));
        }
        let warnings = warnings(spelt.len(), &unspelt);
        let lexicon = Lexicon::new(&lm, spelt);
        return Ok((Knowledge::Words { lm: Box::new(lm), lexicon, delimiter }, warnings));
    }
    // By how its words are encoded: a vocabulary of capitals has labels for small letters, too.
    let mut words: Vec<Option<WordId>> = vec![None; vocabulary.len()];
    let (mut known, mut unspelt) = (0, Vec::new());
    for (id, word) in lm.vocabulary() {
        let encoded = vocabulary.encode(word);
        let label = match (word, vocabulary.delimiter(), encoded.labels.as_slice()) {
            (SPACE, Some(delimiter), _) => Some(delimiter),
            (_, _, [label]) if encoded.unknown.is_empty() => Some(*label),
            _ => None,
        };
        match label {
            Some(label) => {
                words[label as usize].get_or_insert(id);
                known += 1;
            }
            None => unspelt.push(word),
        }
    }
    if text().filter(|&label| Some(label) != vocabulary.delimiter()).all(|label| words[label as usize].is_none()) {
        return Err(foreign("tokens", &unspelt, vocabulary));
    }
    if vocabulary.delimiter().is_some_and(|delimiter| words[delimiter as usize].is_none()) {
        return Err(format!(
            "a language model of characters that does not know `{SPACE}`, which stands between words: klang lm TEXT --units characters writes it so"
        ));
    }
    let warnings = warnings(known, &unspelt);
    Ok((Knowledge::Labels { lm: Box::new(lm), words }, warnings))
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
    let refuse = |phrase: &str, given: String| Error::DecodeValue {
        key: format!("the hot word `{phrase}`"),
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
    fn a_vocabulary_of_capitals_meets_a_language_model_in_small_letters() {
        let folder = tempfile::tempdir().unwrap();
        let spec = ModelSpec { vocabulary: Vocabulary::from_texts(["AB BA C"]).unwrap(), ..spec(Units::Characters) };
        let frames: [&[(&str, f32)]; 2] = [&[("A", 1.0)], &[("B", 0.45), ("C", 0.55)]];
        let rows = rows(&spec.vocabulary, &frames);
        let sentences: [&[&[&str]]; 2] = [&[&["a", "b", "|", "c"], &["a", "b"]], &[&["ab", "c"], &["ab"]]];
        for sentences in sentences {
            let path = lm(&folder, sentences);
            let settings = DecodeSettings { lm: Some(path.clone()), ..beam() };
            let found = Decoder::new(settings, &spec).unwrap().giving(1).decode(&rows);
            assert_eq!(found.text, "AB");
            let lm = NgramModel::read_arpa(&path, &ReadOptions::default()).unwrap();
            let words: &[&str] = if sentences[0][0] == "a" { &["a", "b"] } else { &["ab"] };
            assert_eq!(found.alternatives[0].lm, Some(lm.score_sentence(words.iter().copied()).log10));
        }
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
            (DecodeSettings { width: 0, ..beam() }, "width is 0"),
        ];
        for (settings, said) in cases {
            let message = of(settings).to_string();
            assert!(message.contains(said), "{message}");
        }
        // Another sign between words, and labels that are longer than characters.
        let path = lm(&folder, &[&["a", "b", "_", "c"]]);
        assert!(of(DecodeSettings { lm: Some(path.clone()), ..beam() }).to_string().contains("does not know `|`"));
        let message = Decoder::new(DecodeSettings { lm: Some(path), ..beam() }, &self::spec(Units::Words)).unwrap_err();
        assert!(message.to_string().contains("`ab`"), "{message}");
        let path = lm(&folder, &[&["ab", "xy", "c"]]);
        let decoder = Decoder::new(DecodeSettings { lm: Some(path), ..beam() }, &spec).unwrap();
        assert!(decoder.warnings()[0].contains("only 2 of the language model's 3 words"), "{:?}", decoder.warnings());
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
