//! Which utterances are the same audio: by content where it was decoded, else by file and time.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io, iter};

use sha2::{Digest, Sha256};

use super::Source;
use super::listen::Heard;
use crate::Utterance;

/// An utterance among the sources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) source: &'a Path,
    pub(super) utterance: &'a Utterance,
}

/// A file by its real folder and its name.
type File<'a> = (PathBuf, &'a OsStr);

/// From when to when, in seconds.
type Stretch = [f64; 2];

/// Audio that some lists hold.
#[derive(Default)]
pub(super) struct Known<'a> {
    content: HashMap<[u8; 16], Place<'a>>,
    stretches: HashMap<File<'a>, Vec<(Stretch, Place<'a>)>>,
}

/// Real folders, each looked up once: one file may be named by several ways.
#[derive(Default)]
pub(super) struct Folders<'a> {
    real: HashMap<&'a Path, PathBuf>,
    /// Files that are another's bytes, and the other.
    copies: HashMap<&'a Path, &'a Path>,
}

impl<'a> Folders<'a> {
    /// Takes files for the one that they are copies of, as [`copies`] gives them.
    pub(super) fn with_copies(copies: HashMap<&'a Path, &'a Path>) -> Folders<'a> {
        Folders { copies, ..Folders::default() }
    }

    fn file(&mut self, path: &'a Path) -> File<'a> {
        let path = self.copies.get(path).copied().unwrap_or(path);
        let (folder, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
        let real = self.real.entry(folder).or_insert_with(|| {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf())
        });
        (real.clone(), name)
    }
}

/// Of some files, and of those in `of`, the ones that are copies, links among them, of one before in `of`, whatever their names,
/// and of which. Only files of the same size and beginning are read whole. What holds no sound is no copy of anything.
pub(super) fn copies<'a>(
    files: impl Iterator<Item = &'a Path>,
    of: impl Iterator<Item = &'a Path>,
) -> HashMap<&'a Path, &'a Path> {
    let mut by_size: HashMap<u64, Vec<&'a Path>> = HashMap::new();
    for path in files.collect::<HashSet<_>>() {
        if let Some(size) = size(path) {
            by_size.entry(size).or_default().push(path);
        }
    }
    let mut copies = HashMap::new();
    if by_size.is_empty() {
        return copies;
    }
    let mut digests = Digests::default();
    let mut firsts: HashMap<[u8; 32], Option<&'a Path>> = HashMap::new();
    let mut seen = HashSet::new();
    for original in of.filter(|path| seen.insert(*path)) {
        let Some(candidates) = size(original).and_then(|size| by_size.get(&size)) else { continue };
        let same = |path: &&&'a Path| **path != original && digests.are_equal(path, original);
        let found: Vec<&'a Path> = candidates.iter().filter(same).copied().collect();
        if found.is_empty() {
            continue;
        }
        let Some(digest) = digests.of(original, true) else { continue };
        // Of several that are alike the first is named.
        let first = *firsts.entry(digest).or_insert_with(|| holds_sound(original).then_some(original));
        let Some(first) = first else { continue };
        for path in found.into_iter().chain([original]).filter(|path| *path != first) {
            copies.entry(path).or_insert(first);
        }
    }
    copies
}

/// Bytes of a file that stands there and holds some.
fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(|file| file.is_file() && file.len() > 0).map(|file| file.len())
}

fn holds_sound(path: &Path) -> bool {
    klang_audio::decode(path).is_ok_and(|decoded| decoded.waveform.samples().iter().any(|&sample| sample != 0.0))
}

/// SHA-256 of the beginnings of files, and of whole ones, each computed once.
#[derive(Default)]
struct Digests<'a>(HashMap<(&'a Path, bool), Option<[u8; 32]>>);

impl<'a> Digests<'a> {
    /// Bytes of a beginning: some seconds of a recording, which tell those of one length apart.
    const BEGINNING: u64 = 1 << 16;

