//! WER and CER of 1,000 utterances: `cargo bench -p klang-text --bench score`.
//!
//! An element is an utterance.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use klang_text::{Counts, Pair, ScoreOptions, count_characters, count_words, score};

const UTTERANCES: usize = 1000;
/// Of a reference: about 5 s of speech.
const WORDS: usize = 12;
const VOCABULARY: [&str; 11] =
    ["the", "river", "was", "higher", "than", "anyone", "in", "our", "village", "could", "remember"];

/// Hypotheses with three errors in twelve words: one replaced, one missing, one too many.
fn pairs() -> Vec<Pair> {
    let pair = |index: usize| {
        let reference: Vec<&str> = (0..WORDS).map(|n| VOCABULARY[(index + n * 3) % VOCABULARY.len()]).collect();
        let mut hypothesis = reference.clone();
        hypothesis[index % WORDS] = "rivers";
        hypothesis.remove((index + 4) % WORDS);
        hypothesis.insert((index + 8) % WORDS, "a");
        Pair {
            id: format!("utterance-{index}"),
            speaker: Some(format!("speaker-{}", index % 10)),
            reference: reference.join(" "),
            hypothesis: hypothesis.join(" "),
        }
    };
    (0..UTTERANCES).map(pair).collect()
}

fn scoring(criterion: &mut Criterion) {
    let pairs = pairs();
    let mut group = criterion.benchmark_group("score");
    group.throughput(Throughput::Elements(UTTERANCES as u64));
    group.bench_function("edit distance of words", |bencher| {
        let count = |pair: &Pair| count_words(&pair.reference, &pair.hypothesis);
        bencher.iter(|| black_box(&pairs).iter().map(count).sum::<Counts>());
    });
    group.bench_function("edit distance of characters", |bencher| {
        let count = |pair: &Pair| count_characters(&pair.reference, &pair.hypothesis, true);
        bencher.iter(|| black_box(&pairs).iter().map(count).sum::<Counts>());
    });
    for (name, resamples) in [("without intervals", 0), ("with intervals of 1,000 draws", 1000)] {
        let options = ScoreOptions { resamples, ..ScoreOptions::default() };
        group.bench_function(name, |bencher| bencher.iter(|| score(black_box(&pairs), &options)));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = scoring
}
criterion_main!(benches);
