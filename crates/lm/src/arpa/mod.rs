//! ARPA files: the text format that SRILM, KenLM and most other toolkits share, plain or gzip.

mod lines;
mod read;
mod write;

pub use read::ReadOptions;

#[cfg(test)]
mod tests;
