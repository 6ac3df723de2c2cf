//! How the learning rate goes over a training.

use serde::{Deserialize, Serialize};

/// Shape of the learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Linear rise, plateau, exponential fall (fairseq's `tri_stage`).
    #[default]
    TriStage,
    /// Linear rise, then linear fall.
    Linear,
    /// Linear rise, then half a cosine down.
    Cosine,
}

/// tri-stage's rise starts here, as a share of the highest rate (fairseq's `init_lr_scale`).
const INITIAL_SCALE: f64 = 0.01;

impl Schedule {
    /// Learning rate of update `update` of `updates` (from 0), as a share of the highest.
    ///
    /// `phases` are the shares of rise, plateau and fall; linear and cosine fall through what is plateau and fall here.
    pub fn scale(self, update: u64, updates: u64, phases: [f64; 3], final_scale: f64) -> f64 {
        let share = (update as f64 + 1.0) / updates.max(1) as f64;
        let [rise, plateau, fall] = phases;
        if share < rise {
            let way = share / rise;
            return match self {
                Schedule::TriStage => INITIAL_SCALE + (1.0 - INITIAL_SCALE) * way,
                Schedule::Linear | Schedule::Cosine => way,
            };
        }
        let way = |start: f64, length: f64| if length > 0.0 { ((share - start) / length).clamp(0.0, 1.0) } else { 0.0 };
        match self {
            // A final scale of 0 cannot be reached exponentially; fairseq's logarithm would be −∞.
            Schedule::TriStage => final_scale.max(1e-6).powf(way(rise + plateau, fall)),
            Schedule::Linear => 1.0 - (1.0 - final_scale) * way(rise, plateau + fall),
            Schedule::Cosine => {
                final_scale
                    + (1.0 - final_scale) * 0.5 * (1.0 + (std::f64::consts::PI * way(rise, plateau + fall)).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [f64; 3] = [0.1, 0.4, 0.5];

    fn at(schedule: Schedule, update: u64) -> f64 {
        schedule.scale(update, 1000, PHASES, 0.05)
    }

    #[test]
    fn tri_stage_rises_holds_and_falls_exponentially() {
        let tri = Schedule::TriStage;
        assert!((at(tri, 49) - (0.01 + 0.99 * 0.5)).abs() < 1e-12);
        assert_eq!((at(tri, 100), at(tri, 499)), (1.0, 1.0));
        // Half of the fall: √0.05; its end: 0.05.
        assert!((at(tri, 749) - 0.05f64.sqrt()).abs() < 1e-12);
        assert!((at(tri, 999) - 0.05).abs() < 1e-12);
    }

    #[test]
    fn linear_and_cosine_fall_from_the_end_of_the_rise() {
        // Update 549 is share 0.55: half way from 0.1 to 1.
        assert!((at(Schedule::Linear, 549) - 0.525).abs() < 1e-12);
        assert!((at(Schedule::Cosine, 549) - 0.525).abs() < 1e-12);
        // A quarter of the way, share 0.325: linear 0.7625; cosine 0.05 + 0.95 (1 + cos 45°)/2.
        assert!((at(Schedule::Linear, 324) - 0.7625).abs() < 1e-12);
        let cosine = 0.05 + 0.95 * 0.5 * (1.0 + std::f64::consts::FRAC_1_SQRT_2);
        assert!((at(Schedule::Cosine, 324) - cosine).abs() < 1e-12);
        for schedule in [Schedule::Linear, Schedule::Cosine] {
            assert!((at(schedule, 999) - 0.05).abs() < 1e-12);
        }
    }

    #[test]
    fn every_rate_of_every_shape_is_finite_and_in_range() {
        for schedule in [Schedule::TriStage, Schedule::Linear, Schedule::Cosine] {
            for phases in [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], PHASES] {
                for update in 0..10 {
                    let scale = schedule.scale(update, 10, phases, 0.0);
                    assert!((0.0..=1.0).contains(&scale), "{schedule:?} {phases:?} {update}: {scale}");
                }
            }
        }
    }
}
