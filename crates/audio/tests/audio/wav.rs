//! Every kind of WAV, from bytes written here.

use std::path::Path;

use klang_audio::{Decoded, Segment, Warning, Waveform, decode, load, probe, write_wav};

use crate::wav_bytes::{FLOAT, PCM, chunk, extensible, file, format, i16_bytes, riff, wav};

fn decoded(bytes: &[u8]) -> Decoded {
    let (_folder, path) = file(bytes);
    let decoded = decode(&path).unwrap();
    let info = probe(&path).unwrap();
    assert_eq!(info.duration, decoded.waveform.duration());
    assert_eq!((info.sample_rate, info.channels), (decoded.source_rate, decoded.source_channels));
    decoded
}

fn samples(bytes: &[u8]) -> Vec<f32> {
    decoded(bytes).waveform.into_samples()
}

// Every expected value below is level / 2^(bits − 1), exact in f32, so compared with no tolerance.

#[test]
fn integers_of_8_bits_are_unsigned() {
    assert_eq!(samples(&wav(&format(PCM, 1, 16_000, 8), &[0, 64, 128, 255])), [-1.0, -0.5, 0.0, 127.0 / 128.0]);
}

#[test]
fn integers_of_16_bits() {
    let data = i16_bytes(&[i16::MIN, -16_384, 0, 1, i16::MAX]);
    let expected = [-1.0, -0.5, 0.0, 1.0 / 32_768.0, 32_767.0 / 32_768.0];
    assert_eq!(samples(&wav(&format(PCM, 1, 16_000, 16), &data)), expected);
    assert_eq!(samples(&wav(&extensible(PCM, 1, 16_000, 16, 16), &data)), expected);
}

#[test]
fn integers_of_24_bits() {
    let data = [0x00, 0x00, 0x80, 0x00, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x00, 0x00, 0x40];
    let expected = [-1.0, -0.5, 1.0 / 8_388_608.0, 0.5];
    assert_eq!(samples(&wav(&format(PCM, 1, 48_000, 24), &data)), expected);
    assert_eq!(samples(&wav(&extensible(PCM, 1, 48_000, 24, 24), &data)), expected);
    // 20 valid bits are the upper ones of 24.
    assert_eq!(samples(&wav(&extensible(PCM, 1, 48_000, 24, 20), &data)), expected);
}

#[test]
fn integers_of_24_bits_in_4_bytes() {
    // As arecord writes S24_LE: the value in the lower three bytes, the alignment says four.
    let mut head = format(PCM, 1, 48_000, 24);
    head[12..14].copy_from_slice(&4u16.to_le_bytes());
    let data: Vec<u8> = [-4_194_304i32, 4_194_304].iter().flat_map(|level| level.to_le_bytes()).collect();
    assert_eq!(samples(&wav(&head, &data)), [-0.5, 0.5]);
    // In WAVE_FORMAT_EXTENSIBLE, 24 valid bits of 32 are the upper ones.
    let data: Vec<u8> = [i32::MIN / 2, 1 << 30].iter().flat_map(|level| level.to_le_bytes()).collect();
    assert_eq!(samples(&wav(&extensible(PCM, 1, 48_000, 32, 24), &data)), [-0.5, 0.5]);
}

#[test]
fn integers_of_32_bits() {
    let data: Vec<u8> = [i32::MIN, i32::MIN / 2, 0, 1 << 30].iter().flat_map(|level| level.to_le_bytes()).collect();
    let expected = [-1.0, -0.5, 0.0, 0.5];
    assert_eq!(samples(&wav(&format(PCM, 1, 16_000, 32), &data)), expected);
    assert_eq!(samples(&wav(&extensible(PCM, 1, 16_000, 32, 32), &data)), expected);
    // A WAVEFORMATEX of 18 bytes.
    let mut long = format(PCM, 1, 16_000, 32);
    long.extend([0, 0]);
    assert_eq!(samples(&wav(&long, &data)), expected);
}

