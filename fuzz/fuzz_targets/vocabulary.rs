//! Vocabularies in all their files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::models::vocabulary(bytes));
