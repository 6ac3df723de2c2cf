//! What is wrong with a set of manifests: each utterance's audio and text, and the lists against one another.
//!
//! ```text
//! sources ─► audio (decoded on all cores, or its header) ─► findings utterance by utterance ─┐
//!         └► text, as the model would read it ─────────────────────────────────────────────┤
//!         └► ids, duplicates, what lists share (content by a hash of the decoded samples) ──┴► Report
//! ```

mod audio;
mod finding;
mod listen;
mod overlap;
mod report;
mod same;
mod text;

use std::path::Path;

use serde::Serialize;

use crate::{Statistics, Utterance};

pub use finding::{Finding, Kind, Severity};
pub use overlap::{Overlap, overlap};
pub use report::{Histogram, Report, Summary};
pub use text::{PlainText, ReadText, Reader};

use finding::Findings;
use listen::Heard;
pub(crate) use listen::kind as fault_kind;

/// What a list of utterances is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Learnt from.
    Train,
    /// Chosen by.
    Dev,
    /// Reported.
    Test,
    /// A manifest by itself, of which no recipe says what it is for: one split among those given.
    Split,
}

/// A list of utterances, where it came from and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What it is used for.
    pub role: Role,
    /// The manifest.
    pub path: &'a Path,
    /// Its utterances, after selection.
    pub utterances: &'a [Utterance],
}

/// How closely audio is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Listening {
    /// Whether the file is there.
    Presence,
    /// Its header.
    Header,
    /// Every sample of the utterance.
    Decoded,
}

/// What to look at.
#[derive(Clone, Copy)]
pub struct CheckOptions<'a> {
    /// Whether every utterance needs a transcript; false for self-supervised training.
    pub labelled: bool,
    /// How closely audio is looked at.
    pub listening: Listening,
    /// What is to read the transcripts.
    pub reader: &'a dyn Reader,
    /// What becomes of a test that shares audio or speakers with train.
    pub overlap: Overlap,
    /// Is told of every utterance that was listened to, from any thread.
    pub progress: &'a (dyn Fn() + Sync),
}

/// Checks every utterance, and the sources against one another. Memory is that of the manifests, some 200 bytes an
/// utterance, and one decoded utterance a core.
pub fn check(sources: &[Source<'_>], options: &CheckOptions<'_>) -> Report {
    let heard = listen::all(sources, options);
    let mut findings = Findings::default();
    for (source, heard) in sources.iter().zip(&heard) {
        for (utterance, heard) in source.utterances.iter().zip(heard) {
            audio::check(&mut findings, source, utterance, heard, options);
            let seconds = seconds(utterance, heard);
            text::check(&mut findings, source, utterance, seconds, options);
        }
        missing_durations(&mut findings, source);
    }
    overlap::ids(&mut findings, sources);
    overlap::duplicates(&mut findings, sources, &heard, options.labelled);
    overlap::shared(&mut findings, sources, &heard, options.overlap);
    let mut findings = findings.0;
    findings.sort_by_key(|finding| finding.severity);
    let summaries = sources.iter().zip(&heard).map(|(source, heard)| {
        let known = |place: usize| seconds(&source.utterances[place], &heard[place]);
        Summary {
            role: source.role,
            path: source.path.to_path_buf(),
            statistics: Statistics::by(source.utterances, known),
            durations: Histogram::of((0..source.utterances.len()).filter_map(known)),
        }
    });
    Report { listening: options.listening, summaries: summaries.collect(), findings }
}

/// How long an utterance is: as decoded, else as its manifest says.
fn seconds(utterance: &Utterance, heard: &Heard) -> Option<f64> {
    heard.seconds(utterance).or(utterance.duration).filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

/// One finding for all that are missing: a manifest has durations or it has not, and a folder has none.
fn missing_durations(findings: &mut Findings, source: &Source<'_>) {
    let mut missing = source.utterances.iter().filter(|utterance| utterance.duration.is_none() && utterance.line > 0);
    if let Some(first) = missing.next() {
        let what = match missing.count() {
            0 => "no duration; it has to be looked up in the file each time".to_owned(),
            others => format!("no duration, nor have {others} more; they have to be looked up in the files each time"),
        };
        findings.warning(Kind::NoDuration, source, first, what);
    }
}

#[cfg(test)]
mod tests;
