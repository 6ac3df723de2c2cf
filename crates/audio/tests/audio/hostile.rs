//! Files that are broken, absurd or no audio: each gives an error that names it, none a panic.

use std::path::Path;

use klang_audio::{Error, Segment, decode, load, probe};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::wav_bytes::{EXTENSIBLE, FLOAT, PCM, chunk, extensible, file, format, i16_bytes, riff, wav};

/// The error of decoding `bytes`, which must name the file, as must those of loading and probing if they fail.
fn error_of(bytes: &[u8]) -> Error {
    let (_folder, path) = file(bytes);
    let named = |error: &Error| assert!(error.to_string().contains("speech.wav"), "{error}");
    if let Err(error) = probe(&path) {
        named(&error);
    }
    named(&load(&path, 16_000, Some(Segment { offset: 0.0, duration: Some(0.1) })).unwrap_err());
    let error = decode(&path).unwrap_err();
    named(&error);
    error
}

#[test]
fn an_empty_file() {
    assert!(matches!(error_of(b""), Error::Empty { .. }));
}

#[test]
fn what_is_not_audio_shows_its_first_bytes() {
    assert!(error_of(b"speaker\ttext\n").to_string().contains("\"speaker\\ttext\""));
    for bytes in [&b"R"[..], b"\0", b"RIFF", b"RIFFxxxxWAV", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", b"\xff\xfeh\0i\0", b"ID3"]
    {
        let error = error_of(bytes);
        assert!(matches!(error, Error::NotAudio { .. } | Error::Unsupported { .. }), "{error}");
    }
    // A web page saved in the file's place.
    assert!(matches!(error_of(b"<!DOCTYPE html><html>"), Error::NotAudio { .. }));
}

#[test]
fn other_audio_is_named() {
    for (bytes, name) in [
        (&b"\0\0\0\x20ftypM4A \0\0\0\0"[..], "MPEG-4"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "RF64"),
        (b"#!AMR\n\x3c\x91\x17\x16", "AMR"),
        (b"NIST_1A\n   1024\n", "SPHERE"),
    ] {
        let error = error_of(bytes);
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains(name), "{error}");
    }
}

#[test]
fn another_format_further_on_is_not_what_the_file_is() {
    // By its first bytes an MP3; further on a sound WAV, which a search would find.
    let mut bytes = b"\xff\xe3\x52\x42".to_vec();
    bytes.extend(wav(&format(PCM, 1, 16_000, 16), &i16_bytes(&[5; 1000])));
    assert!(error_of(&bytes).to_string().contains("no sound frame of MPEG audio"));
}

#[test]
fn zero_samples() {
    assert!(matches!(error_of(&wav(&format(PCM, 1, 16_000, 16), &[])), Error::NoSamples { .. }));
    assert!(matches!(error_of(&wav(&format(PCM, 1, 16_000, 16), &[1])), Error::NoSamples { .. }));
    // A recorder that died: length 0, samples behind it.
    let mut bytes = wav(&format(PCM, 1, 16_000, 16), &i16_bytes(&[5; 100]));
    bytes[40..44].fill(0);
    assert!(error_of(&bytes).to_string().contains("recorder"));
}

#[test]
fn nan_and_infinity_and_other_scales() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let data: Vec<u8> = [0.0, 0.1, bad].iter().flat_map(|value| value.to_le_bytes()).collect();
        let error = error_of(&wav(&format(FLOAT, 1, 16_000, 32), &data));
        assert!(matches!(error, Error::NotFiniteInFile { frame: 2, .. }), "{error}");
    }
    for (bad, is_scale) in [(f64::NAN, false), (f64::MAX, true), (-30_000.0, true)] {
        let data: Vec<u8> = [bad, 0.1].iter().flat_map(|value| value.to_le_bytes()).collect();
        let error = error_of(&wav(&format(FLOAT, 1, 16_000, 64), &data));
        assert_eq!(matches!(error, Error::Scale { frame: 0, .. }), is_scale, "{error}");
        assert_eq!(matches!(error, Error::NotFiniteInFile { frame: 0, .. }), !is_scale, "{error}");
    }
}

