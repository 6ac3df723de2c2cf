//! Selection of utterances by any manifest column.
//!
//! ```yaml
//! select:
//!   speaker: {not: [nicolas]}
//!   split: [train-10min, train-1h]
//!   duration: {min: 0.5, max: 15}
//! ```
//!
//! An utterance stays when every rule accepts it.

mod rule;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use rule::{Conditions, Rule, Scalar};

use crate::error::{listed, shortened};
use crate::{Error, Utterance};

/// Rules by column name; the empty selection keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selection(pub BTreeMap<String, Rule>);

impl Selection {
    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The utterances that every rule accepts, in their order. `source` is for messages.
    ///
    /// An utterance without the column is accepted by `not` alone: it is none of the values listed.
    ///
    /// # Errors
    /// When no utterance has a column that a rule names, `min` or `max` meets a value that is no number,
    /// or nothing is left.
    pub fn apply(&self, utterances: Vec<Utterance>, source: &Path) -> Result<Vec<Utterance>, Error> {
        if self.is_empty() {
            return Ok(utterances);
        }
        let total = utterances.len();
        let mut keep = vec![true; total];
        let mut scarcest: Option<(&str, usize)> = None;
        for (column, rule) in &self.0 {
            if !utterances.iter().any(|utterance| utterance.column(column).is_some()) {
                let columns = columns(&utterances);
                let columns = listed(columns.iter().map(String::as_str), 30);
                return Err(Error::UnknownColumn { path: source.to_path_buf(), column: column.clone(), columns });
            }
            let mut kept = 0;
            for (utterance, keep) in utterances.iter().zip(&mut keep) {
                let accepted = rule.accepts(utterance.column(column).as_deref()).map_err(|given| {
                    let (path, line, field) = (source.to_path_buf(), utterance.line, column.clone());
                    Error::WrongValue {
                        path,
                        line,
                        field,
                        given,
                        allowed: "a number, since select compares it with min or max",
                    }
                })?;
                kept += usize::from(accepted);
                *keep &= accepted;
            }
            if scarcest.is_none_or(|(_, least)| kept < least) {
                scarcest = Some((column, kept));
            }
        }
        if let (false, Some((column, kept))) = (keep.contains(&true), scarcest) {
            let (path, values) = (source.to_path_buf(), values(&utterances, column));
            return Err(Error::NothingSelected { path, utterances: total, column: column.to_owned(), kept, values });
        }
        Ok(utterances.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(utterance, _)| utterance).collect())
    }

    /// What the rules list and no utterance has, as `column: value`: a speaker to be held out whose name is
    /// misspelt would otherwise stay in unnoticed. Over all manifests together, since each value may be in
    /// one of them only.
    pub fn unmatched<'a>(&self, utterances: impl IntoIterator<Item = &'a Utterance> + Clone) -> Vec<String> {
        let mut unmatched = Vec::new();
        for (column, rule) in &self.0 {
            for value in rule.listed() {
                let has = |utterance: &Utterance| utterance.column(column).is_some_and(|text| value.is(&text));
                if !utterances.clone().into_iter().any(has) {
                    unmatched.push(format!("{column}: {value}"));
                }
            }
        }
        unmatched
    }
}

/// The names of the columns that at least one utterance has.
fn columns(utterances: &[Utterance]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for utterance in utterances {
        for field in crate::utterance::FIELDS {
            if utterance.column(field).is_some() && !names.contains(field) {
                names.insert(field.to_owned());
            }
        }
        for name in utterance.columns.keys() {
            if !names.contains(name) {
                names.insert(name.clone());
            }
        }
    }
    names
}

/// Some values of a column, for a message.
fn values(utterances: &[Utterance], column: &str) -> String {
    let values: BTreeSet<String> =
        utterances.iter().filter_map(|utterance| utterance.column(column)).map(|value| shortened(&value, 60)).collect();
    listed(values.iter().map(String::as_str), 10)
}

#[cfg(test)]
mod tests;
