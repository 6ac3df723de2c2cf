//! `klang score`.

use anyhow::{Context, Result};
use klang_corpus::read_transcripts;
use klang_text::{Normaliser, Punctuation, ScoreOptions, TextOptions, pair_up, score};

use crate::Ending;
use crate::args::ScoreArguments;
use crate::output;

pub fn run(arguments: &ScoreArguments) -> Result<Ending> {
    let read = |path: &std::path::Path| read_transcripts(path).with_context(|| format!("reading {}", path.display()));
    let mut paired = pair_up(read(&arguments.references)?, read(&arguments.hypotheses)?)?;
    let options = TextOptions {
        lower_case: !arguments.as_written,
        locale: arguments.locale.clone(),
        punctuation: if arguments.as_written { Punctuation::Keep } else { Punctuation::Remove },
        ..TextOptions::default()
    };
    let normaliser = Normaliser::new(&options)?;
    for pair in &mut paired.pairs {
        pair.reference = normaliser.apply(&pair.reference);
        pair.hypothesis = normaliser.apply(&pair.hypothesis);
    }
    if !paired.missing.is_empty() {
        let shown = paired.missing.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let count = paired.missing.len();
        output::warning(&format!("{count} references have no hypothesis and count as deleted, such as {shown}"));
    }
    let score = score(&paired.pairs, &ScoreOptions::default());
    if arguments.json {
        output::json(&serde_json::to_value(&score)?)?;
    } else {
        output::line(score.table().trim_end())?;
    }
    Ok(Ending::Done)
}
