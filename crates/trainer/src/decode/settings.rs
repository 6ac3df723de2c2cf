//! How a model's output is read as text; `decoding.json` in a model's folder keeps it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use klang_ctc::beam::{BeamSettings, LmWeights, Words};
use serde::{Deserialize, Serialize};

use super::confidence::Calibration;
use crate::error::{Error, Result};
use crate::files;

/// The file in a model's folder.
pub const DECODING: &str = "decoding.json";

/// A language model beside it.
const PLAIN: &str = "lm.arpa";
const PACKED: &str = "lm.arpa.gz";

/// It is a few lines, and hot words.
const MOST_BYTES: u64 = 1 << 22;

/// How text is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecodeMethod {
    /// The best label of each frame.
    #[default]
    Greedy,
    /// The best text by beam search over all its paths.
    Beam,
}

/// Which words there may be, where a language model of words lists some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WordList {
    /// Any; those that it lacks cost `unknown_score`.
    #[default]
    Open,
    /// Its own alone.
    Listed,
}

/// How a model's output is read as text: `decoding.json`, and a recipe's `decode`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecodeSettings {
    /// The method; everything below is the beam's.
    pub method: DecodeMethod,
    /// Texts that are followed at a time, 1 to 10,000.
    pub width: usize,
    /// An n-gram model, an ARPA file or one packed by gzip. In `decoding.json` it is a file beside it, by its name; in a recipe
    /// its path starts at the recipe's folder.
    pub lm: Option<PathBuf>,
    /// Weight of the language model's logarithm, 0 to 10; 1 takes it as it is.
    pub lm_weight: f64,
    /// Nats that each word (of a model of characters: each character) adds, -20 to 20.
    pub word_score: f64,
    /// log10 that a word unknown to the language model is given beyond what the model gives it, -100 to 0.
    pub unknown_score: f64,
    /// Which words there may be.
    pub words: WordList,
    /// Words and phrases that are expected, each with the nats that it adds, -20 to 20.
    pub hot_words: BTreeMap<String, f64>,
    /// From how probable a word's frames are to how often such a word is right, learnt on dev.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Calibration>,
    /// Of a model of several languages (MMS), the one that all this was tuned for; absent: that which it has by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl Default for DecodeSettings {
    fn default() -> Self {
        let (beam, weights) = (BeamSettings::default(), LmWeights::default());
        DecodeSettings {
            method: DecodeMethod::Greedy,
            width: beam.width,
            lm: None,
            lm_weight: weights.lm,
            word_score: weights.word,
            unknown_score: weights.unknown,
            words: WordList::Open,
            hot_words: BTreeMap::new(),
            confidence: None,
            language: None,
        }
    }
}

impl DecodeSettings {
    /// What a model's folder says; greedy where it says nothing.
    ///
    /// # Errors
    /// A file that is none of klang's, or whose values are out of range.
    pub fn of_model(folder: &Path) -> Result<DecodeSettings> {
        let path = folder.join(DECODING);
        if !path.is_file() {
            return Ok(DecodeSettings::default());
        }
        let text = klang_wav2vec2::checkpoint::read_text(&path, MOST_BYTES)?;
        let wrong = |message: String| Error::Model { path: path.clone(), message };
        let mut settings: DecodeSettings = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        settings.check().map_err(|error| wrong(error.to_string()))?;
        // A model comes from anywhere: what it names is its own, and beside this file.
        let own = |lm: &Path| lm.file_name() == Some(lm.as_os_str());
        if let Some(lm) = settings.lm.as_deref().filter(|lm| !own(lm)) {
            let allowed = format!("a file beside it, such as {PLAIN}; another one is given with --lm");
            return Err(wrong(format!("lm: `{}`; allowed: {allowed}", lm.display())));
        }
        settings.lm = settings.lm.map(|lm| folder.join(lm));
        Ok(settings)
    }

    /// These, if they were tuned for this language of the model; else the defaults, and what a user should know.
    pub fn for_language(self, language: Option<&str>) -> (DecodeSettings, Option<String>) {
        if self.language.as_deref() == language || self == DecodeSettings::default() {
            return (self, None);
        }
        let name =
            |language: Option<&str>| language.map_or("the model's own language".into(), |one| format!("`{one}`"));
        let said = format!(
            "{DECODING} was tuned for {}, not for {}: it is passed over; klang tune would replace it",
            name(self.language.as_deref()),
            name(language)
        );
        (DecodeSettings::default(), Some(said))
    }

