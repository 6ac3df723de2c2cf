//! What came of a part: figures by size, as a table and with the power that they grow with.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bench::table::{Align, Table};

/// A figure that is taken at every size.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Column {
    /// Its name in the JSON.
    pub key: &'static str,
    /// Its name in the table, with its unit.
    pub name: &'static str,
    /// Digits behind the point.
    pub digits: usize,
}

/// A chart over all sizes, both axes logarithmic.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// Of the file.
    pub name: &'static str,
    /// What the vertical axis measures.
    pub unit: &'static str,
    /// Keys of the columns.
    pub keys: Vec<&'static str>,
}

/// The figures of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The size.
    pub size: f64,
    /// The size as it is read.
    pub label: String,
    /// By their columns' keys.
    pub figures: BTreeMap<&'static str, f64>,
    /// What failed at this size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Point {
    /// A size of which nothing is known yet.
    pub fn new(size: f64, label: impl Into<String>) -> Point {
        Point { size, label: label.into(), figures: BTreeMap::new(), error: None }
    }

    /// Adds a figure, where there is one.
    pub fn set(&mut self, key: &'static str, figure: impl Into<Option<f64>>) {
        self.figures.extend(figure.into().map(|figure| (key, figure)));
    }
}

/// A part.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    /// Its name.
    pub part: &'static str,
    /// What is measured, in some sentences.
    pub about: String,
    /// What grows.
    pub size: &'static str,
    /// What is taken at each size.
    pub columns: Vec<Column>,
    /// Keys whose power of growth is told.
    pub powers: Vec<&'static str>,
    /// What is drawn.
    pub charts: Vec<Chart>,
    /// By size.
    pub points: Vec<Point>,
}

impl Growth {
    /// The part's sentences, its table, the powers, and its charts.
    pub fn markdown(&self) -> String {
        let mut columns = vec![(self.size, Align::Right)];
        columns.extend(self.columns.iter().map(|column| (column.name, Align::Right)));
        columns.push(("failed", Align::Left));
        let mut table = Table::new(&columns);
        for point in &self.points {
            let figure = |column: &Column| {
                point.figures.get(column.key).map(|figure| format!("{figure:.*}", column.digits)).unwrap_or_default()
            };
            let mut cells = vec![point.label.clone()];
            cells.extend(self.columns.iter().map(figure));
            cells.push(point.error.clone().unwrap_or_default());
            table.row(cells);
        }
        let mut text = format!("{}\n\n{}", self.about, table.markdown());
        let power = |key: &&'static str| {
            let (power, from, to) = self.power(key)?;
            let name = self.columns.iter().find(|column| column.key == *key)?.name;
            Some(format!("`{name}` with the power {power:.2} ({from} to {to})"))
        };
        let powers: Vec<String> = self.powers.iter().filter_map(power).collect();
        if !powers.is_empty() {
            text += &format!("\nBetween the two largest sizes these grow: {}.\n", powers.join(", "));
        }
        for chart in &self.charts {
            let drawn = self.points.iter().any(|point| chart.keys.iter().any(|key| point.figures.contains_key(key)));
            if drawn {
                text += &format!("\n![{}]({}-{}.svg)\n", chart.unit, self.part, chart.name);
            }
        }
        text
    }

    /// The power of the size that a figure grows with between the two largest sizes that have it, 1 being in
    /// proportion; and these sizes.
    pub fn power(&self, key: &str) -> Option<(f64, &str, &str)> {
        let mut largest = self.points.iter().rev().filter_map(|point| Some((point, *point.figures.get(key)?)));
        let (high, above) = largest.next()?;
        let (low, below) = largest.next()?;
        let power = (above / below).ln() / (high.size / low.size).ln();
        power.is_finite().then_some((power, low.label.as_str(), high.label.as_str()))
    }

    /// What failed, size by size.
    pub fn failures(&self) -> Vec<String> {
        let failed = |point: &Point| Some(format!("{}, {}: {}", self.part, point.label, point.error.as_ref()?));
        self.points.iter().filter_map(failed).collect()
    }

    /// Whether there is not one figure.
    pub fn is_failed(&self) -> bool {
        self.points.iter().all(|point| point.figures.is_empty())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Seconds that grow with the square of the size, and a size that failed.
    pub fn growth() -> Growth {
        let mut points: Vec<Point> =
            [1.0, 10.0, 100.0, 1000.0].map(|size| Point::new(size, format!("{size} h"))).into();
        for point in &mut points[..3] {
            point.set("seconds", 0.5 * point.size * point.size);
        }
        points[3].error = Some("too\nlarge".into());
        Growth {
            part: "corpus",
            about: "About.".into(),
            size: "audio",
            columns: vec![Column { key: "seconds", name: "check, s", digits: 1 }],
            powers: vec!["seconds"],
            charts: vec![Chart { name: "seconds", unit: "seconds", keys: vec!["seconds"] }],
            points,
        }
    }

    #[test]
    fn a_table_tells_figures_failures_and_powers() {
        let text = growth().markdown();
        for line in [
            "|  audio | check, s | failed    |",
            "|  100 h |   5000.0 |           |",
            "| 1000 h |          | too large |",
            "`check, s` with the power 2.00 (10 h to 100 h).",
            "![seconds](corpus-seconds.svg)",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn a_size_that_fails_is_named_and_a_part_fails_only_as_a_whole() {
        let mut growth = growth();
        assert_eq!(growth.failures(), ["corpus, 1000 h: too\nlarge"]);
        assert!(!growth.is_failed());
        growth.points.drain(..3);
        assert!(growth.is_failed());
        assert_eq!(growth.power("seconds"), None);
    }
}
