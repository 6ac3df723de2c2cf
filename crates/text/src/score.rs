//! Word and character error rates of a set of hypotheses, over all and by speaker.
//!
//! The rates are corpus-level: all errors over all reference units, never a mean of utterance rates. Texts are compared as they
//! come but for NFC and white space; whoever scores normalises both sides first with the same [`crate::Normaliser`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::bootstrap::{Ci95Unit, interval95};
use crate::edit::{Counts, count_errors};

/// An utterance's reference and hypothesis.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The utterance.
    pub id: String,
    /// Who speaks, if known.
    pub speaker: Option<String>,
    /// What was said.
    pub reference: String,
    /// What was recognised; empty if nothing was.
    pub hypothesis: String,
}

/// How to score.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreOptions {
    /// Bootstrap draws for the intervals; 0 for none. Default: 1000.
    pub resamples: u32,
    /// The seed of the draws. Default: 0.
    pub seed: u64,
    /// Whether the space between two words is a character of the CER. Default: true, as in jiwer, since a missing or added
    /// space is an error that a reader sees. Without, CER is blind to word boundaries.
    pub cer_spaces: bool,
    /// What the overall interval resamples; a speaker's own is always over utterances. Default: utterances.
    pub ci95_unit: Ci95Unit,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self { resamples: 1000, seed: 0, cer_spaces: true, ci95_unit: Ci95Unit::Utterances }
    }
}

/// Character errors, of which the CER is the rate. A character is a code point after NFC: a letter with a mark that has no
/// composed form counts as two.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CharacterCounts {
    /// Characters in the references.
    pub characters: u64,
    /// Reference characters replaced by another.
    pub substitutions: u64,
    /// Reference characters missing.
    pub deletions: u64,
    /// Characters without a reference character.
    pub insertions: u64,
}

/// The score of a set of utterances. Rates are fractions: 0.123 is 12.3 %.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Score {
    /// Word error rate, ≥ 0; see [`Counts::rate`] for references without a word. `None` (null): nothing to measure.
    pub wer: Option<f64>,
    /// Character error rate, likewise.
    pub cer: Option<f64>,
    /// Words in the references.
    pub words: u64,
    /// Reference words replaced by another.
    pub substitutions: u64,
    /// Reference words missing.
    pub deletions: u64,
    /// Words without a reference word.
    pub insertions: u64,
    /// Utterances.
    pub utterances: u64,
    /// 95 % bootstrap interval of the WER, `[low, high]`. `None` (null) with fewer than two units to resample.
    pub wer_ci95: Option<[f64; 2]>,
    /// What the interval resampled.
    pub ci95_unit: Ci95Unit,
    /// The counts behind the CER.
    pub character_errors: CharacterCounts,
    /// Whether spaces count in the CER.
    pub cer_spaces: bool,
    /// Each speaker's score. Utterances without a speaker are in none.
    pub speakers: BTreeMap<String, SpeakerScore>,
}

/// One speaker's score; the fields are those of [`Score`], the interval is over utterances.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SpeakerScore {
    /// Word error rate.
    pub wer: Option<f64>,
    /// Character error rate.
    pub cer: Option<f64>,
    /// Words in the references.
    pub words: u64,
    /// Reference words replaced by another.
    pub substitutions: u64,
    /// Reference words missing.
    pub deletions: u64,
    /// Words without a reference word.
    pub insertions: u64,
    /// Utterances.
    pub utterances: u64,
    /// 95 % bootstrap interval of the WER over utterances.
    pub wer_ci95: Option<[f64; 2]>,
    /// The counts behind the CER.
    pub character_errors: CharacterCounts,
}

/// Word errors of one utterance; words are what Unicode white space separates, compared in NFC.
#[must_use]
pub fn count_words(reference: &str, hypothesis: &str) -> Counts {
    let (reference, hypothesis): (String, String) = (reference.nfc().collect(), hypothesis.nfc().collect());
    let words = |text| str::split_whitespace(text).collect::<Vec<_>>();
    count_errors(&words(&reference), &words(&hypothesis))
}

/// Character errors of one utterance, in code points after NFC; with `spaces`, each run of white space between words is one character.
#[must_use]
pub fn count_characters(reference: &str, hypothesis: &str, spaces: bool) -> Counts {
    let separator = if spaces { " " } else { "" };
    let characters = |text: &str| -> Vec<char> {
        let text: String = text.nfc().collect();
        text.split_whitespace().collect::<Vec<_>>().join(separator).chars().collect()
    };
    count_errors(&characters(reference), &characters(hypothesis))
}

