//! metrics.jsonl of a run.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::runs::metrics(bytes));
