//! WAV files, byte by byte.

use std::path::PathBuf;

use tempfile::TempDir;

pub const PCM: u16 = 1;
pub const FLOAT: u16 = 3;
pub const EXTENSIBLE: u16 = 0xfffe;
const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// A chunk, padded to an even length.
pub fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = id.to_vec();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// The 16 bytes of a plain fmt chunk.
pub fn format(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let align = channels.wrapping_mul(bits.div_ceil(8));
    let mut bytes = Vec::new();
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(rate.wrapping_mul(align.into()).to_le_bytes());
    bytes.extend(align.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes
}

/// The 40 bytes of a WAVE_FORMAT_EXTENSIBLE fmt chunk whose sub-format is `tag`.
pub fn extensible(tag: u16, channels: u16, rate: u32, bits: u16, valid_bits: u16) -> Vec<u8> {
    let mut bytes = format(EXTENSIBLE, channels, rate, bits);
    bytes.extend(22u16.to_le_bytes());
    bytes.extend(valid_bits.to_le_bytes());
    bytes.extend([0; 4]); // no speaker mask
    bytes.extend(tag.to_le_bytes());
    bytes.extend(GUID_TAIL);
    bytes
}

/// A RIFF WAVE of these chunks.
pub fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body: Vec<u8> = chunks.concat();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((body.len() as u32 + 4).to_le_bytes());
    bytes.extend(b"WAVE");
    bytes.extend(body);
    bytes
}

/// A WAV of one fmt and one data chunk.
pub fn wav(format: &[u8], data: &[u8]) -> Vec<u8> {
    riff(&[chunk(b"fmt ", format), chunk(b"data", data)])
}

/// 16-bit samples as bytes.
pub fn i16_bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// `bytes` as a file that lives as long as the folder does.
pub fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("speech.wav");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}
