//! Each layout, built in miniature, through `prepare`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use klang_corpus::{Error, Format, Manifest, PrepareOptions, Prepared, Utterance, prepare};
use tempfile::TempDir;

struct Layout(TempDir);

impl Layout {
    fn new() -> Layout {
        Layout(tempfile::tempdir().unwrap())
    }

    fn source(&self) -> PathBuf {
        self.0.path().join("corpus")
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("out")
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Layout {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A WAV of `seconds`, whatever its name says.
    fn wav(&self, name: &str, seconds: f64) -> &Layout {
        self.file(name, "");
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(self.source().join(name), spec).unwrap();
        (0..(seconds * 8000.0) as usize).for_each(|_| writer.write_sample(0_i16).unwrap());
        writer.finalize().unwrap();
        self
    }

    fn prepare(&self, format: Format) -> Result<Prepared, Error> {
        prepare(format, &self.source(), &self.out(), &PrepareOptions::default())
    }

    fn prepared(&self, format: Format) -> Prepared {
        self.prepare(format).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refusal(&self, format: Format) -> String {
        let message = self.prepare(format).unwrap_err().to_string();
        assert!(!self.out().join("all.jsonl").exists());
        message
    }

    fn read(&self, name: &str) -> Vec<Utterance> {
        Manifest::read(&self.out().join(format!("{name}.jsonl"))).unwrap().utterances
    }
}

fn names(prepared: &Prepared) -> Vec<(&str, usize)> {
    prepared.manifests.iter().map(|(name, _, statistics)| (name.as_str(), statistics.utterances)).collect()
}

fn warned(prepared: &Prepared, parts: &[&str]) -> bool {
    prepared.warnings.iter().any(|warning| parts.iter().all(|part| warning.contains(part)))
}

fn speakers(utterances: &[Utterance]) -> BTreeSet<&str> {
    utterances.iter().filter_map(|utterance| utterance.speaker.as_deref()).collect()
}

/// A table of `speakers` × 4 utterances.
fn table(layout: &Layout, speakers: usize) {
    let mut lines = String::from("path\tspeaker\tsplit\ttext\n");
    for index in 0..speakers * 4 {
        layout.wav(&format!("wav/{index}.wav"), 0.25);
        lines += &format!("wav/{index}.wav\ts{}\tall\tsentence {index}\n", index / 4);
    }
    layout.file("utterances.tsv", lines);
}

#[test]
fn a_table_with_splits_keeps_them() {
    let layout = Layout::new();
    layout.wav("a.wav", 0.5).wav("b.wav", 0.25);
    layout.file(
        "utterances.tsv",
        "path\tspeaker\tsplit\tseconds\ttext\na.wav\tx\ttrain\t0.5\twa\nb.wav\ty\ttest-unseen\t0.25\tibaa\n",
    );
    let prepared = layout.prepared(Format::Table);
    assert_eq!(names(&prepared), [("train", 1), ("test-unseen", 1)]);
    assert_eq!(prepared.warnings, [] as [String; 0]);
    let train = layout.read("train");
    assert!(train[0].audio.is_file(), "{}", train[0].audio.display());
    assert_eq!((train[0].duration, train[0].column("split").as_deref()), (Some(0.5), Some("train")));
    assert!(layout.out().join("statistics.json").is_file());
    assert!(fs::read_to_string(layout.out().join("train.jsonl")).unwrap().contains("\"../corpus/a.wav\""));
}

#[test]
fn a_table_that_comes_whole_is_split_by_speaker() {
    let layout = Layout::new();
    table(&layout, 5);
    let prepared = layout.prepared(Format::Table);
    assert_eq!(names(&prepared), [("all", 20), ("train", 12), ("dev", 4), ("test", 4)]);
    let (train, dev, test) = (layout.read("train"), layout.read("dev"), layout.read("test"));
    assert!(speakers(&train).is_disjoint(&speakers(&test)) && speakers(&train).is_disjoint(&speakers(&dev)));
    assert!(speakers(&dev).is_disjoint(&speakers(&test)));
    assert!(train.iter().all(|utterance| utterance.duration == Some(0.25)), "durations are looked up");
}

#[test]
fn two_speakers_give_an_unseen_one_and_one_gives_unseen_sentences() {
    let layout = Layout::new();
    table(&layout, 2);
    let prepared = layout.prepared(Format::Table);
    assert!(warned(&prepared, &["two speakers"]));
    let (train, dev, test) = (layout.read("train"), layout.read("dev"), layout.read("test"));
    assert_eq!((train.len() + dev.len(), test.len()), (4, 4));
    assert!(speakers(&train).is_disjoint(&speakers(&test)) && speakers(&train) == speakers(&dev));

    let layout = Layout::new();
    table(&layout, 1);
    let prepared = layout.prepared(Format::Table);
    assert!(warned(&prepared, &["only one speaker", "says nothing about speakers"]));
    assert_eq!(names(&prepared), [("all", 4), ("train", 2), ("dev", 1), ("test", 1)]);
}

#[test]
fn a_split_name_cannot_lead_out_of_the_folder() {
    let layout = Layout::new();
    layout.wav("a.wav", 0.5).wav("b.wav", 0.5);
    layout.file("utterances.tsv", "path\tsplit\na.wav\ttrain\nb.wav\t../../evil\n");
    assert!(layout.refusal(Format::Table).contains("`../../evil` cannot name a file"));
    assert!(!layout.out().join("train.jsonl").exists());
}

#[test]
fn an_unusable_file_is_named_and_left_out() {
    let layout = Layout::new();
    layout.wav("a.wav", 0.5).wav("b.wav", 0.5).file("zero.wav", "").file("noise.wav", "no audio at all");
    layout.file("t.tsv", "path\tsplit\ttext\na.wav\ttrain\tx\nzero.wav\ttrain\tx\nnoise.wav\ttrain\tx\ngone.wav\ttrain\tx\nb.wav\tdev\ty\n");
    let prepared = layout.prepared(Format::Table);
    assert_eq!(names(&prepared), [("train", 1), ("dev", 1)]);
    assert_eq!(prepared.left_out, 3);
    assert!(
        warned(&prepared, &["3 of 5", "zero.wav: an empty file", "noise.wav", "gone.wav"]),
        "{:?}",
        prepared.warnings
    );
}

#[test]
fn nothing_usable_is_an_error() {
    let layout = Layout::new();
    layout.file("t.tsv", "path\ttext\ngone.wav\tx\n");
    let message = layout.refusal(Format::Table);
    assert!(message.contains("none of the 1 utterances") && message.contains("gone.wav"), "{message}");
}

#[test]
fn without_probing_durations_stay_unknown_and_missing_files_are_still_found() {
    let layout = Layout::new();
    table(&layout, 3);
    fs::remove_file(layout.source().join("wav/0.wav")).unwrap();
    let options = PrepareOptions { probe_durations: false, ..PrepareOptions::default() };
    let prepared = prepare(Format::Table, &layout.source(), &layout.out(), &options).unwrap();
    assert_eq!(prepared.left_out, 1);
    assert!(layout.read("all").iter().all(|utterance| utterance.duration.is_none()));
}

#[test]
fn other_manifests_are_not_overwritten_unasked() {
    let layout = Layout::new();
    table(&layout, 3);
    let first = layout.prepared(Format::Table);
    assert_eq!(layout.prepared(Format::Table), first, "the same again is no conflict");
    let mut options = PrepareOptions { seed: 2, ..PrepareOptions::default() };
    fs::write(layout.out().join("all.jsonl"), "mine").unwrap();
    let error = prepare(Format::Table, &layout.source(), &layout.out(), &options).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }) && error.to_string().contains("--overwrite"), "{error}");
    assert_eq!(fs::read(layout.out().join("all.jsonl")).unwrap(), b"mine");
    options.overwrite = true;
    prepare(Format::Table, &layout.source(), &layout.out(), &options).unwrap();
    assert_eq!(layout.read("all").len(), 12);
}

