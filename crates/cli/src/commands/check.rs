//! `klang check`.

mod manifests;
mod recipe;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use klang_corpus::{Finding, Listening, Report, Severity, statistics};
use klang_trainer::write_check_page;
use serde_json::Value;

use crate::Ending;
use crate::args::CheckArguments;
use crate::output::{self, Usage};

/// Warnings of a kind and a list that are printed; of thousands a reader learns no more.
const SHOWN: usize = 10;

pub fn run(arguments: &CheckArguments) -> Result<Ending> {
    check_page(arguments)?;
    let is_recipe = |path: &Path| !path.is_dir() && !manifests::is_manifest(path);
    match (arguments.inputs.as_slice(), arguments.inputs.iter().find(|path| is_recipe(path))) {
        ([recipe], Some(_)) => recipe::run(arguments, recipe),
        (_, Some(recipe)) => {
            let message =
                format!("{} is no manifest; allowed: one recipe, or any number of manifests", recipe.display());
            Err(Usage(message).into())
        }
        (_, None) => manifests::run(arguments),
    }
}

/// Refuses a page under a name that may be somebody's manifest: `--html` takes what stands behind it.
fn check_page(arguments: &CheckArguments) -> Result<()> {
    let Some(page) = &arguments.html else { return Ok(()) };
    let is_page = |kind: &std::ffi::OsStr| kind.eq_ignore_ascii_case("html") || kind.eq_ignore_ascii_case("htm");
    if page.extension().is_some_and(is_page) {
        return Ok(());
    }
    let message = format!("--html {}: a page's name ends in .html, and what stands there is replaced", page.display());
    Err(Usage(message).into())
}

fn listening(arguments: &CheckArguments) -> Listening {
    if arguments.quick { Listening::Header } else { Listening::Decoded }
}

/// Prints what was found, and writes the page where one is asked for.
fn tell(arguments: &CheckArguments, report: &Report, notes: &[String]) -> Result<()> {
    if let Some(page) = &arguments.html {
        write_check_page(page, report)?;
        output::note(&format!("what was found, with its audio: {}", page.display()));
    }
    if arguments.json {
        let mut value = serde_json::to_value(report)?;
        if let Value::Object(map) = &mut value {
            map.insert("errors".into(), report.count(Severity::Error).into());
            map.insert("warnings".into(), report.count(Severity::Warning).into());
            map.insert("notes".into(), notes.into());
        }
        return output::json(&value);
    }
    let names: Vec<String> = report.summaries.iter().map(|summary| summary.path.display().to_string()).collect();
    let rows = names.iter().map(String::as_str).zip(report.summaries.iter().map(|summary| &summary.statistics));
    output::line(statistics::table(rows).trim_end())?;
    output::line(&format!("\nutterances by length\n{}", report.durations().to_string().trim_end()))?;
    output::line("")?;
    let mut shown: BTreeMap<_, usize> = BTreeMap::new();
    let mut folded = 0;
    for finding in &report.findings {
        let Finding { severity, kind, source, .. } = finding;
        let count = shown.entry((*kind, source)).or_default();
        *count += 1;
        match *severity == Severity::Error || *count <= SHOWN {
            true => output::line(&finding.to_string())?,
            false => folded += 1,
        }
    }
    if folded > 0 {
        output::line(&format!("{folded} more warnings of these kinds are not printed; --json lists all"))?;
    }
    for ((severity, kind), count) in report.kinds() {
        let severity = if severity == Severity::Error { "error" } else { "warning" };
        output::line(&format!("{count:>8}  {}, {severity}", kind.title()))?;
    }
    total(report)
}

fn total(report: &Report) -> Result<()> {
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    output::line(&format!("{errors} errors, {warnings} warnings"))
}
