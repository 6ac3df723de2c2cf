//! `klang lm`, `klang tune`, and what `evaluate` and `transcribe` make of a language model.

use serde_json::{Value, json};

use crate::harness::{Dir, SENTENCES, hypotheses, recipe};

const TEXT: &str = "ab\ndcba\na cad\nbad dab\ncab\nca da\n";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn a_language_model_is_made_from_text_and_manifests() {
    let dir = Dir::with_recipe(1);
    dir.write("stories.txt", "A cad!\n\nBad, dab.\n");
    let made = ["lm", "train.jsonl", "stories.txt", "--out", "new/mine.arpa", "--order", "2"];
    let more = ["--held-out", "dev.jsonl", "--test", "dev.jsonl", "train.jsonl"];
    let printed = dir.klang(made.iter().chain(&more)).succeeds();
    printed.prints(&[
        "order 2, 8 sentences, 13 words",
        "dev.jsonl: perplexity",
        "6 of 6 sentences of train.jsonl are in",
    ]);
    printed.says(&["knows what it will be tested on"]);
    assert!(dir.text("new/mine.arpa").starts_with("\\data\\\nngram 1="));
    // Packed, and the same.
    dir.klang(["lm", "train.jsonl", "stories.txt", "--out", "mine.arpa.gz", "--order", "2"]).succeeds();
    assert_eq!(dir.bytes("mine.arpa.gz")[..2], [0x1f, 0x8b]);
    let letters = dir.klang(["lm", "train.jsonl", "--units", "characters", "--out", "letters.arpa"]).succeeds();
    letters.prints(&["order 6, 6 sentences"]);
    assert!(dir.text("letters.arpa").lines().any(|line| line.split('\t').nth(1) == Some("a | c")));
}

#[test]
fn text_that_makes_no_language_model_is_refused_with_what_to_do() {
    let dir = Dir::with_recipe(1);
    dir.write("empty.txt", " \n\n");
    dir.write("latin.txt", b"ab\nb\xe9a\n");
    let lm = |text: &str, more: &[&str]| {
        dir.klang(["lm", text, "--out", "no.arpa"].iter().chain(more)).ends_with(if more.is_empty() { 1 } else { 2 })
    };
    lm("empty.txt", &[]).says(&["empty.txt", "no text in it", "one a line"]);
    lm("latin.txt", &[]).says(&["latin.txt", "line 2", "UTF-8"]);
    lm("nowhere.txt", &[]).says(&["nowhere.txt"]);
    lm("train.jsonl", &["--order", "0"]).says(&["order", "1 to 20"]);
    assert!(!dir.path("no.arpa").exists());
}

#[test]
fn a_search_stands_beside_the_greedy_reading_never_in_its_place() {
    let dir = Dir::with_model();
    dir.write("text.txt", TEXT);
    dir.klang(["lm", "text.txt", "--out", "mine.arpa"]).succeeds();
    let plain = dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "--json"]).succeeds().json();
    assert!(plain.get("greedy").is_none());
    let weights = ["--lm", "mine.arpa", "--lm-weight", "2", "--word-score", "1", "--words", "listed"];
    let both = dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "--json", "--out", "out"].iter().chain(&weights));
    let both = both.succeeds().json();
    assert_eq!(both["greedy"], plain);
    // The model has hardly learnt, and can be wrong in two ways; but it can only say the text's words.
    let said = hypotheses(&dir, "out/train.hypotheses.jsonl");
    let words: Vec<&str> = said.values().flat_map(|text| text.split(' ')).filter(|word| !word.is_empty()).collect();
    let known: Vec<&str> = TEXT.split_whitespace().collect();
    assert!(!words.is_empty() && words.iter().all(|word| known.contains(word)), "{said:?}");
    let table = dir.klang_on_cpu(["evaluate", "run", "train.jsonl"].iter().chain(&weights)).succeeds();
    table.prints(&["train, greedy", "train, beam search 100 wide, 3-gram model of words", "of real time"]);
}

