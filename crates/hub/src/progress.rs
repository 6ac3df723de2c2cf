//! What a download tells whoever shows it.

/// Hears of a download, file by file. `()` hears nothing.
pub trait Progress {
    /// A file begins; `bytes` is its whole size where the server has said it.
    fn start(&mut self, file: &str, bytes: Option<u64>);
    /// More bytes of the file are on the disk. What an earlier, interrupted run left counts too: the sum over a file
    /// that arrives whole is its size.
    fn advance(&mut self, bytes: u64);
    /// The file is here and checked. Not called where it failed.
    fn finish(&mut self);
}

impl Progress for () {
    fn start(&mut self, _: &str, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
    fn finish(&mut self) {}
}
