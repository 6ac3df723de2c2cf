use super::*;
use std::fs;

use tempfile::TempDir;

fn given(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn read(name: &str, content: impl AsRef<[u8]>) -> Vec<Utterance> {
    Manifest::read(&given(name, content).1).unwrap_or_else(|error| panic!("{error}")).utterances
}

fn ids(utterances: &[Utterance]) -> Vec<&str> {
    utterances.iter().map(|utterance| utterance.id.as_str()).collect()
}

fn refusal(name: &str, content: impl AsRef<[u8]>) -> String {
    let (_folder, path) = given(name, content);
    let message = Manifest::read(&path).unwrap_err().to_string();
    assert!(message.contains(name), "names the file: {message}");
    message
}

/// Reading keeps the folder alive only while the manifest is read, so paths are compared by their end.
fn ends(utterance: &Utterance, path: &str) -> bool {
    utterance.audio.is_absolute() && utterance.audio.ends_with(path)
}

#[test]
fn json_lines_hold_every_field_and_others_as_text() {
    let line = r#"{"id": "u1", "audio": "wav/a.wav", "text": "wa ώ", "speaker": 7, "duration": 1.5, "offset": 2, "split": "dev", "take": 3, "ok": true, "none": null}"#;
    let utterances = read("m.jsonl", line);
    let one = &utterances[0];
    assert!(ends(one, "wav/a.wav"));
    assert_eq!((one.id.as_str(), one.text.as_deref(), one.speaker.as_deref()), ("u1", Some("wa ώ"), Some("7")));
    assert_eq!((one.duration, one.offset, one.line), (Some(1.5), Some(2.0), 1));
    let columns: Vec<_> = one.columns.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(columns, [("ok", "true"), ("split", "dev"), ("take", "3")]);
}

#[test]
fn nemo_manifests_are_read() {
    let utterances = read("nemo.json", "{\"audio_filepath\": \"/x/a.wav\", \"duration\": 2.0, \"text\": \"a\"}\n");
    assert_eq!(utterances[0].audio, Path::new("/x/a.wav"));
    assert_eq!(utterances[0].id, "a");
}

#[test]
fn a_table_is_read_by_its_header() {
    let table = "path\tspeaker\tsplit\tseconds\ttext\na.wav\tana\tdev\t0.5\t\"quoted\nb.wav\t\t\t\t\n";
    let utterances = read("t.tsv", table);
    assert_eq!(utterances[0].text.as_deref(), Some("\"quoted"));
    assert_eq!((utterances[0].duration, utterances[0].column("split").as_deref()), (Some(0.5), Some("dev")));
    assert_eq!((utterances[1].line, utterances[1].speaker.as_deref(), utterances[1].duration), (3, None, None));
    // An empty cell of text is a transcript of nothing; a table without the column is unlabelled.
    assert_eq!(utterances[1].text.as_deref(), Some(""));
    assert_eq!(read("t.tsv", "path\na.wav\n")[0].text, None);
}

#[test]
fn csv_is_quoted_as_rfc_4180_says() {
    let table = "path,text\na.wav,\"well, \"\"yes\"\"\"\n\"b,c.wav\",\"two\nlines\"\nd.wav,no\n";
    let utterances = read("t.csv", table);
    assert_eq!(utterances[0].text.as_deref(), Some("well, \"yes\""));
    assert!(ends(&utterances[1], "b,c.wav"));
    assert_eq!(utterances[1].text.as_deref(), Some("two\nlines"));
    assert_eq!(utterances.iter().map(|utterance| utterance.line).collect::<Vec<_>>(), [2, 3, 5]);
}

#[test]
fn byte_order_mark_crlf_and_blank_lines_are_tolerated() {
    for (name, content) in [
        ("m.jsonl", "\u{feff}{\"audio\": \"a.wav\"}\r\n\r\n  \n{\"audio\": \"b.wav\"}"),
        ("t.tsv", "\u{feff}path\ttext\r\n\r\na.wav\tx\r\nb.wav\ty"),
        ("t.csv", "\u{feff}path,text\r\n\r\na.wav,x\r\n\r\nb.wav,y"),
    ] {
        let utterances = read(name, content);
        assert_eq!(ids(&utterances), ["a", "b"], "{name}");
        assert!(utterances[1].text.as_deref().is_none_or(|text| text == "y"), "{name}");
    }
    assert_eq!(read("m.jsonl", "{\"audio\": \"a.wav\"}\n\n{\"audio\": \"b.wav\"}")[1].line, 3);
}

#[test]
fn without_a_known_extension_the_first_line_shows_the_form() {
    assert_eq!(ids(&read("train", "{\"audio\": \"a.wav\"}")), ["a"]);
    assert_eq!(ids(&read("train.txt", "path\ttext\na.wav\tx, y")), ["a"]);
    assert_eq!(ids(&read("train.list", "path,text\na.wav,x")), ["a"]);
    assert!(refusal("train.txt", "a.wav\nb.wav\n").contains("neither JSON lines nor a table"));
}

#[test]
fn missing_ids_come_from_the_file_name_and_what_else_is_needed() {
    let utterances = read(
        "m.jsonl",
        r#"{"audio": "x/a.wav"}
{"audio": "y/b.wav"}
{"audio": "z/b.wav"}
{"audio": "c.wav", "offset": 0}
{"audio": "c.wav", "offset": 2.5}
{"audio": "q/d.wav"}
{"audio": "e.wav", "id": "d"}"#,
    );
    assert_eq!(ids(&utterances), ["a", "y/b", "z/b", "c-0", "c-2.5", "q/d", "d"]);
}

#[test]
fn duplicate_ids_name_both_lines() {
    let message = refusal("m.jsonl", "{\"id\":\"x\",\"audio\":\"a\"}\n\n{\"id\":\"x\",\"audio\":\"b\"}");
    assert!(message.contains("lines 1 and 3") && message.contains("`x`"), "{message}");
    let message = refusal("t.tsv", "path\na.wav\na.wav\n");
    assert!(message.contains("lines 2 and 3") && message.contains("`a`"), "{message}");
}

#[test]
fn a_line_without_audio_lists_its_fields() {
    let message = refusal("m.jsonl", "{\"audio\": \"a.wav\"}\n{\"wav\": \"b.wav\", \"text\": \"x\"}");
    assert!(message.contains("line 2") && message.contains("wav, text"), "{message}");
    assert!(refusal("t.tsv", "path;text\na.wav;x\n").contains("path;text"));
    assert!(refusal("m.jsonl", "{\"audio\": \"\"}").contains("no audio"));
}

#[test]
fn a_value_of_the_wrong_type_names_line_and_field() {
    for (line, field, given) in [
        (r#"{"audio": "a", "duration": "1.5"}"#, "duration", "the text \"1.5\""),
        (r#"{"audio": "a", "duration": [1]}"#, "duration", "a list"),
        (r#"{"audio": "a", "offset": -1}"#, "offset", "-1"),
        (r#"{"audio": 5}"#, "audio", "the number 5"),
        (r#"{"audio": "a", "text": 5}"#, "text", "the number 5"),
        (r#"{"audio": "a", "id": 1.5}"#, "id", "the number 1.5"),
        (r#"{"audio": "a", "speaker": true}"#, "speaker", "the truth value true"),
    ] {
        let message = refusal("m.jsonl", format!("{{\"audio\": \"ok\"}}\n{line}"));
        assert!(message.contains("line 2") && message.contains(field) && message.contains(given), "{message}");
    }
    for seconds in ["0,5", "nan", "inf", "1e999", "half"] {
        let message = refusal("t.tsv", format!("path\tseconds\na.wav\t{seconds}\n"));
        assert!(message.contains("line 2") && message.contains("seconds") && message.contains(seconds), "{message}");
    }
}

#[test]
fn malformed_json_names_the_line() {
    for bad in ["{\"audio\": \"a\"", "[]", "[{\"audio\": \"a\"}]", "\"a\"", "a.wav", "{}{}", &"[".repeat(100_000)] {
        let message = refusal("m.jsonl", format!("{{\"audio\": \"ok\"}}\n{bad}\n"));
        assert!(message.contains("line 2") && message.contains("one JSON object per line"), "{message}");
    }
}

#[test]
fn malformed_tables_name_the_line() {
    assert!(refusal("t.tsv", "path\ttext\na.wav\tx\nb.wav\n").contains("line 3: 1 fields, but the header names 2"));
    assert!(refusal("t.csv", "path,text\na.wav,x\nb.wav,y,z\n").contains("line 3: 3 fields"));
    assert!(refusal("t.csv", "path,path\na.wav,x\n").contains("`path` twice"));
    let message = refusal("t.csv", "path,text\na.wav,\"x\nb.wav,y\nc.wav,z\n");
    assert!(message.contains("line 2") && message.contains("no partner"), "{message}");
}

#[test]
fn bytes_that_are_no_utf8_name_the_line() {
    assert!(refusal("m.jsonl", b"{\"audio\": \"a\"}\n{\"audio\": \"\xe9\"}\n").contains("line 2: not UTF-8"));
    assert!(refusal("t.tsv", b"path\ttext\na\tx\nb\t\xe9\n").contains("line 3: not UTF-8"));
    assert!(refusal("t.csv", b"path,text\na,x\nb,\xe9\n").contains("line 3: not UTF-8"));
    assert!(refusal("t.tsv", b"\xff\xfep\0a\0t\0h\0").contains("line 1: not UTF-8"));
}

#[test]
fn a_line_beyond_the_bound_is_refused() {
    let long = "x".repeat(files::LINE_LIMIT + 1);
    assert!(refusal("m.jsonl", format!("{{\"audio\": \"a\"}}\n{{\"audio\": \"{long}\"}}")).contains("line 2: longer"));
    assert!(refusal("t.csv", format!("path,text\na,{long}\n")).contains("line 2: longer"));
    // A quotation mark without its partner: all that follows is one cell, and is not read to its end.
    let (_folder, path) = given("t.csv", "path,text\na,x\nb,\"");
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(files::FILE_LIMIT).unwrap();
    assert!(matches!(Manifest::read(&path), Err(Error::LineTooLong { line: 3, .. })));
}

#[test]
fn a_file_beyond_the_bound_is_refused_unread() {
    let (_folder, path) = given("m.jsonl", "{\"audio\": \"a\"}\n");
    // Sparse: it takes no room on the disk.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(files::FILE_LIMIT + 1).unwrap();
    assert!(matches!(Manifest::read(&path), Err(Error::TooLarge { .. })));
}

#[test]
fn no_file_a_folder_and_an_empty_file_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Manifest::read(&folder.path().join("x.jsonl")), Err(Error::Io { .. })));
    assert!(matches!(Manifest::read(folder.path()), Err(Error::Io { .. })));
    for (name, content) in
        [("m.jsonl", ""), ("m.jsonl", "\n\n"), ("t.tsv", ""), ("t.tsv", "path\n"), ("t.csv", ""), ("t", "")]
    {
        let (_folder, path) = given(name, content);
        assert!(matches!(Manifest::read(&path), Err(Error::Empty { .. })), "{name} {content:?}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("out")).unwrap();
    fs::create_dir_all(folder.path().join("wav")).unwrap();
    let mut one = Utterance::new("a", folder.path().join("wav/a.wav"));
    one.text = Some("mwána \"ibaa\"\tώ".into());
    one.speaker = Some("ana".into());
    one.duration = Some(0.1 + 0.2);
    one.offset = Some(1.25);
    one.columns = BTreeMap::from([("split".into(), "dev".into()), ("text".into(), "not this".into())]);
    let two = Utterance::new("b", "/elsewhere/b.wav");
    let path = folder.path().join("out/m.jsonl");
    Manifest::write(&path, &[one.clone(), two.clone()]).unwrap();

    let written = fs::read_to_string(&path).unwrap();
    assert!(written.starts_with(r#"{"id":"a","audio":"../wav/a.wav","text":"#), "{written}");
    assert!(written.contains(r#""audio":"/elsewhere/b.wav""#), "{written}");
    let read = Manifest::read(&path).unwrap().utterances;
    assert_eq!(
        fs::canonicalize(read[0].audio.parent().unwrap()).unwrap().join("a.wav"),
        fs::canonicalize(folder.path()).unwrap().join("wav/a.wav")
    );
    one.columns.remove("text");
    assert_eq!(read[0], Utterance { audio: read[0].audio.clone(), line: 1, ..one });
    assert_eq!(read[1], Utterance { line: 2, ..two });
}

#[test]
fn what_a_manifest_cannot_hold_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.jsonl");
    let utterance = Utterance { duration: Some(f64::NAN), ..Utterance::new("a", "a.wav") };
    assert!(Manifest::write(&path, &[utterance]).unwrap_err().to_string().contains("`a`: duration is NaN"));
    assert!(!path.exists());
}

#[test]
fn a_folder_is_a_manifest_of_its_audio_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("village")).unwrap();
    for name in ["b.wav", "village/a.FLAC", "village/a.mp3", "notes.txt"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let manifest = Manifest::of_folder(folder.path()).unwrap();
    let ids: Vec<&str> = manifest.utterances.iter().map(|utterance| utterance.id.as_str()).collect();
    assert_eq!(ids, ["b", "village/a.FLAC", "village/a.mp3"]);
    assert_eq!(manifest.utterances[0].audio, folder.path().join("b.wav"));
    assert!(manifest.utterances.iter().all(|utterance| utterance.text.is_none()));
    std::fs::remove_dir_all(folder.path().join("village")).unwrap();
    std::fs::remove_file(folder.path().join("b.wav")).unwrap();
    let message = Manifest::of_folder(folder.path()).unwrap_err().to_string();
    assert!(message.contains("no audio file"), "{message}");
}
