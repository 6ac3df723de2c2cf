//! How one of several series is drawn: colours that the colour-blind tell apart, and differing in dashes and markers besides.

/// That of what the others are held against.
const GREY: &str = "#6f7782";
/// P. Tol's "vibrant" qualitative scheme.
const COLOURS: [&str; 6] = ["#0077bb", "#ee7733", "#009988", "#cc3311", "#ee3377", "#33bbee"];
/// SVG's dash arrays; five to six colours, so that thirty arms differ in one or the other.
const DASHES: [&str; 5] = ["", "7 3", "2 2", "9 3 2 3", "4 2"];
const MARKERS: [Marker; 5] = [Marker::Square, Marker::Up, Marker::Diamond, Marker::Down, Marker::Cross];

/// A point's shape; the circle is the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Circle,
    Square,
    Up,
    Diamond,
    Down,
    Cross,
}

/// A series' look in every figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) colour: &'static str,
    /// SVG's dash array; empty for a solid line.
    pub(crate) dash: &'static str,
    pub(crate) marker: Marker,
}

impl Look {
    /// Of what the others are held against.
    pub(crate) const REFERENCE: Look = Look { colour: GREY, dash: "", marker: Marker::Circle };

    /// Of the others, by place.
    pub(crate) fn other(place: usize) -> Look {
        Look {
            colour: COLOURS[place % COLOURS.len()],
            dash: DASHES[place % DASHES.len()],
            marker: MARKERS[place % MARKERS.len()],
        }
    }
}
