//! The page: headings, headline, warnings and tables around the charts.

use klang_text::{Ci95Unit, Score};

use super::Contents;
use super::alignments::alignments;
use super::channels::channels;
use super::figures::figures;
use super::html::{count, duration, escape, interval, rate, share};
use super::spectrograms::spectrograms;
use super::tables::{mean, speakers, speed};
use crate::evaluate::Behaviour;
use crate::hypotheses::beside_search;
use crate::pretrain::{HeldOut, Probed};
use crate::run::MetricsLine;

/// Share of the time spent waiting for audio that is worth mending.
const WAITING: f64 = 0.25;

/// The whole page.
pub(super) fn page(contents: &Contents) -> String {
    let lines = &contents.lines;
    let parts = [
        heading(contents),
        warnings(contents),
        headline(contents),
        tests(lines),
        figures(contents),
        channels(lines),
        speed(lines),
        dev_speakers(lines),
        dev_utterances(contents),
        recipe(contents.yaml.as_deref()),
    ];
    super::html::document(&contents.name, "", &parts.concat())
}

/// Name, and what ran where how far for how long.
fn heading(contents: &Contents) -> String {
    let mut page = format!("<h1>{}</h1>\n", escape(&contents.name));
    for line in &contents.lines {
        let MetricsLine::Run { klang, compute, update, parameters, trainable, start, .. } = line else { continue };
        let begin = if *update == 0 { String::new() } else { format!("Resumed after update {}: ", count(*update)) };
        page += &format!(
            "<p class=soft>{begin}klang {} · {} · started from {} · {} parameters, {} of them learn</p>\n",
            escape(klang),
            escape(compute),
            escape(if start.is_empty() { "weights that this run did not name" } else { start }),
            count(*parameters),
            count(*trainable)
        );
    }
    let reached = contents.lines.iter().rev().find_map(|line| match line {
        MetricsLine::Train { update, seconds, .. }
        | MetricsLine::Pretrain { update, seconds, .. }
        | MetricsLine::HeldOut { update, seconds, .. }
        | MetricsLine::Dev { update, seconds, .. } => Some((*update, *seconds)),
        _ => None,
    });
    let epoch = contents.lines.iter().rev().find_map(|line| match line {
        MetricsLine::Train { epoch, .. } | MetricsLine::Pretrain { epoch, .. } => Some(*epoch),
        _ => None,
    });
    if let Some((update, seconds)) = reached {
        let updates = contents.recipe.as_ref().map(|recipe| format!(" of {}", count(recipe.train.updates)));
        let epoch = epoch.map(|epoch| format!(", epoch {}", count(epoch.saturating_add(1))));
        page += &format!(
            "<p class=soft>update {}{}{} · {} taken</p>\n",
            count(update),
            updates.unwrap_or_default(),
            epoch.unwrap_or_default(),
            duration(seconds)
        );
    }
    page
}

