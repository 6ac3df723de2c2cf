//! Whether one recogniser is better than another: paired statistics over the same test set.
//!
//! Two systems stumble over the same utterances, so that their difference is known far better than either rate: intervals of
//! the rates that overlap say nothing. [`compare()`] draws utterances or speakers, and runs (seeds) if asked to, for both systems
//! at once; [`mapsswe()`] is NIST's test of two outputs, for figures that stand beside others'; [`holm()`] corrects the p of
//! several comparisons. Differences are always system − control: negative is better.

mod holm;
mod mapsswe;
mod paired;
mod units;

pub use holm::holm;
pub use mapsswe::{MatchedPairs, Segment, mapsswe, segments};
pub use paired::{CompareOptions, Comparison, DrawRuns, MeanRate, compare, mean_rate};
pub use units::UtteranceRuns;

#[cfg(test)]
mod tests;