#[test]
fn what_tuning_finds_is_kept_with_the_model_and_gone_by() {
    let dir = Dir::with_model();
    dir.write("text.txt", TEXT);
    dir.klang(["lm", "text.txt", "--units", "characters", "--order", "3", "--out", "letters.arpa.gz"]).succeeds();
    let tune = ["tune", "run", "train.jsonl", "--lm", "letters.arpa.gz", "--by", "cer"];
    let dry = dir.klang_on_cpu(tune.iter().chain(&["--dry-run"])).succeeds();
    dry.prints(&["LM weight", "greedy: WER", "best:"]);
    assert!(!dir.path("run/best/decoding.json").exists());
    dir.klang_on_cpu(tune).succeeds().prints(&["kept in run/best/decoding.json"]);
    let kept = dir.json("run/best/decoding.json");
    assert_eq!((&kept["method"], &kept["lm"]), (&"beam".into(), &"lm.arpa.gz".into()));
    assert_eq!(dir.bytes("run/best/lm.arpa.gz"), dir.bytes("letters.arpa.gz"));
    let score = dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "--json"]).succeeds().json();
    assert!(number(&score["cer"]) < number(&score["greedy"]["cer"]), "{score}");
    let greedy = dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "--json", "--greedy"]).succeeds().json();
    assert_eq!(greedy, score["greedy"]);

    let json = ["transcribe", "run", "audio/u3.wav", "--format", "json", "--n-best", "3"];
    let heard = dir.klang_on_cpu(json).succeeds().json();
    let segment = &heard["segments"][0];
    let alternatives = segment["alternatives"].as_array().expect("alternatives");
    assert_eq!(alternatives[0]["text"], segment["text"]);
    let scores: Vec<f64> = alternatives.iter().map(|one| number(&one["score"])).collect();
    assert!(scores.is_sorted_by(|one, other| one >= other) && alternatives.iter().all(|one| number(&one["lm"]) < 0.0));
    let words = segment["words"].as_array().expect("words");
    assert!(!words.is_empty());
    let mut last = 0.0;
    for word in words {
        let (start, end, confidence) = (number(&word["start"]), number(&word["end"]), number(&word["confidence"]));
        assert!(last <= start && start < end && end <= 0.84 && (0.0..=1.0).contains(&confidence), "{heard}");
        last = end;
    }
}

#[test]
fn an_exported_model_is_read_as_the_run_was_tuned() {
    let dir = Dir::with_model();
    dir.write("text.txt", TEXT);
    dir.klang(["lm", "text.txt", "--units", "characters", "--order", "3", "--out", "letters.arpa.gz"]).succeeds();
    dir.klang_on_cpu(["tune", "run", "train.jsonl", "--lm", "letters.arpa.gz", "--by", "cer"]).succeeds();
    let heard = |model: &str| {
        let json = ["transcribe", model, "audio/u3.wav", "--format", "json", "--n-best", "3"];
        dir.klang_on_cpu(json).succeeds().json()
    };
    let tuned = heard("run");
    let export = |folder: &str, more: &[&str]| {
        dir.klang(["export", "run", folder].iter().chain(more)).succeeds();
        assert_eq!(heard(folder), tuned, "{folder}");
        assert_eq!(dir.json(&format!("{folder}/decoding.json")), dir.json("run/best/decoding.json"));
        let card = dir.text(&format!("{folder}/README.md"));
        assert!(card.contains("decoding.json") && card.contains("words and phrases of the text"), "{card}");
    };
    export("stock", &[]);
    export("kept", &["--as-is"]);
    // And on from there.
    dir.klang(["export", "stock", "again"]).succeeds();
    assert_eq!(dir.bytes("again/lm.arpa.gz"), dir.bytes("letters.arpa.gz"));
}