#[test]
fn a_folder_without_a_table_or_with_several_is_refused() {
    let layout = Layout::new();
    layout.file("readme.txt", "");
    assert!(layout.refusal(Format::Table).contains("no utterances.tsv"));
    layout.file("a.tsv", "path\n").file("b.tsv", "path\n");
    assert!(layout.refusal(Format::Table).contains("several tables"));
}

#[test]
fn librispeech_has_its_subsets_as_parts() {
    let layout = Layout::new();
    for (subset, speaker) in [("train-clean-100", "19"), ("dev-clean", "84")] {
        let folder = format!("LibriSpeech/{subset}/{speaker}/7");
        layout
            .wav(&format!("{folder}/{speaker}-7-0000.flac"), 0.5)
            .wav(&format!("{folder}/{speaker}-7-0001.flac"), 0.5);
        layout.file(
            &format!("{folder}/{speaker}-7.trans.txt"),
            format!("{speaker}-7-0000 {subset} A\n{speaker}-7-0001 {subset} B\n{speaker}-7-0002 GONE\n"),
        );
    }
    let prepared = layout.prepared(Format::LibriSpeech);
    assert_eq!(names(&prepared), [("dev-clean", 2), ("train-clean-100", 2)]);
    assert!(warned(&prepared, &["2 of 6", "no audio for `19-7-0002`"]), "{:?}", prepared.warnings);
    let dev = layout.read("dev-clean");
    assert_eq!(
        (dev[1].id.as_str(), dev[1].speaker.as_deref(), dev[1].text.as_deref()),
        ("84-7-0001", Some("84"), Some("dev-clean B"))
    );
    assert_eq!(dev[1].duration, Some(0.5));
}

