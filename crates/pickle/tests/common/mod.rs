//! Checkpoints put together by hand: opcodes, a legacy file around them, an archive around them.
#![allow(dead_code)] // each test uses its part

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use klang_pickle::{Error, Result, TorchFile};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The magic number, the version and an empty description of the system, at protocol 2.
pub const LEGACY_HEAD: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";

/// A pickle of no keys.
const NO_KEYS: &[u8] = b"\x80\x02].";

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A legacy file without storages around a pickle.
pub fn legacy(pickle: &[u8]) -> Vec<u8> {
    [LEGACY_HEAD, pickle, NO_KEYS].concat()
}

/// A legacy file around a pickle with storage "0", whose count is given apart from its bytes.
pub fn legacy_with_storage(pickle: &[u8], count: u64, bytes: &[u8]) -> Vec<u8> {
    [LEGACY_HEAD, pickle, b"\x80\x02]U\x010a.", &count.to_le_bytes(), bytes].concat()
}

/// An archive of entries, compressed or not.
pub fn archive(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

pub fn open(bytes: &[u8]) -> Result<TorchFile> {
    TorchFile::from_bytes(Path::new("model.pt"), bytes)
}

/// The error of a file that must not open.
#[track_caller]
pub fn refusal(bytes: &[u8]) -> Error {
    match open(bytes) {
        Ok(file) => panic!("was read as {:?}", file.root()),
        Err(error) => error,
    }
}

/// The error of a legacy file around a pickle that must not open.
#[track_caller]
pub fn refused(pickle: &[u8]) -> Error {
    refusal(&legacy(pickle))
}

/// A pickled dict of one tensor `w` over storage "0", its numbers as opcodes.
pub fn tensor(class: &str, elements: &str, offset: &str, shape: &str, strides: &str) -> Vec<u8> {
    let mut pickle = b"}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n".to_vec();
    pickle.extend(format!("{class}\nU\x010U\x03cpuI{elements}\ntQI{offset}\n").bytes());
    for sizes in [shape, strides] {
        pickle.push(b'(');
        for size in sizes.split_whitespace() {
            pickle.extend(format!("I{size}\n").bytes());
        }
        pickle.push(b't');
    }
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    pickle
}
