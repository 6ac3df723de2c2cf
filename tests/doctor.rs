//! `klang doctor`.

use crate::harness::Dir;

#[test]
fn the_machine_is_described_and_a_forward_pass_is_made() {
    let dir = Dir::new();
    let printed = dir.klang_on_cpu(["doctor"]).succeeds();
    printed.prints(&["libtorch", "cores", "of which libtorch uses 1", "cpu, 1 thread, fp32", "GPUs seen"]);
    printed.prints(&["49 frames of 1 s of audio"]);
    assert!(dir.names(".").is_empty());
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let dir = Dir::new();
    dir.klang(["doctor", "--device", "cuda:99"]).refused_with(2).says(&["device `cuda:99`"]);
    dir.klang(["doctor", "--device", "gpu"]).refused_with(2).says(&["gpu", "auto, cpu, cuda, cuda:N"]);
}
