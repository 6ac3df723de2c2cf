//! Manifests and lists of texts.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::corpus::manifest(bytes));
