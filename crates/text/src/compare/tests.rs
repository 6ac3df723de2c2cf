//! The paired bootstrap against closed forms.

use super::*;
use crate::{Ci95Unit, Counts, interval95};

fn counts(words: u64, errors: u64) -> Counts {
    Counts { reference_length: words, substitutions: errors, ..Counts::default() }
}

/// Utterances of ten words with these errors, run by run.
fn system<const RUNS: usize>(errors: impl IntoIterator<Item = [u64; RUNS]>) -> Vec<UtteranceRuns> {
    let utterance = |errors: [u64; RUNS]| errors.iter().map(|errors| counts(10, *errors)).collect();
    errors.into_iter().map(|errors| UtteranceRuns { speaker: None, runs: utterance(errors) }).collect()
}

/// Of 400 utterances, a quarter with errors: every fourth, or, independently of that, the first four of every sixteen.
fn every_fourth(errors: u64) -> Vec<UtteranceRuns> {
    system((0..400).map(|i| [if i % 4 == 0 { errors } else { 0 }]))
}

fn four_of_sixteen(errors: u64) -> Vec<UtteranceRuns> {
    system((0..400).map(|i| [if i % 16 < 4 { errors } else { 0 }]))
}

fn compared(control: &[UtteranceRuns], system: &[UtteranceRuns], options: &CompareOptions) -> Comparison {
    compare(control, system, options).unwrap().unwrap()
}

#[test]
fn agrees_with_the_normal_approximation() {
    // Where the control has 4 errors the system has 2: the difference is −0.2 in a quarter of the utterances, −0.05 overall.
    // Its variance is 0.2² · ¼ · ¾ = 0.0075, the standard error √(0.0075 / 400) = 0.00433: −0.05 ± 1.96 · 0.00433 = 0.00849.
    // An end estimated from 4000 draws is off by 0.042 standard errors (see bootstrap.rs), 0.00018; the difference moves in steps
    // of 2 / 4000. Four times the one and one of the other: 0.0013.
    let options = CompareOptions { resamples: 4000, ..CompareOptions::default() };
    let found = compared(&every_fourth(4), &every_fourth(2), &options);
    assert_eq!((found.control, found.system, found.difference), (0.1, 0.05, -0.05));
    let [low, high] = found.difference_ci95;
    assert!((low + 0.05849).abs() < 0.0013 && (high + 0.04151).abs() < 0.0013, "{low} {high}");
    // 11.5 standard errors from 0: no draw reaches it, and p is 2 / (1 + 4000).
    assert_eq!((found.p, found.draws, found.units), (2.0 / 4001.0, 4000, 400));
}

#[test]
fn errors_in_common_narrow_the_interval() {
    // Errors apart from the control's: the variances add, 0.4² · 3/16 + 0.2² · 3/16 = 0.0375 against 0.0075 above. The widths
    // are as √5 = 2.236. Each, of 10,000 draws, is off by some 0.027 · √2 of 3.92 standard errors, 1 %: both together by 0.03, and
    // a step of 2 / 4000 in the narrower, 0.017, is 0.07. Four times the one and one of the other: 0.2.
    let width = |system: &[UtteranceRuns]| {
        let [low, high] = compared(&every_fourth(4), system, &CompareOptions::default()).difference_ci95;
        high - low
    };
    let ratio = width(&four_of_sixteen(2)) / width(&every_fourth(2));
    assert!((ratio - 5.0_f64.sqrt()).abs() < 0.2, "{ratio}");
}

#[test]
fn p_is_that_of_the_normal_approximation() {
    // Rates 0.1 and 0.075; the difference's variance is (0.4² + 0.3²) · 3/16 = 0.046875, its standard error 0.010825, so it is
    // 2.309 of them from 0: p 0.0209. Half of it is a share of 10,000 draws: ± 0.001, twice that for p. Four times that, and
    // 0.002 for the steps of 1 / 4000 and what skewness is left.
    let found = compared(&every_fourth(4), &four_of_sixteen(3), &CompareOptions::default());
    assert!((found.p - 0.0209).abs() < 0.010, "{}", found.p);
}

#[test]
fn equal_systems_tie_in_every_draw() {
    let found = compared(&every_fourth(4), &every_fourth(4), &CompareOptions::default());
    assert_eq!((found.difference, found.difference_ci95, found.p), (0.0, [0.0, 0.0], 1.0));
    // The same errors, over three runs or six: the same rate to the last bit, or there would be no tie.
    let three = system((0..60).map(|i| [i % 3, 1, i % 2]));
    let six = system((0..60).map(|i| [i % 2, 1, i % 3, i % 3, i % 2, 1]));
    let found = compared(&three, &six, &CompareOptions::default());
    assert_eq!((found.difference_ci95, found.p), ([0.0, 0.0], 1.0));
}

