//! Pickles behind a legacy file's head, so that the fuzzer need not find the magic number.
#![no_main]

mod exercise;

const HEAD: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::exercise(&[HEAD, bytes].concat()));
