//! `klang score`.

use serde_json::{Value, json};

use crate::harness::Dir;

/// References and hypotheses of three utterances, counted by hand:
///
/// | | reference | hypothesis | words | S | D | I |
/// |---|---|---|---|---|---|---|
/// | s-1 | The cat sat. | the cat sat | 3 | 0 | 0 | 0 |
/// | s-2 | one two three four | one too four | 4 | 1 | 1 | 0 |
/// | s-3 | yes | oh yes | 1 | 0 | 0 | 1 |
const REFERENCES: [(&str, &str); 3] = [("s-1", "The cat sat."), ("s-2", "one two three four"), ("s-3", "yes")];
const HYPOTHESES: [(&str, &str); 3] = [("s-1", "the cat sat"), ("s-2", "one too four"), ("s-3", "oh yes")];

type Form = fn(&str, &str) -> String;

/// A line of each format.
const FORMS: [(&str, Form); 3] = [
    (".trn", |id, text| format!("{text} ({id})\n")),
    ("", |id, text| format!("{id} {text}\n")),
    (".jsonl", |id, text| format!("{}\n", json!({"id": id, "text": text}))),
];

fn write(dir: &Dir, name: &str, form: Form, texts: &[(&str, &str)]) {
    dir.write(name, texts.iter().map(|(id, text)| form(id, text)).collect::<String>());
}

fn assert_counts(score: &Value) {
    let counts = ["words", "substitutions", "deletions", "insertions", "utterances"].map(|key| score[key].as_u64());
    assert_eq!(counts, [8, 1, 1, 1, 3].map(Some), "{score:#}");
    assert_eq!(score["wer"], 3.0 / 8.0);
    // s-2, of 18 characters: two → too is a substitution, ` three` is six deletions; s-3, of 3: `oh ` is three insertions.
    assert_eq!(score["character_errors"]["characters"], 11 + 18 + 3);
    assert_eq!(score["cer"], (1 + 6 + 3) as f64 / 32.0);
}

#[test]
fn all_three_formats_give_the_counts_made_by_hand() {
    let dir = Dir::new();
    for (references, form) in FORMS {
        write(&dir, &format!("references{references}"), form, &REFERENCES);
        write(&dir, &format!("hypotheses{references}"), form, &HYPOTHESES);
    }
    // Also one against another.
    for (references, hypotheses) in
        [(".trn", ".trn"), ("", ""), (".jsonl", ".jsonl"), (".jsonl", ".trn"), ("", ".jsonl")]
    {
        let files = [format!("references{references}"), format!("hypotheses{hypotheses}")];
        let scored = dir.klang(["score", &files[0], &files[1], "--json"]).succeeds();
        assert_counts(&scored.json());
        assert_eq!(scored.stderr, "", "{scored}");
    }
    let table = dir.klang(["score", "references", "hypotheses"]).succeeds();
    table.prints(&["WER", "37.5"]);
}

#[test]
fn as_written_case_and_punctuation_count() {
    let dir = Dir::new();
    write(&dir, "references.trn", FORMS[0].1, &REFERENCES);
    write(&dir, "hypotheses.trn", FORMS[0].1, &HYPOTHESES);
    let score = dir.klang(["score", "references.trn", "hypotheses.trn", "--json", "--as-written"]).succeeds().json();
    // `The` and `sat.` are now two substitutions more.
    assert_eq!((&score["substitutions"], &score["wer"]), (&3.into(), &(5.0 / 8.0).into()));
}

#[test]
fn the_manifest_says_who_speaks() {
    let dir = Dir::new();
    let lines = [("a", "anna", "one two"), ("b", "boris", "three"), ("c", "boris", "four")];
    let line = |(id, speaker, text): &(&str, &str, &str)| {
        format!("{}\n", json!({"id": id, "audio": "x.wav", "speaker": speaker, "text": text}))
    };
    dir.write("references.jsonl", lines.iter().map(line).collect::<String>());
    dir.write("hypotheses", "a one two\nb three\nc for\n");
    let score = dir.klang(["score", "references.jsonl", "hypotheses", "--json"]).succeeds().json();
    assert_eq!(score["wer"], 0.25);
    assert_eq!((&score["speakers"]["anna"]["wer"], &score["speakers"]["boris"]["wer"]), (&0.0.into(), &0.5.into()));
    assert_eq!(score["speakers"]["boris"]["substitutions"], 1);
}

#[test]
fn a_missing_hypothesis_counts_as_deleted_and_is_warned_of() {
    let dir = Dir::new();
    write(&dir, "references", FORMS[1].1, &REFERENCES);
    write(&dir, "hypotheses", FORMS[1].1, &HYPOTHESES[..1]);
    let scored = dir.klang(["score", "references", "hypotheses", "--json"]).succeeds();
    let score = scored.json();
    assert_eq!((&score["deletions"], &score["words"], &score["utterances"]), (&5.into(), &8.into(), &3.into()));
    scored.says(&["warning", "2 references have no hypothesis", "s-2"]);
}

#[test]
fn a_hypothesis_of_nothing_known_is_refused() {
    let dir = Dir::new();
    write(&dir, "references", FORMS[1].1, &REFERENCES);
    write(&dir, "hypotheses", FORMS[1].1, &[("s-1", "the cat sat"), ("stranger", "yes")]);
    dir.klang(["score", "references", "hypotheses", "--json"]).refused_with(1).says(&["stranger", "s-1"]);
}

#[test]
fn mistakes_in_the_files_are_named_with_their_line() {
    let dir = Dir::new();
    write(&dir, "good.trn", FORMS[0].1, &REFERENCES);
    for (name, content, parts) in [
        ("twice", "a one\nb two\na three\n", ["line 1", "line 3"]),
        ("bad.trn", "one (a)\ntwo\n", ["line 2", "parentheses"]),
        ("bad.jsonl", "{\"id\": \"a\", \"text\": \"one\"}\n{\"id\": \"b\"}\n", ["line 2", "no text"]),
        ("empty", "", ["empty", "no utterances"]),
    ] {
        dir.write(name, content);
        dir.klang(["score", "good.trn", name]).refused_with(1).says(&[name]).says(&parts);
    }
    dir.klang(["score", "good.trn", "nowhere"]).refused_with(1).says(&["nowhere", "No such file"]);
    dir.klang(["score", "good.trn", "good.trn", "--locale", "no such"]).run().says(&["no such"]);
}
