//! What can be wrong with an utterance, and what follows from it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::Source;
use crate::Utterance;

/// Whether work can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot, or not with this utterance.
    Error,
    /// It can, but what comes out may not mean what it seems to.
    Warning,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No such file, or it may not be opened.
    Missing,
    /// A file of no bytes, or of no samples.
    Empty,
    /// A file of no audio format.
    NotAudio,
    /// Audio that cannot be decoded.
    Unreadable,
    /// The file holds less than its header promises.
    Truncated,
    /// Parts of the file could not be decoded.
    Damaged,
    /// The utterance lies behind the end of its file, or has no length.
    Outside,
    /// The manifest's duration is not the file's.
    Duration,
    /// No duration in the manifest.
    NoDuration,
    /// Nothing can be heard.
    Silent,
    /// Hardly anything can be heard.
    NearSilent,
    /// Cut off at full scale.
    Clipped,
    /// Recorded at a lower rate than the model's.
    Upsampled,
    /// No transcript.
    NoText,
    /// A transcript of nothing.
    EmptyText,
    /// Characters that the model cannot write.
    OutOfVocabulary,
    /// More labels than CTC can put into the utterance's frames.
    Infeasible,
    /// Characters per second that nobody speaks.
    Pace,
    /// An id that another utterance has.
    DuplicateId,
    /// The same audio as another utterance of the same list.
    DuplicateAudio,
    /// The same audio as another utterance of the same list, with another text.
    Contradiction,
    /// The same audio as an utterance of another list, such as train's in test.
    SharedAudio,
    /// Speakers that another list has.
    SharedSpeaker,
    /// Sentences that another list has.
    SharedSentence,
}

impl Kind {
    /// As a heading.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Missing => "missing file",
            Kind::Empty => "empty file",
            Kind::NotAudio => "no audio",
            Kind::Unreadable => "cannot be decoded",
            Kind::Truncated => "truncated",
            Kind::Damaged => "damaged",
            Kind::Outside => "outside its file",
            Kind::Duration => "another duration",
            Kind::NoDuration => "no duration",
            Kind::Silent => "silent",
            Kind::NearSilent => "nearly silent",
            Kind::Clipped => "clipped",
            Kind::Upsampled => "low sample rate",
            Kind::NoText => "no text",
            Kind::EmptyText => "empty text",
            Kind::OutOfVocabulary => "out of vocabulary",
            Kind::Infeasible => "infeasible for CTC",
            Kind::Pace => "improbable pace",
            Kind::DuplicateId => "duplicate id",
            Kind::DuplicateAudio => "duplicate audio",
            Kind::Contradiction => "same audio, another text",
            Kind::SharedAudio => "audio of another list",
            Kind::SharedSpeaker => "speaker of another list",
            Kind::SharedSentence => "sentence of another list",
        }
    }

    /// Whether it is said once of a whole list, not of an utterance.
    fn is_of_list(self) -> bool {
        matches!(self, Kind::NoDuration | Kind::SharedSpeaker | Kind::SharedSentence)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Whether work can go on.
    pub severity: Severity,
    /// What it is.
    pub kind: Kind,
    /// The manifest.
    pub source: PathBuf,
    /// The line of the manifest, from 1; 0 for a file of a folder.
    pub line: usize,
    /// The utterance, or the first of several.
    pub id: String,
    /// What is wrong, in words.
    pub what: String,
    /// Its audio file.
    pub audio: PathBuf,
    /// Where it starts in the file, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<f64>,
    /// Its length by the manifest, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Its transcript.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How bad it is among its kind: the larger the worse.
    #[serde(skip)]
    pub badness: f64,
}

impl Finding {
    /// Whether a mended manifest is without this utterance: of errors those that are an utterance's own.
    pub fn leaves_out(&self) -> bool {
        self.severity == Severity::Error && !self.kind.is_of_list()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let Finding { source, line, id, what, .. } = self;
        match line {
            0 => write!(f, "{severity}: {}, `{id}`: {what}", source.display()),
            line => write!(f, "{severity}: {}, line {line}, `{id}`: {what}", source.display()),
        }
    }
}

/// Findings as they come.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn error(&mut self, kind: Kind, source: &Source<'_>, utterance: &Utterance, what: impl Into<String>) {
        self.add(Severity::Error, kind, source, utterance, what);
    }

    pub(super) fn warning(&mut self, kind: Kind, source: &Source<'_>, utterance: &Utterance, what: impl Into<String>) {
        self.add(Severity::Warning, kind, source, utterance, what);
    }

    pub(super) fn add(
        &mut self,
        severity: Severity,
        kind: Kind,
        source: &Source<'_>,
        utterance: &Utterance,
        what: impl Into<String>,
    ) {
        self.0.push(Finding {
            severity,
            kind,
            source: source.path.to_path_buf(),
            line: utterance.line,
            id: utterance.id.clone(),
            what: what.into(),
            audio: utterance.audio.clone(),
            offset: utterance.offset,
            duration: utterance.duration,
            text: utterance.text.clone(),
            badness: 0.0,
        });
    }

    /// Says how bad the last one is among its kind.
    pub(super) fn badness(&mut self, badness: f64) {
        if let Some(last) = self.0.last_mut() {
            last.badness = badness;
        }
    }
}