#[test]
fn a_rate_is_the_mean_over_runs() {
    // Runs of 3 and 5 errors in 20 words, 0.15 and 0.25; the system's one run has 2.
    let (control, system) = (system([[1, 4], [2, 1]]), system([[2], [0]]));
    let found = compared(&control, &system, &CompareOptions::default());
    assert_eq!((found.control, found.system, found.units), (0.2, 0.1, 2));
    // Drawn are the first twice (0.25, 0.2), the second twice (0.15, 0), or both (0.2, 0.1): ¼, ¼, ½.
    let close = |[low, high]: [f64; 2], expected: [f64; 2]| {
        assert!((low - expected[0]).abs() < 1e-12 && (high - expected[1]).abs() < 1e-12, "{low} {high}");
    };
    close(found.difference_ci95, [-0.15, -0.05]);
    close(mean_rate(&control, &CompareOptions::default()).unwrap().unwrap().ci95, [0.15, 0.25]);
}

#[test]
fn one_run_has_the_interval_of_a_score() {
    let utterances = system((0..50).map(|i| [i * 7 % 5]));
    let options = CompareOptions { resamples: 500, seed: 3, ..CompareOptions::default() };
    let found = mean_rate(&utterances, &options).unwrap().unwrap();
    let units: Vec<Counts> = utterances.iter().map(|utterance| utterance.runs[0]).collect();
    assert_eq!(Some(found.ci95), interval95(&units, 500, 3, ""));
    assert_eq!(Some(found.rate), units.iter().copied().sum::<Counts>().rate());
}

#[test]
fn drawn_runs_bring_their_spread() {
    // All utterances are alike, so that only runs vary: 0.1 and 0.3, the system's 0.2 and 0.4.
    let (control, system) = (system([[1, 3]; 20]), system([[2, 4]; 20]));
    let found = |draw_runs| compared(&control, &system, &CompareOptions { draw_runs, ..CompareOptions::default() });
    let close = |[low, high]: [f64; 2], expected: [f64; 2]| {
        assert!((low - expected[0]).abs() < 1e-12 && (high - expected[1]).abs() < 1e-12, "{low} {high}");
    };
    close(found(DrawRuns::Fixed).difference_ci95, [0.1, 0.1]);
    // Whichever are drawn, they are the same and differ by 0.1.
    close(found(DrawRuns::Together).difference_ci95, [0.1, 0.1]);
    // Each mean is its least, middle and greatest with ¼, ½, ¼: the difference is 0.1 + (−0.2, −0.1, 0, 0.1, 0.2) with 1, 4, 6,
    // 4 and 1 sixteenths. At most 0 are 5/16: p 0.625, ± 2 √(5/16 · 11/16 / 10,000) = 0.0093; four times that.
    let apart = found(DrawRuns::Apart);
    close(apart.difference_ci95, [-0.1, 0.3]);
    assert!((apart.p - 0.625).abs() < 0.037, "{}", apart.p);
    let rate = |draw_runs| mean_rate(&control, &CompareOptions { draw_runs, ..CompareOptions::default() });
    close(rate(DrawRuns::Fixed).unwrap().unwrap().ci95, [0.2, 0.2]);
    close(rate(DrawRuns::Apart).unwrap().unwrap().ci95, [0.1, 0.3]);
    close(rate(DrawRuns::Together).unwrap().unwrap().ci95, [0.1, 0.3]);
}

#[test]
fn units_are_drawn_alike_whether_runs_are_or_not() {
    let (control, system) = (system((0..30).map(|i| [i % 3])), system((0..30).map(|i| [i % 4])));
    let found = |draw_runs| {
        let found = compared(&control, &system, &CompareOptions { draw_runs, ..CompareOptions::default() });
        assert_eq!(found.draw_runs, draw_runs);
        (found.difference_ci95, found.p)
    };
    // Of one run each, there is but one to draw.
    assert_eq!(found(DrawRuns::Fixed), found(DrawRuns::Apart));
    assert_eq!(found(DrawRuns::Fixed), found(DrawRuns::Together));
}

