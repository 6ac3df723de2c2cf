//! WAVs whose headers promise more than the files hold.

use std::path::Path;

use klang_audio::{Segment, Warning, decode, load, probe};

use crate::wav_bytes::{PCM, file, format, i16_bytes, wav};

#[test]
fn what_is_there_comes_with_a_warning() {
    let whole = wav(&format(PCM, 1, 16_000, 16), &i16_bytes(&[7; 1000]));
    for missing in [1, 2, 3, 1000, 1998] {
        let (_folder, path) = file(&whole[..whole.len() - missing]);
        let found = (2000 - missing) / 2;
        let warning = Warning::Truncated { promised_frames: 1000, found_frames: found as u64 };
        let decoded = decode(&path).unwrap();
        assert_eq!(decoded.waveform.samples(), vec![7.0 / 32_768.0; found]);
        assert_eq!(decoded.warnings, std::slice::from_ref(&warning));
        let info = probe(&path).unwrap();
        assert_eq!(info.duration, found as f64 / 16_000.0);
        assert_eq!(info.warnings, [warning]);
    }
}

#[test]
fn a_segment_within_what_is_there_is_whole() {
    let whole = wav(&format(PCM, 1, 16_000, 16), &i16_bytes(&[7; 16_000]));
    let (_folder, path) = file(&whole[..whole.len() - 16_000]); // half a second is left
    let load = |offset, duration| load(&path, 16_000, Some(Segment { offset, duration: Some(duration) }));
    assert_eq!(load(0.1, 0.4).unwrap().warnings, []);
    let cut = load(0.4, 0.4).unwrap();
    assert_eq!(cut.waveform.len(), 1_600);
    assert!(matches!(cut.warnings[..], [Warning::Truncated { .. }, Warning::SegmentCut { .. }]), "{:?}", cut.warnings);
    assert!(load(0.6, 0.1).unwrap_err().to_string().contains("speech.wav"));
}

#[test]
fn a_header_that_claims_gigabytes_costs_nothing() {
    let mut bytes = wav(&format(PCM, 2, 16_000, 16), &i16_bytes(&[7; 10]));
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    bytes[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    let (_folder, path) = file(&bytes);
    let decoded = decode(&path).unwrap();
    assert_eq!(decoded.waveform.len(), 5);
    let promised_frames = u64::from(u32::MAX / 4);
    assert_eq!(decoded.warnings, [Warning::Truncated { promised_frames, found_frames: 5 }]);
}

#[test]
fn real_truncated_recordings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/speech/truncated");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: needs the real-speech corpora");
        return;
    };
    let mut count = 0;
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "wav")) {
        // These have the canonical 44-byte header of 16-bit mono: what is behind it is samples.
        let frames = (std::fs::metadata(&path).unwrap().len() - 44) / 2;
        let decoded = decode(&path).unwrap();
        assert_eq!(decoded.waveform.len() as u64, frames, "{}", path.display());
        let [Warning::Truncated { promised_frames, found_frames }] = decoded.warnings[..] else {
            panic!("{}: {:?}", path.display(), decoded.warnings);
        };
        assert!(promised_frames > found_frames && found_frames == frames);
        assert_eq!(probe(&path).unwrap().duration, decoded.waveform.duration());
        count += 1;
    }
    assert!(count > 0, "{} holds no WAV", folder.display());
}
