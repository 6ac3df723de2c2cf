//! `klang logits`: what it writes is what `klang transcribe` reads.

use safetensors::{Dtype, SafeTensors};

use crate::harness::{Dir, assert_telling};

/// Greedy CTC by hand: the best token of each frame, repeats once, `<pad>` never, `|` as a space.
fn collapse(logits: &[f32], vocabulary: &[String]) -> String {
    let best = logits.chunks_exact(vocabulary.len()).map(|frame| {
        let best = frame.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("a token");
        &vocabulary[best.0]
    });
    let mut tokens: Vec<&String> = best.collect();
    tokens.dedup();
    let text: String = tokens.into_iter().filter(|token| !token.starts_with('<')).map(String::as_str).collect();
    text.split('|').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_logits_are_those_that_transcribe_reads() {
    let dir = Dir::with_model();
    let mut texts = Vec::new();
    for audio in ["audio/u3.wav", "audio/u0.wav"] {
        dir.klang_on_cpu(["logits", "run", audio, "--out", "logits.safetensors"]).succeeds().prints(&[
            "logits.safetensors",
            "frames",
            "tokens",
        ]);
        let bytes = dir.bytes("logits.safetensors");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).expect("a header");
        let metadata = metadata.metadata().clone().expect("metadata");
        let vocabulary: Vec<String> = serde_json::from_str(&metadata["vocabulary"]).expect("a list of tokens");
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let logits = file.tensor("logits").expect("logits");
        assert_eq!(logits.dtype(), Dtype::F32);
        let samples = (dir.bytes(audio).len() - 44) / 2;
        // (n − 200) / 20 + 1 frames of the first convolution, then four times (n − 3) / 2 + 1.
        let frames = (0..4).fold((samples - 200) / 20 + 1, |frames, _| (frames - 3) / 2 + 1);
        assert_eq!(logits.shape(), [frames, vocabulary.len()]);
        let values: Vec<f32> =
            logits.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four"))).collect();
        let text = dir.klang_on_cpu(["transcribe", "run", audio]).succeeds().stdout;
        assert_eq!(format!("{}\n", collapse(&values, &vocabulary)), text, "{audio}");
        texts.push(text);

        // The vocabulary is the model's, in the order of its ids.
        let ids = dir.json("run/best/vocab.json");
        for (id, token) in vocabulary.iter().enumerate() {
            assert_eq!(ids[token], id, "{token}");
        }
    }
    assert_telling(&texts);
}

#[test]
fn a_file_that_is_no_audio_is_named_and_nothing_is_written() {
    let dir = Dir::with_model();
    dir.write("bad.wav", "no audio at all");
    dir.klang_on_cpu(["logits", "run", "bad.wav", "--out", "l.safetensors"]).refused_with(1).says(&["bad.wav"]);
    assert!(!dir.path("l.safetensors").exists());
}