#[test]
fn a_language_model_that_is_no_better_leaves_no_older_one_behind() {
    let dir = Dir::with_model();
    dir.write("text.txt", TEXT);
    dir.klang(["lm", "text.txt", "--units", "characters", "--order", "3", "--out", "letters.arpa"]).succeeds();
    dir.klang_on_cpu(["tune", "run", "train.jsonl", "--lm", "letters.arpa", "--by", "cer"]).succeeds();
    assert!(dir.path("run/best/lm.arpa").is_file());
    // A dev of which the greedy reading is right, whatever that is: nothing can be better.
    dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "--greedy", "--out", "out"]).succeeds();
    let said = hypotheses(&dir, "out/train.hypotheses.jsonl");
    let line = |(id, text): (&String, &String)| json!({"id": id, "audio": format!("audio/{id}.wav"), "text": text});
    dir.write("sure.jsonl", said.iter().map(|said| format!("{}\n", line(said))).collect::<String>());
    let tune = ["tune", "run", "sure.jsonl"];
    dir.klang(["lm", "text.txt", "--out", "words.arpa"]).succeeds();
    dir.klang_on_cpu(tune.iter().chain(&["--lm", "words.arpa"])).succeeds().prints(&["the model is read greedily"]);
    assert!(!dir.path("run/best/lm.arpa").exists());
    assert_eq!(dir.json("run/best/decoding.json")["method"], "greedy");
    // What the folder itself holds may be the only copy: it stays, unread.
    dir.write("run/best/lm.arpa", dir.bytes("words.arpa"));
    dir.write("run/best/decoding.json", r#"{"method": "beam", "lm": "lm.arpa"}"#);
    dir.klang_on_cpu(tune).succeeds().says(&["stays there, for --beam"]);
    assert!(dir.path("run/best/lm.arpa").is_file());
    assert_eq!(dir.json("run/best/decoding.json")["method"], "greedy");
}

#[test]
fn a_recipe_says_how_its_tests_are_read() {
    let dir = Dir::with_recipe(5);
    dir.write("text.txt", TEXT);
    dir.klang(["lm", "text.txt", "--out", "sub/mine.arpa"]).succeeds();
    // Paths start at the recipe's folder.
    let test = "data: {allow_overlap: true, test: {new: ../train.jsonl}}";
    let decode = "decode: {method: beam, lm: mine.arpa, lm_weight: 2, word_score: 1, words: listed}";
    dir.write("sub/search.yaml", format!("extends: ../recipe.yaml\n{test}\n{decode}\n"));
    let said = "tests are read by beam search 100 wide, 3-gram model of words";
    dir.klang(["check", "sub/search.yaml"]).succeeds().prints(&[said]);
    let trained = dir.klang(["train", "sub/search.yaml", "--run", "run"]).succeeds();
    trained.says(&[said]).prints(&["\nnew, greedy\n", "\nnew\n"]);
    let of_test = |name: &str| {
        let mut lines = dir.json_lines("run/metrics.jsonl").into_iter();
        lines.find(|line| line["kind"] == "test" && line["name"] == name).expect(name)["score"].clone()
    };
    let (greedy, searched) = (of_test("new, greedy"), of_test("new"));
    assert_eq!(dir.names("run/tests"), ["new--greedy.hypotheses.jsonl", "new.hypotheses.jsonl"]);
    let known: Vec<&str> = TEXT.split_whitespace().collect();
    let said = hypotheses(&dir, "run/tests/new.hypotheses.jsonl");
    assert!(said.values().flat_map(|text| text.split_whitespace()).all(|word| known.contains(&word)), "{said:?}");
    // The model is read so from now on, wherever it goes.
    assert_eq!(dir.json("run/best/decoding.json")["lm"], "lm.arpa");
    assert!(dir.text("run/recipe.yaml").contains("lm: sub/mine.arpa"), "{}", dir.text("run/recipe.yaml"));
    let now = dir.klang_on_cpu(["evaluate", "run", "train.jsonl", "--json"]).succeeds().json();
    assert_eq!((&now["wer"], &now["cer"], &now["greedy"]), (&searched["wer"], &searched["cer"], &greedy));
    dir.klang(["export", "run", "out"]).succeeds();
    assert!(dir.text("out/README.md").contains("Tests by beam search"), "{}", dir.text("out/README.md"));

    let refused = |settings: &[&str], parts: &[&str]| {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        dir.klang(["check", "recipe.yaml"].into_iter().chain(settings)).refused_with(2).says(parts);
    };
    refused(&["decode.lm=sub/mine.arpa"], &["`decode.lm`", "decode.method: beam"]);
    refused(&["decode={method: beam, lm: no.arpa}"], &["no.arpa"]);
    refused(&["decode={method: beam, words: listed}"], &["`decode.words`", "language model of words"]);
    refused(&["decode={method: beam, width: 0}"], &["`decode.width` is 0", "1 to 10000"]);
    refused(&["decode={method: beam, hot_words: {xyz: 3}}"], &["`decode.hot_words`", "`xyz`", "letters"]);
    refused(&["decode={method: beam, beam: 3}"], &["`beam`", "expected one of"]);
}

