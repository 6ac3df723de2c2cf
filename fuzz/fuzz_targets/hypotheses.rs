//! Files of hypotheses.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::runs::hypotheses(bytes));
