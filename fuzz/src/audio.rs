//! Recordings.

use std::path::Path;
use std::sync::Once;

use klang_audio::{AudioReader, Segment, decode, load, probe};

use crate::{file, memory::bounded};

/// Hz that is resampled to.
const RATE: u32 = 16_000;

/// Decodes whole, in part and bit by bit. A byte of a packed format may unfold to some ten thousand samples of silence: up to
/// MAX_SAMPLES by design, so only reading bit by bit has a bound of its own.
pub fn exercise(name: &str, bytes: &[u8]) {
    quiet_guarded_panics();
    let path = file(name, bytes);
    let probed = bounded(32 << 20, || probe(&path).map_err(|error| error.to_string()));
    let decoded = decode(&path).map_err(|error| error.to_string());
    if let Ok(decoded) = &decoded {
        let wave = &decoded.waveform;
        assert!(wave.samples().iter().all(|sample| (-1.0..=1.0).contains(sample)), "samples within [-1, 1]");
        assert!(!wave.is_empty());
        let probed = probed.expect("what can be decoded has a length");
        assert_eq!(probed.sample_rate, decoded.source_rate);
        // A WAV's header tells its length; the others' packets may hold less than they say.
        if bytes.starts_with(b"RIFF") {
            assert!((probed.duration - wave.duration()).abs() < 1e-9, "{} {}", probed.duration, wave.duration());
        }
    }
    // Resampling a minute of it is enough: it has tests of its own, and takes most of the time.
    let segment = Segment { offset: 0.0, duration: Some(60.0) };
    if let Ok(loaded) = load(&path, RATE, Some(segment)) {
        assert!(loaded.waveform.samples().iter().all(|sample| sample.is_finite()));
    }
    let middle = Segment { offset: 0.01, duration: Some(0.02) };
    if let Ok(part) = klang_audio::decode_segment(&path, Some(middle)) {
        assert!(part.waveform.len() as u64 <= u64::from(part.source_rate / 50) + 1);
    }
    let read = bounded(64 << 20, || read(&path));
    if let (Ok(decoded), Ok(read)) = (&decoded, read)
        && decoded.source_rate == RATE
        && read < MOST
    {
        assert_eq!(decoded.waveform.len(), read, "bit by bit is as much as whole");
    }
}

/// Samples after which reading bit by bit ends: a fuzzer's time is better spent.
const MOST: usize = 1 << 23;

fn read(path: &Path) -> Result<usize, klang_audio::Error> {
    let mut reader = AudioReader::open(path, RATE)?;
    let mut count = 0;
    while let Some(samples) = reader.read()? {
        assert!(samples.iter().all(|sample| sample.is_finite()));
        count += samples.len();
        if count >= MOST {
            break;
        }
    }
    Ok(count)
}

/// symphonia's panics on damaged data are caught where it is called and become errors; the fuzzer's hook would end the process
/// before. Every other panic still does.
fn quiet_guarded_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let fatal = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or("", |place| place.file());
            // An overflow in the standard library's pow, which only symphonia calls. (A backtrace would tell the caller for
            // certain, but takes more memory than a target may.)
            let within = place.contains("/symphonia-") || place.contains("/library/core/src/num/");
            if !within {
                fatal(info);
            }
        }));
    });
}

/// Gives every page of an Ogg stream the checksum that it should have: a fuzzer hardly finds one, and pages with another are
/// passed over.
pub fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut start = 0;
    while bytes.get(start..start + 4) == Some(b"OggS") && bytes.len() >= start + 27 {
        let segments = usize::from(bytes[start + 26]);
        let Some(table) = bytes.get(start + 27..start + 27 + segments) else { break };
        let end = start + 27 + segments + table.iter().map(|&length| usize::from(length)).sum::<usize>();
        if end > bytes.len() {
            break;
        }
        bytes[start + 22..start + 26].fill(0);
        let sum = checksum(&bytes[start..end]);
        bytes[start + 22..start + 26].copy_from_slice(&sum.to_le_bytes());
        start = end;
    }
    bytes
}

/// Ogg's CRC-32: polynomial 0x04c11db7, neither reflected nor inverted (RFC 3533).
fn checksum(page: &[u8]) -> u32 {
    page.iter().fold(0u32, |sum, &byte| {
        (0..8).fold(
            sum ^ u32::from(byte) << 24,
            |sum, _| {
                if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 }
            },
        )
    })
}
