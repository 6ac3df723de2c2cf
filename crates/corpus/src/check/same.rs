//! Which utterances are the same audio: by content where it was decoded, else by file and time.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
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

/// Of some files those that are copies, links among them, of one of `of`, whatever their names, and which. Only files of the
/// same size are read.
pub(super) fn copies<'a>(
    files: impl Iterator<Item = &'a Path>,
    of: impl Iterator<Item = &'a Path>,
) -> HashMap<&'a Path, &'a Path> {
    // An empty file, or one that is not there, is no copy: others tell what is wrong with it.
    let size = |path: &Path| fs::metadata(path).ok().filter(|file| file.is_file()).map(|file| file.len());
    let mut by_size: HashMap<u64, Vec<&'a Path>> = HashMap::new();
    for path in files.collect::<HashSet<_>>() {
        if let Some(size) = size(path).filter(|&size| size > 0) {
            by_size.entry(size).or_default().push(path);
        }
    }
    let mut digests: HashMap<u64, HashMap<[u8; 32], Vec<&'a Path>>> = HashMap::new();
    let mut copies = HashMap::new();
    if by_size.is_empty() {
        return copies;
    }
    // In their order: of several that are alike the first is named.
    let mut seen = HashSet::new();
    for original in of.filter(|path| seen.insert(*path)) {
        let Some((size, paths)) = size(original).and_then(|size| by_size.get_key_value(&size)) else { continue };
        let of_size = digests.entry(*size).or_insert_with(|| {
            let mut by_digest: HashMap<_, Vec<_>> = HashMap::new();
            for path in paths {
                if let Ok(digest) = digest(path) {
                    by_digest.entry(digest).or_default().push(*path);
                }
            }
            by_digest
        });
        let Some(found) = digest(original).ok().and_then(|digest| of_size.get(&digest)) else { continue };
        for path in found.iter().filter(|path| **path != original) {
            copies.entry(*path).or_insert(original);
        }
    }
    copies
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    io::copy(&mut fs::File::open(path)?, &mut digest)?;
    Ok(digest.finalize().into())
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