#[test]
fn librispeech_without_subsets_is_split() {
    let layout = Layout::new();
    for speaker in ["1", "2", "3"] {
        layout
            .wav(&format!("{speaker}/9/{speaker}-9-0.wav"), 0.5)
            .file(&format!("{speaker}/9/{speaker}-9.trans.txt"), format!("{speaker}-9-0 A\n"));
    }
    assert_eq!(names(&layout.prepared(Format::LibriSpeech)), [("all", 3), ("train", 1), ("dev", 1), ("test", 1)]);
}

#[test]
fn librispeech_elsewhere_is_refused() {
    let layout = Layout::new();
    layout.wav("a.wav", 0.5);
    assert!(layout.refusal(Format::LibriSpeech).contains("no .trans.txt"));
    layout.file("x.trans.txt", "a A\n");
    assert!(layout.refusal(Format::LibriSpeech).contains("not in SPEAKER/CHAPTER"));
}

const COMMON_VOICE: &str = "client_id\tpath\tsentence\tup_votes\tage\n";

#[test]
fn common_voice_lists_become_parts() {
    let layout = Layout::new();
    layout.wav("clips/a.mp3", 0.5).wav("clips/b.mp3", 0.5).wav("clips/c.mp3", 0.5).file("clips/zero.mp3", "");
    layout.file("train.tsv", format!("{COMMON_VOICE}x1\ta.mp3\t\"Ndio.\t2\t\nx1\tzero.mp3\tHapana\t2\t\n"));
    layout.file("dev.tsv", format!("{COMMON_VOICE}x2\tb\tSawa\t2\tfifties\n"));
    layout.file("test.tsv", format!("{COMMON_VOICE}x1\tc.mp3\tsawa\t2\t\n"));
    layout.file("clip_durations.tsv", "clip\tduration[ms]\na.mp3\t480\nb.mp3\t0\n");
    let prepared = layout.prepared(Format::CommonVoice);
    assert_eq!(names(&prepared), [("train", 1), ("dev", 1), ("test", 1)]);
    assert!(warned(&prepared, &["1 of 4", "zero.mp3: an empty file"]), "{:?}", prepared.warnings);
    assert!(
        warned(&prepared, &["of 2 speakers, some are in two parts: 1 in test and train"]),
        "{:?}",
        prepared.warnings
    );
    assert!(
        warned(&prepared, &["of 2 sentences, some are in two parts: 1 in dev and test"]),
        "{:?}",
        prepared.warnings
    );
    let (train, dev) = (layout.read("train"), layout.read("dev"));
    assert_eq!(
        (train[0].text.as_deref(), train[0].speaker.as_deref(), train[0].duration),
        (Some("\"Ndio."), Some("x1"), Some(0.48))
    );
    assert_eq!(
        (dev[0].id.as_str(), dev[0].column("age").as_deref(), dev[0].duration),
        ("b", Some("fifties"), Some(0.5))
    );
}

#[test]
fn common_voice_with_validated_alone_is_split() {
    let layout = Layout::new();
    let mut list = COMMON_VOICE.to_owned();
    for index in 0..4 {
        layout.wav(&format!("clips/{index}.mp3"), 0.5);
        list += &format!("x{index}\t{index}.mp3\tsentence {index}\t2\t\n");
    }
    layout.file("validated.tsv", list);
    assert_eq!(names(&layout.prepared(Format::CommonVoice)), [("all", 4), ("train", 2), ("dev", 1), ("test", 1)]);
}

#[test]
fn common_voice_without_lists_or_columns_is_refused() {
    let layout = Layout::new();
    layout.file("clips/a.mp3", "");
    assert!(layout.refusal(Format::CommonVoice).contains("validated.tsv"));
    layout.file("train.tsv", "client_id\tpath\nx\ta.mp3\n");
    let message = layout.refusal(Format::CommonVoice);
    assert!(message.contains("line 2: no sentence") && message.contains("client_id"), "{message}");
}

