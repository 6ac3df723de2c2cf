//! Results without what no report can show: numbers that are not finite, or larger than an axis bears.

use crate::compare::{Difference, Interval, Results, Scored};
use crate::run::report::drawable;

/// The same results without such numbers, nor what hangs on them. Dev's losses stay: a loss that was not finite says that
/// an arm diverged, and the rates beside it stand.
pub(super) fn finite(results: &Results) -> Results {
    let mut results = results.clone();
    for budget in &mut results.budgets {
        budget.minutes = budget.minutes.filter(drawable);
        // Charts place budgets with no known amount side by side.
        budget.learnt = Some(budget.learnt).filter(drawable).unwrap_or(0.0);
    }
    results.scores.retain(|Scored { wer, cer, missed, inserted, .. }| {
        [wer, cer, missed, inserted].into_iter().all(|interval| drawable(&interval.rate))
    });
    for scored in &mut results.scores {
        let Scored { wer, cer, missed, inserted, .. } = scored;
        [wer, cer, missed, inserted].into_iter().for_each(of_interval);
        let Scored { wer_difference, cer_difference, missed_difference, inserted_difference, .. } = scored;
        let differences = [wer_difference, cer_difference, missed_difference, inserted_difference];
        differences.into_iter().for_each(of_difference);
        scored.mapsswe.iter_mut().for_each(|p| *p = p.filter(drawable));
        if scored.by_seed.len() == scored.seeds.len() {
            let known = scored.by_seed.clone();
            let mut places = known.iter();
            scored.seeds.retain(|_| places.next().is_none_or(drawable));
            let mut places = known.iter();
            // One p a seed, unless nothing was compared.
            scored.mapsswe.retain(|_| places.next().is_none_or(drawable));
        }
        scored.by_seed.retain(drawable);
        scored.by_fold.retain(|_, rate| drawable(rate));
    }
    for learning in &mut results.curves {
        learning.points.retain(|point| drawable(&point.dev_wer) && drawable(&point.dev_cer));
        learning.points.iter_mut().for_each(|point| point.train_loss = point.train_loss.filter(drawable));
    }
    for rates in &mut results.rates {
        rates.sites.retain(|_, channels| channels.iter().all(|&nats| drawable(&f64::from(nats))));
    }
    for cost in &mut results.costs {
        cost.processor_seconds = cost.processor_seconds.filter(drawable);
        cost.peak_mib = cost.peak_mib.filter(drawable);
    }
    for attempt in results.searches.iter_mut().flat_map(|search| &mut search.tries) {
        attempt.dev = attempt.dev.filter(|rates| rates.iter().all(drawable));
    }
    results
}

fn of_interval(interval: &mut Interval) {
    interval.ci95 = interval.ci95.filter(|ends| ends.iter().all(drawable));
}

fn of_difference(difference: &mut Option<Difference>) {
    *difference = difference.filter(|Difference { difference, ci95: [low, high], p, p_holm }| {
        [difference, low, high, p, p_holm].into_iter().all(drawable)
    });
}
