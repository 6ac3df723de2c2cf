use super::super::Output;
use super::super::settings::WordList;
use super::*;
use crate::model::AudioSpec;
use klang_lm::ModifiedKneserNey;
use klang_text::{TextOptions, Units};
use klang_wav2vec2::ModelConfig;

fn spec(units: Units) -> ModelSpec {
    ModelSpec {
        config: ModelConfig::of_size("tiny").unwrap(),
        vocabulary: Vocabulary::of_units(units, ["ab ba c"]).unwrap(),
        audio: AudioSpec::default(),
        text: TextOptions::default(),
        bottleneck: None,
    }
}

fn lm(folder: &tempfile::TempDir, sentences: &[&[&str]]) -> std::path::PathBuf {
    let path = folder.path().join("lm.arpa");
    let estimated =
        ModifiedKneserNey { order: 2, ..Default::default() }.estimate(sentences.iter().map(|one| one.iter()));
    estimated.unwrap().model.write_arpa(&path).unwrap();
    path
}

/// ln of probabilities: each frame's labels with their probabilities, the rest all but impossible.
fn rows(vocabulary: &Vocabulary, frames: &[&[(&str, f32)]]) -> Output {
    let mut rows = vec![-25.0f32; frames.len() * vocabulary.len()];
    for (frame, labels) in frames.iter().enumerate() {
        for (token, p) in *labels {
            let id = vocabulary.tokens().iter().position(|known| known == token).unwrap();
            rows[frame * vocabulary.len() + id] = p.ln();
        }
    }
    Output::of_rows(rows, vocabulary.len())
}

fn beam() -> DecodeSettings {
    DecodeSettings { method: DecodeMethod::Beam, lm_weight: 1.0, word_score: 0.0, ..DecodeSettings::default() }
}

#[test]
fn a_model_of_words_turns_the_balance() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(Units::Characters);
    let path = lm(&folder, &[&["ba", "c"], &["ba"], &["c", "ba"], &["ab"]]);
    // "ac" is a little more probable than "ab", and no word.
    let frames: [&[(&str, f32)]; 2] = [&[("a", 1.0)], &[("b", 0.45), ("c", 0.55)]];
    let rows = rows(&spec.vocabulary, &frames);
    let read = |settings: DecodeSettings| Decoder::new(settings, &spec).unwrap().giving(5).decode(&rows);
    assert_eq!(read(DecodeSettings::default()).text, "ac");
    let free = read(beam());
    assert_eq!((free.text.as_str(), free.alternatives[1].text.as_str(), free.alternatives[0].lm), ("ac", "ab", None));
    assert!((free.alternatives[0].acoustic - 0.55f64.ln()).abs() < 1e-6);
    for words in [WordList::Open, WordList::Listed] {
        let found = read(DecodeSettings { lm: Some(path.clone()), words, unknown_score: -1.0, ..beam() });
        assert_eq!(found.text, "ab", "{words:?}");
        let texts: Vec<&str> = found.alternatives.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts.contains(&"ac"), words == WordList::Open, "{texts:?}");
        let lm = NgramModel::read_arpa(&path, &ReadOptions::default()).unwrap();
        assert_eq!(found.alternatives[0].lm, Some(lm.score_sentence(["ab"]).log10));
    }
    let hot = DecodeSettings { hot_words: [("Ab!".to_owned(), 3.0)].into(), ..beam() };
    assert_eq!(read(hot).text, "ab", "hot words are normalised as transcripts are");
}

#[test]
fn a_model_of_characters_and_one_of_words_that_are_labels() {
    let folder = tempfile::tempdir().unwrap();
    let characters = spec(Units::Characters);
    let path = lm(&folder, &[&["a", "b", "|", "c"], &["a", "b"]]);
    let frames: [&[(&str, f32)]; 2] = [&[("a", 1.0)], &[("b", 0.45), ("c", 0.55)]];
    let decoder = Decoder::new(DecodeSettings { lm: Some(path), ..beam() }, &characters).unwrap().giving(1);
    assert_eq!(decoder.describe(), "beam search 100 wide, 2-gram model of labels");
    let found = decoder.decode(&rows(&characters.vocabulary, &frames));
    assert_eq!(found.text, "ab");
    assert!(found.alternatives[0].lm.is_some());

    let words = spec(Units::Words);
    let path = lm(&folder, &[&["ba", "c"], &["ba", "c"], &["ab", "ba"]]);
    let frames: [&[(&str, f32)]; 2] = [&[(" ba", 1.0)], &[(" ab", 0.55), (" c", 0.45)]];
    let rows = rows(&words.vocabulary, &frames);
    let decoder = Decoder::new(DecodeSettings { lm: Some(path), ..beam() }, &words).unwrap().giving(1);
    assert_eq!(decoder.describe(), "beam search 100 wide, 2-gram model of words");
    let found = decoder.decode(&rows);
    assert_eq!(found.text, "ba c");
    assert_eq!(decoder.timed(&rows, &found.labels, 1.0).len(), 2);
    // One that does not know `ba`, which costs a little, and is not to be where the list alone counts.
    let path = lm(&folder, &[&["ab", "c"], &["ab", "ab"]]);
    let open = DecodeSettings { lm: Some(path), unknown_score: -1.0, ..beam() };
    let listed = DecodeSettings { words: WordList::Listed, ..open.clone() };
    assert!(Decoder::new(open, &words).unwrap().decode(&rows).text.starts_with("ba "));
    assert_eq!(Decoder::new(listed, &words).unwrap().decode(&rows).text, "ab");
    let hot = DecodeSettings { hot_words: [("ba c".to_owned(), 3.0)].into(), ..beam() };
    assert_eq!(Decoder::new(hot, &words).unwrap().decode(&rows).text, "ba c");
    assert_eq!(Decoder::new(beam(), &words).unwrap().decode(&rows).text, "ba ab");
}