    fn of(&mut self, path: &'a Path, is_whole: bool) -> Option<[u8; 32]> {
        let digest = || -> io::Result<[u8; 32]> {
            let mut digest = Sha256::new();
            io::copy(&mut fs::File::open(path)?.take(if is_whole { u64::MAX } else { Self::BEGINNING }), &mut digest)?;
            Ok(digest.finalize().into())
        };
        *self.0.entry((path, is_whole)).or_insert_with(|| digest().ok())
    }

    fn are_equal(&mut self, one: &'a Path, other: &'a Path) -> bool {
        [false, true].into_iter().all(|is_whole| {
            let one = self.of(one, is_whole);
            one.is_some() && one == self.of(other, is_whole)
        })
    }
}

impl<'a> Known<'a> {
    /// Adds what a source holds, of the utterances that are wanted.
    pub(super) fn add(
        &mut self,
        source: &Source<'a>,
        heard: &[Heard],
        folders: &mut Folders<'a>,
        wanted: impl Fn(&Utterance) -> bool,
    ) {
        let heard = heard.iter().map(Some).chain(iter::repeat(None));
        for (utterance, heard) in source.utterances.iter().zip(heard).filter(|(utterance, _)| wanted(utterance)) {
            let place = Place { source: source.path, utterance };
            if let Some(digest) = heard.and_then(Heard::digest) {
                self.content.entry(digest).or_insert(place);
            }
            self.stretches.entry(folders.file(&utterance.audio)).or_default().push((stretch(utterance), place));
        }
    }

    /// An utterance with the same audio: the same samples, or most of the same stretch of one file.
    pub(super) fn find(
        &self,
        utterance: &'a Utterance,
        heard: Option<&Heard>,
        folders: &mut Folders<'a>,
    ) -> Option<Place<'a>> {
        let same = heard.and_then(Heard::digest).and_then(|digest| self.content.get(&digest));
        same.copied().or_else(|| {
            let own = stretch(utterance);
            let others = self.stretches.get(&folders.file(&utterance.audio))?;
            others.iter().find(|(other, _)| overlap(own, *other)).map(|(_, place)| *place)
        })
    }
}

/// From when to when an utterance lasts in its file, in seconds.
fn stretch(utterance: &Utterance) -> Stretch {
    // Without an offset the whole file is read, whatever the duration says.
    let Some(start) = utterance.offset else { return [0.0, f64::INFINITY] };
    [start, utterance.duration.map_or(f64::INFINITY, |duration| start + duration)]
}

/// Whether two stretches of a file share more than half of the shorter one: neighbours that were cut with some margin do not.
fn overlap(one: Stretch, other: Stretch) -> bool {
    let shared = one[1].min(other[1]) - one[0].max(other[0]);
    let shorter = (one[1] - one[0]).min(other[1] - other[0]);
    shared > 0.0 && (shared.is_infinite() || shared > shorter / 2.0)
}

/// What tells an utterance's audio from others', for finding it twice in one list.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Identity<'a> {
    Content([u8; 16]),
    Stretch(PathBuf, &'a OsStr, [u64; 2]),
}

impl<'a> Identity<'a> {
    /// None for what could not be read, and for silence.
    pub(super) fn of(utterance: &'a Utterance, heard: &Heard, folders: &mut Folders<'a>) -> Option<Identity<'a>> {
        match heard {
            Heard::Samples(_) => heard.digest().map(Identity::Content),
            Heard::Fault(..) => None,
            Heard::Unheard | Heard::Header(_) => {
                let (folder, name) = folders.file(&utterance.audio);
                Some(Identity::Stretch(folder, name, stretch(utterance).map(f64::to_bits)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn neighbours_with_a_margin_are_apart_and_parts_of_one_another_are_not() {
        assert!(!overlap([0.0, 3.0], [3.0, 5.0]));
        assert!(!overlap([0.0, 3.2], [2.9, 5.0]));
        assert!(overlap([0.0, 3.0], [1.0, 2.0]) && overlap([1.0, 2.0], [0.0, f64::INFINITY]));
        assert!(overlap([0.0, f64::INFINITY], [0.0, f64::INFINITY]));
        assert!(!overlap([5.0, f64::INFINITY], [0.0, 3.0]));
    }
}
