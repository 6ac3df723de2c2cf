//! Names that come from data never lead out of the folder that results are written to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Dir, SENTENCES, recipe};

/// Ids, speakers and tests as nobody would call them but to do harm.
const NAMES: [&str; 8] =
    ["../../outside", "/etc/outside", "a/b", "..", ".", "nul\u{0}l", "line\nline", "..\\..\\beyond"];

/// Every file below a folder, and its content: links are not followed.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(place) = pending.pop() {
        for entry in fs::read_dir(&place).expect("a folder").flatten() {
            let path = entry.path();
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                pending.push(path);
            } else {
                let content = if kind.is_file() { fs::read(&path).expect("a file") } else { b"a link".to_vec() };
                found.insert(path.to_string_lossy().into_owned(), content);
            }
        }
    }
    found
}

/// Runs `work`, which may write below `allowed` alone.
#[track_caller]
fn writes_only_below(dir: &Dir, allowed: &str, work: impl FnOnce()) {
    // The folder above, too: `../` would lead there. Other tests have theirs in it, and write meanwhile.
    let outside = |files: BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
        let allowed = dir.path(allowed).to_string_lossy().into_owned() + "/";
        files.into_iter().filter(|(path, _)| !path.starts_with(&allowed)).collect()
    };
    let root = dir.path("");
    let above = root.parent().expect("a folder above");
    let strangers = || -> Vec<String> {
        let names = fs::read_dir(above).expect("a folder").flatten().map(|entry| entry.file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| !name.starts_with("klang-test-") && !name.starts_with("faults-"))
            .collect()
    };
    let (before, around) = (outside(tree(&root)), strangers());
    work();
    assert_eq!(outside(tree(&root)).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(outside(tree(&root)) == before, "a file outside {allowed} has changed");
    assert_eq!(strangers(), around);
    assert!(!Path::new("/etc/outside").exists() && !Path::new("/etc/outside.json").exists());
}

/// `bad.jsonl`: utterances of the corpus under hostile ids and speakers.
fn bad_manifest(dir: &Dir) {
    let lines = NAMES.iter().zip(SENTENCES.iter().cycle()).map(|(name, (id, _, text))| {
        json!({"id": name, "audio": format!("audio/{id}.wav"), "text": text, "speaker": name}).to_string() + "\n"
    });
    dir.write("bad.jsonl", lines.collect::<String>());
}

#[test]
fn alignments_stay_in_their_folder() {
    let dir = Dir::with_model();
    bad_manifest(&dir);
    writes_only_below(&dir, "out", || {
        dir.klang_on_cpu(["align", "run", "bad.jsonl", "--out", "out", "--format", "json"]).succeeds();
    });
    assert_eq!(dir.names("out").len(), NAMES.len() + 1, "{:?}", dir.names("out"));
    // What cannot name a file is refused before anything is computed.
    let long = json!({"id": "x".repeat(300), "audio": "audio/u0.wav", "text": "ab"});
    dir.write("long.jsonl", long.to_string());
    let refused = dir.klang_on_cpu(["align", "run", "long.jsonl", "--out", "long", "--format", "json"]).refused_with(2);
    refused.says(&["300 bytes", "--format"]);
    assert!(!dir.path("long").exists());
    dir.klang_on_cpu(["align", "run", "long.jsonl", "--out", "long"]).succeeds();
}

#[test]
fn evaluations_stay_in_their_folder() {
    let dir = Dir::with_model();
    bad_manifest(&dir);
    writes_only_below(&dir, "out", || {
        dir.klang_on_cpu(["evaluate", "run", "bad.jsonl", "--out", "out"]).succeeds();
    });
    assert_eq!(dir.names("out"), ["bad.hypotheses.jsonl", "bad.json"]);
}

#[test]
fn transcripts_of_a_tree_with_links_stay_in_their_folder() {
    let dir = Dir::with_model();
    dir.speech("in/deep/a\nb.wav", "anna", "ab");
    dir.speech("in/-.wav", "anna", "cab");
    dir.speech("in/....wav", "anna", "cab");
    dir.speech("in/b...wav", "anna", "cab");
    dir.speech("elsewhere/c.wav", "ben", "b");
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(dir.path(to), dir.path(at)).expect("a link");
    link("elsewhere", "in/link");
    link("in", "in/loop");
    link("elsewhere/c.wav", "in/c.wav");
    // A link where a transcript is to be: it is replaced, and what it leads to stays.
    dir.write("out/unrelated.txt", "");
    link("victim.txt", "out/-.txt");
    dir.write("kept.txt", "kept");
    link("kept.txt", "out/c.txt");
    writes_only_below(&dir, "out", || {
        dir.klang_on_cpu(["transcribe", "run", "in", "--out", "out", "--overwrite"]).succeeds();
    });
    // What is hidden is none of the folder's recordings.
    assert_eq!(dir.names("out"), ["-.txt", "b...txt", "c.txt", "deep", "link", "unrelated.txt"]);
    assert_eq!((dir.names("out/deep"), dir.names("out/link")), (vec!["a\nb.txt".into()], vec!["c.txt".into()]));
}

