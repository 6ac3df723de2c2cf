//! report.html: what a run did, on one page that needs nothing else.

mod alignments;
mod axis;
mod channels;
mod figures;
mod gap;
mod html;
mod page;
mod plot;
mod spectrograms;
mod tables;

use klang_text::Pair;

use super::{MetricsLine, RunFolder, read_metrics};
use crate::emissions::{EmissionPath, read_paths};
use crate::error::{Error, Result};
use crate::files;
use crate::hypotheses::readable_hypotheses;
use crate::recipe::Recipe;

pub(crate) use axis::{Axis, Unit, drawable};
pub(crate) use html::{count, document, escape, head, interval, listening_document, rate, row};

/// What a page is made of.
#[derive(Default)]
struct Contents {
    /// The run folder's name.
    name: String,
    lines: Vec<MetricsLine>,
    /// The recipe as it stands in the folder, if it can be read.
    yaml: Option<String>,
    recipe: Option<Recipe>,
    /// What the best model made of dev.
    pairs: Vec<Pair>,
    /// How it read some of dev's utterances.
    paths: Vec<EmissionPath>,
    /// What is wrong with the metrics themselves.
    broken: Option<String>,
}

/// Writes the run's report from its metrics, its recipe and what the best model made of dev; whatever of them is missing is missing from the page.
///
/// # Errors
/// A failing file system.
pub fn write_report(run: &RunFolder) -> Result<()> {
    let (lines, broken) = match read_metrics(&run.metrics()) {
        Ok(lines) => (lines, None),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => (Vec::new(), None),
        // A training must not end because its report cannot read one line.
        Err(Error::Run { message, .. }) => (readable_lines(run)?, Some(message)),
        Err(error) => return Err(error),
    };
    let yaml = klang_wav2vec2::checkpoint::read_text(&run.recipe(), super::RECIPE_BYTES).ok();
    let recipe = run.resolved();
    let (pairs, paths) = (readable_hypotheses(&run.hypotheses()), read_paths(&run.emissions()));
    let page = page::page(&Contents { name: name(run), lines, yaml, recipe, pairs, paths, broken });
    files::write(&run.report(), page.as_bytes())
}

