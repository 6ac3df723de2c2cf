//! The model card: what was trained on what, how well it does, and what its author must still say.

use std::fmt::Write;
use std::path::Path;

use klang_text::Score;
use klang_wav2vec2::NormConfig;
use klang_wav2vec2::checkpoint::Own;
use serde_json::Value;

use crate::decode::{DecodeMethod, DecodeSettings};
use crate::error::{Error, Result};
use crate::hypotheses::beside_search;
use crate::model::{ModelSource, Recogniser};
use crate::recipe::{RECIPE_BYTES, parse_yaml};
use crate::run::{DataLine, MetricsLine, RunFolder, read_metrics};

/// What stands where only the author knows.
pub(super) const TO_FILL: &str = "FILL IN";

/// README.md of an exported model, with the front matter that hubs read.
pub(super) fn card(
    model: &Recogniser,
    source: &ModelSource,
    run: Option<&RunFolder>,
    own: Own,
    decoding: &DecodeSettings,
) -> Result<String> {
    let metrics = run.map(RunFolder::metrics).filter(|metrics| metrics.is_file());
    let lines = metrics.map(|metrics| read_metrics(&metrics)).transpose()?.unwrap_or_default();
    let norm = &model.spec.config.norm;
    let stock = norm.folds().is_ok();
    let mut card = front_matter(model, stock);
    let family = model.spec.config.model_type.architecture();
    let start = lines.iter().rev().find_map(|line| match line {
        MetricsLine::Run { start, .. } if !start.is_empty() => Some(start.as_str()),
        _ => None,
    });
    let origin = match start {
        Some("random") => "from random weights".to_string(),
        Some(start) => format!("from {}", origin(start)),
        None => format!("from {}", origin(&source.name)),
    };
    let norm = match (norm, own) {
        (NormConfig::KlNorm(_), _) if !stock => {
            "KL-Norm of a kind that equals no LayerNorm, which klang alone computes"
        }
        (norm, _) if !stock => &format!("{}, which klang alone computes", norm.name()),
        (NormConfig::KlNorm(_), Own::Drop) => "KL-Norm, folded into the LayerNorm that it equals in evaluation",
        (NormConfig::KlNorm(_), Own::Keep) => {
            "KL-Norm; its parameters stand beside the LayerNorm that it equals in evaluation, which other tools take"
        }
        (norm, _) => norm.name(),
    };
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        card,
        "# {TO_FILL}: a name\n\nA speech recogniser: `{family}` with {} tokens, for mono audio at {} Hz. Written by klang {version}, {origin}. \
         Normalisation in its transformer blocks: {norm}.\n\n",
        model.spec.vocabulary.len(),
        model.spec.audio.sampling_rate
    );
    card += if stock { USE } else { USE_KLANG };
    card += if stock && model.spec.vocabulary.labels_are_words() { OF_WORDS } else { "" };
    let searches = decoding.method == DecodeMethod::Beam;
    card += if searches { SEARCH } else { "" };
    card += if decoding.lm.is_some() { WITH_LM } else { "" };
    card += if decoding.hot_words.is_empty() { "" } else { WITH_HOT_WORDS };
    card += if searches || decoding.lm.is_some() { "\n\n" } else { "" };
    results(&mut card, &lines);
    data(&mut card, &lines);
    if let Some(run) = run {
        recipe(&mut card, run)?;
    }
    let _ = write!(card, "{}", author());
    Ok(card)
}

fn front_matter(model: &Recogniser, stock: bool) -> String {
    let library = if stock { "library_name: transformers\n" } else { "" };
    format!(
        "---\nlicense: # {TO_FILL}: of the model, which that of its data may bind\nlanguage: # {TO_FILL}: code of the language, such as mdw\n{library}\
         pipeline_tag: automatic-speech-recognition\ntags:\n- {}\n- automatic-speech-recognition\n- klang\nmetrics:\n- wer\n- cer\n---\n\n",
        model.spec.config.model_type.model_type()
    )
}

const USE: &str = "## Use\n\n```python\nfrom transformers import pipeline\n\nrecogniser = pipeline(\"automatic-speech-recognition\", \"path/to/this/folder\")\nprint(recogniser(\"recording.wav\")[\"text\"])\n```\n\n";

const OF_WORDS: &str = "Its labels are whole words: transformers reads them off, but neither gives their times nor encodes texts for further training.\n\n";

const USE_KLANG: &str = "## Use\n\n```\nklang transcribe path/to/this/folder recording.wav\n```\n\n";

const SEARCH: &str =
    "klang reads it by a beam search, as `decoding.json` says (`--greedy`: without); other tools pass that file over. ";

const WITH_LM: &str = "The language model beside it holds words and phrases of the text that it was made from: see that they may be published. ";

const WITH_HOT_WORDS: &str = "`decoding.json` lists words and names to expect: see that they may be published. ";

