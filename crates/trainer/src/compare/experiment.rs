//! The experiment file: which arms of which recipe, on which seeds, budgets and folds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use klang_text::{Ci95Unit, DrawRuns};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::hypotheses::file_stem;
use crate::recipe::{Condition, parse_yaml, resolved_settings};

/// An experiment is a page; the bound keeps a wrong file from being read whole.
const BYTES: u64 = 1 << 20;

/// Choices that an arm's search may list together: they are all written out, to draw from them.
const MOST_CHOICES: usize = 100_000;

/// An experiment as its file has it. Paths in it start at its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// What it is about.
    #[serde(default)]
    pub about: String,
    /// The recipe that all arms have in common.
    pub recipe: PathBuf,
    /// What all of them change in it: values by dotted key, as after `--set`.
    #[serde(default)]
    pub set: Map<String, Value>,
    /// The arms; the first is the control unless `control` names another.
    pub arms: Vec<ArmPlan>,
    /// The arm that all others are compared with.
    #[serde(default)]
    pub control: Option<String>,
    /// Seeds; every arm runs once with each.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// Amounts of training data: minutes, or `all`. Smaller ones are parts of larger ones, by seed.
    #[serde(default = "all_data")]
    pub budgets: Vec<BudgetPlan>,
    /// What is held out in turn.
    #[serde(default)]
    pub folds: Option<Folds>,
    /// Conditions that every test is also scored under, by name.
    #[serde(default)]
    pub conditions: BTreeMap<String, Condition>,
    /// How often each arm may try settings of its own before the runs that count.
    #[serde(default)]
    pub search: Option<SearchPlan>,
    /// How results are compared.
    #[serde(default)]
    pub statistics: StatisticsPlan,
}

/// An arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmPlan {
    /// Its name.
    pub name: String,
    /// How it differs: values by dotted key.
    #[serde(default)]
    pub set: Map<String, Value>,
    /// What its search may choose from: lists of values by dotted key. Absent: nothing to search.
    #[serde(default)]
    pub search: BTreeMap<String, Vec<Value>>,
}

/// An amount of training data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "minutes of training data, or `all`")]
pub enum BudgetPlan {
    /// At most so many minutes.
    Minutes(f64),
    /// All there is.
    All(All),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum All {
    /// All there is.
    All,
}

/// What is held out in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "{variable: NAME, values: […]}, or {column: speaker}")]
pub enum Folds {
    /// A variable of the recipe takes each of these values.
    Variable(VariableFolds),
    /// The utterances with each value of a column are left out of training, and are the test `held out`.
    Column(ColumnFolds),
}

/// Folds by a variable of the recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariableFolds {
    /// Its name.
    pub variable: String,
    /// Its values.
    pub values: Vec<String>,
}

/// Folds by a column of the training manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnFolds {
    /// The column, such as `speaker`.
    pub column: String,
    /// Its values; absent: all that the manifest has.
    #[serde(default)]
    pub values: Vec<String>,
}

/// A search of each arm's own settings, with the same number of tries for each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchPlan {
    /// Tries an arm and budget: different choices of what the arm's `search` lists, drawn without return. Judged on dev, with
    /// the first seed and fold; that fold's dev may hold speakers whom other folds hold out.
    pub tries: usize,
}

/// How results are compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatisticsPlan {
    /// What intervals are over: utterances, or speakers where there are several.
    pub over: Ci95Unit,
    /// Whether they are over seeds, too: `together` (the arms' runs are paired by seed), `apart`, or `fixed`.
    pub seeds: DrawRuns,
    /// Bootstrap draws.
    pub draws: u32,
}

impl Default for StatisticsPlan {
    fn default() -> Self {
        StatisticsPlan { over: Ci95Unit::Utterances, seeds: DrawRuns::Together, draws: 10_000 }
    }
}

fn one_seed() -> Vec<u64> {
    vec![1]
}

fn all_data() -> Vec<BudgetPlan> {
    vec![BudgetPlan::All(All::All)]
}

impl BudgetPlan {
    /// Its name: `10 min`, `1.5 h`, `all`.
    pub fn name(&self) -> String {
        match self {
            BudgetPlan::Minutes(minutes) if *minutes >= 60.0 => format!("{} h", minutes / 60.0),
            BudgetPlan::Minutes(minutes) => format!("{minutes} min"),
            BudgetPlan::All(_) => "all".into(),
        }
    }

    /// Minutes, if it is not all there is.
    pub fn minutes(&self) -> Option<f64> {
        match self {
            BudgetPlan::Minutes(minutes) => Some(*minutes),
            BudgetPlan::All(_) => None,
        }
    }
}

