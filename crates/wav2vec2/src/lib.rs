//! klang: wav2vec2.