/// What whoever reads the figures must know first.
fn warnings(contents: &Contents) -> String {
    let lines = &contents.lines;
    let mut warnings = Vec::new();
    if let Some(message) = &contents.broken {
        warnings.push(format!("metrics.jsonl: {message}; lines that cannot be read are left out of this page."));
    }
    let dev = lines.iter().rev().find_map(|line| match line {
        MetricsLine::Dev { update, behaviour, .. } => Some((format!("dev (update {update})"), behaviour)),
        _ => None,
    });
    if let Some((_, Behaviour { blank, loss, .. })) = dev.as_ref().filter(|(_, behaviour)| behaviour.non_empty == 0.0) {
        warnings.push(format!(
            "Every hypothesis on dev is empty: {} of frames are blank, loss {loss:.2} nats per label. Early on this is usual; if it lasts, raise train.flat_start_updates, lower train.batch_seconds, or train longer.",
            share(*blank)
        ));
    }
    let names: Vec<&String> = lines.iter().filter_map(MetricsLine::test_name).collect();
    let tests = lines.iter().filter_map(|line| match line {
        // What is odd about a test is said once, where two readings of it are reported.
        MetricsLine::Test { name, behaviour, .. } if !names.iter().any(|other| beside_search(other) == *name) => {
            Some((format!("test {name}"), behaviour))
        }
        _ => None,
    });
    for (set, behaviour) in dev.into_iter().chain(tests) {
        if behaviour.infeasible > 0 {
            warnings.push(format!(
                "On {set}, {} more labels than frames can carry; this counts in the WER, not in the loss.",
                if behaviour.infeasible == 1 {
                    "1 utterance has".into()
                } else {
                    format!("{} utterances have", count(behaviour.infeasible))
                }
            ));
        }
        if !behaviour.loss.is_finite() {
            warnings.push(format!("On {set}, the loss is not finite."));
        }
    }
    let skipped = lines.iter().filter(|line| matches!(line, MetricsLine::Skipped { .. })).count();
    if skipped > 0 {
        warnings.push(format!(
            "The audio of {} could not be read, and was skipped (metrics.jsonl, kind `skipped`); of dev and tests its words count as deleted.",
            if skipped == 1 { "1 utterance".into() } else { format!("{} utterances", count(skipped as u64)) }
        ));
    }
    let passed_over = lines.iter().filter(|line| matches!(line, MetricsLine::NotFinite { .. })).count();
    if passed_over > 0 {
        warnings.push(format!(
            "{} passed over because of numbers that were not finite (metrics.jsonl, kind `not_finite`).",
            if passed_over == 1 {
                "1 update was".into()
            } else {
                format!("{} updates were", count(passed_over as u64))
            }
        ));
    }
    if let Some((update, held_out, _)) = last_held_out(lines) {
        // While the learning rate rises, nothing is settled.
        let rise = contents.recipe.as_ref().map_or(0.0, |recipe| recipe.train.rise());
        let collapse = held_out.collapse().filter(|_| update as f64 >= rise);
        warnings.extend(collapse.map(|what| format!("After update {update}, {what}.")));
    }
    let waiting = mean(lines, |line| match line {
        MetricsLine::Train { waiting, .. } | MetricsLine::Pretrain { waiting, .. } => Some(*waiting),
        _ => None,
    });
    if let Some(waiting) = waiting.filter(|&waiting| waiting > WAITING) {
        warnings.push(format!(
            "Training waits for audio {} of its time: raise data.workers or data.cache_mib.",
            share(waiting)
        ));
    }
    warnings.iter().map(|warning| format!("<p class=warning>{}</p>\n", escape(warning))).collect()
}

/// Best dev and every test, large.
fn headline(contents: &Contents) -> String {
    let mut cards = String::new();
    if let Some((update, score)) = best(&contents.lines) {
        let after = |line: &&MetricsLine| matches!(line, MetricsLine::Dev { update: other, .. } if *other > update);
        let since = match contents.lines.iter().filter(after).count() {
            0 => "the last evaluation".into(),
            1 => "1 evaluation since".into(),
            since => format!("{since} evaluations since"),
        };
        cards += &card("Best on dev", score, &format!("at update {} ({since})", count(update)));
    } else if let Some((update, held_out, probe)) = last_held_out(&contents.lines) {
        cards += &held_out_card(update, held_out, probe, &contents.lines);
    } else {
        cards += "<div>This run has not been evaluated yet.</div>\n";
    }
    for (name, score) in last_tests(&contents.lines) {
        let name = format!("Test <bdi>{}</bdi>", escape(name));
        cards += &card(&name, score, "by the best checkpoint on dev");
    }
    format!("<div class=cards>\n{cards}</div>\n")
}

/// One score; `title` is HTML.
fn card(title: &str, score: &Score, when: &str) -> String {
    let unit = match score.ci95_unit {
        Ci95Unit::Utterances => "utterances",
        Ci95Unit::Speakers => "speakers",
    };
    let interval = match score.wer_ci95 {
        Some(ends) => format!("95 % over {unit}: {}", interval(Some(ends))),
        None => "too few utterances for an interval".into(),
    };
    let spaces = if score.cer_spaces { "with" } else { "without" };
    format!(
        "<div><div>{title}</div><div class=big>{} <small>WER</small></div>\n<div>{interval}<br>CER {} ({spaces} spaces)<br>{} utterances, {} words<br>{when}</div></div>\n",
        rate(score.wer),
        rate(score.cer),
        count(score.utterances),
        count(score.words)
    )
}

