//! What a report consists of, whichever form it is written in. All text is plain; each form escapes it.

use std::collections::BTreeSet;

use crate::drawing::Svg;

/// A part of a report.
pub(super) enum Block {
    /// A heading of a level from 1.
    Heading(u8, String),
    /// A paragraph.
    Text(String),
    /// A warning, and what it is about one by one.
    Warning(String, Vec<String>),
    /// Figures, side by side where there is room.
    Figures(Vec<Figure>),
    /// A figure as wide as the page.
    Wide(Figure),
    /// A table.
    Table(Table),
    /// What is typed at a prompt.
    Code(String),
    /// What a long text shows only when asked.
    Folded(String, Vec<Block>),
}

/// A picture with a caption.
pub(super) struct Figure {
    /// Its file's name without extension; of `slug`.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) caption: String,
    pub(super) svg: Svg,
}

/// A table; the first cell of a row is its heading.
pub(super) struct Table {
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// A row of a table.
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// Whether it stands out.
    pub(super) strong: bool,
}

impl Table {
    /// A table with a head; none without rows.
    pub(super) fn block(head: &[&str], rows: Vec<Row>) -> Option<Block> {
        let head = head.iter().map(|&cell| cell.to_string()).collect();
        (!rows.is_empty()).then_some(Block::Table(Table { head, rows }))
    }

    /// Whether it is of names and what belongs to them, not of numbers in columns.
    pub(super) fn of_text(&self) -> bool {
        self.head.len() == 2
    }
}

/// A row that does not stand out.
pub(super) fn plain(cells: Vec<String>) -> Row {
    Row { cells, strong: false }
}

/// Figures as one block; none without any.
pub(super) fn side_by_side(figures: Vec<Figure>) -> Option<Block> {
    (!figures.is_empty()).then_some(Block::Figures(figures))
}

/// A heading above `blocks`; nothing without any.
pub(super) fn section(title: &str, blocks: Vec<Block>) -> Vec<Block> {
    let heading = (!blocks.is_empty()).then(|| Block::Heading(2, title.into()));
    heading.into_iter().chain(blocks).collect()
}

/// A file name of `[a-z0-9-]` that says what it can of `parts`.
pub(super) fn slug(parts: &[&str]) -> String {
    /// File systems take 255 bytes; this leaves room for a number and an extension.
    const LONGEST: usize = 100;
    let letters = parts.join("-").to_lowercase();
    let words = letters.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = words.collect::<Vec<_>>().join("-");
    name.truncate(LONGEST);
    name
}

/// Gives figures of one name different ones: names that differ may have one slug.
pub(super) fn name_apart(blocks: &mut [Block]) {
    fn walk<'a>(blocks: &'a mut [Block], figures: &mut Vec<&'a mut Figure>) {
        for block in blocks {
            match block {
                Block::Figures(some) => figures.extend(some),
                Block::Wide(figure) => figures.push(figure),
                Block::Folded(_, inner) => walk(inner, figures),
                _ => {}
            }
        }
    }
    let (mut figures, mut used) = (Vec::new(), BTreeSet::new());
    walk(blocks, &mut figures);
    for figure in figures {
        let plain = figure.name.clone();
        for number in 2.. {
            if used.insert(figure.name.clone()) {
                break;
            }
            figure.name = format!("{plain}-{number}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_hold_nothing_but_letters_digits_and_hyphens() {
        assert_eq!(slug(&["forest", "10 min", "<script>/../É"]), "forest-10-min-script");
        assert_eq!(slug(&["forest", "../../x"]), "forest-x");
        assert_eq!(slug(&[&"a".repeat(300)]).len(), 100);
    }

    #[test]
    fn figures_of_one_name_are_told_apart() {
        let figure = || Figure {
            name: "forest".into(),
            title: String::new(),
            caption: String::new(),
            svg: Svg::new(1.0, 1.0, String::new()),
        };
        let mut blocks =
            [Block::Figures(vec![figure(), figure()]), Block::Folded(String::new(), vec![Block::Wide(figure())])];
        name_apart(&mut blocks);
        let Block::Figures(figures) = &blocks[0] else { panic!() };
        assert_eq!([&figures[0].name, &figures[1].name], ["forest", "forest-2"]);
        let Block::Folded(_, inner) = &blocks[1] else { panic!() };
        assert!(matches!(&inner[0], Block::Wide(figure) if figure.name == "forest-3"));
    }
}
