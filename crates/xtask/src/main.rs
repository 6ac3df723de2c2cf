//! klang: xtask.

fn main() {}
