//! The over-fitting gap: by how much what was not learnt from is predicted worse than what was.

use klang_ctc::Reduction;

use super::Contents;
use super::axis::Unit;
use super::plot::{Curve, Plot};
use crate::run::{Evaluated, MetricsLine, evaluated};

/// Dev's loss less training's at each evaluation; nothing to draw where the two are not of one unit.
pub(super) fn gap(contents: &Contents) -> Plot {
    let by_label = contents.recipe.as_ref().is_some_and(|recipe| recipe.train.loss_reduction == Reduction::Label);
    let points = if by_label { gaps(&contents.lines) } else { Vec::new() };
    Plot {
        title: "Over-fitting gap",
        note: "nats per label: dev’s loss less training’s, which is the mean over the updates before, with masking, dropout, noise and augmentation, so that the gap can lie below 0".into(),
        unit: Unit::Difference,
        curves: vec![Curve { name: "gap".into(), points, dots: true, ..Curve::default() }],
        mark: None,
    }
}

/// (updates, nats per label) at each evaluation that training lines came before.
fn gaps(lines: &[MetricsLine]) -> Vec<(u64, f64)> {
    let gap = |Evaluated { update, train_loss, behaviour, .. }: Evaluated| Some((update, behaviour.loss - train_loss?));
    evaluated(lines).into_iter().filter_map(gap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::report::tests::{dev_loss, train};

    #[test]
    fn training_s_loss_is_the_mean_over_the_updates_since_the_evaluation_before() {
        let lines = [
            train(20, 4.0),
            train(40, 2.0),
            train(50, 1.0),
            dev_loss(50, 3.0),
            train(60, 1.5),
            train(80, f64::NAN),
            dev_loss(80, 1.25),
            // An evaluation without a line before it, as of a file that lost lines, has no gap.
            dev_loss(90, 1.0),
            train(100, 0.5),
            dev_loss(100, f64::NAN),
        ];
        let gaps = gaps(&lines);
        // (20 · 4 + 20 · 2 + 10 · 1) / 50 = 2.6; then 1.5 alone.
        assert_eq!(gaps[..2], [(50, 3.0 - 2.6), (80, -0.25)]);
        assert!(gaps.len() == 3 && gaps[2].0 == 100 && gaps[2].1.is_nan(), "{gaps:?}");
    }
}
