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

    /// The table in markdown, with a line's end behind every row. A column without a word in any row is left out.
    pub fn markdown(&self) -> String {
        let length = |text: &str| text.chars().count();
        let column = |index: usize| {
            let cells: Vec<&str> = self.rows.iter().map(|row| row[index].as_str()).collect();
            let empty = !cells.is_empty() && cells.iter().all(|cell| cell.is_empty());
            let (name, align) = self.columns[index];
            let width = cells.iter().copied().chain([name, "---"]).map(length).max().unwrap_or_default();
            (!empty).then_some((name, align, width, cells))
        };
        let columns: Vec<_> = (0..self.columns.len()).filter_map(column).collect();
        let line = |cell: &dyn Fn(&str, &[&str]) -> String| {
            let cells = columns.iter().map(|(name, align, width, cells)| {
                let cell = cell(name, cells);
                let padding = " ".repeat(width - length(&cell));
                match align {
                    Align::Left => format!("| {cell}{padding} "),
                    Align::Right => format!("| {padding}{cell} "),
                }
            });
            format!("{}|\n", cells.collect::<String>())
        };
        let rule = columns.iter().map(|(_, align, width, _)| match align {
            Align::Left => format!("|{}", "-".repeat(width + 2)),
            Align::Right => format!("|{}:", "-".repeat(width + 1)),
        });
        let rows = (0..self.rows.len()).map(|row| line(&|_, cells| cells[row].to_string()));
        format!("{}{}|\n{}", line(&|name, _| name.to_string()), rule.collect::<String>(), rows.collect::<String>())
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
    fn a_column_that_says_nothing_is_left_out() {
        let mut table = Table::new(&[("a", Align::Left), ("b", Align::Left), ("c", Align::Left)]);
        table.row(["1".into(), String::new(), "2".into()]);
        assert_eq!(table.markdown(), "| a   | c   |\n|-----|-----|\n| 1   | 2   |\n");
    }

    #[test]
    fn a_table_without_rows_is_its_head() {
        assert_eq!(Table::new(&[("a", Align::Right)]).markdown(), "|   a |\n|----:|\n");
    }
}
