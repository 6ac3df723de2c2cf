//! From an experiment to its runs: each a recipe with settings, all checked before the first one starts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use klang_corpus::{Conditions, Manifest, Rule, Scalar};
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::experiment::{ArmPlan, ColumnFolds, Experiment, Folds, VariableFolds};
use crate::draw;
use crate::error::{Error, Result};
use crate::hypotheses::{LONGEST_STEM, file_stem};
use crate::prepare::Preparation;
use crate::recipe::{Recipe, Source, SourcePart, setting};

/// The test that a fold by a column holds out.
const HELD_OUT: &str = "held out";

/// Runs that an experiment may have: each recipe is read and checked before the first one starts.
const MOST_RUNS: usize = 10_000;

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its name, and its folder's.
    pub name: String,
    /// The arm's place.
    pub arm: usize,
    /// The budget's place.
    pub budget: usize,
    /// What is held out.
    pub fold: Option<String>,
    /// The seed.
    pub seed: u64,
    /// `KEY=VALUE` on top of the experiment's recipe.
    pub settings: Vec<String>,
    /// What its recipe says in the end.
    pub recipe: Recipe,
}

/// How the experiment is run. Masks and noise follow the number of threads: results repeat on the same number only.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Threads of each run; none leaves it to the recipe.
    pub threads: Option<usize>,
}

/// An experiment whose folds are known.
#[derive(Clone, Debug)]
pub struct Plan {
    /// It.
    pub experiment: Experiment,
    /// What is held out in turn; empty without folds.
    pub folds: Vec<String>,
    /// The runs that count, as they are without what a search chooses.
    pub unsearched: Vec<Job>,
    machine: Machine,
}

impl Plan {
    /// Finds the folds, and checks every run's recipe.
    ///
    /// # Errors
    /// The first recipe that is wrong, by its run; folds of a column that the data do not have.
    pub fn new(experiment: Experiment, machine: Machine) -> Result<Plan> {
        let mut plan = Plan { experiment, folds: Vec::new(), unsearched: Vec::new(), machine };
        plan.folds = plan.find_folds()?;
        let Experiment { arms, seeds, budgets, .. } = &plan.experiment;
        let parts = [arms.len(), seeds.len(), budgets.len(), plan.folds.len().max(1)];
        if parts.iter().try_fold(1usize, |all, &part| all.checked_mul(part)).is_none_or(|runs| runs > MOST_RUNS) {
            let [arms, seeds, budgets, folds] = parts;
            return Err(plan.refuse(format!(
                "{arms} arms, {seeds} seeds, {budgets} budgets and {folds} folds are more runs than {MOST_RUNS}, which is the most"
            )));
        }
        plan.unsearched = plan.jobs(&BTreeMap::new())?;
        plan.check(&plan.unsearched)?;
        for budget in 0..plan.experiment.budgets.len() {
            (0..plan.experiment.arms.len()).try_for_each(|arm| plan.tries(arm, budget).map(|_| ()))?;
        }
        Ok(plan)
    }

    fn check(&self, jobs: &[Job]) -> Result<()> {
        let mut names = BTreeSet::new();
        if let Some(job) = jobs.iter().find(|job| !names.insert(job.name.to_lowercase())) {
            return Err(self.refuse(format!(
                "two runs would have the folder `{}`; arms and folds must differ in letters or digits",
                job.name
            )));
        }
        if let Some(job) = jobs.iter().find(|job| job.name.len() > LONGEST_STEM) {
            let start: String = job.name.chars().take(60).collect();
            return Err(self.refuse(format!(
                "a run's folder would have a name of {} bytes, `{start}…`; allowed: {LONGEST_STEM}, from arm, budget, fold and seed",
                job.name.len()
            )));
        }
        let Some(first) = jobs.first() else { return Ok(()) };
        if first.recipe.data.test.is_empty() {
            return Err(self.refuse(
                "the recipe has no test to compare on; allowed: data.test with at least one, or folds by a column"
                    .into(),
            ));
        }
        if let Some(other) = jobs.iter().find(|job| job.recipe.text != first.recipe.text) {
            return Err(self.refuse(format!(
                "the runs {} and {} differ in `text`: they would be scored on different references; allowed: one rule for all arms",
                first.name, other.name
            )));
        }
        if let Some(Folds::Variable(VariableFolds { variable, .. })) = &self.experiment.folds {
            let without = |job: &Job| Recipe { variables: BTreeMap::new(), ..job.recipe.clone() };
            let other =
                jobs.iter().find(|job| job.fold != first.fold && job.arm == first.arm && job.budget == first.budget);
            if other.is_some_and(|other| without(other) == without(first)) {
                return Err(self
                    .refuse(format!("folds: the recipe uses no variable `{variable}`; all folds would be the same")));
            }
        }
        Ok(())
    }

