//! Batches filled by seconds of audio, of rows of like length, in an order that the seed decides.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;

use super::{Augmentation, Item};
use crate::draw;
use crate::recipe::{AugmentRecipe, Condition};

/// One row of a batch before its audio is read: an utterance, or several joined.
#[derive(Clone, Debug)]
pub struct RowPlan {
    /// Utterances in their order, and what is done to each.
    pub parts: Vec<(Arc<Item>, Augmentation)>,
}

impl RowPlan {
    /// Seconds of audio.
    pub fn seconds(&self) -> f64 {
        self.parts.iter().map(|(item, change)| change.duration(item.duration)).sum()
    }
}

/// One batch before its audio is read.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    /// Its rows.
    pub rows: Vec<RowPlan>,
}

impl BatchPlan {
    /// Seconds of the batch, padding included.
    pub fn padded_seconds(&self) -> f64 {
        self.rows.iter().map(RowPlan::seconds).fold(0.0, f64::max) * self.rows.len() as f64
    }
}

/// How far a row's rank may lie from its length, as a share of the length: the least, and the most. Where ranks were by
/// length alone, the same rows would meet in every epoch; what they lie apart is padding.
const JITTER: [f64; 2] = [0.03, 0.1];
/// Jitter over the share of the audio that is in one batch. Few batches reach over many lengths each, so that only a wide
/// jitter brings in other rows, and padding is theirs anyway; of many, thousands of rows lie within the least.
const JITTER_A_BATCH: f64 = 2.0;

/// How the batches of a training epoch are made.
#[derive(Clone, Debug)]
pub struct EpochPlan<'a> {
    /// Utterances to learn from.
    pub items: &'a [Arc<Item>],
    /// What is done to them.
    pub augment: &'a AugmentRecipe,
    /// Seconds of a batch, padding included.
    pub seconds: f64,
    /// The recipe's seed.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// Batches run from short to long, instead of shuffled.
    pub short_first: bool,
    /// Utterances may be joined.
    pub join: bool,
}

impl EpochPlan<'_> {
    /// The batches: rows of like length go together, with some jitter so that they meet others in the next epoch.
    pub fn batches(&self) -> Vec<BatchPlan> {
        let jitter = self.jitter();
        let mut random = draw::generator(self.seed, "batches", &[&self.epoch]);
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.shuffle(&mut random);
        let mut rest = order.as_slice();
        let mut ranked = Vec::new();
        while !rest.is_empty() {
            let joined = if self.join && random.random::<f64>() < self.augment.join_chance {
                random.random_range(2..=self.augment.join_most)
            } else {
                1
            };
            let part = |index: usize| {
                let item = &self.items[index];
                (item.clone(), Augmentation::draw(self.augment, self.seed, self.epoch, &item.utterance.id))
            };
            let mut row = RowPlan { parts: vec![part(rest[0])] };
            for &index in &rest[1..joined.min(rest.len())] {
                row.parts.push(part(index));
                if row.seconds() > self.seconds {
                    row.parts.pop();
                    break;
                }
            }
            rest = &rest[row.parts.len()..];
            ranked.push((row.seconds() * random.random_range(1.0 - jitter..1.0 + jitter), row));
        }
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut plans = fill(ranked.into_iter().map(|(_, row)| row), self.seconds);
        if !self.short_first {
            plans.shuffle(&mut random);
        }
        plans
    }

    /// The same in every epoch.
    fn jitter(&self) -> f64 {
        let audio: f64 = self.items.iter().map(|item| item.duration).sum();
        (JITTER_A_BATCH * self.seconds / audio).clamp(JITTER[0], JITTER[1])
    }
}