#[test]
fn every_format_is_written_under_its_own_name() {
    let dir = Dir::with_model();
    let cases = [
        ("srt", "u3.srt", "-->"),
        ("vtt", "u3.vtt", "WEBVTT"),
        ("ctm", "u3.ctm", "u3 1 "),
        ("textgrid", "u3.TextGrid", "ooTextFile"),
        ("eaf", "u3.eaf", "RELATIVE_MEDIA_URL=\"../audio/u3.wav\""),
    ];
    for (format, name, holds) in cases {
        dir.klang_on_cpu(["transcribe", "run", "audio/u3.wav", "--format", format, "--out", "out"]).succeeds();
        assert!(dir.text(&format!("out/{name}")).contains(holds), "{}", dir.text(&format!("out/{name}")));
    }
    dir.klang_on_cpu(["transcribe", "run", "audio/u3.wav", "--format", "doc"])
        .refused_with(2)
        .says(&["doc", "srt", "eaf"]);
}

#[test]
fn a_folder_gives_a_folder_and_what_is_done_stays_done() {
    let dir = Dir::with_model();
    dir.speech("field/day 1/a.wav", "anna", "dad");
    dir.speech("field/b.wav", "ben", "cab");
    let transcribe = ["transcribe", "run", "field", "--format", "eaf", "--out", "texts"];
    dir.klang_on_cpu(transcribe).succeeds();
    assert_eq!(
        (dir.names("texts"), dir.names("texts/day 1")),
        (vec!["b.eaf".into(), "day 1".into()], vec!["a.eaf".into()])
    );
    // Somebody has corrected one of them, and a third recording has come.
    dir.write("texts/b.eaf", "corrected");
    dir.speech("field/c.wav", "ben", "bad");
    dir.klang_on_cpu(transcribe).succeeds().says(&["2 of 3 files have their transcript", "--overwrite"]);
    assert_eq!(dir.text("texts/b.eaf"), "corrected");
    assert!(dir.path("texts/c.eaf").is_file());
    dir.klang_on_cpu(transcribe.iter().chain(&["--overwrite"])).succeeds();
    assert!(dir.text("texts/b.eaf").contains("ANNOTATION_DOCUMENT"));
}

