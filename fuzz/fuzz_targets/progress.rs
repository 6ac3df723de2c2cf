//! progress.json of a run's state.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::runs::progress(bytes));
