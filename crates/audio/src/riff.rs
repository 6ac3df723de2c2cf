//! The chunks of a WAV file: what its samples are, and where they really lie.
//!
//! hound reads a file front to back and refuses headers that occur in the wild (chunks of odd length, 32-bit integers in
//! a WAVEFORMATEX, a wrong byte rate, data lengths that are no whole frames). So the chunks are found here, bounded by
//! the file's length, and hound decodes the samples behind them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::Error;
use crate::waveform::{MAX_SAMPLE_RATE, MIN_SAMPLE_RATE};

/// How one sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Integers of `bits` in `bytes`, little-endian; unsigned if one byte.
    Integer { bits: u16, bytes: u16 },
    /// 32-bit floating point.
    Float32,
    /// 64-bit floating point.
    Float64,
    /// ITU-T G.711 A-law, one byte: telephone speech.
    ALaw,
    /// ITU-T G.711 µ-law, one byte: telephone speech.
    MuLaw,
}

impl Encoding {
    pub(crate) fn bytes(self) -> u16 {
        match self {
            Encoding::Integer { bytes, .. } => bytes,
            Encoding::Float32 => 4,
            Encoding::Float64 => 8,
            Encoding::ALaw | Encoding::MuLaw => 1,
        }
    }
}

/// What a WAV file's header says, checked against the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) encoding: Encoding,
    pub(crate) channels: u16,
    pub(crate) sample_rate: u32,
    /// Position of the first sample in the file, bytes.
    pub(crate) data_start: u64,
    /// Whole frames that the header promises.
    pub(crate) promised_frames: u64,
    /// Whole frames that the file holds.
    pub(crate) found_frames: u64,
}

impl Header {
    pub(crate) fn frame_bytes(&self) -> u64 {
        u64::from(self.channels) * u64::from(self.encoding.bytes())
    }
}

const FORMAT_PCM: u16 = 1;
const FORMAT_FLOAT: u16 = 3;
const FORMAT_ALAW: u16 = 6;
const FORMAT_MULAW: u16 = 7;
const FORMAT_EXTENSIBLE: u16 = 0xfffe;
/// What follows the format number in the sub-format GUID of WAVE_FORMAT_EXTENSIBLE.
const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/// Files have a dozen chunks; a file made of empty ones must not keep us walking.
const MAX_CHUNKS: usize = 4096;

/// Reads the chunks of the RIFF WAVE that begins at `start` up to the samples.
pub(crate) fn read_header(path: &Path, file: &mut File, start: u64, file_len: u64) -> Result<Header, Error> {
    let read_error = |source| Error::Read { path: path.into(), source };
    let header_error = |what: &str| Error::Header { path: path.into(), what: what.into() };
    let mut format = None;
    let mut position = start + 12; // behind RIFF, length, WAVE
    for _ in 0..MAX_CHUNKS {
        let Some((id, size)) = read_chunk_head(file, position, file_len).map_err(read_error)? else { break };
        let body = position + 8;
        match &id {
            b"fmt " => {
                let mut bytes = Vec::with_capacity(40);
                file.take(u64::from(size).min(40)).read_to_end(&mut bytes).map_err(read_error)?;
                format = Some(parse_format(path, &bytes)?);
            }
            b"data" => {
                let (encoding, channels, sample_rate) =
                    format.ok_or_else(|| header_error("the data chunk comes before any fmt chunk"))?;
                let mut header =
                    Header { encoding, channels, sample_rate, data_start: body, promised_frames: 0, found_frames: 0 };
                header.promised_frames = u64::from(size) / header.frame_bytes();
                header.found_frames = u64::from(size).min(file_len - body) / header.frame_bytes();
                return Ok(header);
            }
            _ => {}
        }
        // Chunks are padded to even lengths.
        position = body + u64::from(size) + u64::from(size % 2);
    }
    Err(header_error(if format.is_some() {
        "no data chunk within the file; it may have been cut off while it was copied"
    } else {
        "no fmt chunk within the file; it may have been cut off while it was copied"
    }))
}

/// Name and length of the chunk at `position`, or nothing at the end of the file. The file stands at its body.
fn read_chunk_head(file: &mut File, position: u64, file_len: u64) -> io::Result<Option<([u8; 4], u32)>> {
    if position.saturating_add(8) > file_len {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(position))?;
    let mut head = [0; 8];
    file.read_exact(&mut head)?;
    let [a, b, c, d, size @ ..] = head;
    Ok(Some(([a, b, c, d], u32::from_le_bytes(size))))
}