/// Scores all pairs. Time is dominated by the alignments and by resamples × utterances; memory is O(utterances).
#[must_use]
pub fn score(pairs: &[Pair], options: &ScoreOptions) -> Score {
    let mut total = Group::default();
    let mut by_speaker: BTreeMap<&str, Group> = BTreeMap::new();
    for pair in pairs {
        let words = count_words(&pair.reference, &pair.hypothesis);
        let characters = count_characters(&pair.reference, &pair.hypothesis, options.cer_spaces);
        total.push(words, characters);
        if let Some(speaker) = &pair.speaker {
            by_speaker.entry(speaker).or_default().push(words, characters);
        }
    }
    let interval = match options.ci95_unit {
        Ci95Unit::Utterances => interval95(&total.words, options.resamples, options.seed, ""),
        Ci95Unit::Speakers => {
            let units: Vec<Counts> = by_speaker.values().map(|group| group.words.iter().copied().sum()).collect();
            // With utterances of nobody, the interval would be of another rate than the one it stands beside.
            let all_named = pairs.iter().all(|pair| pair.speaker.is_some());
            if all_named { interval95(&units, options.resamples, options.seed, "") } else { None }
        }
    };
    let SpeakerScore { wer, cer, words, substitutions, deletions, insertions, utterances, wer_ci95, character_errors } =
        total.score(interval);
    let speakers = by_speaker
        .into_iter()
        .map(|(name, group)| {
            (name.to_owned(), group.score(interval95(&group.words, options.resamples, options.seed, name)))
        })
        .collect();
    Score {
        wer,
        cer,
        words,
        substitutions,
        deletions,
        insertions,
        utterances,
        wer_ci95,
        ci95_unit: options.ci95_unit,
        character_errors,
        cer_spaces: options.cer_spaces,
        speakers,
    }
}

/// Word errors by utterance, which the interval needs, and character errors together.
#[derive(Default)]
struct Group {
    words: Vec<Counts>,
    characters: Counts,
}

impl Group {
    fn push(&mut self, words: Counts, characters: Counts) {
        self.words.push(words);
        self.characters = self.characters + characters;
    }

