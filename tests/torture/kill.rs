//! SIGKILL at any moment.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::subject::{Guarded, Subject, saves, wait_within};
use super::{alone, count, figure, random};

#[test]
fn a_run_killed_at_any_moment_ends_as_the_one_that_never_was() {
    let _turn = alone();
    // One that goes to its last update, and one that stops early for want of progress.
    let patient: [&[&str]; 2] = [&[], &["--set=train.patience=2", "--set=train.learning_rate=1.0e-9"]];
    let (mut kills, mut saving, mut runs, mut fallen_on) = (0, 0, 0, 0);
    for (number, settings) in patient.into_iter().enumerate() {
        let subject = Subject::new(settings);
        assert_eq!(subject.updates(), [50, 30][number], "the subject is not what it is meant to be");
        let mut random = random(number as u64);
        let wanted = count(5, 25);
        let mut done = 0;
        // What a run takes that nobody kills, by the quickest so far.
        let mut span = subject.seconds;
        while done < wanted {
            let run = format!("killed-{runs}");
            let before_it = done;
            loop {
                let begun = Instant::now();
                let folder = subject.dir.path(&run);
                let before = saves(&folder);
                let mut training = Guarded(subject.dir.klang(subject.arguments(&run)).start());
                let training = &mut training.0;
                if done < wanted {
                    // Every third kill waits for a save to begin, a moment that chance alone would seldom hit.
                    let waits = done % 3 == 2;
                    let moment = Duration::from_secs_f64(random.random_range(0.0..1.0) * span);
                    let ended = if waits {
                        wait_for_save(training, &folder, &before)
                    } else {
                        wait_within(training, moment).is_some()
                    };
                    if !ended {
                        training.kill().expect("SIGKILL");
                        training.wait().expect("an end");
                        done += 1;
                        saving += usize::from(saves(&folder).iter().any(|name| !before.contains(name)));
                        continue;
                    }
                }
                let status = training.wait().expect("an end");
                let fell = done - before_it;
                assert!(status.success(), "after {fell} kills, a resumed run ended with {status}");
                if fell == 0 {
                    span = span.min(begun.elapsed().as_secs_f64());
                }
                break;
            }
            subject.is_the_same(&run, &format!("killed {} times", done - before_it));
            runs += 1;
            fallen_on += usize::from(done > before_it);
        }
        kills += done;
    }
    figure("kills", "SIGKILLs survived", kills);
    figure("kills", "of them while a save was under way", saving);
    figure("kills", "runs that they fell on, each equal to the undisturbed one bit by bit", fallen_on);
    // A save may be over before it is seen: among many it is not.
    assert!(saving >= count(0, 5), "only {saving} kills met a save");
}

/// Waits until a save has begun that has left nothing `before`; whether the process ended first.
fn wait_for_save(training: &mut Child, run: &Path, before: &[String]) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if training.try_wait().expect("a process of ours").is_some() {
            return true;
        }
        if saves(run).iter().any(|name| !before.contains(name)) {
            return false;
        }
        std::thread::yield_now();
    }
    false
}
