//! Weights as safetensors.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::checkpoints::safetensors(bytes));