    fn score(&self, wer_ci95: Option<[f64; 2]>) -> SpeakerScore {
        let words: Counts = self.words.iter().copied().sum();
        SpeakerScore {
            wer: words.rate(),
            cer: self.characters.rate(),
            words: words.reference_length,
            substitutions: words.substitutions,
            deletions: words.deletions,
            insertions: words.insertions,
            utterances: self.words.len() as u64,
            wer_ci95,
            character_errors: CharacterCounts {
                characters: self.characters.reference_length,
                substitutions: self.characters.substitutions,
                deletions: self.characters.deletions,
                insertions: self.characters.insertions,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(id: &str, speaker: Option<&str>, reference: &str, hypothesis: &str) -> Pair {
        Pair {
            id: id.to_owned(),
            speaker: speaker.map(str::to_owned),
            reference: reference.to_owned(),
            hypothesis: hypothesis.to_owned(),
        }
    }

    #[test]
    fn rates_are_corpus_level() {
        // 1 error in 1 word and 1 in 9: 2/10, not the mean of 1 and 1/9, which is 0.56.
        let pairs = [pair("1", None, "yes", "no"), pair("2", None, "a b c d e f g h i", "a b c d e f g h j")];
        let score = score(&pairs, &ScoreOptions::default());
        assert_eq!((score.wer, score.words, score.substitutions, score.utterances), (Some(0.2), 10, 2, 2));
        assert!(score.speakers.is_empty());
    }

    #[test]
    fn speakers_are_scored_apart() {
        let pairs = [
            pair("1", Some("anna"), "one two", "one two"),
            pair("2", Some("boris"), "one two", "one"),
            pair("3", Some("boris"), "three", "three four"),
            pair("4", None, "five", ""),
        ];
        let score = score(&pairs, &ScoreOptions::default());
        assert_eq!((score.words, score.deletions, score.insertions), (6, 2, 1));
        assert_eq!(score.wer, Some(0.5));
        assert_eq!(score.speakers.keys().collect::<Vec<_>>(), ["anna", "boris"]);
        assert_eq!(score.speakers["anna"].wer, Some(0.0));
        assert_eq!(score.speakers["boris"].wer, Some(2.0 / 3.0));
        // One utterance says nothing of its spread.
        assert_eq!(score.speakers["anna"].wer_ci95, None);
    }

    #[test]
    fn insertions_count_where_nothing_was_said() {
        let hallucinated = score(&[pair("1", None, "", "thank you")], &ScoreOptions::default());
        assert_eq!((hallucinated.wer, hallucinated.insertions), (Some(2.0), 2));
        let silent = score(&[pair("1", None, "", " "), pair("2", None, "", "")], &ScoreOptions::default());
        assert_eq!((silent.wer, silent.cer, silent.wer_ci95), (None, None, None));
        assert_eq!(score(&[], &ScoreOptions::default()).wer, None);
        // Beside other references, the insertions weigh on the common rate: 2 / 4.
        let both = [pair("1", None, "", "thank you"), pair("2", None, "a b c d", "a b c d")];
        assert_eq!(score(&both, &ScoreOptions::default()).wer, Some(0.5));
    }

    #[test]
    fn spaces_count_in_cer_unless_told_otherwise() {
        // "ab cd" heard as "abcd": one of five characters with spaces, none of four without.
        let pairs = [pair("1", None, "ab cd", "abcd")];
        let with = score(&pairs, &ScoreOptions::default());
        assert_eq!((with.cer, with.character_errors.characters), (Some(0.2), 5));
        let without = score(&pairs, &ScoreOptions { cer_spaces: false, ..ScoreOptions::default() });
        assert_eq!((without.cer, without.character_errors.characters), (Some(0.0), 4));
    }

    #[test]
    fn composed_decomposed_and_nbsp_are_no_errors() {
        let pairs = [pair("1", None, "mwána ibaa", " mwa\u{301}na\u{A0}ibaa\t")];
        let score = score(&pairs, &ScoreOptions::default());
        assert_eq!((score.wer, score.cer, score.words), (Some(0.0), Some(0.0), 2));
        // ɛ́ has no composed form: two code points, of which the tone is missing.
        assert_eq!(
            count_characters("ɛ\u{301}", "ɛ", true),
            Counts { reference_length: 2, deletions: 1, ..Counts::default() }
        );
    }

    fn varied(utterances: usize) -> Vec<Pair> {
        (0..utterances)
            .map(|i| {
                let hypothesis = if i % 3 == 0 { "a x c" } else { "a b c" };
                pair(&i.to_string(), Some(&format!("speaker {}", i % 4)), "a b c", hypothesis)
            })
            .collect()
    }

    #[test]
    fn interval_holds_the_estimate_and_follows_the_seed() {
        let pairs = varied(40);
        let one = score(&pairs, &ScoreOptions { seed: 1, ..ScoreOptions::default() });
        let (wer, [low, high]) = (one.wer.unwrap(), one.wer_ci95.unwrap());
        assert!(low < wer && wer < high, "{low} {wer} {high}");
        assert_eq!(one, score(&pairs, &ScoreOptions { seed: 1, ..ScoreOptions::default() }));
        let other = score(&pairs, &ScoreOptions { seed: 2, resamples: 100, ..ScoreOptions::default() });
        assert_ne!(one.wer_ci95, other.wer_ci95);
        assert_eq!(one.wer, other.wer);
    }

    #[test]
    fn a_speaker_interval_does_not_depend_on_the_others() {
        let pairs = varied(40);
        let alone: Vec<Pair> =
            pairs.iter().filter(|pair| pair.speaker.as_deref() == Some("speaker 1")).cloned().collect();
        let all = score(&pairs, &ScoreOptions::default());
        assert_eq!(score(&alone, &ScoreOptions::default()).speakers["speaker 1"], all.speakers["speaker 1"]);
    }

    #[test]
    fn speakers_as_units_widen_the_interval() {
        // Two speakers without an error, two with one in every word: utterances by the hundred say little of a fifth speaker.
        let pairs: Vec<Pair> =
            (0..400).map(|i| pair("", Some(&format!("{}", i % 4)), "a", if i % 4 < 2 { "a" } else { "b" })).collect();
        let by = |ci95_unit| score(&pairs, &ScoreOptions { ci95_unit, ..ScoreOptions::default() }).wer_ci95.unwrap();
        let (utterances, speakers) = (by(Ci95Unit::Utterances), by(Ci95Unit::Speakers));
        // √(¼/400) · 1.96 = 0.049 over utterances; over 4 speakers all four are good or all bad in 1/16 of the draws each.
        assert!((0.43..0.47).contains(&utterances[0]) && (0.53..0.57).contains(&utterances[1]), "{utterances:?}");
        assert_eq!(speakers, [0.0, 1.0]);
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json = serde_json::to_value(score(&varied(8), &ScoreOptions::default())).unwrap();
        for key in ["wer", "cer", "words", "substitutions", "deletions", "insertions", "utterances", "wer_ci95"] {
            assert!(json.get(key).is_some(), "{key}");
            assert!(json["speakers"]["speaker 0"].get(key).is_some(), "{key}");
        }
        assert_eq!(json["ci95_unit"], "utterances");
        assert_eq!(json["wer_ci95"].as_array().unwrap().len(), 2);
        let empty = serde_json::to_value(score(&[], &ScoreOptions::default())).unwrap();
        assert!(empty["wer"].is_null() && empty["speakers"].as_object().unwrap().is_empty());
    }
}
