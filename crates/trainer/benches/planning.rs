//! What comes before the first update, in seconds and memory: reading manifests, fitting everything together, planning
//! epochs. `cargo xtask growth` runs it on manifests of all sizes and reads the lines of JSON that this prints.
//!
//! ```text
//! cargo bench -p klang-trainer --bench planning -- MANIFEST RECIPE BATCH_SECONDS…
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use klang_corpus::Manifest;
use klang_trainer::{BatchPlan, EpochPlan, Event, Item, Observer, Preparation, Recipe, RowPlan};
use serde_json::json;

/// Epochs planned for each length of a batch.
const EPOCHS: u64 = 3;

struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: Event<'_>) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [manifest, recipe, batches @ ..] = arguments.as_slice() else {
        eprintln!("nothing to plan: give MANIFEST RECIPE BATCH_SECONDS…");
        return Ok(());
    };

    let start = Instant::now();
    let utterances = Manifest::read(Path::new(manifest))?.utterances.len();
    say(json!({"stage": "read", "seconds": start.elapsed().as_secs_f64(), "utterances": utterances}));

    let start = Instant::now();
    let recipe = Recipe::read(Path::new(recipe), &[])?;
    let prepared = Preparation::new(&recipe, &mut Silent)?;
    let items = &prepared.train.items;
    say(json!({"stage": "prepare", "seconds": start.elapsed().as_secs_f64(), "utterances": items.len()}));

    for batch in batches {
        let seconds: f64 = batch.parse()?;
        let mut last = None;
        for epoch in 0..EPOCHS {
            let start = Instant::now();
            let plan = EpochPlan {
                items,
                augment: &recipe.data.augment,
                seconds,
                seed: recipe.seed,
                epoch,
                short_first: false,
                join: true,
            };
            let plans = plan.batches();
            let took = start.elapsed().as_secs_f64();
            let padded: f64 = plans.iter().map(BatchPlan::padded_seconds).sum();
            let real: f64 = plans.iter().flat_map(|plan| &plan.rows).map(RowPlan::seconds).sum();
            let longest = plans.iter().filter(|plan| plan.rows.len() > 1).map(BatchPlan::padded_seconds);
            // Two epochs are never held at once, as in training; what is compared is a number an utterance.
            let batch_of = batch_of(items, &plans);
            say(json!({
                "stage": "plan", "seconds": took, "epoch": epoch, "batch_seconds": seconds, "batches": plans.len(),
                "padding": 1.0 - real / padded, "fullest": longest.fold(0.0, f64::max),
                "met_again": last.map(|last: Vec<usize>| met_again(&last, &batch_of)),
            }));
            last = Some(batch_of);
        }
    }
    Ok(())
}

/// The batch of every utterance, by its number.
fn batch_of(items: &[Arc<Item>], plans: &[BatchPlan]) -> Vec<usize> {
    let place: HashMap<*const Item, usize> = items.iter().map(Arc::as_ptr).zip(0..).collect();
    let mut batch_of = vec![0; items.len()];
    for (batch, plan) in plans.iter().enumerate() {
        for (item, _) in plan.rows.iter().flat_map(|row| &row.parts) {
            batch_of[place[&Arc::as_ptr(item)]] = batch;
        }
    }
    batch_of
}

/// Of the pairs of utterances that share a batch in `one` epoch, the share that do in the `other`.
fn met_again(one: &[usize], other: &[usize]) -> f64 {
    let pairs = |counts: &mut dyn Iterator<Item = usize>| counts.map(|count| count * (count - 1) / 2).sum::<usize>();
    let (mut batches, mut both) = (HashMap::new(), HashMap::new());
    for (&a, &b) in one.iter().zip(other) {
        *batches.entry(a).or_insert(0) += 1;
        *both.entry((a, b)).or_insert(0) += 1;
    }
    pairs(&mut both.into_values()) as f64 / pairs(&mut batches.into_values()) as f64
}

/// A line of JSON with the highest memory so far.
fn say(mut line: serde_json::Value) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    line["peak_mib"] = peak.map(|kib: f64| kib / 1024.0).into();
    println!("{line}");
}
