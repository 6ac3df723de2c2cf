//! Drives the `klang` binary in temporary directories: what is asserted is what a person at a shell would see.

#[test]
fn stub() {}
