//! The bytes of one pickle, taken from the front; no length that a pickle claims is believed beyond what follows.

/// Digits of the longest integer that is read as text: the legacy format's magic number has 24.
const MAX_DIGITS: usize = 64;

/// What is wrong at a place in a pickle; the file's name joins it further up.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Not understood, or contradicting itself.
    Malformed(String),
    /// A global that is not on the list.
    Forbidden(String),
}

/// Shorthand for a malformed pickle.
pub(crate) fn malformed<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(what.into()))
}

/// A cursor over a pickle.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, position: 0 }
    }

    /// Bytes taken so far.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Bytes of the whole pickle, and whatever follows it.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self, length: u64) -> Result<&'a [u8], Fault> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let taken = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let Some(taken) = taken else {
            return malformed(format!("{length} bytes are needed and {} follow; the file was cut short", rest.len()));
        };
        self.position += taken.len();
        Ok(taken)
    }

    /// Checks that `length` bytes follow, and takes none.
    pub(crate) fn expect(&self, length: u64) -> Result<(), Fault> {
        let rest = self.bytes.len().saturating_sub(self.position);
        if length > rest as u64 {
            return malformed(format!("a frame of {length} bytes, and {rest} follow; the file was cut short"));
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Fault> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The one number that pickles store big-endian.
    pub(crate) fn f64(&mut self) -> Result<f64, Fault> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    /// A four-byte length with a sign, which must be +.
    pub(crate) fn signed_length(&mut self) -> Result<u64, Fault> {
        let length = self.i32()?;
        u64::try_from(length).or_else(|_| malformed(format!("a length of {length}")))
    }

    /// Bytes up to a line's end, which is taken and not returned.
    pub(crate) fn line(&mut self) -> Result<&'a [u8], Fault> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            return malformed("a line without an end; the file was cut short");
        };
        let line = self.take(end as u64)?;
        self.position += 1;
        Ok(line)
    }

    /// A line of UTF-8.
    pub(crate) fn text_line(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.line()?).or_else(|_| malformed("a line that is not UTF-8"))
    }
}

/// A decimal integer as little-endian two's complement, of at most [`MAX_DIGITS`] digits.
pub(crate) fn decimal(text: &str) -> Result<Vec<u8>, Fault> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        let shown: String = text.chars().take(40).collect();
        return malformed(format!("{shown:?} where an integer of 1 to {MAX_DIGITS} digits belongs"));
    }
    let mut bytes: Vec<u8> = Vec::new();
    for digit in digits.bytes() {
        let mut carry = u16::from(digit - b'0');
        for byte in &mut bytes {
            carry += u16::from(*byte) * 10;
            *byte = carry as u8; // its low eight bits
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8); // at most 9
        }
    }
    bytes.push(0); // room for the sign
    if negative {
        let mut carry = true;
        for byte in &mut bytes {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    Ok(bytes)
}

/// A little-endian two's complement number, where it fits.
pub(crate) fn small(bytes: &[u8]) -> Option<i64> {
    let sign = if bytes.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
    let mut whole = [sign; 8];
    let (low, high) = bytes.split_at(bytes.len().min(8));
    whole.get_mut(..low.len())?.copy_from_slice(low);
    let value = i64::from_le_bytes(whole);
    (high.iter().all(|&byte| byte == sign) && (value < 0) == (sign != 0)).then_some(value)
}

/// A little-endian two's complement number without the bytes that only repeat its sign.
pub(crate) fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., below, last] = bytes
        && ((*last == 0 && *below < 0x80) || (*last == 0xff && *below >= 0x80))
    {
        bytes = bytes.get(..=rest.len()).unwrap_or_default();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_of_any_length_become_twos_complement() {
        for value in [0, 1, -1, 9, 127, 128, -128, -129, 255, 256, 65535, i64::MAX, i64::MIN] {
            assert_eq!(small(&decimal(&value.to_string()).unwrap()), Some(value), "{value}");
        }
        let magic = decimal("119547037146038801333356").unwrap();
        assert_eq!(magic, [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0]);
        assert_eq!(small(&magic), None);
        assert_eq!(small(&decimal("9223372036854775808").unwrap()), None, "one above the largest i64");
        for text in ["", "-", "1x", "+1", &"1".repeat(4301)] {
            assert!(decimal(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_that_only_repeat_the_sign_are_cut() {
        for (bytes, expected) in [
            (&[1, 0, 0][..], &[1][..]),
            (&[0x80, 0, 0], &[0x80, 0]),
            (&[0x80, 0xff, 0xff], &[0x80]),
            (&[1, 0xff, 0xff], &[1, 0xff]),
            (&[0, 0], &[0]),
            (&[], &[]),
        ] {
            assert_eq!(shortest(bytes), expected);
        }
    }

    #[test]
    fn no_length_is_believed_beyond_the_end() {
        let mut reader = Reader::new(b"abc");
        assert!(reader.take(4).is_err());
        assert!(reader.take(u64::MAX).is_err());
        assert!(reader.expect(4).is_err());
        assert_eq!(reader.take(3).unwrap(), b"abc");
        assert!(reader.u8().is_err());
        assert!(Reader::new(b"no end").line().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff]).signed_length().is_err());
    }
}
