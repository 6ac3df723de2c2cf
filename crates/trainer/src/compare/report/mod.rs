//! report.html, report.md and report.json: what an experiment came to.
//!
//! ```text
//! Results ─► blocks ─┬► report.html, with its figures in it
//!                    └► report.md, with its figures under report/
//! ```

mod block;
mod budgets;
mod chart;
mod costs;
#[cfg(test)]
mod example;
mod finite;
mod forest;
mod html;
mod learning;
mod look;
mod made;
mod markdown;
mod numbers;
mod rates;
mod rows;
mod summary;
mod tables;
#[cfg(test)]
mod tests;

use std::path::Path;

use block::{Block, Figure};

use super::{Results, Scored};
use crate::error::{Error, Result};
use crate::files;

/// Figures' folder, seen from report.md.
const FIGURES: &str = "report";

/// Writes `report.html`, `report.md` with its figures under `report/`, and `report.json` into `folder`. Numbers that are not
/// finite are passed over, dev's losses excepted, which report.json gives as null.
///
/// # Errors
/// A failing file system.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    let results = finite::finite(results);
    files::make_folder(&folder.join(FIGURES))?;
    let path = folder.join("report.json");
    let json = serde_json::to_vec_pretty(&results).map_err(|error| Error::io(&path)(error.into()))?;
    files::write(&path, &json)?;
    let blocks = blocks(&results);
    for figure in figures(&blocks) {
        let path = folder.join(FIGURES).join(&figure.name).with_extension("svg");
        files::write(&path, figure.svg.file().as_bytes())?;
    }
    files::write(&folder.join("report.md"), markdown::markdown(&blocks, FIGURES).as_bytes())?;
    files::write(&folder.join("report.html"), html::html(&results.name, &blocks).as_bytes())
}

/// The report's parts; what there is no data for is left out.
fn blocks(results: &Results) -> Vec<Block> {
    let mut blocks = [
        summary::summary(results),
        forest::forest(results),
        budgets::budgets(results),
        tables::tables(results),
        learning::learning(results),
        rates::rates(results),
        costs::costs(results),
        costs::searches(results),
        made::made(results),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    block::name_apart(&mut blocks);
    blocks
}

fn figures(blocks: &[Block]) -> Vec<&Figure> {
    let mut found = Vec::new();
    for block in blocks {
        match block {
            Block::Figures(some) => found.extend(some),
            Block::Wide(figure) => found.push(figure),
            Block::Folded(_, inner) => found.extend(figures(inner)),
            _ => {}
        }
    }
    found
}

/// Tests in the order of their scores.
fn test_names(results: &Results) -> Vec<&str> {
    let mut tests: Vec<&str> = Vec::new();
    for scored in &results.scores {
        if !tests.contains(&scored.test.as_str()) {
            tests.push(&scored.test);
        }
    }
    tests
}

/// Budgets and tests that there are scores of: a test's budgets after one another.
fn panels(results: &Results) -> Vec<(&str, &str)> {
    let all = test_names(results)
        .into_iter()
        .flat_map(|test| results.budgets.iter().map(move |budget| (&budget.name[..], test)));
    all.filter(|&(budget, test)| scores(results, budget, test).next().is_some()).collect()
}

/// The arms' scores on a test at a budget.
fn scores<'a>(results: &'a Results, budget: &'a str, test: &'a str) -> impl Iterator<Item = &'a Scored> + Clone {
    results.scores.iter().filter(move |scored| scored.budget == budget && scored.test == test)
}
