//! Utterances beside one another: ids and audio that one list has twice, and what lists share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;

use super::finding::{Finding, Findings, Kind, Severity};
use super::listen::Heard;
use super::same::{Folders, Identity, Known, Place, copies};
use super::{Role, Source};
use crate::Utterance;
use crate::error::listed;

/// What becomes of a test that shares audio or speakers with train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// It is an error.
    Refused,
    /// It is a warning: the recipe says that it is meant so.
    Allowed,
}

/// What test sets share with train, without decoding: files by their path and time, or with the same bytes under another name,
/// and speakers. What a training refuses before it begins.
pub fn overlap(sources: &[Source<'_>], rule: Overlap) -> Vec<Finding> {
    let of = |role| sources.iter().filter(move |source| source.role == role);
    let files = |role| of(role).flat_map(|source| source.utterances).map(|one| one.audio.as_path());
    let copies = copies(files(Role::Test), files(Role::Train));
    // Train may be of a million utterances, tests are of hundreds: only files of a test's names, and copies, are kept.
    let alike = copies.iter().flat_map(|(copy, original)| [*copy, *original]);
    let names: HashSet<&OsStr> = files(Role::Test).chain(alike).filter_map(|file| file.file_name()).collect();
    let (mut train, mut folders, mut findings) = (Lists::default(), Folders::with_copies(copies), Findings::default());
    if !names.is_empty() {
        for source in of(Role::Train) {
            let wanted = |one: &Utterance| one.audio.file_name().is_some_and(|name| names.contains(name));
            train.audio.add(source, &[], &mut folders, wanted);
            train.add_speakers(source);
        }
    }
    for source in of(Role::Test) {
        train.audio(&mut findings, refused(rule), "train", source, &[], &mut folders);
        train.speakers(&mut findings, refused(rule), "train", source);
    }
    findings.0
}

fn refused(rule: Overlap) -> Severity {
    if rule == Overlap::Refused { Severity::Error } else { Severity::Warning }
}

/// Sources that are one list: training manifests are learnt from together, tests are scored apart.
fn lists<'s, 'a>(sources: &'s [Source<'a>]) -> Vec<Vec<(usize, &'s Source<'a>)>> {
    let mut lists = Vec::new();
    for role in [Role::Train, Role::Dev] {
        lists.push(sources.iter().enumerate().filter(|(_, source)| source.role == role).collect());
    }
    let apart = sources.iter().enumerate().filter(|(_, source)| matches!(source.role, Role::Test | Role::Split));
    lists.extend(apart.map(|one| vec![one]));
    lists
}

