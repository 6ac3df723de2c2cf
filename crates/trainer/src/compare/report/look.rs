//! How an arm is drawn: colours that the colour-blind tell apart, and differing in dashes and markers besides.

use crate::compare::Results;

/// The control's.
const GREY: &str = "#6f7782";
/// P. Tol's "vibrant" qualitative scheme.
const COLOURS: [&str; 6] = ["#0077bb", "#ee7733", "#009988", "#cc3311", "#ee3377", "#33bbee"];
/// SVG's dash arrays; five to six colours, so that thirty arms differ in one or the other.
const DASHES: [&str; 5] = ["", "7 3", "2 2", "9 3 2 3", "4 2"];
const MARKERS: [Marker; 5] = [Marker::Square, Marker::Up, Marker::Diamond, Marker::Down, Marker::Cross];

/// A point's shape; the circle is the control's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Circle,
    Square,
    Up,
    Diamond,
    Down,
    Cross,
}

/// An arm's look in every figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) colour: &'static str,
    /// SVG's dash array; empty for a solid line.
    pub(super) dash: &'static str,
    pub(super) marker: Marker,
}

/// An arm's look, by its place among those that are not the control.
pub(super) fn look(results: &Results, arm: &str) -> Look {
    if arm == results.control {
        return Look { colour: GREY, dash: "", marker: Marker::Circle };
    }
    let mut others = results.arms.iter().filter(|other| other.name != results.control);
    let place = others.position(|other| other.name == arm).unwrap_or(0);
    Look {
        colour: COLOURS[place % COLOURS.len()],
        dash: DASHES[place % DASHES.len()],
        marker: MARKERS[place % MARKERS.len()],
    }
}