#[test]
fn a_vocabulary_of_capitals_meets_a_language_model_in_small_letters() {
    let folder = tempfile::tempdir().unwrap();
    let spec = ModelSpec { vocabulary: Vocabulary::from_texts(["AB BA C"]).unwrap(), ..spec(Units::Characters) };
    let frames: [&[(&str, f32)]; 2] = [&[("A", 1.0)], &[("B", 0.45), ("C", 0.55)]];
    let rows = rows(&spec.vocabulary, &frames);
    let sentences: [&[&[&str]]; 2] = [&[&["a", "b", "|", "c"], &["a", "b"]], &[&["ab", "c"], &["ab"]]];
    for sentences in sentences {
        let path = lm(&folder, sentences);
        let settings = DecodeSettings { lm: Some(path.clone()), ..beam() };
        let found = Decoder::new(settings, &spec).unwrap().giving(1).decode(&rows);
        assert_eq!(found.text, "AB");
        let lm = NgramModel::read_arpa(&path, &ReadOptions::default()).unwrap();
        let words: &[&str] = if sentences[0][0] == "a" { &["a", "b"] } else { &["ab"] };
        assert_eq!(found.alternatives[0].lm, Some(lm.score_sentence(words.iter().copied()).log10));
    }
}

#[test]
fn what_a_decoder_cannot_use_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(Units::Characters);
    let path = lm(&folder, &[&["\u{434}\u{430}", "\u{43d}\u{435}\u{442}"]]);
    let of = |settings: DecodeSettings| Decoder::new(settings, &spec).map(|_| ()).unwrap_err();
    let cases = [
        (DecodeSettings { lm: Some(path), ..beam() }, "none of its 2 words"),
        (DecodeSettings { words: WordList::Listed, ..beam() }, "without a language model"),
        (DecodeSettings { hot_words: [("xyz".to_owned(), 1.0)].into(), ..beam() }, "`xyz`"),
        (DecodeSettings { lm: Some("nowhere.arpa".into()), ..beam() }, "nowhere.arpa"),
        (DecodeSettings { width: 0, ..beam() }, "width is 0"),
    ];
    for (settings, said) in cases {
        let message = of(settings).to_string();
        assert!(message.contains(said), "{message}");
    }
    // Another sign between words, and labels that are longer than characters.
    let path = lm(&folder, &[&["a", "b", "_", "c"]]);
    assert!(of(DecodeSettings { lm: Some(path.clone()), ..beam() }).to_string().contains("does not know `|`"));
    let message = Decoder::new(DecodeSettings { lm: Some(path), ..beam() }, &self::spec(Units::Words)).unwrap_err();
    assert!(message.to_string().contains("`ab`"), "{message}");
    let path = lm(&folder, &[&["ab", "xy", "c"]]);
    let decoder = Decoder::new(DecodeSettings { lm: Some(path), ..beam() }, &spec).unwrap();
    assert!(decoder.warnings()[0].contains("only 2 of the language model's 3 words"), "{:?}", decoder.warnings());
}

#[test]
fn greedy_reading_is_libtorchs_whatever_rounding_makes_equal_and_however_wide_the_head_is() {
    let spec = spec(Units::Characters);
    let decoder = Decoder::new(DecodeSettings::default(), &spec).unwrap();
    let beam = Decoder::new(beam(), &spec).unwrap();
    // A head with outputs that no token has.
    let logits = tch::Tensor::randn([40, spec.vocabulary.len() as i64 + 3], (tch::Kind::Float, tch::Device::Cpu));
    let path = klang_ctc::greedy(&logits.unsqueeze(0), &[40], spec.vocabulary.blank()).unwrap().remove(0);
    let output = Output::of(&logits).unwrap();
    assert_eq!(decoder.decode(&output).labels, path.labels);
    let found = beam.decode(&output);
    assert!(!found.labels.is_empty() && found.labels.iter().all(|&label| (label as usize) < spec.vocabulary.len()));
    // Two logits that are one number once the logarithm of their sum, some 1.8, is taken from them.
    let mut logits = vec![0.0f32; spec.vocabulary.len()];
    (logits[3], logits[4]) = (2f32.powi(-10), 2f32.powi(-10) + 2f32.powi(-33));
    let close = tch::Tensor::from_slice(&logits).unsqueeze(0);
    assert_eq!(decoder.decode(&Output::of(&close).unwrap()).labels, [4]);
}
