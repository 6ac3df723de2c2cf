//! Experiments: arms of one recipe against one another, with the same data order, initial weights and updates, and statistics.

mod results;

pub use results::{
    Arm, ArmRates, Budget, Cost, Difference, Interval, Learning, LearningPoint, Missing, Results, Scored, Search, Try,
};