impl Experiment {
    /// Reads and checks an experiment file.
    ///
    /// # Errors
    /// Unknown keys and wrong types with line and column; names that are given twice, an unknown control, lists that are
    /// empty, each by key.
    pub fn read(path: &Path) -> Result<Experiment> {
        let text = klang_wav2vec2::checkpoint::read_text(path, BYTES).map_err(Error::before_work)?;
        let refuse = |message: String| Error::RecipeFile { path: path.into(), message };
        let mut experiment: Experiment = parse_yaml(&text).map_err(refuse)?;
        experiment.check().map_err(refuse)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        experiment.recipe = folder.join(&experiment.recipe);
        let resolve = |set: &mut Map<String, Value>| -> Result<()> {
            *set = resolved_settings(set, folder)?;
            Ok(())
        };
        resolve(&mut experiment.set)?;
        experiment.arms.iter_mut().try_for_each(|arm| resolve(&mut arm.set))?;
        for (key, values) in experiment.arms.iter_mut().flat_map(|arm| &mut arm.search) {
            for value in values {
                let one = Map::from_iter([(key.clone(), value.clone())]);
                *value = resolved_settings(&one, folder)?.remove(key).unwrap_or_default();
            }
        }
        Ok(experiment)
    }

    fn check(&mut self) -> std::result::Result<(), String> {
        let twice = |key: &str, names: Vec<String>| {
            let mut seen = BTreeSet::new();
            let again = names.into_iter().find(|name| !seen.insert(file_stem(name)));
            again.map_or(Ok(()), |name| {
                Err(format!("{key}: `{name}` is given twice, or would have the same file name as another"))
            })
        };
        if self.arms.len() < 2 {
            return Err(format!("arms: {} given; allowed: at least two, a control and another", self.arms.len()));
        }
        for (key, empty) in [("seeds", self.seeds.is_empty()), ("budgets", self.budgets.is_empty())] {
            if empty {
                return Err(format!("{key}: an empty list; allowed: at least one, or the key left out"));
            }
        }
        if self.arms.iter().any(|arm| arm.name.is_empty()) {
            return Err("arms: an arm without a name; allowed: a name for each".into());
        }
        twice("arms", self.arms.iter().map(|arm| arm.name.clone()).collect())?;
        twice("seeds", self.seeds.iter().map(u64::to_string).collect())?;
        twice("budgets", self.budgets.iter().map(BudgetPlan::name).collect())?;
        twice("conditions", self.conditions.keys().cloned().collect())?;
        if let Some(minutes) =
            self.budgets.iter().filter_map(BudgetPlan::minutes).find(|minutes| minutes.is_nan() || *minutes <= 0.0)
        {
            return Err(format!("budgets: {minutes}; allowed: minutes above 0, or `all`"));
        }
        // Smallest first, whatever the order in the file.
        self.budgets
            .sort_by(|a, b| a.minutes().unwrap_or(f64::INFINITY).total_cmp(&b.minutes().unwrap_or(f64::INFINITY)));
        self.check_control()?;
        if !(100..=1_000_000).contains(&self.statistics.draws) {
            return Err(format!("statistics.draws: {}; allowed: 100 to 1000000", self.statistics.draws));
        }
        if let Some(SearchPlan { tries }) = self.search {
            if !(1..=1000).contains(&tries) {
                return Err(format!("search.tries: {tries}; allowed: 1 to 1000"));
            }
        } else if let Some(arm) = self.arms.iter().find(|arm| !arm.search.is_empty()) {
            return Err(format!("arms: `{}` has a search, but the experiment says no search.tries", arm.name));
        }
        for arm in &self.arms {
            if let Some((key, _)) = arm.search.iter().find(|(_, values)| values.is_empty()) {
                return Err(format!("arms: `{}`: search of {key}: an empty list", arm.name));
            }
            let choices = arm.search.values().try_fold(1usize, |all, values| all.checked_mul(values.len()));
            if choices.is_none_or(|choices| choices > MOST_CHOICES) {
                return Err(format!(
                    "arms: `{}`: search: its lists make more than {MOST_CHOICES} choices together; allowed: shorter lists",
                    arm.name
                ));
            }
        }
        match &self.folds {
            Some(Folds::Variable(VariableFolds { values, .. })) if values.len() < 2 => {
                Err("folds.values: allowed: at least two".into())
            }
            Some(Folds::Variable(VariableFolds { values, .. }) | Folds::Column(ColumnFolds { values, .. })) => {
                twice("folds.values", values.clone())
            }
            None => Ok(()),
        }
    }

