//! Experiments: arms of one recipe against one another, with the same data order, initial weights and updates, and statistics.

// Until there is a command that runs experiments, only tests write reports.
#[cfg_attr(not(test), expect(dead_code))]
mod report;
mod results;

pub use results::{
    Arm, ArmRates, Budget, Cost, Difference, Interval, Learning, LearningPoint, Missing, Results, Scored, Search, Try,
};
