//! Error rates of arms, and their paired differences to the control.

use std::collections::{BTreeMap, BTreeSet};

use klang_text::{
    CompareOptions, Counts, Operation, Pair, UtteranceRuns, align_words, compare, count_characters, count_words, holm,
    mapsswe, mean_rate,
};

use super::plan::Plan;
use super::results::{Difference, Interval, Scored};
use crate::error::{Error, Result};

/// What one run made of one test.
#[derive(Debug)]
pub struct Outcome {
    /// The arm's place.
    pub arm: usize,
    /// The budget's place.
    pub budget: usize,
    /// What was held out.
    pub fold: Option<String>,
    /// The run's seed.
    pub seed: u64,
    /// The test's name.
    pub test: String,
    /// What was said and what was recognised.
    pub pairs: Vec<Pair>,
}

/// An arm's outcomes on one test at one budget, all folds together: each utterance by (fold, id), with what each run
/// recognised. Where all folds score the same utterances, these are one unit each, and the folds are runs like the seeds.
struct Together<'a> {
    /// Seeds of which every fold is there.
    seeds: Vec<u64>,
    /// Runs of each seed: the folds, where all of them score the same utterances.
    runs_a_seed: usize,
    utterances: BTreeMap<(Option<&'a str>, &'a str), Vec<&'a Pair>>,
}

