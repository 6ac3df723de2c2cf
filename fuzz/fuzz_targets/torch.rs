//! Checkpoints of torch's, zip and legacy.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::checkpoints::torch(bytes));
