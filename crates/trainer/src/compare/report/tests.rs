use std::collections::BTreeMap;

use super::example::{BUDGETS, EVIL, difference, results};
use super::*;

/// The page, the Markdown and the figures by their paths.
fn written(results: &Results) -> (String, String, BTreeMap<String, String>) {
    let folder = tempfile::tempdir().unwrap();
    write(results, folder.path()).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let figures = std::fs::read_dir(folder.path().join("report")).unwrap().map(|entry| {
        let name = format!("report/{}", entry.unwrap().file_name().to_str().unwrap());
        (name.clone(), read(&name))
    });
    (read("report.html"), read("report.md"), figures.collect())
}

#[test]
fn names_are_text_never_markup() {
    let (page, text, figures) = written(&results());
    for markup in ["<script", "alert('", "</script"] {
        assert!(!page.contains(markup), "{markup}");
        assert!(figures.values().all(|figure| !figure.contains(markup)), "{markup}");
    }
    // In the command's fence, all is code.
    assert_eq!(text.matches("<script>").count(), 1, "{text}");
    assert!(text.contains(&format!("```sh\nklang compare {EVIL}.yaml\n```\n")), "{text}");
    // Heading, about, command, compute, manifest, arm, test, fold, run and try: all of them are on the page.
    assert!(page.matches("&lt;script&gt;").count() > 30);
    assert!(
        page.contains("default-src 'none'") && !page.contains("http:") && !page.contains("https:"),
        "nothing from elsewhere"
    );
    assert!(text.contains("alert('1')&lt;/script&gt;&amp;\"\\|"), "{text}");
}

#[test]
fn every_row_of_a_markdown_table_has_the_cells_of_its_head() {
    let (_, text, _) = written(&results());
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let lines: Vec<&str> = text.lines().collect();
    let mut tables = 0;
    for (place, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("| --- |")) {
        tables += 1;
        let rows = lines[place..].iter().take_while(|line| line.starts_with('|'));
        assert!(rows.clone().count() > 1 && rows.clone().all(|row| cells(row) == cells(lines[place - 1])), "{text}");
    }
    // CER's differences; two for each test and budget; costs, search, how it was made with arms and manifests.
    assert_eq!(tables, 1 + 2 * 4 + 1 + 1 + 3);
}

