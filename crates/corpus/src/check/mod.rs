//! What is wrong with a set of manifests, as far as it can be known without decoding the audio.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::durations::{self, Probe};
use crate::error::listed;
use crate::{Utterance, statistics};

/// How far a manifest's duration may be from the file's own, in seconds.
pub const DURATION_TOLERANCE: f64 = 0.1;
/// More characters per second than anybody speaks; fast read speech has about 20.
pub const MOST_CHARACTERS_PER_SECOND: f64 = 40.0;
/// Fewer characters per second than speech without long silence has, even in a logographic script.
pub const FEWEST_CHARACTERS_PER_SECOND: f64 = 0.5;
/// A single word in a short clip may well be slow, so the lower bound applies from this many seconds on.
const SLOW_FROM: f64 = 4.0;

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

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// Whether every utterance needs a transcript; false for self-supervised training.
    pub labelled: bool,
    /// Whether to open every audio file's header.
    pub probe: bool,
}

impl Default for CheckOptions {
    fn default() -> CheckOptions {
        CheckOptions { labelled: true, probe: true }
    }
}

/// Whether work can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but what comes out may not mean what it seems to.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether work can go on.
    pub severity: Severity,
    /// The manifest.
    pub source: PathBuf,
    /// The line of the manifest, from 1.
    pub line: usize,
    /// The utterance, or the first of several.
    pub id: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}, line {}, `{}`: {}", self.source.display(), self.line, self.id, self.what)
    }
}

/// Checks every utterance, and the sources against one another: ids within a role, audio, speakers and
/// sentences that train and test share. Errors come first; within a severity, in the order of the sources.
pub fn check(sources: &[Source<'_>], options: &CheckOptions) -> Vec<Finding> {
    let probes = match options.probe {
        true => durations::probe_all(sources.iter().flat_map(|source| source.utterances)),
        false => HashMap::new(),
    };
    let mut findings = Findings(Vec::new());
    for source in sources {
        for utterance in source.utterances {
            check_audio(&mut findings, source, utterance, probes.get(&utterance.audio));
            check_text(&mut findings, source, utterance, options);
        }
        check_durations(&mut findings, source);
    }
    check_ids(&mut findings, sources);
    check_overlap(&mut findings, sources);
    findings.0.sort_by_key(|finding| finding.severity);
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, source: &Source<'_>, utterance: &Utterance, what: impl Into<String>) {
        let (source, id, line) = (source.path.to_path_buf(), utterance.id.clone(), utterance.line);
        self.0.push(Finding { severity, source, line, id, what: what.into() });
    }
}

fn check_audio(
    findings: &mut Findings,
    source: &Source<'_>,
    utterance: &Utterance,
    probe: Option<&Result<Probe, String>>,
) {
    let probe = match probe {
        Some(Ok(probe)) => Some(probe),
        Some(Err(fault)) => {
            findings.add(Severity::Error, source, utterance, fault);
            return;
        }
        None => {
            if let Some(fault) = durations::fault(&utterance.audio) {
                findings.add(Severity::Error, source, utterance, fault);
            }
            None
        }
    };
    if let Some(duration) = utterance.duration
        && !(duration > 0.0 && duration.is_finite())
    {
        findings.add(Severity::Error, source, utterance, format!("duration is {duration} s; allowed: above 0"));
        return;
    }
    let Some(probe) = probe else { return };
    for warning in &probe.warnings {
        findings.add(Severity::Warning, source, utterance, warning);
    }
    let whole = probe.duration;
    match (utterance.offset, utterance.duration) {
        (Some(offset), _) if offset >= whole => {
            let what = format!("starts at {offset} s, but the file ends at {whole:.3} s");
            findings.add(Severity::Error, source, utterance, what);
        }
        (Some(offset), Some(duration)) if offset + duration > whole + DURATION_TOLERANCE => {
            let what = format!("ends at {:.3} s, but the file ends at {whole:.3} s", offset + duration);
            findings.add(Severity::Warning, source, utterance, what);
        }
        (None, Some(duration)) if (duration - whole).abs() > DURATION_TOLERANCE => {
            let what = format!("duration is {duration} s, but the file holds {whole:.3} s");
            findings.add(Severity::Warning, source, utterance, what);
        }
        _ => {}
    }
}

