//! klang: text.