#[test]
fn the_markdown_s_figures_are_there_and_are_all_of_them() {
    let (page, text, figures) = written(&results());
    for (name, figure) in &figures {
        assert!(text.contains(&format!("]({name})")), "{name}");
        assert!(
            name.strip_prefix("report/")
                .unwrap()
                .strip_suffix(".svg")
                .unwrap()
                .chars()
                .all(|letter| { letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-' })
        );
        assert!(figure.starts_with("<svg xmlns=") && figure.contains("fill=\"#fff\""), "{name}");
    }
    // Forests, WER on two tests, five learning curves a budget, one picture of rates.
    assert_eq!(figures.len(), 4 + 2 + 2 * 5 + 1);
    assert_eq!(text.matches("![").count(), figures.len());
    assert_eq!(page.matches("<svg").count(), figures.len());
}

#[test]
fn differences_lie_where_their_values_put_them_and_significant_ones_are_marked() {
    let (.., figures) = written(&results());
    let forest = &figures["report/difference-mit-10-min.svg"];
    // From −6 to 3 in steps of 2 is −8 to 4: 216 units from 148, 18 a point; 0 at 292.
    assert!(forest.contains("<line x1=\"292.0\" y1=\"24.0\" x2=\"292.0\""), "{forest}");
    // −4 in the first row is filled, since its p after Holm is 0.01; its interval, −6 to −2, is thick.
    assert!(forest.contains("<path class=\"filled\" transform=\"translate(220.0 40.0)\""), "{forest}");
    assert!(forest.contains("x1=\"184.0\" y1=\"40.0\" x2=\"256.0\" y2=\"40.0\" stroke=\"#0077bb\" stroke-width=\"3\""));
    // 1 in the second row is hollow, and its interval, −1 to 3, thin.
    assert!(forest.contains("<path class=\"hollow\" transform=\"translate(310.0 64.0)\""), "{forest}");
    assert!(
        forest.contains("x1=\"274.0\" y1=\"64.0\" x2=\"346.0\" y2=\"64.0\" stroke=\"#ee7733\" stroke-width=\"1.3\"")
    );
    assert!(forest.contains(">−6.00 to −2.00<") && forest.contains(">0.010\u{a0}★<") && forest.contains(">0.500<"));
}

#[test]
fn arms_of_a_budget_are_moved_apart_and_do_not_share_a_look() {
    let (.., figures) = written(&results());
    let chart = &figures["report/wer-mit.svg"];
    // 9.5 to 60 minutes on a logarithmic axis with 8 % beyond either end: 58 + 486 × 0.08 / 1.16 = 91.5 and 510.5;
    // three arms, 8 units apart.
    for points in ["83.5,", "91.5,", "99.5,"] {
        assert!(chart.contains(&format!("<polyline points=\"{points}")), "{points}: {chart}");
    }
    // 28 to 37 % in steps of 2 is 26 to 38; 34 is a third of 198 units from the top, which is 24.
    assert!(chart.contains("translate(83.5 90.0)"), "{chart}");
    assert!(chart.contains("stroke=\"#6f7782\"") && chart.contains("stroke-dasharray=\"7 3\""), "{chart}");

    let mut one = results();
    one.budgets.pop();
    one.scores.retain(|scored| scored.budget == BUDGETS[0]);
    let (page, _, figures) = written(&one);
    let dots = &figures["report/wer-mit.svg"];
    assert!(page.contains("<h2>WER</h2>") && !dots.contains("<polyline"));
    // The control's 34 lies two thirds of the way from 26 to 38, which are 342 units from 148.
    assert!(dots.contains("<path class=\"filled\" transform=\"translate(376.0 40.0)\""), "{dots}");
}

#[test]
fn the_summary_says_who_is_best_and_whether_that_is_significant() {
    let (_, text, _) = written(&results());
    let best = "Lowest WER on Ümit: with 10 min, kl\\_norm at 30.00\u{a0}% (28.00–32.00), −4.00 points from the control \
                (95 % −6.00 to −2.00, p after Holm’s correction 0.010: significant); with 1 h, kl\\_norm at";
    assert!(text.contains(best), "{text}");
    let altogether = "Of 8 differences in WER to the control, layer\\_norm, 4 have p &lt; 0.05 after Holm’s correction: 4 better \
                      (kl\\_norm 4×).";
    assert!(text.contains(altogether), "{text}");
    assert!(text.contains("> **Warning:** 1 run is missing"), "{text}");

    let mut nothing = results();
    nothing.missing.clear();
    for scored in &mut nothing.scores {
        scored.wer_difference.iter_mut().for_each(|difference| difference.p_holm = 0.06);
    }
    let (page, text, figures) = written(&nothing);
    assert!(text.contains("Nothing is significant: of 8 differences"), "{text}");
    assert!(
        text.contains("0.060: its interval excludes zero, but it is not significant")
            && !page.contains("class=warning"),
        "{text}"
    );
    assert!(!figures["report/difference-mit-10-min.svg"].contains("filled"));

    // Of equal ones, the control is best.
    for scored in &mut nothing.scores {
        scored.wer.rate = 0.3;
    }
    let (_, text, _) = written(&nothing);
    assert!(
        text.contains("30.00\u{a0}% (32.00–36.00), the control, from which no other arm differs significantly"),
        "{text}"
    );
}

#[test]
fn tables_say_what_was_measured() {
    let (page, text, _) = written(&results());
    let row = "| kl\\_norm | 1\u{202f}200 | 30.00\u{a0}% (28.00–32.00) | 20.00\u{a0}% (one unit: no interval) | \
               10.00\u{a0}% (5.00–15.00) | 7.50\u{a0}% (one unit: no interval) | −4.00 | −6.00 to −2.00 | 0.005 | 0.010\u{a0}★ | 0.160 (&lt; 0.05 in 1 of 2) |";
    assert!(text.contains(row), "{text}");
    assert!(text.contains("| kl\\_norm | 29.50\u{a0}% | 30.50\u{a0}% | 30.00\u{a0}% | 30.00\u{a0}% |"), "{text}");
    let beside = "| Ümit | 10 min | kl\\_norm | −4.00 (−6.00 to −2.00) | 0.010\u{a0}★ | −4.00 (−6.00 to −2.00) | 0.010\u{a0}★ | \
                  0.00 (−1.00 to +1.00) | 1.000 |";
    assert!(text.contains(beside), "{text}");
    // 1,012 parameters are 1.2 % more than 1,000; 2.024 seconds 1.01 times 2.
    assert!(text.contains("| kl\\_norm | 1\u{202f}012 | +1.200\u{a0}% | 800 | 2.02 (×1.01) | – |"), "{text}");
    assert!(text.contains("| settings | CER on dev, which decides | WER on dev |"), "{text}");
    assert!(page.contains("bootstrap over speakers") && page.contains("the same for both arms"), "{page}");
    assert!(page.contains("1 of 2</text>"), "a channel is switched off");
}

#[test]
fn json_reads_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    write(&results(), folder.path()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("report.json")).unwrap();
    assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), results());
    assert!(text.starts_with("{\n  \"name\""), "{text}");
}