#[test]
fn transcripts_are_aligned_and_the_worst_are_named() {
    let dir = Dir::with_model();
    let align = ["align", "run", "train.jsonl", "--out", "aligned", "--format", "textgrid"];
    let printed = dir.klang_on_cpu(align).succeeds();
    printed.prints(&["nats a label", "written", "heard", "of 6 transcripts look wrong"]);
    let lines = dir.json_lines("aligned/alignments.jsonl");
    assert_eq!(
        lines.iter().map(|line| line["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["u0", "u1", "u2", "u3", "u4", "u5"]
    );
    let words: Vec<&str> =
        lines[3]["words"].as_array().unwrap().iter().map(|word| word["text"].as_str().unwrap()).collect();
    assert_eq!(words, ["bad", "dab"]);
    assert!(lines.iter().all(|line| number(&line["cost"]) >= 0.0));
    assert!(dir.text("aligned/u3.TextGrid").contains("\"dab\""));
}

#[test]
fn a_long_recording_is_cut_by_its_text() {
    let dir = Dir::with_model();
    dir.speech("story.wav", "anna", "bad dab  cab   a dad");
    dir.write("story.txt", "Bad, dab.\n\n123\ncab\nA dad!\n");
    let printed =
        dir.klang_on_cpu(["align", "run", "story.wav", "--text", "story.txt", "--out", "cut", "--format", "eaf"]);
    let printed = printed.succeeds();
    printed.prints(&["3 utterances in cut/story.jsonl"]).says(&["left out: 3", "passed over: 123"]);
    assert!(dir.text("cut/story.eaf").contains("RELATIVE_MEDIA_URL=\"../story.wav\""));
    let again = ["align", "run", "story.wav", "--text", "story.txt", "--out", "cut"];
    dir.klang_on_cpu(again).refused_with(2).says(&["cut/story.jsonl is there already", "--overwrite"]);
    dir.klang_on_cpu(again.iter().chain(&["--overwrite"])).succeeds();
    let lines = dir.json_lines("cut/story.jsonl");
    let texts: Vec<&str> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["Bad, dab.", "cab", "A dad!"]);
    let ids: Vec<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["story-0001", "story-0004", "story-0005"], "numbers are the text's lines");
    let mut last = 0.0;
    for line in &lines {
        let (offset, duration) = (number(&line["offset"]), number(&line["duration"]));
        assert!(offset >= last && duration > 0.0 && offset + duration <= 20.0 * 0.12 + 1e-9, "{line}");
        // Both are rounded to milliseconds.
        last = offset + duration - 0.0011;
    }
    // It is a manifest to go on from, of parts of a longer file.
    dir.klang_on_cpu(["evaluate", "run", "cut/story.jsonl"]).succeeds();
    let parts = ["align", "run", "cut/story.jsonl", "--out", "parts", "--format", "ctm"];
    dir.klang_on_cpu(parts).refused_with(2).says(&["is a part of", "leave --format out"]);
    dir.write("long.txt", "bad ".repeat(400));
    let long = dir.klang_on_cpu(["align", "run", "story.wav", "--text", "long.txt", "--out", "no"]).ends_with(1);
    long.says(&["story.wav", "is it the text of this recording?"]);
    dir.klang_on_cpu(["align", "run", "story.wav", "--out", "no"]).refused_with(2).says(&["--text FILE"]);
}

#[test]
fn hot_words_and_their_file_are_checked() {
    let dir = Dir::with_model();
    dir.write("hot.txt", "Bad dab\t6.5\ncab\n\n");
    let hot = |file: &str| dir.klang_on_cpu(["transcribe", "run", "audio/u3.wav", "--hot-words", file]);
    hot("hot.txt").succeeds().says(&["beam search 100 wide, no language model"]);
    for (content, said) in
        [("bad\tmuch\n", "line 1"), ("\n", "no words"), ("xyz\n", "`xyz`"), ("bad\t90\n", "-20 to 20")]
    {
        dir.write("wrong.txt", content);
        hot("wrong.txt").refused_with(2).says(&[said]);
    }
}

