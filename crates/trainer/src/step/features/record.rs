//! How features lie in a file: a header that says whose they are, then records, each behind a header of its own.
//!
//! | bytes | file header | | bytes | record header |
//! |--:|---|---|--:|---|
//! | 8 | `klangftr` | | 16 | hash of the samples |
//! | 4 | format | | 8 | number of samples |
//! | 4 | bytes of a number: 4 fp32, 2 bf16 | | 4 | frames |
//! | 8 | numbers of a frame | | 4 | numbers of a frame |
//! | 32 | digest of the convolutions | | 16 | hash of the numbers |
//! | 8 | zero | | 16 | hash of the 48 bytes before |
//!
//! The numbers (frame, feature) follow the record's header. All integers have their lowest byte first.

use tch::Kind;

use super::digest::{Hash, Heard, hash};
use crate::model::Recogniser;

/// The format's number. It rises with the layout, and whenever the convolutions come to compute other bits.
pub(super) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"klangftr";

/// Whose features a file holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Of the convolutions.
    pub digest: [u8; 32],
    /// The numbers' kind.
    pub kind: Kind,
    /// Numbers of a frame.
    pub width: i64,
}

impl Header {
    pub(super) const BYTES: usize = 64;

    /// Of a model whose convolutions have this digest.
    pub(super) fn new(model: &Recogniser, digest: [u8; 32]) -> Header {
        let width = model.spec.config.conv_dim.last().copied().unwrap_or(0);
        Header { digest, kind: model.compute.kind, width }
    }

    /// The file's name.
    pub(super) fn name(&self) -> String {
        let digits: String = self.digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digits}.features")
    }

    pub(super) fn to_bytes(self) -> [u8; Header::BYTES] {
        let mut bytes = [0; Header::BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.kind.elt_size_in_bytes() as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.width.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.digest);
        bytes
    }
}

/// What stands before a record's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// What was heard.
    pub heard: Heard,
    /// Frames; at least 1.
    pub frames: u32,
    /// Hash of the numbers.
    pub checksum: Hash,
}

impl Entry {
    pub(super) const BYTES: usize = 64;

    /// Of `numbers`, (frame, feature) as bytes.
    pub(super) fn new(heard: Heard, frames: u32, numbers: &[u8]) -> Entry {
        Entry { heard, frames, checksum: hash(numbers) }
    }

    pub(super) fn to_bytes(self, header: &Header) -> [u8; Entry::BYTES] {
        let mut bytes = [0; Entry::BYTES];
        bytes[..16].copy_from_slice(&self.heard.hash);
        bytes[16..24].copy_from_slice(&self.heard.samples.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.frames.to_le_bytes());
        bytes[28..32].copy_from_slice(&(header.width as u32).to_le_bytes());
        bytes[32..48].copy_from_slice(&self.checksum);
        let check = hash(&bytes[..48]);
        bytes[48..].copy_from_slice(&check);
        bytes
    }

    /// What a record's header says, and the bytes of its numbers. None where it is damaged, of another shape, or promises
    /// more than the `left` bytes behind it: where the next record begins is not known then.
    pub(super) fn read(bytes: &[u8; Entry::BYTES], left: u64, header: &Header) -> Option<(Entry, u64)> {
        let (said, check) = bytes.split_last_chunk()?;
        let (hash_of_samples, rest) = said.split_first_chunk()?;
        let (samples, rest) = rest.split_first_chunk()?;
        let (frames, rest) = rest.split_first_chunk()?;
        let (width, rest) = rest.split_first_chunk()?;
        let (checksum, _) = rest.split_first_chunk()?;
        if hash(said) != *check || i64::from(u32::from_le_bytes(*width)) != header.width {
            return None;
        }
        let frames = u32::from_le_bytes(*frames);
        let length = u64::from(frames)
            .checked_mul(header.width.try_into().ok()?)?
            .checked_mul(header.kind.elt_size_in_bytes() as u64)?;
        if frames == 0 || length > left {
            return None;
        }
        let heard = Heard { samples: u64::from_le_bytes(*samples), hash: *hash_of_samples };
        Some((Entry { heard, frames, checksum: *checksum }, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { digest: [7; 32], kind: Kind::BFloat16, width: 3 };

    /// Of two frames: 12 bytes.
    fn entry() -> Entry {
        Entry::new(Heard::new(&[0.5]), 2, &[9; 12])
    }

    #[test]
    fn a_record_is_read_as_it_was_written_if_it_is_there_whole() {
        let bytes = entry().to_bytes(&HEADER);
        assert_eq!(Entry::read(&bytes, 12, &HEADER), Some((entry(), 12)));
        assert_eq!(Entry::read(&bytes, 11, &HEADER), None);
    }

    #[test]
    fn a_record_with_a_changed_bit_is_none() {
        for place in 0..Entry::BYTES {
            let mut spoiled = entry().to_bytes(&HEADER);
            spoiled[place] ^= 0x80;
            assert_eq!(Entry::read(&spoiled, 1000, &HEADER), None, "{place}");
        }
    }

    #[test]
    fn lengths_that_are_too_large_or_of_another_shape_are_refused_though_their_hash_fits() {
        let read = |frames, width| {
            let bytes = Entry { frames, ..entry() }.to_bytes(&Header { width, ..HEADER });
            Entry::read(&bytes, 12, &HEADER).is_some()
        };
        assert!(read(2, 3));
        assert!(!read(u32::MAX, 3) && !read(3, 3) && !read(0, 3));
        assert!(!read(2, 2) && !read(1, i64::from(u32::MAX)));
        let widest = Header { width: i64::from(u32::MAX), kind: Kind::Double, ..HEADER };
        let bytes = Entry { frames: u32::MAX, ..entry() }.to_bytes(&widest);
        assert_eq!(Entry::read(&bytes, u64::MAX, &widest), None, "their product is beyond 64 bits");
    }
}
