//! A report as HTML.

use super::block::{Block, Figure, Row, Table};
use crate::run::report::{document, escape, head, row};

/// Rules beside those of a run's page. Drawings have a white sheet of their own.
const RULES: &str = "body { max-width: 92rem } p { max-width: 68rem; overflow-wrap: anywhere } svg { border-radius: 4px }
.warning ul { margin: .3rem 0; padding-left: 1.2rem } figure > p { margin: .3rem 0 .5rem; font-size: .87rem; color: var(--soft) }
.figures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 36rem), 1fr)) } .figures figure { margin-top: 0 }
.figures svg { max-width: 48rem } figure + figure, .figures, .wide { margin-top: .8rem } details { margin: .8rem 0 }
.text td, .text th { text-align: left; white-space: normal; max-width: 50rem; overflow-wrap: anywhere }
";

/// The whole page.
pub(super) fn html(title: &str, blocks: &[Block]) -> String {
    document(title, RULES, &blocks.iter().map(block).collect::<String>())
}

fn block(part: &Block) -> String {
    match part {
        Block::Heading(level, text) => format!("<h{level}>{}</h{level}>\n", escape(text)),
        Block::Text(text) => format!("<p>{}</p>\n", escape(text)),
        Block::Warning(text, list) => {
            let list: String = list.iter().map(|item| format!("<li>{}</li>\n", escape(item))).collect();
            format!("<div class=warning>{}<ul>\n{list}</ul></div>\n", escape(text))
        }
        Block::Figures(figures) => {
            format!("<div class=figures>\n{}</div>\n", figures.iter().map(figure).collect::<String>())
        }
        Block::Wide(wide) => figure(wide),
        Block::Table(table) => tabular(table),
        Block::Code(text) => format!("<pre>\n{}</pre>\n", escape(text)),
        Block::Folded(summary, blocks) => {
            let blocks: String = blocks.iter().map(block).collect();
            format!("<details open><summary>{}</summary>\n{blocks}</details>\n", escape(summary))
        }
    }
}

fn figure(Figure { title, caption, svg, .. }: &Figure) -> String {
    let caption = if caption.is_empty() { String::new() } else { format!("<p>{}</p>", escape(caption)) };
    format!("<figure><figcaption><b>{}</b></figcaption>{caption}\n{}</figure>\n", escape(title), svg.inline())
}

fn tabular(table: &Table) -> String {
    let names: Vec<&str> = table.head.iter().map(String::as_str).collect();
    let head = if names.iter().all(|name| name.is_empty()) { String::new() } else { head(&names) };
    let class = if table.of_text() { " class=text" } else { "" };
    let rows: String = table.rows.iter().map(line).collect();
    format!("<div class=wide><table{class}>{head}<tbody>{rows}</tbody></table></div>\n")
}

fn line(Row { cells, strong }: &Row) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| format!("<bdi>{}</bdi>", escape(cell))).collect();
    let row = row(&cells);
    if *strong { row.replacen("<tr>", "<tr class=all>", 1) } else { row }
}