impl<'a> Together<'a> {
    /// Of those seeds of `wanted` that every fold has; none where no seed is whole.
    fn of(outcomes: &[&'a Outcome], folds: usize, wanted: Option<&BTreeSet<u64>>) -> Option<Together<'a>> {
        let mut by_seed: BTreeMap<u64, Vec<&'a Outcome>> = BTreeMap::new();
        for outcome in outcomes.iter().filter(|outcome| wanted.is_none_or(|wanted| wanted.contains(&outcome.seed))) {
            by_seed.entry(outcome.seed).or_default().push(outcome);
        }
        by_seed.retain(|_, folds_of_seed| folds_of_seed.len() == folds.max(1));
        let ids = |outcome: &'a Outcome| outcome.pairs.iter().map(|pair| pair.id.as_str()).collect::<BTreeSet<_>>();
        let same = |of: &Vec<&'a Outcome>| of.iter().all(|outcome| ids(outcome) == ids(of[0]));
        let shared = folds > 1 && by_seed.values().next().is_some_and(same);
        for outcomes in by_seed.values_mut() {
            outcomes.sort_by(|a, b| a.fold.cmp(&b.fold));
        }
        let mut utterances: BTreeMap<_, Vec<&Pair>> = BTreeMap::new();
        for outcome in by_seed.values().flatten() {
            for pair in &outcome.pairs {
                let fold = outcome.fold.as_deref().filter(|_| !shared);
                utterances.entry((fold, pair.id.as_str())).or_default().push(pair);
            }
        }
        let seeds: Vec<u64> = by_seed.into_keys().collect();
        let runs_a_seed = if shared { folds } else { 1 };
        (!seeds.is_empty()).then_some(Together { seeds, runs_a_seed, utterances })
    }

    fn runs(&self, count: fn(&str, &str) -> Counts) -> Vec<UtteranceRuns> {
        let of = |pairs: &Vec<&Pair>| UtteranceRuns {
            speaker: pairs.first().and_then(|pair| pair.speaker.clone()),
            runs: pairs.iter().map(|pair| count(&pair.reference, &pair.hypothesis)).collect(),
        };
        self.utterances.values().map(of).collect()
    }

    /// Runs of all seeds.
    fn count(&self) -> usize {
        self.seeds.len() * self.runs_a_seed
    }

    /// A seed's WER, mean over its runs.
    fn wer_of_seed(&self, seed: usize) -> Option<f64> {
        let runs = seed * self.runs_a_seed..(seed + 1) * self.runs_a_seed;
        let rates: Option<Vec<f64>> = runs.map(|run| self.wer(run, None)).collect();
        rates.map(|rates| rates.iter().sum::<f64>() / rates.len() as f64)
    }

    /// Each run's word alignments, in the utterances' order.
    fn alignments(&self, run: usize) -> Vec<Vec<Operation>> {
        let pairs = self.utterances.values().filter_map(|pairs| pairs.get(run));
        let operations = |pair: &&Pair| {
            align_words(&pair.reference, &pair.hypothesis).into_iter().map(|word| word.operation).collect()
        };
        pairs.map(operations).collect()
    }

    fn wer(&self, run: usize, fold: Option<&str>) -> Option<f64> {
        let of_fold = self.utterances.iter().filter(|((of, _), _)| fold.is_none() || *of == fold);
        let pairs = of_fold.filter_map(|(_, pairs)| pairs.get(run));
        pairs.map(|pair| count_words(&pair.reference, &pair.hypothesis)).sum::<Counts>().rate()
    }
}

fn characters(reference: &str, hypothesis: &str) -> Counts {
    count_characters(reference, hypothesis, true)
}

fn missed(reference: &str, hypothesis: &str) -> Counts {
    Counts { insertions: 0, ..count_words(reference, hypothesis) }
}

fn inserted(reference: &str, hypothesis: &str) -> Counts {
    Counts { substitutions: 0, deletions: 0, ..count_words(reference, hypothesis) }
}

/// Error rates by budget, test and arm, with differences to the control; arms without a whole seed are left out.
///
/// # Errors
/// Runs of one test that were not scored on the same utterances.
pub fn scores(plan: &Plan, outcomes: &[Outcome]) -> Result<Vec<Scored>> {
    let experiment = &plan.experiment;
    let tests: BTreeSet<&str> = outcomes.iter().map(|outcome| outcome.test.as_str()).collect();
    let mut scores = Vec::new();
    for (budget, amount) in experiment.budgets.iter().enumerate() {
        for test in &tests {
            let of = |arm: usize| -> Vec<&Outcome> {
                outcomes
                    .iter()
                    .filter(|outcome| (outcome.arm, outcome.budget) == (arm, budget) && outcome.test == *test)
                    .collect()
            };
            let control = of(experiment.control());
            let mut group = Vec::new();
            for (arm, arm_plan) in experiment.arms.iter().enumerate() {
                let own = of(arm);
                let Some(together) = Together::of(&own, plan.folds.len(), None) else { continue };
                if together.utterances.values().any(|runs| runs.len() != together.count()) {
                    return Err(changed(plan, test));
                }
                let mut scored = rates(plan, &together)?;
                (scored.budget, scored.test, scored.arm) = (amount.name(), (*test).into(), arm_plan.name.clone());
                if arm != experiment.control() {
                    differ(plan, &mut scored, &own, &control)?;
                }
                group.push(scored);
            }
            correct(&mut group);
            scores.extend(group);
        }
    }
    Ok(scores)
}

fn options(plan: &Plan) -> CompareOptions {
    let statistics = plan.experiment.statistics;
    CompareOptions { resamples: statistics.draws, seed: 0, ci95_unit: statistics.over, draw_runs: statistics.seeds }
}

fn changed(plan: &Plan, test: &str) -> Error {
    let message = format!("{test}: its runs were not scored on the same utterances; was the data changed meanwhile?");
    Error::Run { path: plan.recipe().into(), message }
}

fn rates(plan: &Plan, together: &Together) -> Result<Scored> {
    let interval = |count| -> Result<Interval> {
        let runs = together.runs(count);
        let found = mean_rate(&runs, &options(plan))?;
        Ok(match found {
            Some(found) => Interval { rate: found.rate, ci95: Some(found.ci95) },
            None => Interval { rate: plain_rate(&runs), ci95: None },
        })
    };
    let seeds = 0..together.seeds.len();
    let by_fold = plan.folds.iter().filter_map(|fold| {
        let rate = |seed: usize| match together.runs_a_seed {
            1 => together.wer(seed, Some(fold)),
            // A seed's runs are in the order of their folds' names.
            runs => together.wer(seed * runs + plan.folds.iter().filter(|other| *other < fold).count(), None),
        };
        let rates: Option<Vec<f64>> = seeds.clone().map(rate).collect();
        rates.map(|rates| (fold.clone(), rates.iter().sum::<f64>() / rates.len() as f64))
    });
    Ok(Scored {
        budget: String::new(),
        test: String::new(),
        arm: String::new(),
        seeds: together.seeds.clone(),
        utterances: together.utterances.len() as u64,
        wer: interval(count_words)?,
        cer: interval(characters)?,
        missed: interval(missed)?,
        inserted: interval(inserted)?,
        wer_difference: None,
        cer_difference: None,
        missed_difference: None,
        inserted_difference: None,
        mapsswe: Vec::new(),
        by_seed: seeds.clone().filter_map(|seed| together.wer_of_seed(seed)).collect(),
        by_fold: by_fold.collect(),
    })
}

/// The mean over runs, where there is nothing to draw from.
fn plain_rate(runs: &[UtteranceRuns]) -> f64 {
    let count = runs.first().map_or(0, |utterance| utterance.runs.len());
    let rate = |run: usize| runs.iter().map(|utterance| utterance.runs[run]).sum::<Counts>().rate().unwrap_or(0.0);
    (0..count).map(rate).sum::<f64>() / count.max(1) as f64
}

/// Fills in the differences to the control, over the seeds that both have.
fn differ(plan: &Plan, scored: &mut Scored, own: &[&Outcome], control: &[&Outcome]) -> Result<()> {
    let folds = plan.folds.len();
    let seeds = |outcomes: &[&Outcome]| -> BTreeSet<u64> {
        Together::of(outcomes, folds, None).map(|together| together.seeds.into_iter().collect()).unwrap_or_default()
    };
    let shared: BTreeSet<u64> = seeds(own).intersection(&seeds(control)).copied().collect();
    let (Some(own), Some(control)) =
        (Together::of(own, folds, Some(&shared)), Together::of(control, folds, Some(&shared)))
    else {
        return Ok(());
    };
    if !own.utterances.keys().eq(control.utterances.keys()) {
        return Err(changed(plan, &scored.test));
    }
    let difference = |count| -> Result<Option<Difference>> {
        let found = compare(&control.runs(count), &own.runs(count), &options(plan))?;
        Ok(found.map(|found| Difference {
            difference: found.difference,
            ci95: found.difference_ci95,
            p: found.p,
            p_holm: found.p,
        }))
    };
    scored.wer_difference = difference(count_words)?;
    scored.cer_difference = difference(characters)?;
    scored.missed_difference = difference(missed)?;
    scored.inserted_difference = difference(inserted)?;
    for run in 0..own.count() {
        let found = mapsswe(&control.alignments(run), &own.alignments(run))?;
        scored.mapsswe.push(found.and_then(|found| found.p));
    }
    Ok(())
}

/// Holm's correction over the arms of one budget and test.
fn correct(group: &mut [Scored]) {
    for of in [
        (|scored: &mut Scored| scored.wer_difference.as_mut()) as fn(&mut Scored) -> Option<&mut Difference>,
        |scored| scored.cer_difference.as_mut(),
        |scored| scored.missed_difference.as_mut(),
        |scored| scored.inserted_difference.as_mut(),
    ] {
        let p: Vec<f64> = group.iter_mut().filter_map(|scored| of(scored).map(|difference| difference.p)).collect();
        let corrected = holm(&p);
        let differences = group.iter_mut().filter_map(of);
        differences.zip(corrected).for_each(|(difference, p)| difference.p_holm = p);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::compare::experiment::Experiment;
    use crate::compare::plan::Machine;

    fn plan(folder: &Path, more: &str) -> Plan {
        std::fs::write(folder.join("base.yaml"), "data: {train: [all.jsonl], test: {new: t.jsonl}}\n").unwrap();
        let text = format!("recipe: base.yaml\narms: [{{name: plain}}, {{name: good}}, {{name: same}}]\n{more}");
        std::fs::write(folder.join("experiment.yaml"), text).unwrap();
        let experiment = Experiment::read(&folder.join("experiment.yaml")).unwrap();
        Plan::new(experiment, Machine { threads: None }).unwrap()
    }

    /// Utterances of four words of which `wrong(number)` are wrong.
    fn outcome(arm: usize, fold: Option<&str>, seed: u64, wrong: impl Fn(usize) -> usize) -> Outcome {
        outcome_of(false, arm, fold, seed, wrong)
    }

    /// The same, of a test that every fold shares or not.
    fn outcome_of(shared: bool, arm: usize, fold: Option<&str>, seed: u64, wrong: impl Fn(usize) -> usize) -> Outcome {
        let pair = |number: usize| {
            let words =
                |wrong: usize| (0..4).map(|word| if word < wrong { "x" } else { "a" }).collect::<Vec<_>>().join(" ");
            Pair {
                id: format!("{}u{number}", if shared { "" } else { fold.unwrap_or_default() }),
                speaker: fold.map(Into::into),
                reference: words(0),
                hypothesis: words(wrong(number)),
            }
        };
        let (fold, test) = (fold.map(Into::into), "new".to_string());
        Outcome { arm, budget: 0, fold, seed, test, pairs: (0..60).map(pair).collect() }
    }

    #[test]
    fn folds_are_one_set_seeds_are_means_and_arms_are_paired() {
        let folder = tempfile::tempdir().unwrap();
        let more = "seeds: [1, 2]\nset: {variables.who: a, data.dev: '${who}.jsonl'}\nfolds: {variable: who, values: [a, b]}\n";
        let plan = plan(folder.path(), more);
        let mut outcomes = Vec::new();
        for fold in ["a", "b"] {
            for seed in [1, 2] {
                // The control has 2 of 4 words wrong, or 1 in seed 2's fold b; good has one less on every other utterance.
                let of = move |number: usize| if (seed, fold) == (2, "b") { 1 } else { 1 + number % 2 * 2 };
                outcomes.push(outcome(0, Some(fold), seed, of));
                outcomes.push(outcome(1, Some(fold), seed, move |number| of(number) - usize::from(number % 4 < 2)));
                outcomes.push(outcome(2, Some(fold), seed, of));
            }
        }
        let scores = scores(&plan, &outcomes).unwrap();
        let [control, good, same] = scores.as_slice() else { panic!("{scores:?}") };
        // Seed 1: (2 + 2) / 8; seed 2: (2 + 1) / 8 of the words.
        assert_eq!((control.wer.rate, control.by_seed.as_slice()), (0.4375, [0.5, 0.375].as_slice()));
        assert_eq!((control.utterances, control.seeds.as_slice()), (120, [1, 2].as_slice()));
        assert_eq!(control.by_fold, BTreeMap::from([("a".into(), 0.5), ("b".into(), 0.375)]));
        assert!(control.wer_difference.is_none());
        // No word is too many: those wrong are all replaced.
        assert_eq!((control.missed, control.inserted.rate), (control.wer, 0.0));
        assert_eq!((good.missed_difference, good.inserted_difference.unwrap().p_holm), (good.wer_difference, 1.0));
        let difference = good.wer_difference.unwrap();
        // Half a word in four.
        assert!((difference.difference + 0.125).abs() < 1e-12 && difference.ci95[1] < 0.0, "{difference:?}");
        assert!(difference.p < 0.001 && difference.p_holm == 2.0 * difference.p, "{difference:?}");
        assert_eq!(good.mapsswe.len(), 2);
        assert!(good.mapsswe.iter().all(|p| p.is_some_and(|p| p < 1e-6)), "{:?}", good.mapsswe);
        let difference = same.wer_difference.unwrap();
        assert_eq!((difference.difference, difference.ci95, difference.p_holm), (0.0, [0.0, 0.0], 1.0));
    }

    #[test]
    fn words_missed_and_words_inserted_make_up_the_wer() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(folder.path(), "");
        // Of four words one is replaced; the other arm says one more besides.
        let mut outcomes = vec![outcome(0, None, 1, |_| 1), outcome(1, None, 1, |_| 1)];
        outcomes[1].pairs.iter_mut().for_each(|pair| pair.hypothesis += " b");
        let scores = scores(&plan, &outcomes).unwrap();
        let [control, other] = scores.as_slice() else { panic!("{scores:?}") };
        let rates = |scored: &Scored| [scored.wer.rate, scored.missed.rate, scored.inserted.rate];
        assert_eq!((rates(control), rates(other)), ([0.25, 0.25, 0.0], [0.5, 0.25, 0.25]));
        assert_eq!(other.missed_difference.unwrap().difference, 0.0);
        let inserted = other.inserted_difference.unwrap();
        assert!(inserted.difference == 0.25 && inserted.p_holm < 0.001, "{inserted:?}");
    }

    #[test]
    fn a_test_that_all_folds_share_is_one_set_with_a_run_a_fold() {
        let folder = tempfile::tempdir().unwrap();
        let more = "seeds: [1, 2]\nset: {variables.who: a, data.dev: '${who}.jsonl'}\nfolds: {variable: who, values: [b, a]}\n";
        let plan = plan(folder.path(), more);
        let mut outcomes = Vec::new();
        for seed in [1, 2] {
            for (fold, wrong) in [("a", 1), ("b", 2)] {
                for arm in [0, 1] {
                    outcomes.push(outcome_of(true, arm, Some(fold), seed, move |_| wrong + arm));
                }
            }
        }
        outcomes.iter_mut().flat_map(|outcome| &mut outcome.pairs).for_each(|pair| pair.speaker = None);
        let scores = scores(&plan, &outcomes).unwrap();
        let [control, worse] = scores.as_slice() else { panic!("{scores:?}") };
        assert_eq!((control.utterances, control.wer.rate), (60, 0.375));
        assert_eq!(control.by_fold, BTreeMap::from([("a".into(), 0.25), ("b".into(), 0.5)]));
        assert_eq!(control.by_seed, [0.375, 0.375]);
        assert_eq!((worse.wer_difference.unwrap().difference, worse.mapsswe.len()), (0.25, 4));
    }

    #[test]
    fn a_seed_counts_only_with_all_its_folds_and_pairs_only_with_the_controls() {
        let folder = tempfile::tempdir().unwrap();
        let more = "seeds: [1, 2]\nset: {variables.who: a, data.dev: '${who}.jsonl'}\nfolds: {variable: who, values: [a, b]}\n";
        let plan = plan(folder.path(), more);
        let whole = |arm: usize, seed: u64| ["a", "b"].map(|fold| outcome(arm, Some(fold), seed, |_| seed as usize));
        let mut outcomes: Vec<Outcome> = whole(0, 1).into_iter().chain(whole(1, 1)).chain(whole(1, 2)).collect();
        outcomes.push(outcome(0, Some("a"), 2, |_| 4));
        let scores = scores(&plan, &outcomes).unwrap();
        let [control, good] = scores.as_slice() else { panic!("{scores:?}") };
        assert_eq!((control.seeds.as_slice(), control.wer.rate), ([1].as_slice(), 0.25));
        assert_eq!((good.seeds.as_slice(), good.wer.rate), ([1, 2].as_slice(), 0.375));
        assert_eq!(good.wer_difference.unwrap().difference, 0.0, "over seed 1 alone");
        outcomes[2].pairs.pop();
        assert!(super::scores(&plan, &outcomes).unwrap_err().to_string().contains("the same utterances"));
    }
}
