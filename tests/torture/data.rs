//! Files of every kind, damaged at random.

use std::collections::BTreeSet;
use std::fs;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{count, figure, random};
use crate::harness::{Dir, Finished};

/// One damage of a file: cut short, bits flipped, a stretch zeroed, doubled, taken out or overwritten, or nothing left of it.
fn damaged(whole: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    loop {
        let bytes = hit(whole.to_vec(), random);
        // Zeros over zeros are no damage.
        if bytes != whole {
            return bytes;
        }
    }
}

fn hit(mut bytes: Vec<u8>, random: &mut ChaCha8Rng) -> Vec<u8> {
    let length = bytes.len();
    let from = random.random_range(0..length);
    let to = (from + random.random_range(1..=64)).min(length);
    match random.random_range(0..8) {
        0 => bytes.truncate(from),
        1 => bytes.clear(),
        2 => bytes[from..to].fill(0),
        3 => bytes[from..to].fill(0xff),
        4 => drop(bytes.drain(from..to)),
        5 => {
            let again = bytes[from..to].to_vec();
            bytes.splice(to..to, again);
        }
        6 => bytes[from..to].iter_mut().for_each(|byte| *byte = random.random()),
        _ => {
            for _ in 0..random.random_range(1..20) {
                let place = random.random_range(0..length);
                bytes[place] ^= 1 << random.random_range(0..8);
            }
        }
    }
    bytes
}

/// Demands an end of its own: with a reason, where it is no good one.
fn ends_well(finished: &Finished, what: &str) {
    assert!(matches!(finished.code, Some(0..=2)), "{what}\n{finished}");
    // `klang check` prints what it found; all else is said on stderr.
    let reason = finished.stdout.contains("error: ") || finished.stderr.contains("error: ");
    assert!(finished.code == Some(0) || reason, "{what}: no reason\n{finished}");
}