    /// Reads what each arm at each budget reads, on the first seed and fold: manifests, checkpoint, shape.
    ///
    /// # Errors
    /// Whatever is wrong with them, by the run.
    pub fn prepare(&self, jobs: &[Job]) -> Result<()> {
        let first = |job: &&Job| job.seed == self.experiment.seeds[0] && job.fold.as_ref() == self.folds.first();
        for job in jobs.iter().filter(first) {
            Preparation::new(&job.recipe, &mut ()).map_err(|error| named(self.recipe(), &job.name, error))?;
        }
        Ok(())
    }

    fn find_folds(&self) -> Result<Vec<String>> {
        let ColumnFolds { column, values } = match &self.experiment.folds {
            None => return Ok(Vec::new()),
            Some(Folds::Variable(VariableFolds { values, .. })) => return Ok(values.clone()),
            Some(Folds::Column(folds)) => folds,
        };
        let recipe = Recipe::read(&self.experiment.recipe, &settings_of(&self.experiment.set))?;
        let [source] = recipe.data.train.as_slice() else {
            return Err(self.refuse(format!(
                "folds: {} training manifests; allowed: one, whose utterances are held out in turn",
                recipe.data.train.len()
            )));
        };
        let utterances = source.selection().apply(Manifest::read(source.path())?.utterances, source.path())?;
        let utterances = recipe.data.select.apply(utterances, source.path())?;
        let mut found: Vec<String> = utterances
            .iter()
            .filter_map(|utterance| utterance.column(column).map(std::borrow::Cow::into_owned))
            .collect();
        found.sort();
        found.dedup();
        if let Some(stranger) = values.iter().find(|value| !found.contains(value)) {
            return Err(self.refuse(format!(
                "folds.values: no training utterance has {column} `{stranger}`; there are: {}",
                found.join(", ")
            )));
        }
        let folds = if values.is_empty() { found } else { values.clone() };
        if folds.len() < 2 {
            return Err(self.refuse(format!(
                "folds: the training data have {} values of {column}; allowed: at least two",
                folds.len()
            )));
        }
        Ok(folds)
    }

    fn refuse(&self, message: String) -> Error {
        Error::RecipeFile {
            path: self.experiment.recipe.clone(),
            message: format!("as the experiment has it: {message}"),
        }
    }

    /// The runs that count, in the order in which they are run: seed by seed, so that an experiment that is cut short has
    /// every arm. `chosen` holds what searches chose, by arm and budget.
    ///
    /// # Errors
    /// A recipe that is wrong, with the run.
    pub fn jobs(&self, chosen: &BTreeMap<(usize, usize), Vec<String>>) -> Result<Vec<Job>> {
        let Experiment { arms, seeds, budgets, .. } = &self.experiment;
        let folds: Vec<Option<&String>> =
            if self.folds.is_empty() { vec![None] } else { self.folds.iter().map(Some).collect() };
        let mut jobs = Vec::new();
        for &seed in seeds {
            for fold in &folds {
                for budget in 0..budgets.len() {
                    for arm in 0..arms.len() {
                        let extra = chosen.get(&(arm, budget)).cloned().unwrap_or_default();
                        jobs.push(self.job(arm, budget, *fold, seed, &extra, None)?);
                    }
                }
            }
        }
        Ok(jobs)
    }

