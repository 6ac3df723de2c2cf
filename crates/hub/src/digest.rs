//! Whether a file is what its etag says: the etag of the hub is a digest of the content.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What an etag says of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// 64 hexadecimal digits: the SHA-256 of the content, as Git LFS counts it.
    Sha256,
    /// 40 hexadecimal digits: the SHA-1 of `blob LENGTH\0` and the content, as git counts it.
    GitBlob,
}

impl Kind {
    fn of(etag: &str) -> Option<Self> {
        let hex = etag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match etag.len() {
            64 if hex => Some(Self::Sha256),
            40 if hex => Some(Self::GitBlob),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::GitBlob => "git's SHA-1",
        }
    }
}

/// What was expected of a file and what it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub expected: String,
    pub got: String,
}

/// Whether an etag is a digest of the content, so that the content can be checked against it.
pub(crate) fn is_digest(etag: &str) -> bool {
    Kind::of(etag).is_some()
}

/// Compares a file with its etag; `Ok(None)` says that it fits, or that its etag is no digest.
pub(crate) fn compare(path: &Path, etag: &str) -> io::Result<Option<Mismatch>> {
    let Some(kind) = Kind::of(etag) else { return Ok(None) };
    let mut file = File::open(path)?;
    let got = match kind {
        Kind::Sha256 => digest(&mut file, Sha256::new())?,
        Kind::GitBlob => {
            let length = file.metadata()?.len();
            digest(&mut file, Sha1::new_with_prefix(format!("blob {length}\0")))?
        }
    };
    let told = |digest: &str| format!("{} {digest}", kind.name());
    Ok((got != etag).then(|| Mismatch { expected: told(etag), got: told(&got) }))
}

fn digest(file: &mut File, mut digest: impl Digest) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => digest.update(buffer.get(..count).unwrap_or_default()),
        }
    }
    Ok(digest.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 'hello\n' | sha256sum` and `printf 'hello\n' | git hash-object --stdin`.
    const HELLO: [&str; 2] = [
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "ce013625030ba8dba906f756967f9e9ca394464a",
    ];

    #[test]
    fn both_digests_are_those_of_the_tools() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello");
        std::fs::write(&path, "hello\n").unwrap();
        for etag in HELLO {
            assert_eq!(compare(&path, etag).unwrap(), None);
        }
        std::fs::write(&path, "hallo\n").unwrap();
        for etag in HELLO {
            let mismatch = compare(&path, etag).unwrap().unwrap();
            assert!(mismatch.expected.ends_with(etag) && !mismatch.got.ends_with(etag), "{mismatch:?}");
        }
    }

    #[test]
    fn only_full_lower_case_hexadecimal_is_a_digest() {
        assert!(HELLO.into_iter().all(is_digest));
        assert!(!is_digest(&HELLO[0][1..]) && !is_digest(&HELLO[1].to_uppercase()) && !is_digest(&"g".repeat(40)));
    }
}
