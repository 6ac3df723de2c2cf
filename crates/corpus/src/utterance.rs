//! One utterance of a corpus.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One line of a manifest: a stretch of speech, and what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Utterance {
    /// Unique within its manifest.
    pub id: String,
    /// The audio file; a relative path in a manifest starts at the manifest's folder and is resolved here.
    pub audio: PathBuf,
    /// The transcript as given, not normalised; `None` is unlabelled, an empty text is a transcript of nothing.
    pub text: Option<String>,
    /// Who speaks.
    pub speaker: Option<String>,
    /// Length of the utterance in seconds; finite.
    pub duration: Option<f64>,
    /// Where the utterance starts in its file, in seconds; finite, at least 0. `None` is the start.
    pub offset: Option<f64>,
    /// Every other column of the manifest, as text.
    pub columns: BTreeMap<String, String>,
    /// The line of the manifest, from 1; 0 for an utterance that came from elsewhere.
    pub line: usize,
}

/// The columns that are fields of [`Utterance`].
pub(crate) const FIELDS: [&str; 6] = ["id", "audio", "text", "speaker", "duration", "offset"];

impl Utterance {
    /// An utterance of which nothing is known but its id and its file.
    pub fn new(id: impl Into<String>, audio: impl Into<PathBuf>) -> Utterance {
        Utterance {
            id: id.into(),
            audio: audio.into(),
            text: None,
            speaker: None,
            duration: None,
            offset: None,
            columns: BTreeMap::new(),
            line: 0,
        }
    }

    /// The value of a manifest column as text, the fields of this struct included; `None` where this
    /// utterance has none.
    pub fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            "id" => Some(Cow::Borrowed(&self.id)),
            "audio" => Some(self.audio.to_string_lossy()),
            "text" => self.text.as_deref().map(Cow::Borrowed),
            "speaker" => self.speaker.as_deref().map(Cow::Borrowed),
            "duration" => self.duration.map(|seconds| Cow::Owned(seconds.to_string())),
            "offset" => self.offset.map(|seconds| Cow::Owned(seconds.to_string())),
            _ => self.columns.get(name).map(|value| Cow::Borrowed(value.as_str())),
        }
    }

    /// The sentence as the rule of "same sentence" sees it: lower-cased, white space collapsed.
    /// `None` for an unlabelled or empty utterance.
    pub(crate) fn sentence(&self) -> Option<String> {
        let text = self.text.as_deref()?;
        let words: Vec<&str> = text.split_whitespace().collect();
        (!words.is_empty()).then(|| words.join(" ").to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_a_field_or_any_other_column() {
        let mut utterance = Utterance::new("a", "x/a.wav");
        utterance.duration = Some(1.5);
        utterance.columns.insert("split".into(), "dev".into());
        assert_eq!(utterance.column("id").as_deref(), Some("a"));
        assert_eq!(utterance.column("audio").as_deref(), Some("x/a.wav"));
        assert_eq!(utterance.column("duration").as_deref(), Some("1.5"));
        assert_eq!(utterance.column("split").as_deref(), Some("dev"));
        assert_eq!(utterance.column("speaker"), None);
        assert_eq!(utterance.column("line"), None);
    }

    #[test]
    fn a_sentence_ignores_case_and_spacing_only() {
        let with = |text: &str| Utterance { text: Some(text.into()), ..Utterance::new("a", "a.wav") };
        assert_eq!(with("  Mwána\u{a0} IBAA ").sentence(), with("mwána ibaa").sentence());
        assert_ne!(with("mwana").sentence(), with("mwána").sentence());
        assert_eq!(with(" ").sentence(), None);
    }
}