#[test]
fn absurd_headers() {
    let data = i16_bytes(&[5; 100]);
    for head in [
        format(PCM, 0, 16_000, 16),
        format(PCM, 1, 0, 16),
        format(PCM, 1, 1, 16),
        format(PCM, 1, u32::MAX, 16),
        format(PCM, 1, 16_000, 0),
        format(PCM, 1, 16_000, u16::MAX),
        format(PCM, u16::MAX, u32::MAX, u16::MAX),
        format(FLOAT, 1, 16_000, 16),
        format(EXTENSIBLE, 1, 16_000, 16), // 16 bytes where 40 are needed
        format(PCM, 1, 16_000, 16)[..14].to_vec(),
        Vec::new(),
    ] {
        let error = error_of(&wav(&head, &data));
        assert!(matches!(error, Error::Header { .. }), "{head:?}: {error}");
    }
    for head in [format(0x11, 1, 16_000, 4), extensible(0x11, 1, 16_000, 16, 16), format(0, 0xffff, 16_000, 16)] {
        let error = error_of(&wav(&head, &data));
        assert!(matches!(error, Error::Unsupported { .. }), "{head:?}: {error}");
    }
    let fmt = chunk(b"fmt ", &format(PCM, 1, 16_000, 16));
    for chunks in [vec![], vec![fmt.clone()], vec![chunk(b"data", &data), fmt], vec![chunk(b"data", &data)]] {
        let error = error_of(&riff(&chunks));
        assert!(matches!(error, Error::Header { .. }), "{error}");
    }
    // 100,000 empty chunks.
    assert!(matches!(error_of(&riff(&[chunk(b"LIST", b"").repeat(100_000)])), Error::Header { .. }));
}

#[test]
fn what_is_no_regular_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = decode(folder.path()).unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    assert!(matches!(decode(Path::new("/dev/zero")), Err(Error::NotAFile { .. } | Error::Open { .. })));
    let missing = folder.path().join("missing.wav");
    for error in [decode(&missing).unwrap_err(), probe(&missing).unwrap_err()] {
        assert!(matches!(error, Error::Open { .. }) && error.to_string().contains("missing.wav"), "{error}");
    }
}

fn fixtures() -> Vec<(&'static str, Vec<u8>)> {
    let read = |name| std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap();
    let data = i16_bytes(&(0..40).map(|n| n * 700).collect::<Vec<i16>>());
    vec![
        ("pcm", wav(&format(PCM, 2, 16_000, 16), &data)),
        (
            "extensible",
            riff(&[chunk(b"LIST", b"odd"), chunk(b"fmt ", &extensible(PCM, 1, 16_000, 24, 24)), chunk(b"data", &data)]),
        ),
        ("a-law", wav(&format(6, 1, 8_000, 8), &data)),
        ("flac", read("chirp-stereo-8khz.flac")),
        ("mp3", read("chirp-mono-16khz.mp3")),
        ("ogg", read("chirp-mono-16khz.ogg")),
    ]
}

/// Whatever the bytes are: an error that names the file, or finite samples within [−1, 1], and as many as the file's
/// size can pay for.
fn survives(path: &Path, bytes: &[u8], what: &str) {
    std::fs::write(path, bytes).unwrap();
    match decode(path) {
        Ok(decoded) => {
            assert!(decoded.waveform.samples().iter().all(|x| x.abs() <= 1.0), "{what}");
            assert!(!decoded.waveform.is_empty(), "{what}");
        }
        Err(error) => assert!(error.to_string().contains("speech.wav"), "{what}: {error}"),
    }
    if let Err(error) = probe(path) {
        assert!(error.to_string().contains("speech.wav"), "{what}: {error}");
    }
    let segment = Some(Segment { offset: 0.001, duration: Some(0.2) });
    if let Err(error) = load(path, 8_000, segment) {
        assert!(error.to_string().contains("speech.wav"), "{what}: {error}");
    }
}

#[test]
fn cut_at_every_byte() {
    let (_folder, path) = file(b"");
    for (name, bytes) in fixtures() {
        // Headers byte by byte; the packets behind them at a prime step, to keep the test short.
        let cuts = (0..bytes.len().min(600)).chain((600..bytes.len()).step_by(211));
        for cut in cuts {
            survives(&path, &bytes[..cut], &format!("{name} cut at {cut}"));
        }
    }
}

#[test]
fn bytes_changed_at_random() {
    let (_folder, path) = file(b"");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for (name, bytes) in fixtures() {
        for round in 0..150 {
            let mut bytes = bytes.clone();
            // Half of the rounds aim at the header; a few bytes each, one bit or all of them.
            let reach = if round % 2 == 0 { bytes.len().min(100) } else { bytes.len() };
            for _ in 0..=round % 5 {
                let at = rng.next_u32() as usize % reach;
                bytes[at] = match rng.next_u32() % 4 {
                    0 => 0,
                    1 => 0xff,
                    _ => bytes[at] ^ 1 << (rng.next_u32() % 8),
                };
            }
            survives(&path, &bytes, &format!("{name}, round {round}"));
        }
    }
}
