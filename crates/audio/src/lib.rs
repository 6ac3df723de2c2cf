//! klang: audio.
