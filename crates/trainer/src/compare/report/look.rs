//! Which arm has which look.

use crate::compare::Results;
use crate::drawing::Look;

/// An arm's look, by its place among those that are not the control.
pub(super) fn look(results: &Results, arm: &str) -> Look {
    if arm == results.control {
        return Look::REFERENCE;
    }
    let mut others = results.arms.iter().filter(|other| other.name != results.control);
    Look::other(others.position(|other| other.name == arm).unwrap_or(0))
}
