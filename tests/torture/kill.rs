//! SIGKILL at any moment.

use std::time::{Duration, Instant};

use rand::RngExt;

use super::subject::{Subject, leftovers, wait_within};
use super::{alone, count, figure, random};

#[test]
fn a_run_killed_at_any_moment_ends_as_the_one_that_never_was() {
    let _turn = alone();
    // One that goes to its last update, and one that stops early for want of progress.
    let patient: [&[&str]; 2] = [&[], &["--set=train.patience=2", "--set=train.learning_rate=1.0e-9"]];
    let (mut kills, mut saving, mut runs) = (0, 0, 0);
    for (number, settings) in patient.into_iter().enumerate() {
        let subject = Subject::new(settings);
        assert_eq!(subject.updates(), [50, 30][number], "the subject is not what it is meant to be");
        let mut random = random(number as u64);
        let wanted = count(5, 25);
        let mut done = 0;
        while done < wanted {
            let run = format!("killed-{runs}");
            loop {
                let folder = subject.dir.path(&run);
                let mut training = subject.dir.klang(subject.arguments(&run)).start();
                if done < wanted {
                    // Every third kill waits for a save to begin, a moment that chance alone would seldom hit.
                    let waits = done % 3 == 2;
                    let moment = Duration::from_secs_f64(random.random_range(0.0..1.2) * subject.seconds);
                    let within = Duration::from_micros(random.random_range(0..3000));
                    let ended = if waits {
                        wait_for_save(&mut training, &folder, Duration::from_secs(60)) || {
                            wait_within(&mut training, within).is_some()
                        }
                    } else {
                        wait_within(&mut training, moment).is_some()
                    };
                    if !ended {
                        training.kill().expect("SIGKILL");
                        training.wait().expect("an end");
                        done += 1;
                        saving += usize::from(!leftovers(&folder).is_empty());
                        continue;
                    }
                }
                let status = training.wait().expect("an end");
                assert!(status.success(), "after {done} kills, a resumed run ended with {status}");
                break;
            }
            subject.is_the_same(&run, &format!("killed {done} times"));
            runs += 1;
        }
        kills += done;
    }
    figure("kills", "SIGKILLs survived", kills);
    figure("kills", "of them while a save was under way", saving);
    figure("kills", "runs that they fell on, each equal to the undisturbed one bit by bit", runs);
    assert!(saving > 0, "no kill met a save");
}

/// Waits until a save has begun; whether the process ended before.
fn wait_for_save(training: &mut std::process::Child, run: &std::path::Path, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if training.try_wait().expect("a process of ours").is_some() {
            return true;
        }
        if !leftovers(run).is_empty() {
            return false;
        }
        std::thread::yield_now();
    }
    false
}
