//! A small experiment with hostile names, for tests.

use klang_text::{Ci95Unit, DrawRuns};

use crate::compare::{
    Arm, ArmRates, Budget, Cost, Difference, Interval, Learning, LearningPoint, Missing, Results, Scored, Search, Try,
};
use crate::recipe::ChooseBy;

/// A name that is markup wherever it is not escaped.
pub(super) const EVIL: &str = "<script>alert('1')</script>&\"|";
const ARMS: [&str; 3] = ["layer_norm", "kl_norm", EVIL];
const TESTS: [&str; 2] = ["Ümit", EVIL];
pub(super) const BUDGETS: [&str; 2] = ["10 min", "1 h"];

/// With a p half of that after the correction.
pub(super) fn difference(difference: f64, ci95: [f64; 2], p_holm: f64) -> Difference {
    Difference { difference, ci95, p: p_holm / 2.0, p_holm }
}

/// kl_norm is better than the control on each test at each budget; the third arm differs from it by nothing significant.
pub(super) fn results() -> Results {
    let scored = |budget: &str, test: &str, arm: &str| {
        let (rate, against) = match arm {
            "layer_norm" => (0.34, None),
            "kl_norm" => (0.30, Some(difference(-0.04, [-0.06, -0.02], 0.01))),
            _ => (0.35, Some(difference(0.01, [-0.01, 0.03], 0.5))),
        };
        Scored {
            budget: budget.into(),
            test: test.into(),
            arm: arm.into(),
            seeds: vec![1, 2],
            utterances: 1200,
            wer: Interval { rate, ci95: Some([rate - 0.02, rate + 0.02]) },
            cer: Interval { rate: rate / 4.0, ci95: None },
            missed: Interval { rate: rate - 0.1, ci95: None },
            inserted: Interval { rate: 0.1, ci95: Some([0.05, 0.15]) },
            wer_difference: against,
            cer_difference: against,
            missed_difference: against,
            inserted_difference: against.map(|_| difference(0.0, [-0.01, 0.01], 1.0)),
            mapsswe: against.map_or(vec![], |_| vec![Some(0.02), Some(0.3)]),
            by_seed: vec![rate - 0.005, rate + 0.005],
            by_fold: [("jon", rate), (EVIL, rate)].map(|(fold, rate)| (fold.to_string(), rate)).into(),
        }
    };
    let place = |budget: &str, arm: &str| (budget.to_string(), arm.to_string());
    let cells = BUDGETS.iter().flat_map(|budget| ARMS.iter().map(|arm| place(budget, arm)));
    let point = |update| LearningPoint { update, train_loss: Some(1.0), dev_loss: 1.5, dev_wer: 0.5, dev_cer: 0.2 };
    Results {
        name: format!("norms {EVIL}"),
        about: format!("What {EVIL} does.\n\nAnd what not."),
        klang: "0.1.0".into(),
        command: format!("klang compare {EVIL}.yaml"),
        compute: vec![EVIL.into()],
        fingerprints: [(EVIL.to_string(), "0f".repeat(32))].into(),
        control: ARMS[0].into(),
        arms: ARMS.map(|name| Arm { name: name.into(), set: vec![format!("model.norm.kind={name}")] }).into(),
        seeds: vec![1, 2],
        budgets: [(BUDGETS[0], Some(10.0), 9.5), (BUDGETS[1], None, 60.0)]
            .map(|(name, minutes, learnt)| Budget { name: name.into(), minutes, learnt })
            .into(),
        folds: vec!["jon".into(), EVIL.into()],
        ci95_unit: Ci95Unit::Speakers,
        draw_runs: DrawRuns::Together,
        missing: vec![Missing { run: EVIL.into(), why: "the loss was NaN".into() }],
        scores: TESTS
            .iter()
            .flat_map(|test| cells.clone().map(move |(budget, arm)| scored(&budget, test, &arm)))
            .collect(),
        curves: cells
            .clone()
            .map(|(budget, arm)| Learning { budget, arm, points: [0, 100, 200].map(point).into() })
            .collect(),
        rates: vec![ArmRates {
            budget: BUDGETS[0].into(),
            arm: ARMS[1].into(),
            run: EVIL.into(),
            sites: [(EVIL, vec![0.5, 0.001]), ("0.attention", vec![0.25, 0.5])]
                .map(|(site, nats)| (site.to_string(), nats))
                .into(),
        }],
        costs: ARMS
            .iter()
            .zip([1000, 1012, 1000])
            .map(|(arm, parameters)| Cost {
                arm: arm.to_string(),
                parameters,
                trainable: 800,
                processor_seconds: Some(parameters as f64 / 500.0),
                peak_mib: None,
            })
            .collect(),
        searches: vec![Search {
            budget: BUDGETS[0].into(),
            arm: EVIL.into(),
            decided_by: ChooseBy::Cer,
            tries: vec![Try { set: vec![format!("a={EVIL}")], dev: Some([0.25, 0.5]) }, Try { set: vec![], dev: None }],
            chosen: Some(0),
        }],
    }
}
