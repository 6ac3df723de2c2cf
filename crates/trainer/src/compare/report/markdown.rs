//! A report as Markdown (GitHub's), its figures beside it.

use super::block::{Block, Figure, Row, Table};
use crate::run::report::escape;

/// The whole text; `folder` is where the figures are, seen from it.
pub(super) fn markdown(blocks: &[Block], folder: &str) -> String {
    blocks.iter().map(|part| block(part, folder)).collect::<Vec<_>>().join("\n")
}

fn block(part: &Block, folder: &str) -> String {
    match part {
        Block::Heading(level, text) => format!("{} {}\n", "#".repeat(usize::from(*level)), plain(text)),
        Block::Text(text) => format!("{}\n", plain(text)),
        Block::Warning(text, list) => {
            let list: String = list.iter().map(|item| format!("> - {}\n", plain(item))).collect();
            format!("> **Warning:** {}\n>\n{list}", plain(text))
        }
        Block::Figures(figures) => figures.iter().map(|each| figure(each, folder)).collect::<Vec<_>>().join("\n"),
        Block::Wide(wide) => figure(wide, folder),
        Block::Table(table) => tabular(table),
        Block::Code(text) => {
            let fence = "`".repeat(longest_run(text).max(2) + 1);
            format!("{fence}sh\n{}\n{fence}\n", text.trim_end())
        }
        Block::Folded(summary, blocks) => {
            // GitHub takes the lines of a summary for HTML.
            format!(
                "<details><summary>{}</summary>\n\n{}\n</details>\n",
                escape(&one_line(summary)),
                markdown(blocks, folder)
            )
        }
    }
}

fn figure(Figure { name, title, caption, .. }: &Figure, folder: &str) -> String {
    let caption = if caption.is_empty() { String::new() } else { format!(": {}", plain(caption)) };
    format!("**{}**{caption}\n\n![{}]({folder}/{name}.svg)\n", plain(title), plain(title))
}

fn tabular(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = line(table.head.iter().map(|cell| plain(cell)).collect());
    let rule = (0..table.head.len()).map(|column| if column == 0 || table.of_text() { "---" } else { "--:" }.into());
    let rows = table.rows.iter().map(|Row { cells, strong }| {
        let cell = |cell: &String| match plain(cell) {
            text if *strong && !text.is_empty() => format!("**{text}**"),
            text => text,
        };
        line(cells.iter().map(cell).collect())
    });
    head + &line(rule.collect()) + &rows.collect::<String>()
}

/// Text that Markdown takes for nothing else, on one line.
fn plain(text: &str) -> String {
    let text = one_line(text);
    let mut out = String::with_capacity(text.len());
    for (place, character) in text.char_indices() {
        // What begins a list or a line across the page is followed by a space, by itself, or by nothing.
        let alone = || text[place..].chars().nth(1).is_none_or(|next| next == ' ' || next == character);
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '#' => out.extend(['\\', character]),
            '-' | '+' if place == 0 && alone() => out.extend(['\\', character]),
            '.' | ')' if text[..place].bytes().all(|byte| byte.is_ascii_digit()) && alone() => {
                out.extend(['\\', character]);
            }
            character => out.push(character),
        }
    }
    out
}

/// Text without line ends and other characters that are not to be seen.
fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    spaced.trim().into()
}

/// The longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::block::plain as row;
    use super::*;

    #[test]
    fn text_is_never_markup() {
        assert_eq!(plain("<b> & [x](y) *_`|\\"), "&lt;b&gt; &amp; \\[x\\](y) \\*\\_\\`\\|\\\\");
        assert_eq!(plain("1. a\n- b"), "1\\. a - b");
        assert_eq!([plain("- a"), plain("---"), plain("12."), plain("+")], ["\\- a", "\\---", "12\\.", "\\+"]);
        let numbers = ["1.5 %", "+1.5", "-a", "a-b", "2026"];
        assert_eq!(numbers.map(plain), numbers, "are no lists");
        let code = block(&Block::Code("a ```` b".into()), "");
        assert_eq!(code, "`````sh\na ```` b\n`````\n");
    }

    #[test]
    fn a_cell_stays_in_its_column() {
        let strong = Row { cells: ["c", "", "3"].map(String::from).into(), strong: true };
        let rows = vec![row(["a|b", "1\n2", "x"].map(String::from).into()), strong];
        let table = Table { head: ["arm", "x|y", "z"].map(String::from).into(), rows };
        let lines = ["| arm | x\\|y | z |", "| --- | --: | --: |", "| a\\|b | 1 2 | x |", "| **c** |  | **3** |", ""];
        assert_eq!(tabular(&table), lines.join("\n"));
    }
}
