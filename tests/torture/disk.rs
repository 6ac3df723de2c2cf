//! Disks that are full, fail or forget, and states that are damaged.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::faults::{Call, on_small_disk};
use super::subject::{Guarded, Subject, wait_within};
use super::{alone, count, figure, random};

/// Two evaluations, each of which saves.
const SHORT: [&str; 1] = ["--set=train.updates=20"];

/// Has each call fail in turn, or some of them: the run has to end with a clear word, and the resumed one as if nothing had been.
fn every_call_fails(call: Call, short: usize) -> usize {
    let subject = Subject::new(&SHORT);
    let mut at = 1;
    let mut faults = 0;
    let mut random = random(call as u64);
    loop {
        let run = format!("failing-{at}");
        // In full and as the system knows it, since it is by their paths that calls fail.
        let folder = subject.dir.path("").canonicalize().expect("a folder of ours").join(&run);
        let arguments = subject.arguments(folder.to_str().expect("UTF-8"));
        let mark = subject.dir.path(format!("failed-{at}"));
        let finished = call.failing(subject.dir.klang(arguments), &folder, at, &mark).run();
        if !mark.exists() {
            // No such call any more.
            assert_eq!(finished.code, Some(0), "nothing failed\n{finished}");
            subject.is_the_same(&run, &format!("{call:?} {at}, which there is not"));
            break;
        }
        faults += 1;
        assert!(matches!(finished.code, Some(1 | 2)), "{call:?} {at} failed\n{finished}");
        finished.says(&["error: ", &run, call.words()]);
        subject.ends_the_same(&run, &format!("{call:?} {at} failed"));
        fs::remove_dir_all(&folder).expect("a folder of ours");
        // All of them in full, and otherwise so many from all over the run.
        at += count(random.random_range(1..=(2 * CALLS / short)), 1);
    }
    assert!(faults >= count(1, 20), "only {faults} faults");
    faults
}

/// About how often a short run makes each of the calls.
const CALLS: usize = 60;

#[test]
fn a_failing_fsync_stops_the_run_and_loses_nothing() {
    let _turn = alone();
    figure("disk", "fsyncs that failed, each in a run of its own", every_call_fails(Call::Fsync, 4));
}

#[test]
fn writes_without_room_stop_the_run_and_lose_nothing() {
    let _turn = alone();
    figure("disk", "writes that found no room", every_call_fails(Call::Write, 4));
}

#[test]
fn a_disk_that_becomes_read_only_stops_the_run_and_loses_nothing() {
    let _turn = alone();
    figure("disk", "files that could not be opened to write", every_call_fails(Call::Open, 4));
}

#[test]
fn a_full_disk_stops_the_run_and_loses_nothing() {
    let _turn = alone();
    let subject = Subject::new(&SHORT);
    let script = r#"
        "$KLANG" train recipe.yaml --set=train.updates=20 --run "$DISK/run" 2> err
        code=$?
        rm -rf run-from-disk
        if [ -e "$DISK/run" ]; then cp -a "$DISK/run" run-from-disk || exit 98; fi
        exit $code"#;
    let (mut kib, mut full, mut enough) = (64, 0, false);
    while !enough {
        let Some(code) = on_small_disk(&subject.dir, kib, script) else {
            figure("disk", "full disks (tmpfs): none, since this system lets nobody mount one", 0);
            return;
        };
        assert_ne!(code, 98, "what stood on the disk could not be copied");
        let said = subject.dir.text("err");
        assert!(!said.contains("panicked"), "{said}");
        enough = code == 0;
        if !enough {
            full += 1;
            assert!(said.contains("No space left on device") && said.contains("error: "), "{kib} KiB, {code}: {said}");
        }
        subject.ends_the_same("run-from-disk", &format!("a disk of {kib} KiB"));
        kib += count(320, 40);
    }
    assert!(full >= count(1, 4), "only {full} disks were full");
    figure("disk", "full disks (tmpfs), of 64 KiB and more", full);
}

#[test]
fn a_folder_that_nobody_may_write_to_is_named() {
    let _turn = alone();
    let subject = Subject::new(&SHORT);
    let script = r#"
        mkdir "$DISK/run"; mount -o remount,ro "$DISK"
        "$KLANG" train recipe.yaml --set=train.updates=20 --run "$DISK/run" 2> err"#;
    let Some(code) = on_small_disk(&subject.dir, 4096, script) else {
        figure("disk", "read-only disks: none, since this system lets nobody mount one", 0);
        return;
    };
    let said = subject.dir.text("err");
    assert!(code != 0 && said.contains("error: ") && said.contains("disk/run"), "{code}: {said}");
    assert!(said.contains("Read-only file system") && !said.contains("panicked"), "{said}");
    assert!(!said.contains("million of them learn"), "only after the model was made: {said}");
    figure("disk", "read-only disks named before the first update", 1);
}

#[test]
fn a_flipped_bit_of_a_state_is_found() {
    let subject = Subject::new(&SHORT);
    let mut random = random(5);
    let names = ["weights.safetensors", "optimiser.safetensors", "progress.json", "SHA256SUMS"];
    let flips = count(8, 100);
    for number in 0..flips {
        let name = format!("whole/state/{}", names[number % names.len()]);
        let whole = subject.dir.bytes(&name);
        let mut damaged = whole.clone();
        let place = random.random_range(0..damaged.len());
        damaged[place] ^= *[1u8, 2, 4, 8, 16, 32, 64, 128].choose(&mut random).expect("eight");
        subject.dir.write(&name, damaged);
        let refused = subject.dir.klang(subject.arguments("whole")).run();
        assert!(matches!(refused.code, Some(1 | 2)), "byte {place} of {name}\n{refused}");
        refused.says(&["error: ", names[number % names.len()]]);
        subject.dir.write(&name, whole);
    }
    subject.ends_the_same("whole", "every bit flipped back");
    figure("disk", "flipped bits of states found", flips);
}

#[test]
fn a_run_folder_has_one_process_and_its_lock_ends_with_it() {
    let _turn = alone();
    let subject = Subject::new(&[]);
    let mut first = Guarded(subject.dir.klang(subject.arguments("run")).start());
    let first = &mut first.0;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !subject.dir.path("run/state").exists() && std::time::Instant::now() < deadline {
        assert!(wait_within(first, Duration::from_millis(1)).is_none(), "it ended before it had saved");
    }
    // It is to be at work still when the second comes.
    let stopped = Command::new("kill").args(["-STOP", &first.id().to_string()]).status().expect("kill");
    assert!(stopped.success());
    let second = subject.dir.klang(subject.arguments("run")).run();
    assert_eq!(second.code, Some(2), "{second}");
    second.says(&["run folder run", "another `klang train`"]);
    first.kill().expect("SIGKILL");
    first.wait().expect("an end");
    subject.ends_the_same("run", "killed while another waited");
    figure("disk", "second processes on a run folder refused", 1);
}
