//! A panel of rows: an arm's value with its interval on a common axis, and what is to be said of it behind.

use crate::drawing::{Anchor, GRID, INK, Look, SOFT, Svg};
use crate::run::report::{Axis, drawable};

const WIDTH: f64 = 660.0;
/// Where the axis begins; names are left of it.
const LEFT: f64 = 148.0;
/// The first row's middle, and the way from one to the next.
const TOP: f64 = 40.0;
const STEP: f64 = 24.0;

/// An arm's row.
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) look: Look,
    pub(super) value: f64,
    pub(super) ci95: Option<[f64; 2]>,
    /// Whether the marker is filled.
    pub(super) filled: bool,
    /// Whether the interval is drawn thick.
    pub(super) thick: bool,
    /// A text for each column.
    pub(super) cells: Vec<String>,
}

/// The panel.
pub(super) struct Panel<'a> {
    /// What it shows, in plain text.
    pub(super) label: String,
    /// What the axis measures.
    pub(super) axis: String,
    /// Where it ends; columns are right of it.
    pub(super) right: f64,
    /// What lies on either side of 0, where the rows are differences.
    pub(super) sides: Option<[&'static str; 2]>,
    /// Columns' heads, and where they end.
    pub(super) columns: &'a [(&'static str, f64)],
    pub(super) rows: Vec<Row<'a>>,
}

impl Panel<'_> {
    /// The drawing; none without a row.
    pub(super) fn draw(self) -> Option<Svg> {
        let zero = self.sides.map(|_| 0.0);
        let values = self.rows.iter().flat_map(|row| row.ci95.into_iter().flatten().chain([row.value]));
        let values: Vec<f64> = values.filter(drawable).chain(zero).collect();
        let lowest = values.iter().copied().reduce(f64::min).filter(|_| !self.rows.is_empty())?;
        let highest = values.iter().copied().fold(lowest, f64::max);
        let [left, right] = [LEFT, self.right];
        let axis = Axis::around(lowest, highest, [left, right]);
        let [top, bottom] = [TOP - STEP / 2.0, TOP + STEP * (self.rows.len() as f64 - 0.5)];

        let mut svg = Svg::new(WIDTH, bottom + 40.0, self.label);
        for &(tick, ref label) in &axis.ticks {
            let x = axis.place(tick);
            svg.line([x, top], [x, bottom], GRID, 1.0);
            svg.text([x, bottom + 14.0], Anchor::Middle, SOFT, label);
        }
        svg.line([left, bottom], [right, bottom], SOFT, 1.0);
        svg.fitted([f64::midpoint(left, right), bottom + 32.0], Anchor::Middle, SOFT, &self.axis, WIDTH / 2.0);
        if let Some([below, above]) = self.sides {
            let zero = axis.place(0.0);
            svg.line([zero, top - 4.0], [zero, bottom], INK, 1.2);
            // A side this narrow is empty but for the ends of intervals.
            if zero - left > 60.0 {
                svg.text([zero - 7.0, top - 4.0], Anchor::End, SOFT, &format!("← {below}"));
            }
            if right - zero > 60.0 {
                svg.text([zero + 7.0, top - 4.0], Anchor::Start, SOFT, &format!("{above} →"));
            }
        }
        for (head, end) in self.columns {
            svg.text([*end, top - 4.0], Anchor::End, SOFT, head);
        }
        for (number, row) in self.rows.iter().enumerate() {
            let y = TOP + STEP * number as f64;
            svg.fitted([8.0, y + 4.0], Anchor::Start, INK, row.name, left - 14.0);
            if let Some([low, high]) = row.ci95 {
                let [low, high] = [axis.place(low), axis.place(high)];
                svg.line([low, y], [high, y], row.look.colour, if row.thick { 3.0 } else { 1.3 });
                for end in [low, high] {
                    svg.line([end, y - 4.0], [end, y + 4.0], row.look.colour, 1.3);
                }
            }
            svg.marker([axis.place(row.value), y], &row.look, row.filled);
            for ((_, end), cell) in self.columns.iter().zip(&row.cells) {
                match row.filled && self.sides.is_some() {
                    true => svg.strong([*end, y + 4.0], Anchor::End, cell),
                    false => svg.text([*end, y + 4.0], Anchor::End, INK, cell),
                }
            }
        }
        Some(svg)
    }
}