#[test]
fn of_damaged_recordings_none_is_lost_without_a_word() {
    let dir = Dir::with_model();
    let mut random = random(11);
    let recordings = count(60, 2000);
    let mut manifest = String::new();
    // One in ten is whole.
    let is_whole = |number: usize| number.is_multiple_of(10);
    for number in 0..recordings {
        let whole = dir.bytes(&format!("audio/u{}.wav", number % 8));
        let bytes = if is_whole(number) { whole } else { damaged(&whole, &mut random) };
        let audio = format!("bad/{number:04}.wav");
        dir.write(&audio, bytes);
        manifest +=
            &(json!({"id": format!("r{number}"), "audio": audio, "text": "abc", "speaker": "anna"}).to_string() + "\n");
    }
    dir.write("bad.jsonl", manifest);

    let checked = dir.klang(["check", "bad.jsonl", "--fix", "clean"]).run();
    ends_well(&checked, "check");
    let (kept, left) = (dir.json_lines("clean/bad.jsonl"), dir.json_lines("clean/bad.left-out.jsonl"));
    let ids: BTreeSet<&str> = kept.iter().chain(&left).filter_map(|line| line["id"].as_str()).collect();
    assert_eq!((ids.len(), kept.len() + left.len()), (recordings, recordings), "kept and left out, each once");
    for line in &left {
        assert!(line["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "no reason: {line}");
    }
    let kept_ids: BTreeSet<&str> = kept.iter().filter_map(|line| line["id"].as_str()).collect();
    assert!((0..recordings).filter(|&number| is_whole(number)).all(|number| kept_ids.contains(&*format!("r{number}"))));
    assert!(!kept.is_empty() && !left.is_empty(), "{} kept, {} left out", kept.len(), left.len());
    let hit = (0..recordings).filter(|&number| !is_whole(number)).count();
    figure("data", &format!("recordings checked, {hit} of them damaged"), recordings);
    figure("data", "of them kept", kept.len());
    figure("data", "of them left out, each with its reason", left.len());

    let transcribed = dir.klang_on_cpu(["transcribe", "run", "bad", "--out", "out", "--format", "txt"]).run();
    ends_well(&transcribed, "transcribe");
    let written = dir.names("out");
    let unnamed = (0..recordings).filter(|number| {
        let name = format!("{number:04}");
        !written.contains(&format!("{name}.txt")) && !transcribed.stderr.contains(&format!("{name}.wav"))
    });
    assert_eq!(unnamed.collect::<Vec<_>>(), [0usize; 0], "neither transcribed nor named\n{transcribed}");
    figure("data", "of them transcribed", written.len());

    let settings = ["--set=data.train=[bad.jsonl]", "--set=data.on_bad_audio=skip", "--set=data.bad_audio_limit=1"];
    let more = ["--set=train.updates=6", "--set=data.dev=dev.jsonl"];
    let arguments = ["train", "recipe.yaml", "--run", "skipping"].into_iter().chain(settings).chain(more);
    ends_well(&dir.klang(arguments).run(), "train");
}

#[test]
fn damaged_files_of_every_kind_are_refused_or_read_and_nothing_panics() {
    let dir = Dir::with_model();
    let lm = "\\data\\\nngram 1=5\nngram 2=2\n\n\\1-grams:\n-1.0\t<s>\t-0.3\n-1.0\t</s>\n-1.0\t<unk>\n-0.8\ta\t-0.2\n-0.8\tcab\t-0.2\n\n\\2-grams:\n-0.3\t<s> a\n-0.4\ta cab\n\n\\end\\\n";
    dir.write("lm.arpa", lm);
    let table = "path\ttext\tspeaker\naudio/u0.wav\tab\tanna\naudio/u1.wav\tdcba\tanna\naudio/u4.wav\tcab\tben\n";
    dir.write("table.tsv", table);
    let check: &[&str] = &["check", "train.jsonl", "--quick"];
    let recipe: &[&str] = &["check", "recipe.yaml", "--quick"];
    let transcribe: &[&str] = &["transcribe", "run", "audio/u0.wav"];
    let with_lm: &[&str] = &["transcribe", "run", "audio/u0.wav", "--lm", "lm.arpa", "--lm-weight", "0.5"];
    let resume: &[&str] = &[
        "train",
        "recipe.yaml",
        "--run",
        "run",
        "--resume",
        "--set=train.learning_rate=1.0e-9",
        "--set=model.architecture.initializer_range=0.6",
    ];
    let subjects: [(&str, &[&str]); 12] = [
        ("train.jsonl", check),
        ("table.tsv", &["check", "table.tsv", "--quick"]),
        ("recipe.yaml", recipe),
        ("run/best/config.json", transcribe),
        ("run/best/vocab.json", transcribe),
        ("run/best/preprocessor_config.json", transcribe),
        ("run/best/tokenizer_config.json", transcribe),
        ("run/best/model.safetensors", transcribe),
        ("lm.arpa", with_lm),
        ("run/metrics.jsonl", resume),
        ("run/state/progress.json", resume),
        ("run/recipe.yaml", resume),
    ];
    let mut random = random(12);
    let times = count(3, 40);
    let (mut refused, mut tried) = (0, 0);
    for (name, command) in subjects {
        let whole = dir.bytes(name);
        let metrics = dir.bytes("run/metrics.jsonl");
        ends_well(&dir.klang(command).succeeds(), name);
        for _ in 0..times {
            dir.write(name, damaged(&whole, &mut random));
            let finished = dir.klang(command).run();
            let kept = format!("{name}.damaged");
            fs::rename(dir.path(name), dir.path(&kept)).expect("a file of ours");
            ends_well(&finished, &format!("{name}, kept as {kept}"));
            refused += usize::from(finished.code != Some(0));
            tried += 1;
            dir.write("run/metrics.jsonl", &metrics);
            dir.write(name, &whole);
        }
    }
    assert!(refused > 0, "no damage was ever found");
    figure("data", "damaged manifests, recipes, models, language models, metrics and states tried", tried);
    figure("data", "of them refused with a reason", refused);
}
