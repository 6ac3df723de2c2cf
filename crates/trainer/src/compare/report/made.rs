//! How an experiment was made, so that it can be made again.

use klang_text::{Ci95Unit, DrawRuns};

use super::block::{Block, Table, plain, section};
use super::costs::arms;
use crate::compare::{Budget, Results};

/// The section.
pub(super) fn made(results: &Results) -> Vec<Block> {
    let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
    let budgets: Vec<String> = results.budgets.iter().map(budget).collect();
    let rows = [
        ("klang", results.klang.clone()),
        ("computed on", results.compute.join("; ")),
        ("seeds", seeds.join(", ")),
        ("budgets", budgets.join("; ")),
        ("held out, fold by fold", results.folds.join("; ")),
        ("control", results.control.clone()),
        ("intervals and p", over(results).into()),
        ("seeds in them", drawn(results).into()),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    let rows = rows.map(|(name, value)| plain(vec![name.into(), value])).collect();
    let fingerprints = results.fingerprints.iter().map(|(path, sha256)| plain(vec![path.clone(), sha256.clone()]));
    let command = (!results.command.is_empty()).then(|| Block::Code(results.command.clone()));
    let blocks = [
        command,
        Table::block(&["", ""], rows),
        arms(results),
        Table::block(&["manifest", "SHA-256"], fingerprints.collect()),
    ];
    section("How it was made", blocks.into_iter().flatten().collect())
}

fn budget(budget: &Budget) -> String {
    let asked = match budget.minutes {
        Some(minutes) => format!("at most {minutes} min"),
        None => "all there is".into(),
    };
    let learnt = if budget.learnt > 0.0 { format!(", learnt from {:.1} min", budget.learnt) } else { String::new() };
    format!("{}: {asked}{learnt}", budget.name)
}

fn over(results: &Results) -> &'static str {
    match results.ci95_unit {
        Ci95Unit::Utterances => {
            "bootstrap over utterances: how much would differ with other utterances of these speakers; for new speakers \
             the intervals are too narrow"
        }
        Ci95Unit::Speakers => {
            "bootstrap over speakers, each with all utterances: how much would differ with other speakers; it needs \
             about eight of them to mean much"
        }
    }
}

fn drawn(results: &Results) -> &'static str {
    match results.draw_runs {
        DrawRuns::Fixed => "not drawn: what is said holds for the mean of these very seeds",
        DrawRuns::Apart => {
            "drawn, each arm’s for itself: what is said holds for as many other seeds; with few, intervals are too narrow"
        }
        DrawRuns::Together => {
            "drawn, the same for both arms of a pair: what is said holds for as many other seeds; with few, intervals \
             are too narrow"
        }
    }
}