/// Encoding, channels and sample rate from the fmt chunk's bytes (16, 18 or 40 of them matter).
fn parse_format(path: &Path, bytes: &[u8]) -> Result<(Encoding, u16, u32), Error> {
    let header_error = |what: String| Error::Header { path: path.into(), what };
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    if bytes.len() < 16 {
        return Err(header_error(format!("fmt chunk of {} bytes, at least 16 are needed", bytes.len())));
    }
    let (mut tag, channels, align, bits) = (u16_at(0), u16_at(2), u16_at(12), u16_at(14));
    let sample_rate = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    if channels == 0 {
        return Err(header_error("0 channels, at least 1 is needed".into()));
    }
    if !(MIN_SAMPLE_RATE..=MAX_SAMPLE_RATE).contains(&sample_rate) {
        return Err(header_error(format!(
            "sample rate {sample_rate} Hz, allowed are {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
        )));
    }
    if tag == FORMAT_EXTENSIBLE {
        if bytes.len() < 40 {
            return Err(header_error(format!("extensible fmt chunk of {} bytes, 40 are needed", bytes.len())));
        }
        // The count of valid bits is not needed: they are the upper ones, the rest is zero.
        tag = if bytes[26..40] == GUID_TAIL { u16_at(24) } else { 0 };
    }
    // The block alignment tells the container's width where it is sane, else the bits do.
    let wide = align / channels;
    let bytes_per_sample =
        if wide * channels == align && (1..=8).contains(&wide) && wide * 8 >= bits { wide } else { bits.div_ceil(8) };
    let encoding = match (tag, bits, bytes_per_sample) {
        (FORMAT_PCM, 1..=32, 1..=4) if bits.div_ceil(8) == bytes_per_sample => {
            Encoding::Integer { bits: bytes_per_sample * 8, bytes: bytes_per_sample }
        }
        (FORMAT_PCM, 24, 4) => Encoding::Integer { bits: 24, bytes: 4 }, // arecord's S24_LE
        (FORMAT_FLOAT, 32, 4) => Encoding::Float32,
        (FORMAT_FLOAT, 64, 8) => Encoding::Float64,
        (FORMAT_ALAW, 8, 1) => Encoding::ALaw,
        (FORMAT_MULAW, 8, 1) => Encoding::MuLaw,
        (FORMAT_PCM | FORMAT_FLOAT | FORMAT_ALAW | FORMAT_MULAW, ..) => {
            return Err(header_error(format!(
                "{bits} bits in {bytes_per_sample} bytes per sample (format {tag}); allowed are integers of up to 32 \
                 bits, floats of 32 or 64, A-law and µ-law of 8"
            )));
        }
        _ => return Err(Error::Unsupported { path: path.into(), found: format!("WAV of format 0x{tag:04x}") }),
    };
    Ok((encoding, channels, sample_rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fmt chunk's first 16 bytes.
    fn format(tag: u16, channels: u16, rate: u32, align: u16, bits: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(tag.to_le_bytes());
        bytes.extend(channels.to_le_bytes());
        bytes.extend(rate.to_le_bytes());
        bytes.extend([0xff; 4]); // the byte rate is redundant, and is not read
        bytes.extend(align.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes
    }

    fn encoding(bytes: &[u8]) -> Result<Encoding, Error> {
        parse_format(Path::new("x.wav"), bytes).map(|(encoding, ..)| encoding)
    }

    #[test]
    fn widths_come_from_the_alignment_or_else_from_the_bits() {
        let integer = |bits, bytes| Encoding::Integer { bits, bytes };
        assert_eq!(encoding(&format(1, 2, 16_000, 4, 16)).unwrap(), integer(16, 2));
        assert_eq!(encoding(&format(1, 2, 16_000, 8, 24)).unwrap(), integer(24, 4));
        assert_eq!(encoding(&format(1, 2, 16_000, 6, 20)).unwrap(), integer(24, 3));
        assert_eq!(encoding(&format(1, 2, 16_000, 999, 16)).unwrap(), integer(16, 2));
        assert_eq!(encoding(&format(1, 40_000, 16_000, 0, 16)).unwrap(), integer(16, 2)); // 80,000 does not fit
        assert_eq!(encoding(&format(3, 1, 16_000, 8, 64)).unwrap(), Encoding::Float64);
    }

    #[test]
    fn absurd_fields_are_refused() {
        for bytes in [
            format(1, 0, 16_000, 2, 16),
            format(1, 1, 0, 2, 16),
            format(1, 1, 3_999, 2, 16),
            format(1, 1, u32::MAX, 2, 16),
            format(1, 1, 16_000, 2, 0),
            format(1, 1, 16_000, 8, 64),
            format(1, 1, 16_000, 2, u16::MAX),
            format(3, 1, 16_000, 2, 16),
            format(0xfffe, 1, 16_000, 2, 16),
            format(1, 1, 16_000, 2, 16)[..15].to_vec(),
            Vec::new(),
        ] {
            assert!(matches!(encoding(&bytes), Err(Error::Header { .. })), "{bytes:?}");
        }
        assert!(matches!(encoding(&format(2, 1, 16_000, 1, 4)), Err(Error::Unsupported { .. })));
    }
}
