//! The beginning of a report: what the experiment is, and what came out, in words.

use super::block::Block;
use super::numbers::{ends, listed, many, p_value, points, with_interval};
use super::{panels, scores, test_names};
use crate::compare::{Difference, Results, Scored};

/// Name, what it is about, what came out, and what is missing.
pub(super) fn summary(results: &Results) -> Vec<Block> {
    let about = results.about.split("\n\n").map(str::trim).filter(|part| !part.is_empty());
    let mut blocks = vec![Block::Heading(1, results.name.clone())];
    blocks.extend(about.map(|part| Block::Text(part.into())));
    blocks.push(Block::Text(in_words(results)));
    if !results.missing.is_empty() {
        let missing = &results.missing;
        let text = match missing.len() {
            1 => "1 run is missing; what it would have been part of is computed from the others.".into(),
            many => format!("{many} runs are missing; what they would have been part of is computed from the others."),
        };
        blocks.push(Block::Warning(text, missing.iter().map(|run| format!("{}: {}", run.run, run.why)).collect()));
    }
    blocks
}

fn in_words(results: &Results) -> String {
    let panels = panels(results);
    let of_test = |test: &str| {
        let here = panels.iter().filter(|(_, other)| *other == test);
        let best: Vec<String> = here.filter_map(|&(budget, test)| best(results, budget, test)).collect();
        format!("Lowest WER on {test}: {}.", best.join("; "))
    };
    let sentences: Vec<String> = test_names(results).into_iter().map(of_test).chain([altogether(results)]).collect();
    sentences.join(" ")
}

/// Who is best on a test at a budget, and by how much.
fn best(results: &Results, budget: &str, test: &str) -> Option<String> {
    let arms: Vec<&Scored> = scores(results, budget, test).collect();
    // Of equal ones, the control: it is what there was without the experiment.
    let best = arms.iter().min_by(|one, other| {
        let is_not_control = |scored: &Scored| scored.arm != results.control;
        one.wer.rate.total_cmp(&other.wer.rate).then(is_not_control(one).cmp(&is_not_control(other)))
    })?;
    let begin = format!("with {budget}, {} at {}", best.arm, with_interval(&best.wer));
    if best.arm == results.control {
        let differences: Vec<Difference> = arms.iter().filter_map(|scored| scored.wer_difference).collect();
        let worse = differences.iter().filter(|difference| difference.significant()).count();
        return Some(match (differences.len(), worse) {
            (0, _) => format!("{begin}, the control, with which nothing is compared"),
            (_, 0) => format!("{begin}, the control, from which no other arm differs significantly"),
            (all, worse) => format!("{begin}, the control, than which {worse} of {all} others are significantly worse"),
        });
    }
    let Some(difference) = best.wer_difference else {
        return Some(format!("{begin}, which is not compared with the control"));
    };
    let verdict = match (difference.significant(), difference.excludes_zero()) {
        (true, _) => "significant",
        (false, true) => "its interval excludes zero, but it is not significant after the correction",
        (false, false) => "not significant",
    };
    Some(format!(
        "{begin}, {} points from the control (95 % {}, p after Holm’s correction {}: {verdict})",
        points(difference.difference),
        ends(difference.ci95),
        p_value(difference.p_holm),
    ))
}

/// How many differences are significant, and whose.
fn altogether(results: &Results) -> String {
    let control = &results.control;
    let compared = results.scores.iter().filter_map(|scored| Some((scored.arm.as_str(), scored.wer_difference?)));
    let compared: Vec<(&str, Difference)> = compared.collect();
    if compared.is_empty() {
        return format!("No arm is compared with the control, {control}.");
    }
    let all = many(compared.len(), "difference");
    let significant: Vec<_> = compared.iter().filter(|(_, difference)| difference.significant()).collect();
    if significant.is_empty() {
        return format!(
            "Nothing is significant: of {all} in WER to the control, {control}, none has p < 0.05 after Holm’s correction within its budget and test."
        );
    }
    let named = |better: bool| {
        let of = |arm: &str| {
            let some = significant.iter().filter(|(other, of)| *other == arm && (of.difference < 0.0) == better);
            some.count()
        };
        let arms = results.arms.iter().map(|arm| (of(&arm.name), &arm.name)).filter(|(times, _)| *times > 0);
        let names: Vec<String> = arms.clone().map(|(times, name)| format!("{name} {times}×")).collect();
        let how = if better { "better" } else { "worse" };
        (!names.is_empty())
            .then(|| format!("{} {how} ({})", arms.map(|(times, _)| times).sum::<usize>(), listed(&names)))
    };
    let parts: Vec<String> = [true, false].into_iter().filter_map(named).collect();
    let have = if significant.len() == 1 { "1 has".into() } else { format!("{} have", significant.len()) };
    format!("Of {all} in WER to the control, {control}, {have} p < 0.05 after Holm’s correction: {}.", listed(&parts))
}
