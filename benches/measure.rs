//! What the benches of the crates share. `cargo xtask bench` reads the lines that this prints.

use std::time::Instant;

/// The median of nine runs of `work`, each over `rounds` recordings of `seconds`, as a multiple of real time.
pub fn measure(name: &str, seconds: f64, rounds: usize, mut work: impl FnMut()) {
    let mut times: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| work());
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name:44} {:9.0} × real time", seconds * rounds as f64 / times[4]);
}