    /// What an arm's search tries at a budget: different choices, as many as the experiment allows and its lists give.
    ///
    /// # Errors
    /// A recipe that is wrong, with the run.
    pub fn tries(&self, arm: usize, budget: usize) -> Result<Vec<(Vec<String>, Job)>> {
        let Some(search) = self.experiment.search else { return Ok(Vec::new()) };
        let choices = choices(&self.experiment.arms[arm]);
        let mut order: Vec<usize> = (0..choices.len()).collect();
        // The first choice of each list is its author's guess: it is always tried.
        order[1.min(choices.len())..].shuffle(&mut draw::generator(0, "search", &[&self.experiment.arms[arm].name]));
        let seed = self.experiment.seeds[0];
        let taken = order.into_iter().take(search.tries).enumerate();
        taken
            .map(|(number, place)| {
                let job = self.job(arm, budget, self.folds.first(), seed, &choices[place], Some(number + 1))?;
                Ok((choices[place].clone(), job))
            })
            .collect()
    }

    fn job(
        &self,
        arm: usize,
        budget: usize,
        fold: Option<&String>,
        seed: u64,
        extra: &[String],
        number: Option<usize>,
    ) -> Result<Job> {
        let Experiment { arms, budgets, set, .. } = &self.experiment;
        let mut name = vec![file_stem(&arms[arm].name)];
        if budgets.len() > 1 {
            name.push(file_stem(&budgets[budget].name()));
        }
        name.extend(fold.map(|fold| file_stem(fold)));
        name.push(number.map_or(format!("seed-{seed}"), |number| format!("try-{number}")));
        let name = name.join(".");
        let named = |error: Error| named(self.recipe(), &name, error);

        let mut settings = settings_of(set);
        settings.extend(settings_of(&arms[arm].set));
        settings.extend_from_slice(extra);
        settings.push(format!("seed={seed}"));
        settings.extend(budgets[budget].minutes().map(|minutes| format!("data.minutes={minutes}")));
        if let Some(threads) = self.machine.threads {
            settings.push(format!("threads={threads}"));
            settings.push(format!("data.workers={threads}"));
        }
        if let (Some(Folds::Variable(VariableFolds { variable, .. })), Some(value)) = (&self.experiment.folds, fold) {
            settings.push(format!("variables.{variable}={value}"));
        }
        let mut recipe = Recipe::read(&self.experiment.recipe, &settings).map_err(named)?;
        if let (Some(Folds::Column(ColumnFolds { column, .. })), Some(value)) = (&self.experiment.folds, fold) {
            settings.extend(self.held_out(&recipe, column, value)?);
            recipe = Recipe::read(&self.experiment.recipe, &settings).map_err(named)?;
        }
        if number.is_none() && !self.experiment.conditions.is_empty() {
            let mut tests = recipe.data.test.clone();
            for (condition, change) in &self.experiment.conditions {
                // A test that has a condition of its own stays as it is.
                for (test, source) in recipe.data.test.iter().filter(|(_, source)| source.condition().is_none()) {
                    let part =
                        SourcePart { manifest: source.path().clone(), select: source.selection(), condition: *change };
                    let name = format!("{test}, {condition}");
                    if tests.insert(name.clone(), Source::Part(part)).is_some() {
                        return Err(self.refuse(format!("conditions: the recipe has a test `{name}` already")));
                    }
                }
            }
            settings.push(setting("data.test", &json!(tests)));
        }
        if number.is_some() {
            // A search looks at dev alone.
            settings.push("data.test={}".into());
        }
        let recipe = Recipe::read(&self.experiment.recipe, &settings).map_err(named)?;
        Ok(Job { name, arm, budget, fold: fold.cloned(), seed, settings, recipe })
    }

    /// Settings that leave utterances with a value of a column out of training and dev, and score them.
    fn held_out(&self, recipe: &Recipe, column: &str, value: &str) -> Result<Vec<String>> {
        let is = Rule::One(Scalar::Text(value.into()));
        let is_not = Rule::Conditions(Conditions { not: vec![Scalar::Text(value.into())], ..Conditions::default() });
        let with = |select: &klang_corpus::Selection, rule: &Rule| {
            let mut select = select.clone();
            match select.0.insert(column.into(), rule.clone()) {
                None => Ok(select),
                Some(_) => Err(self
                    .refuse(format!("folds: a selection by {column} stands in the recipe; the folds are to make it"))),
            }
        };
        let mut settings = vec![setting("data.select", &json!(with(&recipe.data.select, &is_not)?))];
        if let Some(dev) = &recipe.data.dev {
            let select = with(&dev.selection(), &is_not)?;
            settings.push(setting("data.dev", &json!({"manifest": dev.path(), "select": select})));
        }
        let [source] = recipe.data.train.as_slice() else { return Ok(settings) }; // find_folds saw to it
        let mut tests = recipe.data.test.clone();
        // What else is selected by stays: clips too bad to learn from are too bad to be scored on.
        let mut select = with(&source.selection(), &is)?;
        for (other, rule) in &recipe.data.select.0 {
            select.0.entry(other.clone()).or_insert_with(|| rule.clone());
        }
        let part = SourcePart { manifest: source.path().clone(), select, condition: Default::default() };
        if tests.insert(HELD_OUT.into(), Source::Part(part)).is_some() {
            return Err(
                self.refuse(format!("folds: the recipe has a test `{HELD_OUT}` already; the folds are to make it"))
            );
        }
        settings.push(setting("data.test", &json!(tests)));
        Ok(settings)
    }

