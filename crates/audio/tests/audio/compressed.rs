//! FLAC, MP3 and Ogg Vorbis, from the fixtures in tests/data.

use std::path::{Path, PathBuf};

use klang_audio::{AudioReader, Decoded, Error, Segment, Warning, decode, load, probe};

use crate::signals::{chirp, decibels, rms};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

const FLAC: &str = "chirp-stereo-8khz.flac";
const MP3: &str = "chirp-mono-16khz.mp3";
const OGG: &str = "chirp-mono-16khz.ogg";

/// Signal-to-error ratio in dB against the formula the fixture was made from.
fn fidelity(decoded: &Decoded, expected: &[f64]) -> f64 {
    let samples = decoded.waveform.samples();
    assert_eq!(samples.len(), expected.len());
    let error = rms(samples.iter().zip(expected).map(|(&got, expected)| f64::from(got) - expected));
    decibels(rms(expected.iter().copied()) / error)
}

#[test]
fn flac_is_exact() {
    let decoded = decode(&data(FLAC)).unwrap();
    assert_eq!((decoded.source_rate, decoded.source_channels), (8_000, 2));
    assert_eq!(decoded.warnings, []);
    // Channels of amplitude 0.04 and 0.02, each rounded to a level by ffmpeg: within half a level of the mean, and f32's
    // own rounding of it.
    let expected = chirp(8_000, 0.03, 200.0, 200.0, 10_400);
    assert_eq!(decoded.waveform.len(), expected.len());
    for (got, expected) in decoded.waveform.samples().iter().zip(&expected) {
        assert!((f64::from(*got) - expected).abs() < 0.51 / 32_768.0, "{got} for {expected}");
    }
}

// One sample of misalignment is 2π · 1,100 Hz / 16 kHz = 0.43 rad of error on average over the chirp's 300–1,900 Hz,
// 7 dB; the codecs at these bit rates give more than 20 dB when the encoder's delay is removed to the sample.

#[test]
fn mp3_without_its_encoder_delay() {
    let decoded = decode(&data(MP3)).unwrap();
    assert_eq!((decoded.source_rate, decoded.source_channels), (16_000, 1));
    let ratio = fidelity(&decoded, &chirp(16_000, 0.4, 300.0, 400.0, 32_000));
    assert!(ratio > 20.0, "{ratio} dB");
}

#[test]
fn ogg_vorbis_ends_where_its_last_page_says() {
    let decoded = decode(&data(OGG)).unwrap();
    assert_eq!((decoded.source_rate, decoded.source_channels), (16_000, 1));
    let ratio = fidelity(&decoded, &chirp(16_000, 0.4, 300.0, 400.0, 32_000));
    assert!(ratio > 20.0, "{ratio} dB");
}

/// What a reader gives, bit by bit, and its warnings.
fn read(path: &Path, sample_rate: u32) -> (Vec<f32>, Vec<Warning>) {
    let mut reader = AudioReader::open(path, sample_rate).unwrap();
    let mut samples = Vec::new();
    while let Some(some) = reader.read().unwrap() {
        assert!(!some.is_empty());
        samples.extend(some);
    }
    assert_eq!(reader.read().unwrap(), None);
    (samples, reader.warnings().to_vec())
}

#[test]
fn bit_by_bit_and_at_once_are_one() {
    let folder = tempfile::tempdir().unwrap();
    // Longer than what is decoded at a time, at a rate whose blocks divide nothing.
    let long = folder.path().join("long.wav");
    let tone = (0..300_007).map(|place| (place as f32 * 0.05).sin() * 0.4).collect();
    klang_audio::write_wav(&long, &klang_audio::Waveform::new(tone, 11_025).unwrap()).unwrap();
    let truncated = folder.path().join("truncated.wav");
    let bytes = std::fs::read(&long).unwrap();
    std::fs::write(&truncated, &bytes[..bytes.len() / 2 + 1]).unwrap();
    for path in [data(FLAC), data(MP3), data(OGG), long, truncated] {
        for sample_rate in [8_000, 11_025, 16_000, 44_100] {
            let whole = load(&path, sample_rate, None).unwrap();
            let (samples, warnings) = read(&path, sample_rate);
            assert_eq!(samples, whole.waveform.samples(), "{} at {sample_rate} Hz", path.display());
            assert_eq!(warnings, whole.warnings);
        }
    }
}

#[test]
fn probing_agrees_with_decoding() {
    for name in [FLAC, MP3, OGG] {
        let (info, decoded) = (probe(&data(name)).unwrap(), decode(&data(name)).unwrap());
        assert_eq!(info.duration, decoded.waveform.duration(), "{name}");
        assert_eq!((info.sample_rate, info.channels), (decoded.source_rate, decoded.source_channels), "{name}");
        assert_eq!(info.warnings, decoded.warnings, "{name}");
    }
}

#[test]
fn segments_are_what_the_whole_holds_there() {
    for name in [FLAC, MP3, OGG] {
        let whole = decode(&data(name)).unwrap();
        let rate = whole.source_rate;
        let at = |seconds: f64| (seconds * f64::from(rate)).round() as usize;
        // Within the first packet, on and across packets' edges, near the end.
        for (offset, duration) in [(0.0, 0.01), (0.001, 0.3), (0.064, 0.064), (0.777, 0.25), (1.29, 0.01)] {
            let part = load(&data(name), rate, Some(Segment { offset, duration: Some(duration) })).unwrap();
            let expected = &whole.waveform.samples()[at(offset)..at(offset) + at(duration)];
            assert_eq!(part.waveform.samples(), expected, "{name} {offset} {duration}");
            assert_eq!(part.warnings, [], "{name}");
        }
        let error = load(&data(name), rate, Some(Segment { offset: 2.5, duration: None })).unwrap_err();
        assert!(matches!(error, Error::SegmentOutside { .. }), "{error}");
    }
}

#[test]
fn a_truncated_flac_gives_what_is_there() {
    let bytes = std::fs::read(data(FLAC)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.flac");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let whole = decode(&data(FLAC)).unwrap();
    let cut = decode(&path).unwrap();
    let len = cut.waveform.len();
    // Half the bytes hold about half the chirp; blocks are of 512 frames.
    assert!((4_000..7_000).contains(&len), "{len}");
    assert_eq!(cut.waveform.samples(), &whole.waveform.samples()[..len]);
    assert!(cut.warnings.contains(&Warning::Truncated { promised_frames: 10_400, found_frames: len as u64 }));
    assert_eq!(probe(&path).unwrap().duration, cut.waveform.duration());
}

#[test]
fn id3_tags_are_skipped_whatever_they_hold() {
    let mp3 = std::fs::read(data(MP3)).unwrap();
    let audio = mp3.strip_prefix(b"ID3").map_or(&mp3[..], |_| {
        let size = mp3[6..10].iter().fold(0, |size, &byte| size << 7 | usize::from(byte));
        &mp3[10 + size..]
    });
    // 300 bytes (2 · 128 + 44) that look like MPEG frames.
    let mut bytes = b"ID3\x04\x00\x00\x00\x00\x02\x2c".to_vec();
    bytes.extend([0xff, 0xfb, 0x90].repeat(100));
    bytes.extend(audio);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tagged.mp3");
    std::fs::write(&path, bytes).unwrap();
    let (tagged, plain) = (decode(&path).unwrap(), decode(&data(MP3)).unwrap());
    assert_eq!(tagged.waveform, plain.waveform);
}

#[test]
fn opus_is_refused_by_name() {
    let error = decode(&data("unsupported-opus.ogg")).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("unsupported-opus.ogg"), "{error}");
}
