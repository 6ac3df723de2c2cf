//! The two ways in which protocol 0 spells text: Python 2's quoted strings, and Unicode with escapes.

use crate::reader::{Fault, malformed};

/// The start of a text, for messages.
pub(crate) fn start(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A text in quotes and on one line, for messages; a long one is cut.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// `'…'` or `"…"` with backslash escapes, as Python 2's `repr` writes a byte string.
pub(crate) fn quoted(line: &[u8]) -> Result<Vec<u8>, Fault> {
    let line = line.trim_ascii_end();
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return malformed("a string without its quotes"),
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(byte @ (b'\\' | b'\'' | b'"')) => out.push(byte),
            Some(b'x') => {
                let digits = [rest.next().unwrap_or(0), rest.next().unwrap_or(0)];
                match hexadecimal(&digits) {
                    Some(value) => out.push(value as u8), // two digits
                    None => return malformed("an escape \\x without two hexadecimal digits"),
                }
            }
            _ => return malformed("an escape that Python's repr does not write"),
        }
    }
    Ok(out)
}

/// Latin-1 with `\uXXXX` and `\UXXXXXXXX`, as UTF-8; a lone surrogate as CPython's `surrogatepass` encodes it.
pub(crate) fn escaped(line: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [byte, tail @ ..] = rest {
        let digits = match tail.first() {
            Some(b'u') if *byte == b'\\' => 4,
            Some(b'U') if *byte == b'\\' => 8,
            _ => 0,
        };
        if digits == 0 {
            push(char::from(*byte), &mut out);
            rest = tail;
            continue;
        }
        let Some(value) = tail.get(1..=digits).and_then(hexadecimal) else {
            return malformed(format!("an escape without {digits} hexadecimal digits"));
        };
        match char::from_u32(value) {
            Some(character) => push(character, &mut out),
            None if (0xd800..0xe000).contains(&value) => {
                out.extend([0xed, 0x80 | (value >> 6 & 0x3f) as u8, 0x80 | (value & 0x3f) as u8]);
            }
            None => return malformed("an escape beyond Unicode"),
        }
        rest = tail.get(digits + 1..).unwrap_or_default();
    }
    Ok(out)
}

fn push(character: char, out: &mut Vec<u8>) {
    out.extend(character.encode_utf8(&mut [0; 4]).bytes());
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_are_read_as_python_2_wrote_them() {
        assert_eq!(quoted(br"'a\n\\\'\xe9'").unwrap(), b"a\n\\'\xe9");
        assert_eq!(quoted(b"\"it's\"").unwrap(), b"it's");
        assert_eq!(quoted(b"''").unwrap(), b"");
        for line in [&b"'"[..], b"a", b"'a", br"'\x4'", br"'\q'", br"'\'"] {
            assert!(quoted(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn escapes_become_characters() {
        assert_eq!(escaped(br"a\u005cn\u000a").unwrap(), b"a\\n\n");
        assert_eq!(escaped(b"\xe9\\u0142\\U0001f600").unwrap(), "éł😀".as_bytes());
        assert_eq!(escaped(br"\n").unwrap(), b"\\n", "only \\u is an escape here");
        assert_eq!(escaped(br"\ud800").unwrap(), [0xed, 0xa0, 0x80]);
        for line in [&br"\u12"[..], br"\uzzzz", br"\U00110000", br"\u"] {
            assert!(escaped(line).is_err(), "{line:?}");
        }
    }
}