#[test]
fn numbers_that_are_not_finite_are_passed_over() {
    let mut wild = results();
    for (place, value) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX].into_iter().enumerate() {
        let scored = &mut wild.scores[place + 1];
        scored.by_seed[0] = value;
        scored.by_fold.insert("jon".into(), value);
        scored.wer.ci95 = Some([value, 0.4]);
        scored.wer_difference = Some(difference(-0.1, [-0.2, value], 0.01));
        wild.scores[place + 6].wer.rate = value;
        wild.curves[0].points[0].dev_loss = value;
        wild.curves[1].points[place % 3].train_loss = Some(value);
        wild.curves[2].points[0].dev_wer = value;
        wild.costs[0].processor_seconds = Some(value);
        wild.budgets[0].learnt = value;
        wild.searches[0].tries[0].dev = Some([value, 0.1]);
        wild.rates[0].sites.insert("1.attention".into(), vec![value as f32, 0.1]);
        let folder = tempfile::tempdir().unwrap();
        write(&wild, folder.path()).unwrap();
        let json = std::fs::read_to_string(folder.path().join("report.json")).unwrap();
        let read: Results = serde_json::from_str(&json).unwrap();
        assert_eq!(read.scores[place + 1].seeds, [2]);
        assert_eq!(
            read.scores[place + 1].mapsswe.len(),
            if place == 2 { 0 } else { 1 },
            "{:?}",
            read.scores[place + 1]
        );
        assert_eq!(read.scores.len(), wild.scores.len() - place - 1);
        assert!(!read.rates[0].sites.contains_key("1.attention"));
        let (page, text, figures) = written(&wild);
        for written in figures.values().chain([&page, &text]) {
            assert!(!written.contains("inf ") && !written.contains("e308"), "{written}");
            assert!(!written.replace("the loss was NaN", "").contains("NaN"), "{written}");
        }
    }
}

#[test]
fn what_there_is_no_data_for_is_left_out() {
    let mut empty = results();
    empty.scores.clear();
    empty.curves.iter_mut().for_each(|learning| learning.points.clear());
    empty.rates[0].sites.clear();
    empty.costs.clear();
    empty.searches.clear();
    empty.folds.clear();
    let (page, text, figures) = written(&empty);
    assert!(figures.is_empty() && !page.contains("<svg") && !text.contains("!["), "{text}");
    let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
    assert_eq!(headings, ["## How it was made"]);
    assert!(text.contains("No arm is compared with the control, layer\\_norm."), "{text}");

    empty.arms.clear();
    empty.budgets.clear();
    empty.seeds.clear();
    written(&empty);

    // Without losses in training there are neither their charts nor the gap's.
    let mut results = results();
    for learning in &mut results.curves {
        learning.points.iter_mut().for_each(|point| point.train_loss = None);
    }
    let (.., figures) = written(&results);
    let charts: Vec<&str> = figures.keys().filter(|name| name.ends_with("1-h.svg")).map(String::as_str).collect();
    assert_eq!(charts.iter().filter(|name| name.contains("train-loss") || name.contains("gap")).count(), 0);
    assert!(figures.contains_key("report/dev-loss-1-h.svg"));
}
