//! Corpora in their own layouts.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::corpus::corpus(bytes));