fn readable_lines(run: &RunFolder) -> Result<Vec<MetricsLine>> {
    let text = std::fs::read_to_string(run.metrics()).map_err(Error::io(run.metrics()))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The folder's name; for one such as `.`, that of the folder it stands for.
fn name(run: &RunFolder) -> String {
    let path = run.path();
    let whole = || path.canonicalize().ok()?.file_name().map(|name| name.to_owned());
    let name = path.file_name().map(|name| name.to_owned()).or_else(whole);
    name.map_or_else(|| path.to_string_lossy().into_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use klang_text::{ScoreOptions, score};

    use super::*;
    use crate::emissions::{EmittedLabel, write_paths};
    use crate::evaluate::Behaviour;
    use crate::hypotheses::write_hypotheses;

    const EVIL: &str = "<script>alert('1')</script>&\"";

    fn pair(id: &str, speaker: &str, hypothesis: &str) -> Pair {
        let reference = "one two three".to_string();
        Pair { id: id.into(), speaker: Some(speaker.into()), reference, hypothesis: hypothesis.into() }
    }

    fn dev(update: u64, best: bool, hypothesis: &str) -> MetricsLine {
        let pairs = [pair("a", EVIL, hypothesis), pair("b", "Ümit", "one two three")];
        let non_empty = if hypothesis.is_empty() { 0.0 } else { 1.0 };
        let behaviour = Behaviour { loss: 1.25, blank: 0.9, non_empty, infeasible: 2, ..Behaviour::default() };
        let score = score(&pairs, &ScoreOptions::default());
        MetricsLine::Dev { update, best, behaviour, score, seconds: 3700.0 }
    }

    pub(super) fn dev_loss(update: u64, loss: f64) -> MetricsLine {
        match dev(update, false, "one") {
            MetricsLine::Dev { update, best, behaviour, score, seconds } => {
                MetricsLine::Dev { update, best, behaviour: Behaviour { loss, ..behaviour }, score, seconds }
            }
            _ => unreachable!(),
        }
    }

    pub(super) fn train(update: u64, loss: f64) -> MetricsLine {
        MetricsLine::Train {
            update,
            epoch: 2,
            loss,
            initial_loss: (update == 20).then_some(30.0),
            rate: Some(0.5),
            rate_weight: Some(0.1),
            rates: [("0.attention", 0.25), ("10.feedforward", 0.75), (EVIL, 0.5)].map(|(k, v)| (k.into(), v)).into(),
            regularisers: BTreeMap::new(),
            learning_rate: 1e-3,
            gradient_norm: 2.0,
            masked: 0.1,
            blank: 0.8,
            audio_seconds_per_second: 12.0,
            padding: 0.05,
            waiting: 0.5,
            seconds: 10.0,
        }
    }

    fn report(lines: &[MetricsLine], yaml: &str) -> (tempfile::TempDir, RunFolder, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run <i>7");
        std::fs::create_dir(&path).unwrap();
        let run = RunFolder::at(&path);
        std::fs::write(run.recipe(), yaml).unwrap();
        lines.iter().for_each(|line| line.append(&run.metrics()).unwrap());
        write_report(&run).unwrap();
        let page = std::fs::read_to_string(run.report()).unwrap();
        (folder, run, page)
    }

    #[test]
    fn names_and_recipes_are_text_never_markup() {
        let test = match dev(40, true, "one too") {
            MetricsLine::Dev { behaviour, score, .. } => MetricsLine::Test { name: EVIL.into(), behaviour, score },
            _ => unreachable!(),
        };
        let run = MetricsLine::Run {
            klang: EVIL.into(),
            compute: EVIL.into(),
            update: 0,
            parameters: 1_234_567,
            trainable: 1000,
            start: EVIL.into(),
            data: Vec::new(),
        };
        let lines = [run, train(20, 3.0), dev(40, true, "one too"), test];
        let (.., page) = report(&lines, &format!("variables: {{who: \"{}\"}}\n", EVIL.replace('"', "</pre>")));
        for markup in ["<script", "</pre>&", "<i>7", "alert('"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(page.matches("&lt;script&gt;").count() >= 6, "{page}");
        assert!(!page.contains("http:") && !page.contains("https:"), "nothing from elsewhere");
    }

    #[test]
    fn the_headline_is_the_last_best_line_and_its_interval() {
        let lines = [train(20, 3.0), dev(20, true, "six"), dev(40, true, "one"), dev(60, false, "six")];
        let (_folder, run, page) = report(&lines, "train: {updates: 80}\n");
        // Two of six words are deleted; the bootstrap of two utterances spans both of them.
        assert!(page.contains("33.33\u{a0}%") && page.contains("0.00–66.67"), "{page}");
        assert!(page.contains("at update 40") && page.contains("update 60 of 80"));
        assert!(page.contains("1 h 1 min"), "{page}");
        assert!(page.contains("2 utterances have more labels"), "{page}");
        assert!(page.contains("waits for audio"), "{page}");
        write_report(&run).unwrap();
        assert_eq!(std::fs::read_to_string(run.report()).unwrap(), page, "the same page again");
    }

    #[test]
    fn only_silent_last_hypotheses_warn() {
        let silent = |hypothesis: &str| {
            let mut lines = vec![dev(20, true, ""), dev(40, true, "one")];
            lines.push(dev(60, false, hypothesis));
            report(&lines, "").2.contains("Every hypothesis on dev is empty")
        };
        assert!(silent(""));
        assert!(!silent("one"));
    }

    #[test]
    fn rates_are_read_back_as_they_were_measured_to_four_decimals() {
        let channels = vec![0.0, 0.12345678, 1e-9, 12.00004, f32::NAN];
        let measured = crate::sites::SiteRate { layer: Some(10), site: klang_wav2vec2::Site::FeedForward, channels };
        let line = MetricsLine::rates(20, &[measured]).unwrap();
        assert!(MetricsLine::rates(20, &[]).is_none());
        let (_folder, run, page) = report(&[train(20, 3.0), line], "");
        let text = std::fs::read_to_string(run.metrics()).unwrap();
        assert!(text.contains(r#""sites":{"10.feedforward":[0.0,0.1235,0.0,12.0,null]}"#), "{text}");
        assert!(page.contains("KL-Norm’s rate by site and channel") && page.contains("λ"), "{page}");
        assert!(page.contains("2 of 4 channels are switched off"), "{page}");
        // A resume writes them again.
        crate::run::metrics::rewind(&run.metrics(), 20).unwrap();
        assert_eq!(std::fs::read_to_string(run.metrics()).unwrap(), text);
    }

    #[test]
    fn training_loss_shares_a_chart_with_dev_only_per_label() {
        let charts = |reduction: &str| {
            let yaml = format!("train: {{loss_reduction: {reduction}}}\n");
            let page = report(&[train(20, 3.0), dev(20, true, "one")], &yaml).2;
            ["<b>Loss</b>", "<b>Training loss</b>", "<b>Over-fitting gap</b>"].map(|title| page.contains(title))
        };
        assert_eq!(charts("label"), [true, false, true]);
        assert_eq!(charts("utterance"), [false, true, false]);
        assert_eq!(charts("sum"), [false, true, false]);
    }

    #[test]
    fn a_run_that_has_only_begun_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::at(folder.path());
        write_report(&run).unwrap();
        assert!(std::fs::read_to_string(run.report()).unwrap().contains("not been evaluated"));
        std::fs::write(run.metrics(), "").unwrap();
        write_report(&run).unwrap();
        std::fs::write(run.metrics(), "{\"kind\": \"tr").unwrap();
        write_report(&run).unwrap();
        let page = std::fs::read_to_string(run.report()).unwrap();
        assert!(!page.contains("metrics.jsonl:"), "a last line cut short is usual");
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_only_itself() {
        let (_folder, run, _) = report(&[train(20, 3.0)], "");
        let whole = std::fs::read_to_string(run.metrics()).unwrap();
        std::fs::write(run.metrics(), whole + "{\"kind\": \"train\"}\n").unwrap();
        dev(60, true, "one").append(&run.metrics()).unwrap();
        write_report(&run).unwrap();
        let page = std::fs::read_to_string(run.report()).unwrap();
        assert!(page.contains("metrics.jsonl: line 2") && page.contains("at update 60"), "{page}");
    }

    #[test]
    fn what_the_best_model_made_of_dev_is_shown_where_it_is_there() {
        let (_folder, run, page) = report(&[train(20, 3.0), dev(20, true, "one")], "");
        let titles = ["Dev’s utterances with most word errors, at update 20", "What is emitted where, at update 20"];
        assert!(titles.iter().all(|title| !page.contains(title)), "{page}");
        write_hypotheses(&run.hypotheses(), &[pair(EVIL, EVIL, EVIL)]).unwrap();
        let label = EmittedLabel { token: EVIL.into(), frame: 0, probability: 0.5 };
        let path = EmissionPath {
            id: EVIL.into(),
            speaker: None,
            reference: EVIL.into(),
            text: EVIL.into(),
            frames_per_second: 50.0,
            labels: vec![label],
            spectrogram: vec!["0f".into()],
        };
        write_paths(&run.emissions(), &[path]).unwrap();
        write_report(&run).unwrap();
        let page = std::fs::read_to_string(run.report()).unwrap();
        assert!(titles.iter().all(|title| page.contains(title)) && !page.contains("<script"), "{page}");
        // Without an evaluation that was the best, it would be nobody's.
        std::fs::remove_file(run.metrics()).unwrap();
        write_report(&run).unwrap();
        let page = std::fs::read_to_string(run.report()).unwrap();
        assert!(!page.contains("most word errors") && !page.contains("emitted where"), "{page}");
    }

    #[test]
    fn a_loss_that_was_not_a_number_reads_back_as_one() {
        let (_folder, run, _) = report(&[train(20, 3.0)], "");
        train(40, f64::NAN).append(&run.metrics()).unwrap();
        dev(60, true, "one").append(&run.metrics()).unwrap();
        let metrics = read_metrics(&run.metrics()).unwrap();
        assert!(metrics.iter().any(|line| matches!(line, MetricsLine::Train { loss, .. } if loss.is_nan())));
        write_report(&run).unwrap();
    }
}
