//! klang: ctc.