    /// How an arm differs from the others, as `KEY=VALUE`.
    pub fn set_of(&self, arm: &ArmPlan) -> Vec<String> {
        settings_of(&arm.set)
    }

    /// The experiment's recipe.
    pub fn recipe(&self) -> &Path {
        &self.experiment.recipe
    }
}

/// An error of a recipe, with the run that it is of.
fn named(recipe: &Path, run: &str, error: Error) -> Error {
    if error.is_usage() {
        return Error::RecipeFile { path: recipe.into(), message: format!("in the run {run}: {error}") };
    }
    error
}

fn settings_of(set: &serde_json::Map<String, Value>) -> Vec<String> {
    set.iter().map(|(key, value)| setting(key, value)).collect()
}

/// Every choice of an arm's lists, the first of each list first.
fn choices(arm: &ArmPlan) -> Vec<Vec<String>> {
    let mut choices = vec![Vec::new()];
    for (key, values) in &arm.search {
        choices = values
            .iter()
            .flat_map(|value| {
                choices.iter().map(move |choice: &Vec<String>| {
                    let mut choice = choice.clone();
                    choice.push(setting(key, value));
                    choice
                })
            })
            .collect();
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = (0..6)
            .map(|number| {
                let speaker = ["anna", "ben", "cleo"][number % 3];
                format!("{{\"id\": \"u{number}\", \"audio\": \"u.wav\", \"text\": \"a\", \"speaker\": \"{speaker}\", \"duration\": 1.0}}\n")
            })
            .collect();
        std::fs::write(folder.path().join("all.jsonl"), lines).unwrap();
        std::fs::write(
            folder.path().join("base.yaml"),
            "data: {train: [all.jsonl], dev_share: 0.2, test: {all: all.jsonl}}\n",
        )
        .unwrap();
        folder
    }

    fn plan(folder: &tempfile::TempDir, more: &str) -> Result<Plan> {
        let path = folder.path().join("experiment.yaml");
        let text = format!(
            "recipe: base.yaml\narms: [{{name: plain}}, {{name: kl, set: {{model.norm.kind: kl_norm}}}}]\n{more}"
        );
        std::fs::write(&path, text).unwrap();
        Plan::new(Experiment::read(&path)?, Machine { threads: Some(1) })
    }

    #[test]
    fn every_arm_sees_the_same_data_seeds_and_updates() {
        let folder = folder();
        let plan = plan(&folder, "seeds: [1, 2]\nbudgets: [0.05, all]\nfolds: {column: speaker}\n").unwrap();
        assert_eq!(plan.folds, ["anna", "ben", "cleo"]);
        let jobs = plan.jobs(&BTreeMap::new()).unwrap();
        assert_eq!(jobs.len(), 2 * 2 * 2 * 3);
        assert_eq!(jobs[0].name, "plain.0-05-min.anna.seed-1");
        let names: std::collections::BTreeSet<&String> = jobs.iter().map(|job| &job.name).collect();
        assert_eq!(names.len(), jobs.len());
        for pair in jobs.chunks(2) {
            let [control, arm] = pair else { unreachable!() };
            let mut same = arm.recipe.clone();
            same.model.norm.kind = control.recipe.model.norm.kind;
            assert_eq!(same, control.recipe, "nothing but the arm's own settings differs");
        }
        let recipe = &jobs[0].recipe;
        assert_eq!((recipe.data.minutes, recipe.threads, recipe.seed), (Some(0.05), Some(1), 1));
        let all = Manifest::read(recipe.data.train[0].path()).unwrap().utterances;
        let ids = |select: &klang_corpus::Selection| {
            let kept = select.apply(all.clone(), Path::new("all.jsonl")).unwrap();
            kept.into_iter().map(|utterance| utterance.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&recipe.data.select), ["u1", "u2", "u4", "u5"]);
        assert_eq!(ids(&recipe.data.test[HELD_OUT].selection()), ["u0", "u3"]);
    }

    #[test]
    fn every_test_is_scored_under_every_condition_too() {
        let folder = folder();
        let more = "set: {data.test: {new: all.jsonl}}\nfolds: {column: speaker, values: [ben, cleo]}\nconditions: {noisy: {noise_db: 10}, telephone: {telephone: true}}\n";
        let plan = plan(&folder, more).unwrap();
        let jobs = plan.jobs(&BTreeMap::new()).unwrap();
        assert_eq!(jobs.len(), 4);
        let tests: Vec<&String> = jobs[0].recipe.data.test.keys().collect();
        assert_eq!(
            tests,
            ["held out", "held out, noisy", "held out, telephone", "new", "new, noisy", "new, telephone"]
        );
        let noisy = &jobs[0].recipe.data.test["held out, noisy"];
        assert_eq!(noisy.condition().noise_db, Some(10.0));
        assert_eq!(noisy.selection(), jobs[0].recipe.data.test["held out"].selection());
    }

    #[test]
    fn a_search_tries_different_choices_the_first_one_always() {
        let folder = folder();
        let path = folder.path().join("experiment.yaml");
        let text = "recipe: base.yaml\nsearch: {tries: 4}\narms:\n- name: plain\n- name: kl\n  set: {model.norm.kind: kl_norm}\n  search: {model.norm.weight: [0.1, 0.2, 0.3], model.norm.sigma_init: [0.05, 0.1]}\n";
        std::fs::write(&path, text).unwrap();
        let plan = Plan::new(Experiment::read(&path).unwrap(), Machine { threads: None }).unwrap();
        let tries = plan.tries(1, 0).unwrap();
        let weights: Vec<(f64, f64)> =
            tries.iter().map(|(_, job)| (job.recipe.model.norm.weight, job.recipe.model.norm.sigma_init)).collect();
        assert_eq!((weights.len(), weights[0]), (4, (0.1, 0.05)));
        let distinct: std::collections::BTreeSet<String> = weights.iter().map(|pair| format!("{pair:?}")).collect();
        assert_eq!(distinct.len(), 4);
        assert_eq!(plan.tries(0, 0).unwrap().len(), 1, "nothing to choose from, and one way to do it");
        let chosen = BTreeMap::from([((1, 0), tries[2].0.clone())]);
        let jobs = plan.jobs(&chosen).unwrap();
        assert_eq!(jobs[1].recipe.model.norm.weight, weights[2].0);
    }

    #[test]
    fn arms_of_different_transcripts_are_refused() {
        let folder = folder();
        let path = folder.path().join("experiment.yaml");
        let text = "recipe: base.yaml\narms: [{name: plain}, {name: words, set: {text.units: words}}]\n";
        std::fs::write(&path, text).unwrap();
        let message = Plan::new(Experiment::read(&path).unwrap(), Machine { threads: None }).unwrap_err().to_string();
        assert!(message.contains("plain.seed-1 and words.seed-1 differ in `text`"), "{message}");
    }

    #[test]
    fn what_is_wrong_in_any_run_is_said_before_the_first() {
        let folder = folder();
        let cases = [
            ("folds: {column: speaker, values: [anna, zoe]}\n", "`zoe`"),
            ("folds: {column: village}\n", "village"),
            ("set: {data.select: {speaker: anna}}\nfolds: {column: speaker, values: [anna, ben]}\n", "`ben`"),
            ("set: {train.updates: 0}\n", "train.updates"),
            ("set: {train.update: 1}\n", "train.update"),
        ];
        for (more, said) in cases {
            let message = plan(&folder, more).unwrap_err().to_string();
            assert!(message.contains(said), "{more}: {message}");
        }
    }
}