#[test]
fn kaldi_directories_become_parts() {
    let layout = Layout::new();
    layout.wav("wav/r1.wav", 2.0).wav("train/r2.wav", 0.5).wav("wav/r3.wav", 0.5);
    layout.file("train/wav.scp", "r1 wav/r1.wav\nr2  r2.wav\n");
    layout.file("train/segments", "u1 r1 0.25 1.0\nu2 r1 1.0 -1\nu3 r2 0 0.5\nu4 r9 0 1\n");
    layout
        .file("train/text", "u1 mwána ibaa\nu2 wa\nu4 gone\n")
        .file("train/utt2spk", "u1 ana\nu2 ana\nu3 bo\nu4 bo\n");
    layout.file("test/wav.scp", format!("r3 {}\n", layout.source().join("wav/r3.wav").display()));
    layout.file("test/text", "r3 dzangé\n").file("test/utt2spk", "r3 cy\n");
    let prepared = layout.prepared(Format::Kaldi);
    assert_eq!(names(&prepared), [("test", 1), ("train", 2)]);
    assert!(warned(&prepared, &["1 utterances have no line in `text`"]), "{:?}", prepared.warnings);
    assert!(warned(&prepared, &["`u4` is of `r9`"]), "{:?}", prepared.warnings);
    let train = layout.read("train");
    assert_eq!(
        (train[0].offset, train[0].duration, train[0].speaker.as_deref()),
        (Some(0.25), Some(0.75), Some("ana"))
    );
    assert_eq!((train[1].offset, train[1].duration, train[1].text.as_deref()), (Some(1.0), Some(1.0), Some("wa")));
    assert_eq!(layout.read("test")[0].duration, Some(0.5));
}

#[test]
fn a_kaldi_command_is_refused_with_its_id() {
    let layout = Layout::new();
    layout.file("wav.scp", "a a.wav\nb sph2pipe -f wav b.sph |\n").file("text", "a x\nb y\n");
    let message = layout.refusal(Format::Kaldi);
    assert!(
        message.contains("line 2") && message.contains("`b` is a command (`sph2pipe") && message.contains("hint"),
        "{message}"
    );
}

#[test]
fn malformed_kaldi_lists_name_the_line() {
    for (name, content, part) in [
        ("segments", "u1 a 0\n", "line 1: allowed: `UTTERANCE RECORDING START END`"),
        ("segments", "u0 a 0 1\nu1 a 2 1\n", "line 2: `u1` ends before it starts"),
        ("segments", "u1 a zero 1\n", "line 1: start is `zero`"),
        ("utt2dur", "a nan\n", "line 1: duration is `nan`"),
        ("wav.scp", "a a.wav\na b.wav\n", "lines 1 and 2 have the same id `a`"),
        ("wav.scp", "a\n", "line 1: `a` has no file"),
    ] {
        let layout = Layout::new();
        layout.wav("a.wav", 0.5).file("wav.scp", "a a.wav\n").file("text", "a x\n").file(name, content);
        let message = layout.refusal(Format::Kaldi);
        assert!(message.contains(part) && message.contains(name), "{message}");
    }
    let layout = Layout::new();
    layout.file("text", "a x\n");
    assert!(layout.refusal(Format::Kaldi).contains("no wav.scp"));
}

#[test]
fn an_audiofolder_has_metadata_at_the_top_or_in_each_split() {
    let layout = Layout::new();
    layout.wav("train/a.wav", 0.5).wav("test/a.wav", 0.5);
    layout.file("metadata.csv", "file_name,transcription,speaker_id\ntrain/a.wav,\"one, two\",7\ntest/a.wav,three,8\n");
    assert_eq!(names(&layout.prepared(Format::AudioFolder)), [("train", 1), ("test", 1)]);
    let train = layout.read("train");
    assert_eq!(
        (train[0].id.as_str(), train[0].text.as_deref(), train[0].speaker.as_deref()),
        ("train/a", Some("one, two"), Some("7"))
    );

    let layout = Layout::new();
    layout.wav("train/a.wav", 0.5).wav("validation/a.wav", 0.5);
    layout.file("train/metadata.jsonl", "{\"file_name\": \"a.wav\", \"text\": \"one\"}\n");
    layout.file("validation/metadata.jsonl", "{\"file_name\": \"a.wav\", \"text\": \"two\", \"noise\": \"low\"}\n");
    assert_eq!(names(&layout.prepared(Format::AudioFolder)), [("train", 1), ("validation", 1)]);
    let dev = layout.read("validation");
    assert!(dev[0].audio.is_file() && dev[0].column("noise").as_deref() == Some("low"));
}

