//! Pickles of a legacy checkpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::checkpoints::headless(bytes));
