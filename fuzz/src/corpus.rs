//! Lists of utterances, and corpora in their own layouts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use klang_corpus::{Format, Manifest, PrepareOptions, prepare, read_transcripts};

use crate::{file, folder, memory::bounded};

/// The endings that decide how a list is read; the first byte picks one.
const NAMES: [&str; 6] = ["fuzz.jsonl", "fuzz.csv", "fuzz.tsv", "fuzz.list", "fuzz.trn", "text"];

/// A manifest, and the same file as texts to score.
pub fn manifest(bytes: &[u8]) {
    let Some((choice, content)) = bytes.split_first() else { return };
    let path = file(NAMES[usize::from(*choice) % NAMES.len()], content);
    bounded(64 << 20, || {
        let _ = read_transcripts(&path).map_err(|error| error.to_string());
        let Ok(manifest) = Manifest::read(&path).map_err(|error| error.to_string()) else { return };
        assert!(!manifest.utterances.is_empty());
        let again = folder().join("again.jsonl");
        if Manifest::write(&again, &manifest.utterances).is_err() {
            return;
        }
        let first = fs::read(&again).expect("what was written");
        let read = Manifest::read(&again).expect("a written manifest can be read");
        let key = |manifest: &Manifest| -> Vec<_> {
            manifest.utterances.iter().map(|one| (one.id.clone(), one.text.clone(), one.speaker.clone())).collect()
        };
        assert_eq!(key(&read), key(&manifest));
        Manifest::write(&again, &read.utterances).expect("what was read can be written");
        assert_eq!(fs::read(&again).expect("what was written"), first, "a second time it is the same");
    });
}

/// The files of a corpus: the first byte picks the layout, 0xff ends a file.
pub fn corpus(bytes: &[u8]) {
    let Some((choice, content)) = bytes.split_first() else { return };
    let home = folder().join("corpus");
    let _ = fs::remove_dir_all(&home);
    let (source, out) = (home.join("source"), home.join("out"));
    let format = Format::all()[usize::from(*choice) % 5];
    let names: &[&str] = match format {
        Format::Table => &["list.tsv"],
        Format::LibriSpeech => &["train/7/9/7-9.trans.txt", "test/8/9/8-9.trans.txt"],
        Format::CommonVoice => &["train.tsv", "dev.tsv", "test.tsv", "clip_durations.tsv"],
        Format::Kaldi => &["wav.scp", "text", "utt2spk", "segments", "utt2dur"],
        Format::AudioFolder => &["metadata.csv"],
    };
    let place = |name: &str, content: &[u8]| {
        let path = source.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("room for the fuzzer's files");
        fs::write(path, content).expect("room for the fuzzer's files");
    };
    for (name, content) in names.iter().zip(content.split(|&byte| byte == 0xff)) {
        place(name, content);
    }
    for name in ["a.wav", "b.wav", "clips/a.mp3", "train/7/9/7-9-1.flac", "test/8/9/8-9-1.flac"] {
        place(name, b"RIFF");
    }
    let source = match format {
        Format::Table => source.join("list.tsv"),
        _ => source,
    };
    let options = PrepareOptions { probe_durations: false, ..PrepareOptions::default() };
    let before = files(&home);
    let prepared = bounded(64 << 20, || prepare(format, &source, &out, &options).map_err(|error| error.to_string()));
    let fresh: Vec<PathBuf> = files(&home).difference(&before).cloned().collect();
    assert!(fresh.iter().all(|path| path.parent() == Some(&*out)), "written elsewhere: {fresh:?}");
    for (name, path, _) in prepared.map(|prepared| prepared.manifests).unwrap_or_default() {
        assert!(fresh.contains(&path), "{name}");
        Manifest::read(&path).expect("a prepared manifest can be read");
    }
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.extend([path]) }
    }
    found
}
