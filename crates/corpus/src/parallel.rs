//! The same work on many things, on all cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What `work` makes of each of `items`, in their order; none where it panicked. Memory is that of the results and of what
/// each core has in hand.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<Option<R>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len().max(1));
    let next = AtomicUsize::new(0);
    let share = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return done };
            // A decoder that panics on one file must not take the others' results with it.
            done.extend(catch_unwind(AssertUnwindSafe(|| work(item))).ok().map(|result| (place, result)));
        }
    };
    let mut results: Vec<Option<R>> = (0..items.len()).map(|_| None).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(share)).collect();
        let own = share();
        let others = workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default());
        for (place, result) in own.into_iter().chain(others) {
            results[place] = Some(result);
        }
    });
    results
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_keep_their_order_and_a_panic_costs_one() {
        let items: Vec<usize> = (0..100).collect();
        let results = super::map(&items, |&item| if item == 7 { panic!("as a decoder might") } else { item * 2 });
        for (place, result) in results.into_iter().enumerate() {
            assert_eq!(result, (place != 7).then_some(place * 2));
        }
    }
}