/// Ids name utterances in results, so a list must not have one twice.
pub(super) fn ids(findings: &mut Findings, sources: &[Source<'_>]) {
    for list in lists(sources) {
        let mut seen: HashMap<&str, (&Path, usize)> = HashMap::new();
        for (_, source) in list {
            for utterance in source.utterances {
                match seen.get(utterance.id.as_str()) {
                    Some((path, line)) => {
                        let what = format!("the same id as {}, line {line}", path.display());
                        findings.error(Kind::DuplicateId, source, utterance, what);
                    }
                    None => {
                        seen.insert(&utterance.id, (source.path, utterance.line));
                    }
                }
            }
        }
    }
}

/// Audio that one list has twice: with the same text it only counts twice, with another one of the texts is wrong.
pub(super) fn duplicates(findings: &mut Findings, sources: &[Source<'_>], heard: &[Vec<Heard>], labelled: bool) {
    let mut folders = Folders::default();
    for list in lists(sources) {
        let mut firsts: HashMap<Identity<'_>, (usize, (&Source<'_>, &Utterance))> = HashMap::new();
        // By the place of the first, so that the list of findings is the same each time.
        let mut groups: BTreeMap<usize, Vec<(&Source<'_>, &Utterance)>> = BTreeMap::new();
        for (place, source) in list {
            for (utterance, heard) in source.utterances.iter().zip(&heard[place]) {
                let Some(identity) = Identity::of(utterance, heard, &mut folders) else { continue };
                let (count, own) = (firsts.len(), (source, utterance));
                let (rank, first) = *firsts.entry(identity).or_insert((count, own));
                if !std::ptr::eq(first.1, utterance) {
                    groups.entry(rank).or_insert_with(|| vec![first]).push(own);
                }
            }
        }
        groups.values().for_each(|group| tell(findings, group, labelled));
    }
}

fn tell(findings: &mut Findings, group: &[(&Source<'_>, &Utterance)], labelled: bool) {
    let (first, others) = (group[0], &group[1..]);
    let differs = |other: &&(&Source<'_>, &Utterance)| other.1.sentence() != first.1.sentence();
    match others.iter().find(differs).filter(|_| labelled) {
        None => {
            for (source, utterance) in others {
                let what = format!("the same audio as {}", called(Place { source: first.0.path, utterance: first.1 }));
                findings.warning(Kind::DuplicateAudio, source, utterance, what);
            }
        }
        Some(other) => {
            for (source, utterance) in group {
                // Each is held against one with another text.
                let (with, text) = if utterance.sentence() == first.1.sentence() { *other } else { first };
                let with = called(Place { source: with.path, utterance: text });
                let what = format!("the same audio as {with}, which has another text; one of them is wrong");
                findings.error(Kind::Contradiction, source, utterance, what);
            }
        }
    }
}

fn called(place: Place<'_>) -> String {
    let Utterance { id, line, .. } = place.utterance;
    match line {
        0 => format!("`{id}` ({})", place.source.display()),
        line => format!("`{id}` ({}, line {line})", place.source.display()),
    }
}

/// What a list shares with those before it: dev and tests with train, tests with dev, a split with the others given.
pub(super) fn shared(findings: &mut Findings, sources: &[Source<'_>], heard: &[Vec<Heard>], rule: Overlap) {
    let refused = refused(rule);
    let files = |roles: &'static [Role]| {
        let of = sources.iter().filter(|source| roles.contains(&source.role));
        of.flat_map(|source| source.utterances).map(|one| one.audio.as_path())
    };
    let mut folders = Folders::with_copies(copies(files(&[Role::Dev, Role::Test]), files(&[Role::Train])));
    let (mut train, mut dev, mut splits) = (Lists::default(), Lists::default(), Lists::default());
    for role in [Role::Train, Role::Dev, Role::Test, Role::Split] {
        for (source, heard) in sources.iter().zip(heard).filter(|(source, _)| source.role == role) {
            match role {
                Role::Train => train.add(source, heard, &mut folders),
                Role::Dev => {
                    train.audio(findings, refused, "train", source, heard, &mut folders);
                    train.sentences(findings, "train", source);
                    dev.add(source, heard, &mut folders);
                }
                Role::Test => {
                    train.audio(findings, refused, "train", source, heard, &mut folders);
                    dev.audio(findings, Severity::Warning, "dev", source, heard, &mut folders);
                    train.speakers(findings, refused, "train", source);
                    train.sentences(findings, "train", source);
                }
                Role::Split => {
                    splits.audio(findings, refused, "another split", source, heard, &mut folders);
                    splits.speakers(findings, Severity::Warning, "another split", source);
                    splits.sentences(findings, "another split", source);
                    splits.add(source, heard, &mut folders);
                }
            }
        }
    }
}

/// What some lists hold.
#[derive(Default)]
struct Lists<'a> {
    audio: Known<'a>,
    speakers: HashSet<&'a str>,
    sentences: HashSet<String>,
}

impl<'a> Lists<'a> {
    fn add(&mut self, source: &Source<'a>, heard: &[Heard], folders: &mut Folders<'a>) {
        self.audio.add(source, heard, folders, |_| true);
        self.add_speakers(source);
        self.sentences.extend(source.utterances.iter().filter_map(Utterance::sentence));
    }

    fn add_speakers(&mut self, source: &Source<'a>) {
        self.speakers.extend(source.utterances.iter().filter_map(|utterance| utterance.speaker.as_deref()));
    }

    fn audio(
        &self,
        findings: &mut Findings,
        severity: Severity,
        name: &str,
        source: &Source<'a>,
        heard: &[Heard],
        folders: &mut Folders<'a>,
    ) {
        for (place, utterance) in source.utterances.iter().enumerate() {
            if let Some(other) = self.audio.find(utterance, heard.get(place), folders) {
                let what = format!("the same audio as {} of {name}", called(other));
                findings.add(severity, Kind::SharedAudio, source, utterance, what);
            }
        }
    }

    fn speakers(&self, findings: &mut Findings, severity: Severity, name: &str, source: &Source<'_>) {
        let mut shared: BTreeMap<&str, &Utterance> = BTreeMap::new();
        for utterance in source.utterances {
            let speaker = utterance.speaker.as_deref();
            if let Some(speaker) = speaker.filter(|speaker| self.speakers.contains(speaker)) {
                shared.entry(speaker).or_insert(utterance);
            }
        }
        if let Some(first) = shared.values().min_by_key(|utterance| utterance.line) {
            let list = if source.role == Role::Test { "test" } else { "split" };
            let what = format!("{name} has speakers of this {list}: {}", listed(shared.keys().copied(), 8));
            findings.add(severity, Kind::SharedSpeaker, source, first, what);
        }
    }

    fn sentences(&self, findings: &mut Findings, name: &str, source: &Source<'_>) {
        let known = |one: &&Utterance| one.sentence().is_some_and(|sentence| self.sentences.contains(&sentence));
        let mut shared = source.utterances.iter().filter(known);
        if let Some(first) = shared.next() {
            let (count, all) = (1 + shared.count(), source.utterances.len());
            let what = format!("{count} of {all} utterances have a sentence that {name} has too");
            findings.warning(Kind::SharedSentence, source, first, what);
        }
    }
}
