//! The lines of a text file, plain or gzip, numbered and bounded.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result, excerpt};

/// The longest line that is read, in bytes: 20 words need no more than a fraction of it.
const LONGEST: u64 = 1 << 20;
const BUFFER: usize = 1 << 18;

/// How other formats start, what they are, and what to do.
const OTHERS: &[(&[u8], &str, &str)] = &[
    (
        b"mmap lm http://kheafield.com/code",
        "KenLM's binary format",
        "it needs the ARPA file that the binary was made from: what build_binary was given, or what lmplz writes with --arpa; \
         no tool makes an ARPA file of a binary",
    ),
    (b"blmt", "IRSTLM's binary format", "make an ARPA file of it: compile-lm --text=yes BINARY OUT.arpa"),
    (b"iARPA", "IRSTLM's intermediate format", "make an ARPA file of it: compile-lm --text=yes FILE OUT.arpa"),
    (b"\xFD7zXZ\0", "an xz archive", "unpack it (xz -d), or pack it with gzip instead"),
    (b"BZh", "a bzip2 archive", "unpack it (bzip2 -d), or pack it with gzip instead"),
    (b"\x28\xB5\x2F\xFD", "a zstd archive", "unpack it (zstd -d), or pack it with gzip instead"),
    (b"PK\x03\x04", "a zip archive", "unpack it"),
];

/// Reads line by line.
pub(super) struct Lines {
    reader: Box<dyn BufRead>,
    file: PathBuf,
    number: u64,
    line: Vec<u8>,
}

impl Lines {
    /// Opens a file. Gzip is known by its first bytes, whatever the name; several gzip members count as one text.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let mut lines = Self { reader: Box::new(std::io::empty()), file: file.to_owned(), number: 0, line: Vec::new() };
        let mut plain = BufReader::with_capacity(BUFFER, File::open(file).map_err(|error| lines.io(error))?);
        let packed = plain.fill_buf().map_err(|error| lines.io(error))?.starts_with(b"\x1F\x8B");
        lines.reader = if packed {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        // What gzip unpacks at once may be short of a format's first bytes, but no file that can be read is this short.
        let start = lines.reader.fill_buf().map(<[u8]>::to_vec).map_err(|error| lines.io(error))?;
        if start.is_empty() {
            return Err(Error::EmptyFile { file: lines.file });
        }
        match OTHERS.iter().find(|(magic, ..)| start.starts_with(magic)) {
            Some((_, format, hint)) => Err(Error::OtherFormat { file: lines.file, format, hint }),
            None => Ok(lines),
        }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The number of the line read last, counted from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line, without its end (LF or CR LF); false at the end of the file.
    pub(super) fn advance(&mut self) -> Result<bool> {
        self.line.clear();
        let read = (&mut self.reader).take(LONGEST + 1).read_until(b'\n', &mut self.line);
        if read.map_err(|error| self.io(error))? == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.line.len() as u64 > LONGEST {
            let start = String::from_utf8_lossy(&self.line[..240]).into_owned();
            return Err(self.wrong("the line is too long", &start, format!("at most {LONGEST} bytes")));
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
        }
        Ok(true)
    }

    /// The line read last.
    pub(super) fn line(&self) -> Result<&str> {
        std::str::from_utf8(&self.line).map_err(|_| {
            let shown = String::from_utf8_lossy(&self.line).into_owned();
            self.wrong("the line is not UTF-8", &shown, "text in UTF-8 (hint: iconv converts)")
        })
    }

    /// Reads lines until one is neither blank nor, `with_comments`, starts with #; false at the end of the file.
    pub(super) fn skip_blank(&mut self, with_comments: bool) -> Result<bool> {
        while self.advance()? {
            let blank = self.line.iter().all(u8::is_ascii_whitespace);
            let comment = with_comments && self.line.starts_with(b"#");
            if !blank && !comment {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An error about (a part of) the line read last.
    pub(super) fn wrong(&self, what: &'static str, given: &str, allowed: impl Into<String>) -> Error {
        let (file, line) = (self.file.clone(), self.number);
        Error::Line { file, line, what, given: excerpt(given), allowed: allowed.into() }
    }

    /// An error about the end of the file.
    pub(super) fn truncated(&self, expected: impl Into<String>) -> Error {
        Error::Truncated { file: self.file.clone(), line: self.number, expected: expected.into() }
    }

    fn io(&self, source: std::io::Error) -> Error {
        let broken = matches!(source.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData)
            || source.kind() == std::io::ErrorKind::InvalidInput;
        let hint = if broken { " (hint: the gzip file is damaged or was cut: copy or make it again)" } else { "" };
        Error::Io { file: self.file.clone(), source, hint }
    }
}
