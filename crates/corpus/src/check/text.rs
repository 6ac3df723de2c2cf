//! What an utterance's transcript shows.

use klang_text::Normaliser;

use super::finding::{Findings, Kind, Severity};
use super::{CheckOptions, Role, Source};
use crate::{Utterance, statistics};

/// More characters per second than anybody speaks; fast read speech has about 20.
pub const MOST_CHARACTERS_PER_SECOND: f64 = 40.0;
/// Fewer characters per second than speech without long silence has, even in a logographic script.
pub const FEWEST_CHARACTERS_PER_SECOND: f64 = 0.5;
/// A single word in a short clip may well be slow, so the lower bound applies from this many seconds on.
const SLOW_FROM: f64 = 4.0;

/// What is to learn from utterances, as far as that says what they must be.
pub trait Reader: Sync {
    /// The sample rate that it computes at, Hz.
    fn sample_rate(&self) -> u32;
    /// A transcript as it would be learnt.
    fn read(&self, text: &str) -> ReadText;
    /// Frames that it makes of so many seconds; none where that is not known.
    fn frames(&self, seconds: f64) -> Option<usize>;
}

/// A transcript as it would be learnt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadText {
    /// Whether nothing is left of it.
    pub empty: bool,
    /// Characters that cannot be written, each time one occurs.
    pub unknown: Vec<char>,
    /// Labels that it becomes.
    pub labels: usize,
    /// Frames that CTC needs for them.
    pub frames: usize,
}

/// No model, but its usual rule for text and the rate that published models have.
#[derive(Debug)]
pub struct PlainText {
    /// The rule for text.
    pub normaliser: Normaliser,
}

/// Hz; what every published Wav2Vec2 computes at.
const USUAL_RATE: u32 = 16_000;

impl Reader for PlainText {
    fn sample_rate(&self) -> u32 {
        USUAL_RATE
    }

    fn read(&self, text: &str) -> ReadText {
        ReadText { empty: self.normaliser.apply(text).is_empty(), ..ReadText::default() }
    }

    fn frames(&self, _: f64) -> Option<usize> {
        None
    }
}

pub(super) fn check(
    findings: &mut Findings,
    source: &Source<'_>,
    utterance: &Utterance,
    seconds: Option<f64>,
    options: &CheckOptions<'_>,
) {
    if !options.labelled {
        return;
    }
    let Some(text) = utterance.text.as_deref() else {
        let what = "no text; allowed without: self-supervised training";
        return findings.error(Kind::NoText, source, utterance, what);
    };
    // Training passes these over by itself, and what is scored is never left out.
    let severity = match source.role {
        Role::Train | Role::Dev | Role::Test => Severity::Warning,
        Role::Split => Severity::Error,
    };
    let read = options.reader.read(text);
    if read.empty {
        return findings.add(severity, Kind::EmptyText, source, utterance, "the text is empty");
    }
    if !read.unknown.is_empty() {
        let mut characters = read.unknown.clone();
        characters.sort_unstable();
        characters.dedup();
        let characters: Vec<String> = characters.iter().map(|character| format!("{character:?}")).collect();
        let what = format!("out of vocabulary: {}; they cannot be recognised", characters.join(", "));
        findings.warning(Kind::OutOfVocabulary, source, utterance, what);
        findings.badness(read.unknown.len() as f64);
    }
    let Some(seconds) = seconds else { return };
    if let Some(frames) = options.reader.frames(seconds).filter(|&frames| frames < read.frames) {
        let what = format!("infeasible for CTC: {frames} frames, its {} labels need {}", read.labels, read.frames);
        findings.add(severity, Kind::Infeasible, source, utterance, what);
        findings.badness(read.frames as f64 / frames.max(1) as f64);
    }
    let (_, characters) = statistics::length(utterance);
    let pace = characters as f64 / seconds;
    if pace > MOST_CHARACTERS_PER_SECOND || (seconds >= SLOW_FROM && pace < FEWEST_CHARACTERS_PER_SECOND) {
        let what = format!(
            "{characters} characters in {seconds:.3} s are {pace:.1} per second, which is improbable; is it the right transcript?"
        );
        findings.warning(Kind::Pace, source, utterance, what);
        findings.badness(pace.max(1e-3).ln().abs());
    }
}