#[test]
fn floats_of_32_and_64_bits() {
    let values = [-1.0, -0.25, 0.0, 0.1, 1.0];
    let data32: Vec<u8> = values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
    let data64: Vec<u8> = values.iter().flat_map(|value: &f64| value.to_le_bytes()).collect();
    let expected = [-1.0, -0.25, 0.0, 0.1, 1.0];
    assert_eq!(samples(&wav(&format(FLOAT, 1, 16_000, 32), &data32)), expected);
    assert_eq!(samples(&wav(&extensible(FLOAT, 1, 16_000, 32, 32), &data32)), expected);
    assert_eq!(samples(&wav(&format(FLOAT, 1, 16_000, 64), &data64)), expected);
    assert_eq!(samples(&wav(&extensible(FLOAT, 1, 16_000, 64, 64), &data64)), expected);
}

#[test]
fn companded_telephone_speech() {
    // ITU-T G.711: 0xd5 and 0xff are the smallest positive values of A-law and µ-law, 0xaa and 0x80 the largest,
    // 0x2a and 0x00 the most negative; on the 16-bit scale 8, 32,256 and −32,256; 0, 32,124 and −32,124.
    let a_law = samples(&wav(&format(6, 1, 8_000, 8), &[0xd5, 0xaa, 0x2a].repeat(2000)));
    assert_eq!(a_law[..3], [8.0 / 32_768.0, 32_256.0 / 32_768.0, -32_256.0 / 32_768.0]);
    let mu_law = samples(&wav(&format(7, 1, 8_000, 8), &[0xff, 0x80, 0x00].repeat(2000)));
    assert_eq!(mu_law[..3], [0.0, 32_124.0 / 32_768.0, -32_124.0 / 32_768.0]);
    assert_eq!((a_law.len(), mu_law.len()), (6000, 6000));
}

#[test]
fn any_channel_count_is_averaged() {
    for channels in [2u16, 3, 6, 40_000] {
        // Channel c of frame f holds f + 1 on even c, −f − 1 on odd c, times 256: an odd count leaves a known remainder.
        let data: Vec<i16> = (0..3 * usize::from(channels))
            .map(|n| {
                let (frame, channel) = (n / usize::from(channels), n % usize::from(channels));
                (frame as i16 + 1) * if channel % 2 == 0 { 256 } else { -256 }
            })
            .collect();
        let decoded = decoded(&wav(&format(PCM, channels, 16_000, 16), &i16_bytes(&data)));
        let rest = f32::from(channels % 2) / f32::from(channels) * 256.0 / 32_768.0;
        assert_eq!(decoded.source_channels, channels);
        for (frame, sample) in decoded.waveform.samples().iter().enumerate() {
            let expected = (frame + 1) as f32 * rest;
            assert!((sample - expected).abs() < 1e-8, "{channels} channels: {sample} for {expected}"); // f32 rounding
        }
    }
}

#[test]
fn other_chunks_are_skipped_with_their_padding() {
    let data = chunk(b"data", &i16_bytes(&[100, 200]));
    let fmt = chunk(b"fmt ", &format(PCM, 1, 16_000, 16));
    let bytes = riff(&[chunk(b"JUNK", &[1, 2, 3]), fmt, chunk(b"LIST", b"odd"), data, chunk(b"bext", &[9; 50])]);
    assert_eq!(samples(&bytes), [100.0 / 32_768.0, 200.0 / 32_768.0]);
}

#[test]
fn the_content_counts_and_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["speech.mp3", "speech", "speech.flac.txt", "ɛ̀ kaa ε ω.ogg"] {
        let path = folder.path().join(name);
        std::fs::write(&path, wav(&format(PCM, 1, 16_000, 16), &i16_bytes(&[1, 2]))).unwrap();
        assert_eq!(decode(&path).unwrap().waveform.len(), 2, "{name}");
    }
}

#[test]
fn floats_a_little_over_are_clamped_with_a_warning() {
    let data: Vec<u8> = [0.5f32, 1.25, -1.5].iter().flat_map(|value| value.to_le_bytes()).collect();
    let decoded = decoded(&wav(&format(FLOAT, 1, 16_000, 32), &data));
    assert_eq!(decoded.waveform.samples(), [0.5, 1.0, -1.0]);
    assert_eq!(decoded.warnings, [Warning::Clamped { samples: 2, peak: 1.5 }]);
}