/// What held-out speech and the probe showed last, in pretraining.
fn held_out_card(update: u64, held_out: &HeldOut, probe: Option<&Probed>, lines: &[MetricsLine]) -> String {
    let HeldOut { loss, accuracy, perplexity, predicted_perplexity, codes, spread, masked, .. } = held_out;
    let best = lines.iter().rev().find_map(|line| match line {
        MetricsLine::HeldOut { update, best: true, held_out, .. } => Some((*update, held_out.loss)),
        _ => None,
    });
    let best = best.map_or(String::new(), |(update, loss)| format!("<br>best {loss:.3} at update {}", count(update)));
    let predicted = predicted_perplexity.map_or(String::new(), |codes| format!(", {codes:.0} predicted"));
    let mut card = format!(
        "<div><div>Held-out speech</div><div class=big>{loss:.3} <small>nats a masked frame</small></div>\n<div>{} of masked frames told, {} masked<br>perplexity {perplexity:.0} of {} codes{predicted}<br>spread of hidden states {spread:.2} (0 is collapse)<br>at update {}{best}</div></div>\n",
        share(*accuracy),
        share(*masked),
        count((*codes).max(0) as u64),
        count(update),
    );
    if let Some(Probed { loss, score }) = probe {
        card += &format!(
            "<div><div>Probe</div><div class=big>{} <small>CER</small></div>\n<div>WER {}<br>{loss:.2} nats per label<br>by a linear head on the encoder as it is<br>at update {}</div></div>\n",
            rate(score.cer),
            rate(score.wer),
            count(update)
        );
    }
    card
}

fn last_held_out(lines: &[MetricsLine]) -> Option<(u64, &HeldOut, Option<&Probed>)> {
    lines.iter().rev().find_map(|line| match line {
        MetricsLine::HeldOut { update, held_out, probe, .. } => Some((*update, held_out, probe.as_ref())),
        _ => None,
    })
}

fn best(lines: &[MetricsLine]) -> Option<(u64, &Score)> {
    lines.iter().rev().find_map(|line| match line {
        MetricsLine::Dev { update, best: true, score, .. } => Some((*update, score)),
        _ => None,
    })
}

/// Every test's last score, in the order in which they were first scored.
fn last_tests(lines: &[MetricsLine]) -> Vec<(&str, &Score)> {
    let mut tests: Vec<(&str, &Score)> = Vec::new();
    for line in lines {
        let MetricsLine::Test { name, score, .. } = line else { continue };
        match tests.iter_mut().find(|(known, _)| known == name) {
            Some(test) => test.1 = score,
            None => tests.push((name, score)),
        }
    }
    tests
}

fn tests(lines: &[MetricsLine]) -> String {
    let tests = last_tests(lines);
    let tables = tests
        .iter()
        .map(|(name, score)| format!("<h3><bdi>{}</bdi></h3>\n{}", escape(name), speakers(score)))
        .collect::<String>();
    if tables.is_empty() { tables } else { format!("<h2>Tests by speaker</h2>\n{tables}") }
}

fn dev_speakers(lines: &[MetricsLine]) -> String {
    let Some((update, score)) = best(lines) else { return String::new() };
    format!("<h2>Dev by speaker, at update {}</h2>\n{}", count(update), speakers(score))
}

/// What the best model made of single utterances.
fn dev_utterances(contents: &Contents) -> String {
    let Some((update, _)) = best(&contents.lines) else { return String::new() };
    spectrograms(&contents.paths, update) + &alignments(&contents.pairs, update)
}

fn recipe(yaml: Option<&str>) -> String {
    match yaml {
        // The line end: HTML drops the first one of a <pre>.
        Some(yaml) => format!("<details><summary>Resolved recipe</summary>\n<pre>\n{}</pre></details>\n", escape(yaml)),
        None => "<p class=soft>The folder has no recipe.yaml that can be read.</p>\n".into(),
    }
}