#[test]
fn what_cannot_be_decoded_or_tuned_is_refused_with_what_to_do() {
    let dir = Dir::with_model();
    dir.write("foreign.txt", "\u{434}\u{430} \u{43d}\u{435}\u{442}\n");
    dir.klang(["lm", "foreign.txt", "--out", "foreign.arpa"]).succeeds();
    let read =
        |more: &[&str]| dir.klang_on_cpu(["transcribe", "run", "audio/u3.wav"].iter().chain(more)).refused_with(2);
    read(&["--lm", "foreign.arpa"]).says(&["foreign.arpa", "none of its 2 words", "klang lm"]);
    dir.write("no.arpa", "");
    read(&["--lm", "no.arpa"]).says(&["no.arpa"]);
    read(&["--beam", "50", "--words", "listed"]).says(&["listed", "language model"]);
    read(&["--lm-weight", "1"]).says(&["--lm-weight", "--lm FILE"]);
    dir.write("text.txt", TEXT);
    dir.klang(["lm", "text.txt", "--out", "mine.arpa"]).succeeds();
    read(&["--lm", "mine.arpa", "--lm-weight", "-1"]).says(&["lm_weight", "0 to 10"]);
    read(&["--lm", "mine.arpa", "--n-best", "2"]).says(&["--format json"]);
    dir.klang_on_cpu(["transcribe", "run", "audio", "--format", "srt"]).refused_with(2).says(&["--out DIR"]);
    read(&["--n-best", "3"]).says(&["--beam"]);
    read(&["--greedy", "--beam", "3"]).says(&["--greedy"]);
}

#[test]
fn a_runs_own_test_is_no_place_to_tune() {
    let dir = Dir::with_recipe(5);
    let known = "data.allow_overlap=true";
    let test = ["train", "recipe.yaml", "--run", "run", "--set", known, "--set", "data.test={new: test.jsonl}"];
    dir.write("test.jsonl", dir.bytes("dev.jsonl"));
    dir.klang(test).succeeds();
    dir.klang_on_cpu(["tune", "run", "test.jsonl"]).refused_with(2).says(&["test `new`", "dev"]);
}

#[test]
fn a_run_knows_its_dev_and_the_text_it_learnt_from() {
    let dir = Dir::new();
    dir.corpus("all.jsonl", &SENTENCES);
    let share = "data.dev_share=0.25";
    dir.write("recipe.yaml", recipe(3, "", "", "").replace("train.jsonl", "all.jsonl").replace("dev: dev.jsonl", ""));
    dir.klang(["train", "recipe.yaml", "--run", "run", "--set", share]).succeeds();
    let made = dir.klang(["lm", "run", "--units", "characters", "--order", "2", "--out", "mine.arpa"]).succeeds();
    made.prints(&["6 sentences"]);
    // Two of the eight are dev, and stand in no other text than the manifest's.
    dir.klang(["lm", "all.jsonl", "--out", "all.arpa", "--test", "run"])
        .succeeds()
        .prints(&["6 of 6 sentences of run"]);
    let tuned = dir.klang_on_cpu(["tune", "run", "--lm", "mine.arpa", "--dry-run"]).succeeds();
    tuned.says(&["the run's dev: 2 utterances"]).prints(&["greedy: WER"]);
    dir.klang_on_cpu(["tune", "run/last/.", "--dry-run"]).succeeds();
    dir.klang(["export", "run", "plain"]).succeeds();
    dir.klang_on_cpu(["tune", "plain"]).refused_with(2).says(&["plain is no run", "klang tune MODEL DEV"]);
    dir.klang(["lm", "plain", "--out", "no.arpa"]).ends_with(1).says(&["plain", "holds no run"]);
}

#[test]
fn words_come_from_stdin_as_they_are_spoken() {
    let dir = Dir::with_model();
    // A sample file without its header, in whose middle a pause begins.
    let samples = &dir.bytes("audio/u3.wav")[44..];
    dir.write("speech.raw", [samples, &vec![0; 2 * 16_000 * 4], samples, &[0]].concat());
    let live = dir.klang_on_cpu(["transcribe", "run", "-"]).stdin("speech.raw").succeeds();
    live.says(&["16000 Hz", "in the middle of a sample"]);
    assert!(!live.stdout.trim().is_empty() && live.stdout.ends_with("\n"), "{live}");
    dir.klang_on_cpu(["transcribe", "run", "-"]).stdin("audio/u3.wav").refused_with(2).says(&["audio file", "ffmpeg"]);
    dir.klang_on_cpu(["transcribe", "run", "-", "--format", "srt"]).refused_with(2).says(&["stands alone"]);
    let none = dir.klang_on_cpu(["transcribe", "run", "-"]).succeeds();
    assert_eq!(none.stdout, "");
}