/// A 16-bit stereo WAV at 8 kHz whose frame f holds f on both channels.
fn ramp(frames: i16) -> Vec<u8> {
    let data: Vec<i16> = (0..frames).flat_map(|frame| [frame, frame]).collect();
    wav(&format(PCM, 2, 8_000, 16), &i16_bytes(&data))
}

fn levels(decoded: &Decoded) -> Vec<f32> {
    decoded.waveform.samples().iter().map(|sample| sample * 32_768.0).collect()
}

#[test]
fn segments_are_cut_to_the_frame() {
    let (_folder, path) = file(&ramp(8_000));
    let load = |offset, duration| load(&path, 8_000, Some(Segment { offset, duration }));
    assert_eq!(levels(&load(0.5, Some(0.000_5)).unwrap()), [4_000.0, 4_001.0, 4_002.0, 4_003.0]);
    assert_eq!(levels(&load(0.999_75, None).unwrap()), [7_998.0, 7_999.0]);
    assert_eq!(load(0.0, None).unwrap().waveform.len(), 8_000);
    let cut = load(0.9, Some(0.5)).unwrap();
    assert_eq!(cut.waveform.len(), 800);
    assert!(matches!(cut.warnings[..], [Warning::SegmentCut { .. }]), "{:?}", cut.warnings);
    assert_eq!(load(0.9, Some(0.105)).unwrap().warnings, []); // manifests round
    for (offset, duration) in [(-0.1, None), (f64::NAN, None), (0.0, Some(0.0)), (0.0, Some(f64::INFINITY))] {
        let error = load(offset, duration).unwrap_err();
        assert!(matches!(error, klang_audio::Error::Segment { .. }), "{error}");
    }
    for offset in [1.0, 7.0, 1e300] {
        let error = load(offset, Some(1.0)).unwrap_err();
        assert!(matches!(error, klang_audio::Error::SegmentOutside { end: 1.0, .. }), "{error}");
    }
}

#[test]
fn loading_resamples_and_says_when_it_adds_nothing() {
    let (_folder, path) = file(&ramp(8_000));
    let loaded = load(&path, 16_000, Some(Segment { offset: 0.25, duration: Some(0.5) })).unwrap();
    assert_eq!((loaded.waveform.len(), loaded.waveform.sample_rate()), (8_000, 16_000));
    assert_eq!((loaded.source_rate, loaded.source_channels), (8_000, 2));
    assert_eq!(loaded.warnings, [Warning::Upsampled { from: 8_000 }]);
    let down = load(&path, 4_000, None).unwrap();
    assert_eq!((down.waveform.len(), down.warnings), (4_000, vec![]));
    assert!(matches!(load(&path, 3_999, None), Err(klang_audio::Error::SampleRate { given: 3_999 })));
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.wav");
    let waveform = Waveform::new(vec![0.0, 0.25, -1.0, 1.0, 1.5, -7.0, 0.3], 22_050).unwrap();
    write_wav(&path, &waveform).unwrap();
    let decoded = decode(&path).unwrap();
    assert_eq!(decoded.source_rate, 22_050);
    let top = 32_767.0 / 32_768.0;
    for (got, expected) in decoded.waveform.samples().iter().zip([0.0, 0.25, -1.0, top, top, -1.0, 0.3]) {
        assert!((got - expected).abs() <= 0.5 / 32_768.0, "{got} for {expected}"); // half a level
    }
    assert_eq!(decoded.waveform.len(), 7);
    // It replaces what was there, and leaves nothing beside it.
    write_wav(&path, &Waveform::new(vec![0.5], 8_000).unwrap()).unwrap();
    assert_eq!(decode(&path).unwrap().waveform.samples(), [0.5]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_names_the_file_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let waveform = Waveform::new(vec![0.5], 8_000).unwrap();
    for path in [folder.path().join("missing/out.wav"), folder.path().to_path_buf(), Path::new("").to_path_buf()] {
        let error = write_wav(&path, &waveform).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: cannot be written", path.display())), "{error}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
