//! `klang lm`.

use anyhow::{Context, Result};
use klang_lm::{ModifiedKneserNey, NgramModel};
use klang_text::{Normaliser, TextOptions};
use klang_trainer::{LmUnits, ModelSpec, find_model, known_sentences, read_sentences};

use crate::Ending;
use crate::args::decoding::LmArguments;
use crate::console::Console;
use crate::output::{self, Usage};

pub fn run(arguments: &LmArguments) -> Result<Ending> {
    let units = LmUnits::from(arguments.units);
    let options = match &arguments.model {
        None => TextOptions::default(),
        Some(model) => {
            let source = find_model(model, None, &mut Console::new())?;
            ModelSpec::read(&source, &source.checkpoint()?)?.text
        }
    };
    let normaliser = Normaliser::new(&options)?;
    let order = arguments.order.unwrap_or(match units {
        LmUnits::Words => 3,
        LmUnits::Characters => 6,
    });
    let mut sentences = Vec::new();
    for path in &arguments.text {
        sentences.extend(read_sentences(path, &normaliser)?);
    }
    // Before hours of counting: what else is to be read must be there.
    let held_out = arguments.held_out.as_ref().map(|path| read_sentences(path, &normaliser)).transpose()?;
    let mut shared = Vec::new();
    for path in &arguments.test {
        let tests = read_sentences(path, &normaliser)?;
        shared.push((path, known_sentences(&sentences, &tests), tests.len()));
    }
    let settings = ModifiedKneserNey { order, prune: arguments.prune.clone(), ..ModifiedKneserNey::default() };
    let estimate =
        settings.estimate(sentences.iter().map(|sentence| units.split(sentence))).map_err(|error| match error {
            error @ klang_lm::Error::Setting { .. } => anyhow::Error::from(Usage(error.to_string())),
            error => error.into(),
        })?;
    estimate.warnings().for_each(|warning| output::warning(&warning));
    if let Some(folder) = arguments.out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    estimate.model.write_arpa(&arguments.out)?;
    let counts: Vec<String> = estimate.model.counts().iter().map(u64::to_string).collect();
    output::line(&format!(
        "{}: order {order}, {} sentences, {} {}, {} n-grams by order",
        arguments.out.display(),
        estimate.sentences,
        estimate.words,
        match units {
            LmUnits::Words => "words",
            LmUnits::Characters => "characters",
        },
        counts.join(" + ")
    ))?;
    if let (Some(path), Some(held_out)) = (&arguments.held_out, &held_out) {
        let known = known_sentences(&sentences, held_out);
        if known > 0 {
            let all = held_out.len();
            output::warning(&format!(
                "{known} of {all} sentences of {} are in the text: its perplexity is the lower for it",
                path.display()
            ));
        }
        output::line(&format!("{}: {}", path.display(), perplexity(&estimate.model, held_out, units)))?;
    }
    for (path, known, all) in shared {
        let said = format!("{known} of {all} sentences of {} are in the text", path.display());
        if known > 0 {
            output::warning(&format!("{said}: the language model knows what it will be tested on"));
        }
        output::line(&said)?;
    }
    Ok(Ending::Done)
}

fn perplexity(model: &NgramModel, sentences: &[String], units: LmUnits) -> String {
    let mut total = klang_lm::TextScore::default();
    for sentence in sentences {
        let words = units.split(sentence);
        total.add(&model.score_sentence(words.iter().map(String::as_str)));
    }
    let number = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.2}"));
    format!(
        "perplexity {} ({} without the {} unknown of {} tokens, ends of sentences among them)",
        number(total.perplexity()),
        number(total.perplexity_without_unknown()),
        total.unknown,
        total.tokens
    )
}
