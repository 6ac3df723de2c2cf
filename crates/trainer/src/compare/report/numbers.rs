//! Numbers in words' company.

use crate::compare::{Difference, Interval};
use crate::run::report::{interval, rate};

/// Below this, a p is called significant.
pub(super) const SIGNIFICANT: f64 = 0.05;

impl Difference {
    /// Whether its p after Holm's correction is small enough.
    pub(super) fn significant(&self) -> bool {
        self.p_holm < SIGNIFICANT
    }

    /// Whether its own interval, which is of no correction, is on one side of 0.
    pub(super) fn excludes_zero(&self) -> bool {
        self.ci95[0] > 0.0 || self.ci95[1] < 0.0
    }
}

/// A rate with its interval, in per cent.
pub(super) fn with_interval(Interval { rate: value, ci95 }: &Interval) -> String {
    let ends = ci95.map_or("one unit: no interval".into(), |ends| interval(Some(ends)));
    format!("{} ({ends})", rate(Some(*value)))
}

/// A difference of rates in points, with its sign.
pub(super) fn points(difference: f64) -> String {
    let digits = format!("{:.2}", difference.abs() * 100.0);
    match digits.as_str() {
        "0.00" => digits,
        _ if difference < 0.0 => format!("−{digits}"),
        _ => format!("+{digits}"),
    }
}

/// The ends of a difference's interval.
pub(super) fn ends([low, high]: [f64; 2]) -> String {
    format!("{} to {}", points(low), points(high))
}

/// A p, to three decimals.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "<0.001".into() } else { format!("{p:.3}") }
}

/// The same, with a star where it is significant.
pub(super) fn starred(difference: &Difference) -> String {
    format!("{}{}", p_value(difference.p_holm), if difference.significant() { "\u{a0}★" } else { "" })
}

/// Names one after another, with an `and`.
pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [name] => name.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A count with its noun.
pub(super) fn many(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The middle one, or the mean of the two; none of none.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { (values[middle - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([points(-0.0123), points(0.2), points(-0.00001)], ["−1.23", "+20.00", "0.00"]);
        assert_eq!([p_value(0.0), p_value(0.0124), p_value(1.0)], ["<0.001", "0.012", "1.000"]);
        assert_eq!([median(vec![]), median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0])], [None, Some(2.0), Some(2.5)]);
        assert_eq!(with_interval(&Interval { rate: 0.5, ci95: None }), "50.00\u{a0}% (one unit: no interval)");
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }
}