/// Batches for scoring: all utterances under a condition, short to long.
pub fn plan_in_order(items: &[Arc<Item>], condition: &Condition, seconds: f64) -> Vec<BatchPlan> {
    let mut sorted = items.to_vec();
    sorted.sort_by(|a, b| a.duration.total_cmp(&b.duration).then_with(|| a.utterance.id.cmp(&b.utterance.id)));
    let changed = |item: &Item| match condition.is_none() {
        true => Augmentation::NONE,
        false => Augmentation::under(condition, &item.utterance.id),
    };
    let row = |item: Arc<Item>| RowPlan { parts: vec![(item.clone(), changed(&item))] };
    fill(sorted.into_iter().map(row), seconds)
}

fn fill(rows: impl Iterator<Item = RowPlan>, seconds: f64) -> Vec<BatchPlan> {
    let mut plans: Vec<BatchPlan> = Vec::new();
    let (mut open, mut longest): (Vec<RowPlan>, f64) = (Vec::new(), 0.0);
    for row in rows {
        let length = row.seconds();
        if !open.is_empty() && longest.max(length) * (open.len() + 1) as f64 > seconds {
            plans.push(BatchPlan { rows: std::mem::take(&mut open) });
            longest = 0.0;
        }
        longest = longest.max(length);
        open.push(row);
    }
    if !open.is_empty() {
        plans.push(BatchPlan { rows: open });
    }
    plans
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use klang_corpus::Utterance;

    fn items(durations: &[f64]) -> Vec<Arc<Item>> {
        let item = |(number, &duration): (usize, &f64)| {
            let utterance = Utterance::new(format!("u{number:03}"), "a.wav");
            Arc::new(Item { utterance, duration, text: "a".into(), labels: vec![3] })
        };
        durations.iter().enumerate().map(item).collect()
    }

    fn plan<'a>(items: &'a [Arc<Item>], augment: &'a AugmentRecipe) -> EpochPlan<'a> {
        EpochPlan { items, augment, seconds: 30.0, seed: 1, epoch: 0, short_first: false, join: true }
    }

    fn ids(plans: &[BatchPlan]) -> Vec<Vec<String>> {
        let parts = |plan: &BatchPlan| plan.rows.iter().flat_map(|row| row.parts.clone()).collect::<Vec<_>>();
        plans.iter().map(|plan| parts(plan).iter().map(|(item, _)| item.utterance.id.clone()).collect()).collect()
    }

    #[test]
    fn every_utterance_comes_once_and_no_batch_is_over_its_seconds() {
        let durations: Vec<f64> = (0..200).map(|number| 0.5 + f64::from(number * 37 % 200) * 0.03).collect();
        let items = items(&durations);
        let augment =
            AugmentRecipe { speed: Some([0.8, 1.25]), join_chance: 0.3, join_most: 3, ..AugmentRecipe::default() };
        let plans = plan(&items, &augment).batches();
        let mut seen: Vec<String> = ids(&plans).concat();
        seen.sort();
        assert_eq!(seen, items.iter().map(|item| item.utterance.id.clone()).collect::<Vec<_>>());
        assert!(plans.iter().all(|plan| plan.padded_seconds() <= 30.0));
        assert!(plans.iter().flat_map(|plan| &plan.rows).any(|row| row.parts.len() > 1));
        // The jitter is ± 10 % at most, so that a row is at most a fifth shorter than its neighbours.
        assert!(padding(&plans) < 1.0 - 1.0 / 1.2, "{}", padding(&plans));
    }

    /// Lengths of a real corpus, as often as `times` says, a little longer each time.
    fn real_lengths(times: usize) -> Vec<f64> {
        let corpus = include_str!("../../../../benches/durations/mboshi.txt");
        let lengths: Vec<f64> = corpus.lines().map(|line| line.parse().unwrap()).collect();
        (0..times).flat_map(|time| lengths.iter().map(move |length| length + 1e-4 * time as f64)).collect()
    }

    fn padding(plans: &[BatchPlan]) -> f64 {
        let padded: f64 = plans.iter().map(BatchPlan::padded_seconds).sum();
        let real: f64 = plans.iter().flat_map(|plan| &plan.rows).map(RowPlan::seconds).sum();
        1.0 - real / padded
    }

    /// Of the pairs that share a batch in `one`, the share that do in `other`.
    fn met_again(one: &[BatchPlan], other: &[BatchPlan]) -> f64 {
        let other = ids(other);
        let batch: HashMap<&str, usize> =
            (0..).zip(&other).flat_map(|(number, ids)| ids.iter().map(move |id| (id.as_str(), number))).collect();
        let (mut pairs, mut again) = (0, 0);
        for ids in ids(one) {
            for (place, a) in ids.iter().enumerate() {
                pairs += place;
                again += ids[..place].iter().filter(|b| batch[a.as_str()] == batch[b.as_str()]).count();
            }
        }
        again as f64 / pairs as f64
    }

    #[test]
    fn an_hour_of_a_real_corpus_has_little_padding_and_new_neighbours_in_every_epoch() {
        for times in [1, 4] {
            let items = items(&real_lengths(times));
            for speed in [None, Some([0.9, 1.1])] {
                let augment = AugmentRecipe { speed, ..AugmentRecipe::default() };
                let epoch = |epoch| EpochPlan { seconds: 60.0, epoch, ..plan(&items, &augment) }.batches();
                let epochs: Vec<Vec<BatchPlan>> = (0..4).map(epoch).collect();
                for plans in &epochs {
                    assert!(plans.iter().all(|plan| plan.padded_seconds() <= 60.0));
                    assert!(padding(plans) < 0.05, "{}", padding(plans));
                }
                for pair in epochs.windows(2) {
                    let again = met_again(&pair[0], &pair[1]);
                    assert!(again < 1.0 / 3.0, "{again}");
                }
            }
        }
    }

    #[test]
    fn ten_minutes_are_mixed_too() {
        // Every sixth of the lengths: ten batches, which reach over many lengths each.
        let items = items(&real_lengths(1).into_iter().step_by(6).collect::<Vec<f64>>());
        let augment = AugmentRecipe::default();
        let epoch = |epoch| EpochPlan { seconds: 60.0, epoch, ..plan(&items, &augment) }.batches();
        let again = met_again(&epoch(0), &epoch(1));
        assert!(again < 0.5, "{again}");
    }

    #[test]
    fn nothing_is_joined_before_it_may_be() {
        let items = items(&[1.0; 40]);
        let augment = AugmentRecipe { join_chance: 1.0, ..AugmentRecipe::default() };
        let rows = |join| -> usize {
            EpochPlan { join, ..plan(&items, &augment) }.batches().iter().map(|plan| plan.rows.len()).sum()
        };
        assert_eq!(rows(false), 40);
        assert!(rows(true) <= 20);
    }

    #[test]
    fn an_utterance_longer_than_a_batch_gets_one_of_its_own() {
        assert_eq!(
            ids(&plan_in_order(&items(&[1.0, 50.0, 2.0]), &Condition::default(), 10.0)),
            [vec!["u000", "u002"], vec!["u001"]]
        );
    }

    #[test]
    fn epochs_differ_seeds_differ_and_the_same_is_the_same() {
        let (items, augment) = (items(&[1.0; 64]), AugmentRecipe::default());
        let plan = |seed, epoch| ids(&EpochPlan { seed, epoch, ..plan(&items, &augment) }.batches());
        assert_eq!(plan(1, 0), plan(1, 0));
        assert_ne!(plan(1, 0), plan(1, 1));
        assert_ne!(plan(1, 0), plan(2, 0));
    }

    #[test]
    fn short_first_runs_from_short_to_long() {
        let durations: Vec<f64> = (0..60).map(|number| 1.0 + f64::from(number % 10)).collect();
        let (items, augment) = (items(&durations), AugmentRecipe::default());
        let plans = EpochPlan { short_first: true, seconds: 20.0, ..plan(&items, &augment) }.batches();
        let longest = |plan: &BatchPlan| plan.rows.iter().map(RowPlan::seconds).fold(0.0, f64::max);
        assert!(longest(&plans[0]) < 3.0 && longest(&plans[plans.len() - 1]) > 8.0);
    }
}