    fn check_control(&self) -> std::result::Result<(), String> {
        let Some(control) = &self.control else { return Ok(()) };
        if self.arms.iter().any(|arm| arm.name == *control) {
            return Ok(());
        }
        let names: Vec<&str> = self.arms.iter().map(|arm| arm.name.as_str()).collect();
        Err(format!("control: `{control}`; allowed: an arm's name: {}", names.join(", ")))
    }

    /// The experiment with another control, where one is named. `path` is its file, for errors.
    ///
    /// # Errors
    /// A name that no arm has.
    pub fn against(mut self, control: Option<&str>, path: &Path) -> Result<Experiment> {
        if let Some(control) = control {
            self.control = Some(control.into());
            self.check_control()
                .map_err(|message| Error::RecipeFile { path: path.into(), message: format!("--{message}") })?;
        }
        Ok(self)
    }

    /// The control's place among the arms.
    pub fn control(&self) -> usize {
        let place = |name: &String| self.arms.iter().position(|arm| arm.name == *name);
        self.control.as_ref().and_then(place).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<Experiment, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("experiment.yaml");
        std::fs::write(&path, text).unwrap();
        Experiment::read(&path).map_err(|error| error.to_string())
    }

    const ARMS: &str = "arms: [{name: plain}, {name: kl, set: {model.norm.kind: kl_norm}}]\n";

    #[test]
    fn a_page_says_it_all() {
        let text = format!(
            "recipe: base.yaml\n{ARMS}control: kl\nseeds: [3, 1]\nbudgets: [all, 90, 2]\nfolds: {{column: speaker}}\nconditions: {{noisy: {{noise_db: 10}}}}\n"
        );
        let experiment = read(&text).unwrap();
        assert_eq!(experiment.control(), 1);
        assert_eq!(experiment.budgets.iter().map(BudgetPlan::name).collect::<Vec<_>>(), ["2 min", "1.5 h", "all"]);
        assert!(experiment.recipe.ends_with("base.yaml") && experiment.recipe.is_absolute());
        assert_eq!(experiment.folds, Some(Folds::Column(ColumnFolds { column: "speaker".into(), values: vec![] })));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        let cases = [
            ("seeds: []", "seeds"),
            ("seeds: [1, 1]", "`1` is given twice"),
            ("budgets: [0]", "budgets"),
            ("budgets: [some]", "minutes of training data, or `all`"),
            ("control: none", "an arm's name: plain, kl"),
            ("folds: {variable: v, values: [a]}", "folds.values"),
            ("search: {tries: 0}", "search.tries"),
            ("statistics: {draws: 0}", "statistics.draws"),
            ("colour: red", "colour"),
        ];
        for (line, said) in cases {
            let message = read(&format!("recipe: base.yaml\n{ARMS}{line}\n")).unwrap_err();
            assert!(message.contains(said), "{line}: {message}");
        }
        let twice = read("recipe: base.yaml\narms: [{name: a b}, {name: a-b}]\n").unwrap_err();
        assert!(twice.contains("given twice"), "{twice}");
        let single = read("recipe: base.yaml\narms: [{name: a}]\n").unwrap_err();
        assert!(single.contains("at least two"), "{single}");
        let lists: String =
            (0..20).map(|key| format!("k{key}: [1, 2, 3]{}", if key < 19 { ", " } else { "" })).collect();
        let endless =
            format!("recipe: a.yaml\narms: [{{name: a}}, {{name: b, search: {{{lists}}}}}]\nsearch: {{tries: 1}}\n");
        let endless = read(&endless).unwrap_err();
        assert!(endless.contains("more than 100000 choices"), "{endless}");
        let searching = read("recipe: base.yaml\narms: [{name: a}, {name: b, search: {seed: [1]}}]\n").unwrap_err();
        assert!(searching.contains("search.tries"), "{searching}");
    }

    #[test]
    fn paths_in_settings_start_at_the_experiments_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("model")).unwrap();
        let path = folder.path().join("experiment.yaml");
        std::fs::write(
            &path,
            "recipe: a.yaml\nset: {model.init: model}\narms: [{name: a}, {name: b, set: {data.train: [t.jsonl]}}]\n",
        )
        .unwrap();
        let experiment = Experiment::read(&path).unwrap();
        let model = folder.path().join("model").to_string_lossy().into_owned();
        assert_eq!(experiment.set["model.init"], Value::String(model));
        let train = folder.path().join("t.jsonl").to_string_lossy().into_owned();
        assert_eq!(experiment.arms[1].set["data.train"], serde_json::json!([train]));
    }
}
