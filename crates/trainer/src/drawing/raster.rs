//! A matrix of few levels as SVG: one path a level, runs of equal neighbours merged, so that ten thousands of cells stay small.

/// Levels, with the one that is not drawn.
pub(crate) const LEVELS: u8 = 16;

/// Levels by row, the top one first; a cell is one unit wide and high. Level 0 is not drawn.
pub(crate) struct Raster<'a> {
    pub(crate) rows: &'a [Vec<u8>],
}

impl Raster<'_> {
    /// A path for every level that occurs, with the attributes that `attributes` gives it: lines to be stroked one unit wide,
    /// without a fill.
    pub(crate) fn paths(&self, attributes: impl Fn(u8) -> String) -> String {
        (1..LEVELS)
            .map(|level| (level, path(self.rows, level)))
            .filter(|(_, path)| !path.is_empty())
            .fold(String::new(), |paths, (level, path)| {
                paths + &format!("<path {} d=\"{path}\" />\n", attributes(level))
            })
    }
}

/// The runs of a level, drawn through the middle of their cells. Each goes on from the end of the one before in its row,
/// which is shorter than its place; a row starts anew, or what a renderer rounds would add up.
pub(crate) fn path(rows: &[Vec<u8>], level: u8) -> String {
    let mut path = String::new();
    for (y, row) in rows.iter().enumerate() {
        let (mut x, mut end) = (0, None);
        for run in row.chunk_by(|one, next| one == next) {
            if run[0] == level {
                path += &match end {
                    Some(end) => format!("m{} 0h{}", x - end, run.len()),
                    None => format!("M{x} {y}.5h{}", run.len()),
                };
                end = Some(x + run.len());
            }
            x += run.len();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_merged_and_lead_on_from_one_another() {
        let rows = [vec![0, 2, 2, 0, 2], vec![0; 5], vec![2, 2, 1, 1, 1]];
        let paths = Raster { rows: &rows }.paths(|level| format!("class=l{level}"));
        // Level 2: cells 1 and 2, then 4, one behind the end; then a row of its own.
        assert_eq!(paths, "<path class=l1 d=\"M2 2.5h3\" />\n<path class=l2 d=\"M1 0.5h2m1 0h1M0 2.5h2\" />\n");
    }

    #[test]
    fn nothing_drawn_is_no_path() {
        assert_eq!(Raster { rows: &[vec![0, 0], Vec::new()] }.paths(|_| String::new()), "");
        assert_eq!(Raster { rows: &[] }.paths(|_| String::new()), "");
    }
}