#[test]
fn depends_on_the_seed_but_not_on_the_order() {
    let (mut control, mut system) = (system((0..50).map(|i| [i % 3, i % 4])), system((0..50).map(|i| [i % 5, i % 2])));
    let found = |control: &[_], system: &[_], seed| {
        let draw_runs = DrawRuns::Apart;
        compared(control, system, &CompareOptions { resamples: 300, seed, draw_runs, ..CompareOptions::default() })
    };
    let first = found(&control, &system, 1);
    assert_eq!(first, found(&control, &system, 1));
    assert_ne!(first.difference_ci95, found(&control, &system, 2).difference_ci95);
    control.reverse();
    system.reverse();
    assert_eq!(first, found(&control, &system, 1));
}

#[test]
fn speakers_are_drawn_with_all_their_utterances() {
    let named = |mut utterances: Vec<UtteranceRuns>| {
        for (index, utterance) in utterances.iter_mut().enumerate() {
            utterance.speaker = Some(format!("speaker {}", index % 4));
        }
        utterances
    };
    let (control, system) = (named(every_fourth(4)), named(every_fourth(2)));
    let options = CompareOptions { ci95_unit: Ci95Unit::Speakers, ..CompareOptions::default() };
    let found = compared(&control, &system, &options);
    assert_eq!((found.units, found.ci95_unit, found.difference), (4, Ci95Unit::Speakers, -0.05));
    // All errors are speaker 0's, who is in no draw of (3/4)⁴ = 0.32 of them, and four times in 1/256 = 0.0039; three times
    // or more in 0.051. So the difference is 0 to −0.2 · 3/4.
    let [low, high] = found.difference_ci95;
    assert!((low + 0.15).abs() < 1e-12 && high == 0.0, "{low} {high}");
    let unnamed = compare(&every_fourth(4), &every_fourth(2), &options).unwrap_err().to_string();
    assert!(unnamed.starts_with("utterance 1 cannot be compared: where speakers are drawn"), "{unnamed}");
}

#[test]
fn nothing_to_compare_gives_nothing() {
    let nothing = |utterances: &[UtteranceRuns], options: &CompareOptions| {
        assert_eq!(compare(utterances, utterances, options).unwrap(), None);
        assert_eq!(mean_rate(utterances, options).unwrap(), None);
    };
    let options = CompareOptions::default();
    nothing(&[], &options);
    nothing(&system([[1, 2]]), &options);
    nothing(&system([[], []]), &options);
    nothing(&system([[1], [2]]), &CompareOptions { resamples: 0, ..options });
    let of = |words, errors| UtteranceRuns { speaker: None, runs: vec![counts(words, errors)] };
    nothing(&[of(0, 0), of(0, 0)], &options);
    // Draws of nothing but the empty utterance, a quarter, are left out.
    let found = compared(&[of(0, 0), of(4, 2)], &[of(0, 0), of(4, 1)], &options);
    assert_eq!(found.difference_ci95, [-0.25, -0.25]);
    // ± √(¼ · ¾ / 10,000) · 10,000 = 43; four times that.
    assert!(found.draws.abs_diff(7500) < 173, "{}", found.draws);
    // Without a word in the reference, errors count as if it had one: runs of 1 and 2 have a mean of 1.5.
    let silent = UtteranceRuns { speaker: None, runs: vec![counts(0, 1), counts(0, 2)] };
    assert_eq!(mean_rate(&[silent.clone(), silent], &options).unwrap().unwrap().rate, 3.0);
}

#[test]
fn what_cannot_be_paired_is_named() {
    let options = CompareOptions::default();
    let message = |control: &[_], system: &[_], options| compare(control, system, options).unwrap_err().to_string();
    let ten = system([[1, 2], [3, 4]]);
    let found = message(&ten, &ten[..1], &options);
    assert!(found.starts_with("utterance 2 cannot be compared") && found.ends_with("2 and 1"), "{found}");
    let mut other = ten.clone();
    other[1].runs[1].reference_length = 9;
    let found = message(&ten, &other, &options);
    assert!(found.starts_with("utterance 2 ") && found.ends_with("lengths are: 10 and 9"), "{found}");
    let mut other = ten.clone();
    other[1].runs.pop();
    let found = message(&other, &ten, &options);
    assert!(found.starts_with("utterance 2 ") && found.ends_with("1 and 2"), "{found}");
    let mut other = ten.clone();
    other[0].speaker = Some("anna".to_owned());
    let found = message(&ten, &other, &options);
    assert!(found.starts_with("utterance 1 ") && found.ends_with("none and anna"), "{found}");
    let together = CompareOptions { draw_runs: DrawRuns::Together, ..options };
    let found = message(&ten, &system([[1], [2]]), &together);
    assert!(found.ends_with("2 and 1"), "{found}");
    assert!(compare(&ten, &system([[1], [2]]), &options).unwrap().is_some());
}
