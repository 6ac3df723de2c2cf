//! Ogg recordings.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| klang_fuzz::audio::exercise(
    "fuzz.ogg",
    &klang_fuzz::audio::with_checksums(bytes)
));
