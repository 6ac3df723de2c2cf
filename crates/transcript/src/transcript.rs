//! What was heard in one audio file, and when.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Error, check};

/// What was heard in one audio file.
///
/// Its parts are checked when it is made ([`Transcript::new`], or reading JSON): times are finite and run forwards,
/// words lie in their segment and characters in their word, one speaker's segments do not overlap.
///
/// As JSON it is one object: `audio`, `duration`, `text`, `segments`. Reading ignores `text`, which the segments hold,
/// and keys it does not know; a time may come back changed in its last bit, as serde_json reads numbers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Transcript {
    audio: String,
    duration: f64,
    segments: Vec<Segment>,
}

/// A stretch of speech: an utterance, or what a voice activity detector cut out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Where it starts, in seconds.
    pub start: f64,
    /// Where it ends, in seconds; not before its start.
    pub end: f64,
    /// Its text, as a reader is to see it.
    pub text: String,
    /// How sure the recogniser is of it, 0 to 1.
    #[serde(default)]
    pub confidence: Option<f32>,
    /// Its words, one after another; empty where the recogniser gives none.
    #[serde(default)]
    pub words: Vec<Word>,
    /// What else it may have been (an n-best list), best first.
    #[serde(default)]
    pub alternatives: Vec<Alternative>,
    /// Who speaks.
    #[serde(default)]
    pub speaker: Option<String>,
}

/// A word and when it was said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word.
    pub text: String,
    /// Where it starts, in seconds.
    pub start: f64,
    /// Where it ends, in seconds; may equal its start, as of a word that was emitted within one frame.
    pub end: f64,
    /// How sure the recogniser is of it, 0 to 1.
    #[serde(default)]
    pub confidence: Option<f32>,
    /// Its characters, one after another, or none.
    #[serde(default)]
    pub characters: Vec<Character>,
}

/// A character (or another unit below the word) and when it was said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Character {
    /// The character, with its combining marks.
    pub text: String,
    /// Where it starts, in seconds.
    pub start: f64,
    /// Where it ends, in seconds; may equal its start.
    pub end: f64,
}

/// One hypothesis of an n-best list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Its text.
    pub text: String,
    /// What the list is ordered by: the decoder's own sum, larger is better.
    pub score: f64,
    /// Natural logarithm of the acoustic model's probability.
    pub acoustic: f64,
    /// Decimal logarithm of the language model's probability, as ARPA files have it; none without such a model.
    #[serde(default)]
    pub lm: Option<f64>,
}

impl Segment {
    /// Moves it, its words and their characters by so many seconds.
    pub fn shift(&mut self, seconds: f64) {
        self.start += seconds;
        self.end += seconds;
        for word in &mut self.words {
            word.start += seconds;
            word.end += seconds;
            for character in &mut word.characters {
                character.start += seconds;
                character.end += seconds;
            }
        }
    }
}

impl Transcript {
    /// A transcript of `audio` (the file as the user named it), `duration` seconds long. Times that are off by less
    /// than a microsecond, as sums of floats are, are mended.
    ///
    /// # Errors
    /// [`Error::Duration`], [`Error::Times`], [`Error::Number`] and [`Error::Speaker`] for what no file could hold.
    pub fn new(audio: impl Into<String>, duration: f64, mut segments: Vec<Segment>) -> Result<Self, Error> {
        let audio = audio.into();
        check::transcript(&audio, duration, &mut segments)?;
        Ok(Self { audio, duration, segments })
    }

    /// The audio file, as the user named it.
    pub fn audio(&self) -> &str {
        &self.audio
    }

    /// How long the audio is, in seconds.
    pub fn duration(&self) -> f64 {
        self.duration
    }

    /// The segments, by where they start.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segments, by where they start.
    pub fn into_segments(self) -> Vec<Segment> {
        self.segments
    }

    /// The whole text: that of the segments with a blank between them.
    pub fn text(&self) -> String {
        let texts = self.segments.iter().map(|segment| segment.text.trim()).filter(|text| !text.is_empty());
        texts.collect::<Vec<_>>().join(" ")
    }
}

impl Serialize for Transcript {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Transcript", 4)?;
        object.serialize_field("audio", &self.audio)?;
        object.serialize_field("duration", &self.duration)?;
        object.serialize_field("text", &self.text())?;
        object.serialize_field("segments", &self.segments)?;
        object.end()
    }
}

/// A transcript as read, not checked yet.
#[derive(Deserialize)]
struct Parts {
    audio: String,
    duration: f64,
    segments: Vec<Segment>,
}

impl TryFrom<Parts> for Transcript {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self, Error> {
        Self::new(parts.audio, parts.duration, parts.segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(text: &str, start: f64, end: f64) -> Segment {
        Segment { start, end, text: text.to_owned(), ..Segment::default() }
    }

    #[test]
    fn text_joins_what_is_not_blank() {
        let segments = vec![segment(" mwána ", 0.0, 1.0), segment("\n", 1.0, 1.0), segment("a  b", 1.0, 2.0)];
        assert_eq!(Transcript::new("a.wav", 2.0, segments).unwrap().text(), "mwána a  b");
        assert_eq!(Transcript::new("a.wav", 0.0, vec![]).unwrap().text(), "");
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let characters = vec![Character { text: "a\u{301}".into(), start: 0.25, end: 0.25 }];
        let word = Word { text: "a\u{301}".into(), start: 0.25, end: 0.5, confidence: Some(0.97), characters };
        let alternative = Alternative { text: "o".into(), score: -2.5, acoustic: -1.5, lm: Some(-0.125) };
        let spoken = Segment {
            confidence: Some(0.5),
            words: vec![word],
            alternatives: vec![alternative],
            speaker: Some("Anna \"A\" <b>".into()),
            ..segment("a\u{301} \u{202E}\0\"\\", 0.25, 0.75)
        };
        let transcript = Transcript::new("ä b\\c.wav", 1.5, vec![spoken, segment("", 0.75, 1.5)]).unwrap();
        let json = serde_json::to_string(&transcript).unwrap();
        assert_eq!(serde_json::from_str::<Transcript>(&json).unwrap(), transcript);
        assert!(json.contains(r#""confidence":0.97,"#), "{json}");
        assert!(json.starts_with(r#"{"audio":"ä b\\c.wav","duration":1.5,"text":"#), "{json}");
    }

    #[test]
    fn json_is_checked_when_read() {
        let read = |json: &str| serde_json::from_str::<Transcript>(json).map_err(|error| error.to_string());
        let few = r#"{"audio":"a","duration":1,"segments":[{"start":0,"end":1,"text":"x"}],"model":"later"}"#;
        assert_eq!(read(few).unwrap().segments(), [segment("x", 0.0, 1.0)]);
        let message = read(r#"{"audio":"a","duration":1,"segments":[{"start":0,"end":2,"text":"x"}]}"#).unwrap_err();
        assert!(message.contains("a: segment 1: starts at 0 s and ends at 2 s"), "{message}");
        // Text alone would be lost.
        assert!(read(r#"{"audio":"a","duration":1,"text":"x"}"#).unwrap_err().contains("segments"));
        assert!(read(r#"{"audio":"a","duration":1e999,"segments":[]}"#).is_err());
    }
}
