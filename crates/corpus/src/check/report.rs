//! All that a check has found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::{Finding, Kind, Listening, Role, Severity};
use crate::Statistics;

/// All that a check has found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How closely audio was looked at.
    pub listening: Listening,
    /// The lists in numbers, in their order.
    pub summaries: Vec<Summary>,
    /// What is wrong: errors first, then in the order of the lists.
    pub findings: Vec<Finding>,
}

/// A list in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// What it is used for.
    pub role: Role,
    /// The manifest.
    pub path: PathBuf,
    /// Counts, hours, speakers.
    pub statistics: Statistics,
    /// Its utterances by length.
    pub durations: Histogram,
}

impl Report {
    /// How many findings are so severe.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// How many findings there are of each severity and kind.
    pub fn kinds(&self) -> BTreeMap<(Severity, Kind), usize> {
        let mut kinds = BTreeMap::new();
        for finding in &self.findings {
            *kinds.entry((finding.severity, finding.kind)).or_default() += 1;
        }
        kinds
    }

    /// All lists together by length.
    pub fn durations(&self) -> Histogram {
        let mut all = Histogram::default();
        for summary in &self.summaries {
            for (sum, bin) in all.bins.iter_mut().zip(&summary.durations.bins) {
                sum.utterances += bin.utterances;
                sum.hours += bin.hours;
            }
        }
        all
    }
}

/// Where a bin ends and the next begins, in seconds.
const EDGES: [f64; 12] = [0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 60.0];

/// Utterances by length: bins that widen, from nothing to any length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// The bins, from short to long.
    pub bins: Vec<Bin>,
}

/// Utterances of about a length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// The least length, in seconds.
    pub from: f64,
    /// The length that is too long for it, in seconds; none: no length is.
    pub to: Option<f64>,
    /// How many utterances.
    pub utterances: usize,
    /// Their audio together.
    pub hours: f64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        let from = std::iter::once(0.0).chain(EDGES);
        let to = EDGES.into_iter().map(Some).chain(std::iter::once(None));
        Histogram { bins: from.zip(to).map(|(from, to)| Bin { from, to, utterances: 0, hours: 0.0 }).collect() }
    }
}

impl Histogram {
    /// Of lengths in seconds, at least 0.
    pub fn of(seconds: impl IntoIterator<Item = f64>) -> Histogram {
        let mut histogram = Histogram::default();
        for seconds in seconds {
            let place = EDGES.partition_point(|edge| *edge <= seconds);
            histogram.bins[place].utterances += 1;
            histogram.bins[place].hours += seconds / 3600.0;
        }
        histogram
    }

    /// The bins from the first to the last that holds anything.
    pub fn filled(&self) -> &[Bin] {
        let holds = |bin: &Bin| bin.utterances > 0;
        let first = self.bins.iter().position(holds).unwrap_or(0);
        let end = self.bins.iter().rposition(holds).map_or(first, |last| last + 1);
        &self.bins[first..end]
    }
}

impl Bin {
    /// Its lengths, such as `2–3 s`.
    pub fn name(&self) -> String {
        match self.to {
            Some(to) => format!("{}–{to} s", self.from),
            None => format!("{} s and more", self.from),
        }
    }
}

/// Characters that the longest bar is wide.
const BAR: usize = 40;

/// A line for each bin, with a bar.
impl std::fmt::Display for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let most = self.bins.iter().map(|bin| bin.utterances).max().unwrap_or(0).max(1);
        for bin in self.filled() {
            let bar = "█".repeat((bin.utterances * BAR).div_ceil(most));
            writeln!(f, "{:>13}  {:>8}  {bar}", bin.name(), bin.utterances)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_on_an_edge_belongs_to_the_longer_bin() {
        let histogram = Histogram::of([0.1, 0.5, 2.0, 2.9, 75.0]);
        let counts: Vec<(String, usize)> =
            histogram.bins.iter().filter(|bin| bin.utterances > 0).map(|bin| (bin.name(), bin.utterances)).collect();
        let expected = [("0–0.5 s", 1), ("0.5–1 s", 1), ("2–3 s", 2), ("60 s and more", 1)];
        assert_eq!(counts, expected.map(|(name, count)| (name.to_owned(), count)));
        assert_eq!(histogram.filled().len(), 13);
        let lines = histogram.to_string();
        assert!(lines.lines().any(|line| line.ends_with(&format!("2  {}", "█".repeat(BAR)))), "{lines}");
        assert_eq!(Histogram::of([]).to_string(), "");
    }
}
