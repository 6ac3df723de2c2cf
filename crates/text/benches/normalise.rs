//! Normalising transcripts: `cargo bench -p klang-text --bench normalise`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use klang_text::{Normaliser, TextOptions};

/// One for each way through the rules: nothing to do; capitals, dashes and apostrophes; marks that have no composed form;
/// vowel signs and viramas.
const SENTENCES: [(&str, &str); 4] = [
    ("plain letters", "the river was higher than anyone in our village could remember"),
    ("English", "“The well-known river,” she said, “wasn’t that high – was it?” No: it WASN’T!"),
    (
        "Yoruba, decomposed",
        "O\u{323}\u{301}ba\u{300} n\u{301}la\u{301} ni\u{301} i\u{300}lu\u{301} wa, e\u{323} s\u{323}e\u{301}!",
    ),
    ("Hindi", "नदी का पानी, जैसा किसी को याद नहीं, इस वर्ष बहुत ऊँचा था।"),
];

fn normalising(criterion: &mut Criterion) {
    let normaliser = Normaliser::new(&TextOptions::default()).expect("the default locale");
    let mut group = criterion.benchmark_group("normalise");
    for (name, sentence) in SENTENCES {
        group.throughput(Throughput::Bytes(sentence.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| normaliser.apply(black_box(sentence))));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = normalising
}
criterion_main!(benches);
