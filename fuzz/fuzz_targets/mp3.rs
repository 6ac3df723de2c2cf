//! MP3 recordings.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::audio::exercise("fuzz.mp3", bytes));