#[test]
fn an_audiofolder_may_have_text_beside_the_audio() {
    let layout = Layout::new();
    for name in ["x/a", "y/a", "b"] {
        layout.wav(&format!("{name}.wav"), 0.5).file(&format!("{name}.txt"), format!("\u{feff}text of\n {name}\r\n"));
    }
    layout.wav("c.wav", 0.5);
    let prepared = layout.prepared(Format::AudioFolder);
    assert_eq!(names(&prepared), [("all", 3), ("train", 1), ("dev", 1), ("test", 1)]);
    assert!(warned(&prepared, &["c.wav: no .txt beside it"]), "{:?}", prepared.warnings);
    let all = layout.read("all");
    let texts: Vec<_> =
        all.iter().map(|utterance| (utterance.id.as_str(), utterance.text.as_deref().unwrap())).collect();
    assert_eq!(texts, [("b", "text of b"), ("x/a", "text of x/a"), ("y/a", "text of y/a")]);
}

#[test]
fn an_audiofolder_without_text_is_unlabelled() {
    let layout = Layout::new();
    ["a", "b", "c"].iter().for_each(|name| _ = layout.wav(&format!("{name}.wav"), 0.5));
    let prepared = layout.prepared(Format::AudioFolder);
    assert!(warned(&prepared, &["unlabelled"]));
    assert!(layout.read("all").iter().all(|utterance| utterance.text.is_none()));
}

#[test]
fn an_audiofolder_without_audio_or_with_two_metadata_files_is_refused() {
    let layout = Layout::new();
    layout.file("readme.txt", "");
    assert!(layout.refusal(Format::AudioFolder).contains("neither metadata nor an audio file"));
    layout.file("metadata.csv", "file_name\n").file("metadata.jsonl", "");
    assert!(layout.refusal(Format::AudioFolder).contains("both there"));
    let layout = Layout::new();
    layout.wav("a.wav", 0.5).file("a.txt", "x".repeat(70_000));
    assert!(layout.refusal(Format::AudioFolder).contains("at most 65536"));
}

#[test]
fn a_source_that_is_not_there_is_refused_by_every_format() {
    for format in Format::all() {
        let layout = Layout::new();
        let error = layout.prepare(format).unwrap_err();
        assert!(matches!(error, Error::Io { .. } | Error::Layout { .. }), "{format}: {error}");
        assert!(!layout.out().exists(), "{format}");
    }
}

fn real_speech(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/speech").join(name);
    if !path.is_dir() {
        eprintln!("skipped: needs the real-speech corpora");
        return None;
    }
    Some(path)
}

#[test]
fn mboshi_comes_in_four_parts() {
    let Some(source) = real_speech("mboshi") else { return };
    let layout = Layout::new();
    let prepared = prepare(Format::Table, &source, &layout.out(), &PrepareOptions::default()).unwrap();
    let mut found = names(&prepared);
    found.sort();
    assert_eq!(found, [("dev", 201), ("test-unseen-speaker", 372), ("train-10min", 196), ("train-1h", 968)]);
    for (name, _, statistics) in &prepared.manifests {
        let minutes = match name.as_str() {
            "train-1h" => 50.0,
            "test-unseen-speaker" => 20.0,
            _ => 10.0,
        };
        assert!((statistics.hours * 60.0 - minutes).abs() < 0.06, "{name}: {} h", statistics.hours);
        assert_eq!(statistics.speakers.len(), 1);
    }
    // The README promises no sentence of dev or test in train.
    let sentences = prepared.warnings.iter().find(|warning| warning.contains("sentences")).unwrap();
    assert!(!sentences.contains("dev and train") && !sentences.contains("unseen-speaker and train"), "{sentences}");
}

#[test]
fn fsdd_is_split_by_speaker() {
    let Some(source) = real_speech("fsdd") else { return };
    let layout = Layout::new();
    let prepared = prepare(Format::Table, &source, &layout.out(), &PrepareOptions::default()).unwrap();
    assert_eq!(names(&prepared), [("all", 2000), ("train", 1000), ("dev", 500), ("test", 500)]);
    let (_, _, all) = &prepared.manifests[0];
    assert!((all.hours * 60.0 - 15.7).abs() < 0.06, "{} h", all.hours);
    assert_eq!(all.speakers.len(), 4);
    assert_eq!(all.sentences, 10);
    assert!(
        warned(&prepared, &["of 10 sentences", "10 in test and train"]),
        "ten words are all there is: {:?}",
        prepared.warnings
    );
}