fn check_text(findings: &mut Findings, source: &Source<'_>, utterance: &Utterance, options: &CheckOptions) {
    if !options.labelled {
        return;
    }
    let (words, characters) = statistics::length(utterance);
    if utterance.text.is_none() {
        findings.add(Severity::Error, source, utterance, "no text; allowed without: self-supervised training");
    } else if words == 0 {
        findings.add(Severity::Warning, source, utterance, "the text is empty");
    } else if let Some(seconds) = utterance.duration.filter(|seconds| *seconds > 0.0) {
        let pace = characters as f64 / seconds;
        if pace > MOST_CHARACTERS_PER_SECOND || (seconds >= SLOW_FROM && pace < FEWEST_CHARACTERS_PER_SECOND) {
            let what = format!(
                "{characters} characters in {seconds} s are {pace:.1} per second, which is improbable; is it the right transcript?"
            );
            findings.add(Severity::Warning, source, utterance, what);
        }
    }
}

/// One finding for all that are missing: a manifest has durations or it has not.
fn check_durations(findings: &mut Findings, source: &Source<'_>) {
    let mut missing = source.utterances.iter().filter(|utterance| utterance.duration.is_none());
    if let Some(first) = missing.next() {
        let what = match missing.count() {
            0 => "no duration; it has to be looked up in the file each time".to_owned(),
            others => format!("no duration, nor have {others} more; they have to be looked up in the files each time"),
        };
        findings.add(Severity::Warning, source, first, what);
    }
}

/// Ids name utterances in results, so a role's manifests must not share any.
fn check_ids(findings: &mut Findings, sources: &[Source<'_>]) {
    for role in [Role::Train, Role::Dev, Role::Test] {
        let mut seen: HashMap<&str, (&Path, usize)> = HashMap::new();
        for source in sources.iter().filter(|source| source.role == role) {
            for utterance in source.utterances {
                match seen.get(utterance.id.as_str()) {
                    // Several test manifests are scored apart; there the same id is no harm unless in one file.
                    Some((path, _)) if role == Role::Test && *path != source.path => {}
                    Some((path, line)) => {
                        let what = format!("the same id as {}, line {line}", path.display());
                        findings.add(Severity::Error, source, utterance, what);
                    }
                    None => {
                        seen.insert(&utterance.id, (source.path, utterance.line));
                    }
                }
            }
        }
    }
}

/// What later roles share with train: audio (an error), speakers with test, sentences.
fn check_overlap(findings: &mut Findings, sources: &[Source<'_>]) {
    let train = || sources.iter().filter(|source| source.role == Role::Train).flat_map(|source| source.utterances);
    let audio: HashSet<(&Path, u64)> = train().map(stretch).collect();
    let speakers: HashSet<&str> = train().filter_map(|utterance| utterance.speaker.as_deref()).collect();
    let sentences: HashSet<String> = train().filter_map(Utterance::sentence).collect();
    for source in sources.iter().filter(|source| source.role != Role::Train) {
        let all = source.utterances.len();
        let shared: Vec<&Utterance> = source.utterances.iter().filter(|one| audio.contains(&stretch(one))).collect();
        if let Some(first) = shared.first() {
            let what = format!("{} of {all} utterances are the same audio as utterances of train", shared.len());
            findings.add(Severity::Error, source, first, what);
        }
        if source.role == Role::Test {
            let mut shared: BTreeMap<&str, &Utterance> = BTreeMap::new();
            for utterance in source.utterances {
                if let Some(speaker) = utterance.speaker.as_deref().filter(|speaker| speakers.contains(speaker)) {
                    shared.entry(speaker).or_insert(utterance);
                }
            }
            if let Some(first) = shared.values().min_by_key(|utterance| utterance.line) {
                let what = format!("train has speakers of this test: {}", listed(shared.keys().copied(), 8));
                findings.add(Severity::Warning, source, first, what);
            }
        }
        let known = |one: &&Utterance| one.sentence().is_some_and(|sentence| sentences.contains(&sentence));
        let shared: Vec<&Utterance> = source.utterances.iter().filter(known).collect();
        if let Some(first) = shared.first() {
            let what = format!("{} of {all} utterances have a sentence that train has too", shared.len());
            findings.add(Severity::Warning, source, first, what);
        }
    }
}

/// A file and where in it an utterance starts.
fn stretch(utterance: &Utterance) -> (&Path, u64) {
    (&utterance.audio, utterance.offset.unwrap_or(0.0).to_bits())
}

#[cfg(test)]
mod tests;
