//! klang: corpus.