    /// Keeps it in a model's folder, and the language model beside it; the copy of an earlier one is removed.
    ///
    /// # Errors
    /// A failing file system.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let same = |one: &Path, other: &Path| std::fs::canonicalize(one).ok() == std::fs::canonicalize(other).ok();
        let before = DecodeSettings::of_model(folder).ok().and_then(|before| before.lm);
        let mut settings = self.clone();
        if let Some(lm) = &self.lm {
            let packed = lm.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
            let name = if packed { PACKED } else { PLAIN };
            let own = folder.join(name);
            if !same(lm, &own) {
                files::copy(lm, &own)?;
            }
            settings.lm = Some(name.into());
        }
        let path = folder.join(DECODING);
        let text = serde_json::to_string_pretty(&settings).map_err(|error| Error::io(&path)(error.into()))?;
        files::write(&path, (text + "\n").as_bytes())?;
        let kept = settings.lm.map(|name| folder.join(name));
        // Nothing reads it any more. A file of another name is somebody's own.
        let copies = [PLAIN, PACKED].map(|name| folder.join(name));
        if let Some(old) = before.filter(|old| copies.contains(old) && Some(old) != kept.as_ref()) {
            let _ = std::fs::remove_file(old);
        }
        Ok(())
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The first that is out of range.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, given: String, allowed: &str| {
            Err(Error::DecodeValue { key: key.into(), given, allowed: allowed.into() })
        };
        if !(1..=10_000).contains(&self.width) {
            return refuse("width", self.width.to_string(), "1 to 10000");
        }
        let ranges = [
            ("lm_weight", self.lm_weight, 0.0, 10.0),
            ("word_score", self.word_score, -20.0, 20.0),
            ("unknown_score", self.unknown_score, -100.0, 0.0),
        ];
        for (key, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return refuse(key, value.to_string(), &format!("{low} to {high}"));
            }
        }
        if let Some((phrase, value)) = self.hot_words.iter().find(|(_, value)| !(-20.0..=20.0).contains(*value)) {
            return refuse(&format!("the hot word `{phrase}`"), value.to_string(), "-20 to 20");
        }
        Ok(())
    }

    pub(super) fn beam(&self) -> BeamSettings {
        let usual = BeamSettings::default();
        // An unknown word costs so much at once; a beam that is narrower than that never sees one to its end.
        let unknown = match self.lm {
            Some(_) if self.words == WordList::Open => self.lm_weight * -self.unknown_score * std::f64::consts::LN_10,
            _ => 0.0,
        };
        BeamSettings { width: self.width, margin: usual.margin + unknown, ..usual }
    }

    pub(super) fn weights(&self) -> LmWeights {
        LmWeights { lm: self.lm_weight, word: self.word_score, unknown: self.unknown_score }
    }

    pub(super) fn word_list(&self) -> Words {
        match self.words {
            WordList::Open => Words::Open,
            WordList::Listed => Words::Listed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_settings_and_language_model() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(DecodeSettings::of_model(folder.path()).unwrap(), DecodeSettings::default());
        let lm = folder.path().join("elsewhere.arpa");
        std::fs::write(&lm, "words").unwrap();
        let model = folder.path().join("best");
        std::fs::create_dir(&model).unwrap();
        let settings = DecodeSettings { method: DecodeMethod::Beam, lm: Some(lm), ..DecodeSettings::default() };
        settings.write(&model).unwrap();
        let own = DecodeSettings { lm: Some(model.join("lm.arpa")), ..settings };
        assert_eq!(DecodeSettings::of_model(&model).unwrap(), own);
        assert_eq!(std::fs::read_to_string(model.join("lm.arpa")).unwrap(), "words");
        // Its own model again, which must not be lost.
        own.write(&model).unwrap();
        assert_eq!(std::fs::read_to_string(model.join("lm.arpa")).unwrap(), "words");
        // Another one takes its place; and none leaves none behind, but what the folder holds beside.
        let packed = folder.path().join("other.arpa.gz");
        std::fs::write(&packed, "packed").unwrap();
        std::fs::write(model.join("notes.arpa"), "somebody's").unwrap();
        DecodeSettings { lm: Some(packed), ..own.clone() }.write(&model).unwrap();
        assert!(!model.join("lm.arpa").exists() && model.join("lm.arpa.gz").is_file());
        DecodeSettings { method: DecodeMethod::Greedy, lm: None, ..own }.write(&model).unwrap();
        assert!(!model.join("lm.arpa.gz").exists() && model.join("notes.arpa").is_file());
    }

    #[test]
    fn settings_hold_for_the_language_that_they_were_tuned_for() {
        let of = |language: Option<&str>| DecodeSettings {
            method: DecodeMethod::Beam,
            language: language.map(str::to_owned),
            ..DecodeSettings::default()
        };
        for language in [None, Some("tur")] {
            assert_eq!(of(language).for_language(language), (of(language), None));
        }
        for (tuned, asked) in [(None, Some("tur")), (Some("tur"), None), (Some("tur"), Some("fra"))] {
            let (settings, said) = of(tuned).for_language(asked);
            assert_eq!(settings, DecodeSettings::default());
            assert!(said.unwrap().contains(tuned.or(asked).unwrap()));
        }
        assert_eq!(DecodeSettings::default().for_language(Some("tur")), (DecodeSettings::default(), None));
    }

    #[test]
    fn values_out_of_range_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            ("{\"width\": 0}", "width is 0"),
            ("{\"lm_weight\": -1.0}", "lm_weight is -1"),
            ("{\"hot_words\": {\"ann\": 90.0}}", "the hot word `ann` is 90"),
            ("{\"beam\": 3}", "beam"),
            ("{\"lm\": \"/etc/passwd\"}", "lm: `/etc/passwd`; allowed: a file beside it"),
            ("{\"lm\": \"../lm.arpa\"}", "lm: `../lm.arpa`"),
            ("{\"lm\": \"..\"}", "lm: `..`"),
            ("{\"lm\": \"\"}", "lm: ``"),
        ];
        for (text, said) in cases {
            std::fs::write(folder.path().join(DECODING), text).unwrap();
            let message = DecodeSettings::of_model(folder.path()).unwrap_err().to_string();
            assert!(message.contains(said) && message.contains(DECODING), "{message}");
        }
    }
}