#[test]
fn mended_and_prepared_manifests_stay_in_their_folder() {
    let dir = Dir::with_recipe(1);
    bad_manifest(&dir);
    let long = "x".repeat(5000);
    let audio = [
        "audio/none.wav",
        "/etc/passwd",
        "../../../../../../../etc/passwd",
        "nul\u{0}.wav",
        "line\n.wav",
        long.as_str(),
        "..",
    ];
    let lines = audio.iter().enumerate();
    let lines =
        lines.map(|(row, audio)| json!({"id": format!("../{row}"), "audio": audio, "text": "ab"}).to_string() + "\n");
    dir.write("bad.jsonl", dir.text("bad.jsonl") + &lines.collect::<String>());
    writes_only_below(&dir, "out", || {
        dir.klang(["check", "bad.jsonl", "--fix", "out/fixed"]).run();
    });
    assert_eq!(dir.names("out/fixed"), ["bad.jsonl", "bad.left-out.jsonl"]);
    assert_eq!(dir.json_lines("out/fixed/bad.left-out.jsonl").len(), audio.len());

    // The parts of a corpus name files: those that would lead elsewhere are refused.
    for name in ["../train", "/etc/train", "a/b", "..", ".hidden", "a\\b", "x".repeat(300).as_str()] {
        dir.write("table.tsv", format!("path\ttext\tsplit\naudio/u0.wav\tab\ttrain\naudio/u1.wav\tba\t{name}\n"));
        writes_only_below(&dir, "prepared", || {
            let prepared = dir.klang(["prepare", "table", "table.tsv", "--out", "prepared"]).run();
            assert_ne!(prepared.code, Some(0), "{prepared}");
            prepared.says(&["cannot name a file"]);
        });
    }
    let lines = NAMES.iter().filter(|name| !name.contains(['\n', '\u{0}'])).enumerate();
    let lines: String = lines.map(|(row, name)| format!("{row}\taudio/u0.wav\t{row} ab\t{name}\n")).collect();
    dir.write("table.tsv", format!("id\tpath\ttext\tspeaker\n{lines}"));
    writes_only_below(&dir, "prepared", || {
        dir.klang(["prepare", "table", "table.tsv", "--out", "prepared"]).succeeds();
    });
    assert_eq!(dir.names("prepared"), ["all.jsonl", "dev.jsonl", "statistics.json", "test.jsonl", "train.jsonl"]);
}

#[test]
fn a_training_keeps_tests_and_features_under_its_own_names() {
    let dir = Dir::with_recipe(1);
    bad_manifest(&dir);
    let tests =
        "test: {../../outside: dev.jsonl, /etc/outside: bad.jsonl}\n  allow_overlap: true\n  feature_cache_dir: cache";
    dir.write("recipe.yaml", recipe(1, "freeze: {feature_encoder: true}", tests, ""));
    let hidden = |files: BTreeMap<String, Vec<u8>>| files.into_keys().filter(|path| path.contains("outside")).count();
    dir.klang(["train", "recipe.yaml", "--run", "run"]).succeeds();
    assert_eq!(dir.names("run/tests"), ["------outside.hypotheses.jsonl", "-etc-outside.hypotheses.jsonl"]);
    assert_eq!(hidden(tree(&dir.path(""))), 2);

    // A name too long for a file is refused before the training, not at its end.
    dir.write("recipe.yaml", recipe(1, "", &format!("test: {{{}: dev.jsonl}}", "x".repeat(300)), ""));
    dir.klang(["train", "recipe.yaml", "--run", "long"]).refused_with(2).says(&["data.test", "300 bytes"]);
}

#[test]
fn a_comparison_runs_under_its_own_names() {
    let dir = Dir::with_recipe(1);
    let line = |speaker: &str, (id, _, text): (&str, &str, &str)| {
        json!({"id": id, "audio": format!("audio/{id}.wav"), "text": text, "speaker": speaker, "duration": 0.5})
            .to_string()
            + "\n"
    };
    dir.write("train.jsonl", line("../../outside", SENTENCES[1]) + &line("/etc/outside", SENTENCES[3]));
    dir.write("recipe.yaml", recipe(1, "", "", ""));
    let experiment = "recipe: recipe.yaml\narms: [{name: ../../up}, {name: /etc/plain, set: {train.clip: 0.5}}]\nfolds: {column: speaker}\n";
    dir.write("experiment.yaml", experiment);
    writes_only_below(&dir, "compared", || {
        dir.klang(["compare", "experiment.yaml", "--out", "compared"]).run();
    });
    let runs = dir.names("compared/runs");
    assert!(runs.iter().any(|name| name.starts_with("------up.") && name.ends_with("seed-1")), "{runs:?}");

    dir.write("train.jsonl", line(&"x".repeat(300), SENTENCES[1]) + &line("b", SENTENCES[3]));
    let refused = dir.klang(["compare", "experiment.yaml", "--out", "long"]).refused_with(2);
    refused.says(&["a run's folder would have a name of"]);
}
