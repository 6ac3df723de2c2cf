//! Language models in ARPA.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::models::arpa(bytes));
