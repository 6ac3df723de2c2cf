//! Markdown tables.

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// A table whose columns are as wide as what stands in them, so that it can be read on a terminal too.
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells that are missing are empty, and more than there are columns are left out.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells: Vec<String> =
            cells.into_iter().map(|cell| cell.replace('|', r"\|").replace('\n', " ")).collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// The table in markdown, with a line's end behind every row.
    pub fn markdown(&self) -> String {
        let length = |text: &str| text.chars().count();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| length(&row[column]));
            cells.chain([length(self.columns[column].0), 3]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: Vec<&str>| {
            let cells = cells.iter().zip(&self.columns).zip(&widths).map(|((cell, (_, align)), &width)| {
                let padding = " ".repeat(width - length(cell));
                match align {
                    Align::Left => format!("| {cell}{padding} "),
                    Align::Right => format!("| {padding}{cell} "),
                }
            });
            format!("{}|\n", cells.collect::<String>())
        };
        let rule = self.columns.iter().zip(&widths).map(|((_, align), &width)| match align {
            Align::Left => format!("|{}", "-".repeat(width + 2)),
            Align::Right => format!("|{}:", "-".repeat(width + 1)),
        });
        let head = line(self.columns.iter().map(|(name, _)| *name).collect());
        let rows = self.rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
        format!("{head}{}|\n{}", rule.collect::<String>(), rows.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("who", Align::Left), ("seconds", Align::Right)]);
        table.row(["klang".into(), "1.5".into()]);
        table.row(["a|b × c".into()]);
        let expected =
            "| who      | seconds |\n|----------|--------:|\n| klang    |     1.5 |\n| a\\|b × c |         |\n";
        assert_eq!(table.markdown(), expected);
    }

    #[test]
    fn a_table_without_rows_is_its_head() {
        assert_eq!(Table::new(&[("a", Align::Right)]).markdown(), "|   a |\n|----:|\n");
    }
}
