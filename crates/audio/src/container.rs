//! Which container a file is, by its first bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::Error;

/// What is behind a file's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Wav,
    Packed(Packed),
}

/// Containers of compressed packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packed {
    Flac,
    Mp3,
    Ogg,
}

/// A file opened for reading, placed at `start`.
pub(crate) struct Source {
    pub(crate) file: File,
    pub(crate) container: Container,
    /// Where the container begins: behind the ID3v2 tags, if any.
    pub(crate) start: u64,
    /// Length of the whole file, bytes.
    pub(crate) len: u64,
}

/// Containers that people do have, which are named in the error rather than called noise.
const KNOWN: &[(usize, &[u8], &str)] = &[
    (0, b"RF64", "RF64 (a WAV above 4 GiB)"),
    (0, b"BW64", "BW64 (a WAV above 4 GiB)"),
    (0, b"RIFX", "RIFX (a big-endian WAV)"),
    (0, b"RIFF", "a RIFF file that is not WAVE"),
    (0, b"FORM", "AIFF"),
    (0, b"NIST_1A", "NIST SPHERE"),
    (0, b".snd", "Sun AU"),
    (0, b"caff", "Core Audio (CAF)"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, &[0x1a, 0x45, 0xdf, 0xa3], "Matroska or WebM"),
    (0, &[0x30, 0x26, 0xb2, 0x75], "Windows Media (WMA)"),
    (4, b"ftyp", "MPEG-4 (M4A, MP4)"),
];

/// Opens `path` and tells its container.
pub(crate) fn open(path: &Path) -> Result<Source, Error> {
    let open_error = |source| Error::Open { path: path.into(), source };
    let read_error = |source| Error::Read { path: path.into(), source };
    // Asked before opening, because opening a pipe that nobody writes to would wait for ever.
    let metadata = std::fs::metadata(path).map_err(open_error)?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path: path.into() });
    }
    let mut file = File::open(path).map_err(open_error)?;
    let len = file.metadata().map_err(open_error)?.len();
    if len == 0 {
        return Err(Error::Empty { path: path.into() });
    }
    let start = skip_id3v2(&mut file, len).map_err(read_error)?;
    let head = read_head(&mut file, start).map_err(read_error)?;
    file.seek(SeekFrom::Start(start)).map_err(read_error)?;
    match classify(&head) {
        Ok(container) => Ok(Source { file, container, start, len }),
        Err(Some(known)) => Err(Error::Unsupported { path: path.into(), found: known.into() }),
        Err(None) => Err(Error::NotAudio { path: path.into(), found: format!("\"{}\"", head.escape_ascii()) }),
    }
}

/// The container of these first bytes, or the name of one that is known but not read.
fn classify(head: &[u8]) -> Result<Container, Option<&'static str>> {
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WAVE") {
        return Ok(Container::Wav);
    }
    if head.starts_with(b"fLaC") {
        return Ok(Container::Packed(Packed::Flac));
    }
    if head.starts_with(b"OggS") {
        return Ok(Container::Packed(Packed::Ogg));
    }
    if let [0xff, second, third, ..] = head {
        // Eleven sync bits, then MPEG version (01 is reserved) and layer (III is 01; 00 is reserved, or AAC), a bit rate.
        let (sync, version, layer) = (second >> 5, (second >> 3) & 3, (second >> 1) & 3);
        if sync == 7 && version != 1 && third >> 4 != 15 {
            match layer {
                1 => return Ok(Container::Packed(Packed::Mp3)),
                0 => return Err(Some("AAC (ADTS)")),
                2 => return Err(Some("MPEG audio layer II")),
                _ => {} // Layer I is extinct; ff fe is what UTF-16 text starts with.
            }
        }
    }
    Err(KNOWN.iter().find(|(at, magic, _)| head.get(*at..at + magic.len()) == Some(*magic)).map(|(_, _, name)| *name))
}

/// Bytes to skip so that the container's own magic comes first. Tags may follow one another; each has ten bytes at
/// least, so the walk ends.
fn skip_id3v2(file: &mut File, len: u64) -> io::Result<u64> {
    let mut start = 0;
    while start < len {
        let head = read_head(file, start)?;
        let [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] = head[..] else { break };
        let size = [a, b, c, d].iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
        let footer = if flags & 0x10 != 0 { 10 } else { 0 };
        start += 10 + size + footer;
    }
    Ok(start)
}

/// Up to twelve bytes from `start`.
fn read_head(file: &mut File, start: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut head = Vec::with_capacity(12);
    file.take(12).read_to_end(&mut head)?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_by_their_magic() {
        assert_eq!(classify(b"RIFF\x24\0\0\0WAVE"), Ok(Container::Wav));
        assert_eq!(classify(b"fLaC"), Ok(Container::Packed(Packed::Flac)));
        assert_eq!(classify(b"OggS"), Ok(Container::Packed(Packed::Ogg)));
        assert_eq!(classify(&[0xff, 0xfb, 0x90, 0x00]), Ok(Container::Packed(Packed::Mp3))); // MPEG-1 layer III
        assert_eq!(classify(&[0xff, 0xf3, 0x28, 0xc4]), Ok(Container::Packed(Packed::Mp3))); // MPEG-2 layer III
    }

    #[test]
    fn others_are_named_and_noise_is_not() {
        assert_eq!(classify(b"RIFF\x24\0\0\0AVI "), Err(Some("a RIFF file that is not WAVE")));
        assert_eq!(classify(b"\0\0\0\x20ftypM4A "), Err(Some("MPEG-4 (M4A, MP4)")));
        assert_eq!(classify(&[0xff, 0xf1, 0x50, 0x80]), Err(Some("AAC (ADTS)")));
        assert_eq!(classify(b"\xff\xfeh\0i\0"), Err(None)); // UTF-16 text, not MPEG layer I
        assert_eq!(classify(b"hello world!"), Err(None));
        assert_eq!(classify(b"R"), Err(None));
        assert_eq!(classify(b""), Err(None));
    }
}
