//! decoding.json of a model.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::runs::decoding(bytes));