fn results(card: &mut String, lines: &[MetricsLine]) {
    let dev = lines.iter().rev().find_map(|line| match line {
        MetricsLine::Dev { best: true, score, .. } => Some(("dev (the checkpoint was chosen on it)", score)),
        _ => None,
    });
    let tests = lines.iter().filter_map(|line| match line {
        MetricsLine::Test { name, score, .. } => Some((name.as_str(), score)),
        _ => None,
    });
    let scores: Vec<(&str, &Score)> = dev.into_iter().chain(tests).collect();
    *card += "## Results\n\n";
    if scores.is_empty() {
        let _ = write!(*card, "{TO_FILL}: no scores came with the model. `klang evaluate` computes them.\n\n");
        return;
    }
    *card += "| data | utterances | words | WER | 95 % interval | CER |\n|---|---|---|---|---|---|\n";
    let percent = |rate: Option<f64>| rate.map_or("undefined".into(), |rate| format!("{:.2} %", 100.0 * rate));
    for (name, score) in &scores {
        let interval = score
            .wer_ci95
            .map_or("undefined".into(), |[low, high]| format!("{:.2} to {:.2} %", 100.0 * low, 100.0 * high));
        let (utterances, words) = (score.utterances, score.words);
        let (wer, cer) = (percent(score.wer), percent(score.cer));
        let _ = writeln!(card, "| {name} | {utterances} | {words} | {wer} | {interval} | {cer} |");
    }
    // Where a recipe searches, the greedy reading of each test stands beside.
    let searched = |(name, _): &(&str, &Score)| {
        let greedy = beside_search(name);
        lines.iter().any(|line| matches!(line, MetricsLine::Test { name, .. } if *name == greedy))
    };
    *card += match scores.iter().any(searched) {
        true => {
            "\nTests by beam search, as the recipe's `decode` says; dev and what is called greedy by greedy decoding. Intervals by bootstrap.\n\n"
        }
        false => "\nGreedy decoding, no language model. Intervals by bootstrap.\n\n",
    };
}

pub(super) fn data(card: &mut String, lines: &[MetricsLine]) {
    let sets = lines.iter().rev().find_map(|line| match line {
        MetricsLine::Run { data, .. } if !data.is_empty() => Some(data),
        _ => None,
    });
    *card += "## Data\n\n";
    let Some(sets) = sets else {
        let _ = write!(*card, "{TO_FILL}: what it was trained on.\n\n");
        return;
    };
    *card += "| set | utterances | minutes | speakers |\n|---|---|---|---|\n";
    for DataLine { name, utterances, seconds, speakers } in sets {
        let _ = writeln!(card, "| {name} | {utterances} | {:.1} | {speakers} |", seconds / 60.0);
    }
    let _ = write!(card, "\n{TO_FILL}: whose speech it is, where it comes from, and what its speakers agreed to.\n\n");
}

/// The recipe, without the folders of the machine that it ran on.
pub(super) fn recipe(card: &mut String, run: &RunFolder) -> Result<()> {
    let text = klang_wav2vec2::checkpoint::read_text(&run.recipe(), RECIPE_BYTES)?;
    let refuse = |message: String| Error::RecipeFile { path: run.recipe(), message };
    let mut document: Value = parse_yaml(&text).map_err(refuse)?;
    leave_out_names(&mut document);
    shorten(&mut document);
    let text = serde_yaml::to_string(&document).map_err(|error| refuse(error.to_string()))?;
    let _ = write!(card, "## Recipe\n\n```yaml\n{}\n```\n\n", text.trim_end());
    Ok(())
}

/// Takes out what selects speakers, and names to expect: they are not the author's to publish by an oversight.
fn leave_out_names(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(leave_out_names),
        Value::Object(map) => {
            for (key, value) in map {
                let empty = value.as_object().is_none_or(|inner| inner.is_empty());
                match key.as_str() {
                    "select" | "variables" | "hot_words" if !empty => {
                        *value = Value::String("(left out: it may name people)".into())
                    }
                    _ => leave_out_names(value),
                }
            }
        }
        _ => {}
    }
}

/// Leaves of every path its last part.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if Path::new(text).is_absolute() || text.contains("/") => *text = last_part(text).into(),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(map) => map.values_mut().for_each(shorten),
        _ => {}
    }
}

/// What a model started from, without this machine's folders: a run's name rather than its `best`.
pub(super) fn origin(name: &str) -> &str {
    let run = ["/best", "/last"].iter().find_map(|model| name.strip_suffix(model)).unwrap_or(name);
    last_part(run)
}

/// The last part of a path; the whole of a hub's name.
fn last_part(name: &str) -> &str {
    match name.trim_end_matches('/').rsplit_once('/') {
        Some((before, last)) if Path::new(name).exists() || before.contains('/') || before.starts_with('.') => last,
        _ => name,
    }
}

pub(super) fn author() -> String {
    format!(
        "## To be filled in by the author\n\n- Licence: {TO_FILL}\n- Language and variety: {TO_FILL}\n- Intended use, and uses that its speakers would not want: {TO_FILL}\n- Limits known: {TO_FILL}\n- Contact and citation: {TO_FILL}\n"
    )
}
