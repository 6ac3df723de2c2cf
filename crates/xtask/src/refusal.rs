//! The error for what is known to be wrong before any work starts.

use std::fmt;

/// Something the user has to put right first: a missing program, a LIBTORCH that will not do. Exit code 2.
#[derive(Debug)]
pub struct Refusal(String);

impl Refusal {
    /// `message` says what was found, what is needed, and if possible the command that helps.
    pub fn new(message: impl Into<String>) -> Refusal {
        Refusal(message.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}
