//! How many times faster than real time logits are read, on one thread: `cargo bench -p klang-ctc`.

use std::hint::black_box;

use klang_ctc::greedy;
use tch::{Device, Kind, Tensor};

#[path = "../../../benches/measure.rs"]
mod measure;
use measure::measure;

/// Frames a second of all of the family.
const FRAMES: f64 = 50.0;

fn main() {
    tch::set_num_threads(1);
    tch::manual_seed(1);
    // Letters; and a vocabulary of subwords, where finding the best label is most of the work.
    for vocabulary in [32, 1000] {
        for (rows, seconds) in [(1, 5.0), (8, 5.0), (1, 600.0)] {
            let frames = (seconds * FRAMES) as i64;
            let logits = Tensor::randn([rows, frames, vocabulary], (Kind::Float, Device::Cpu));
            let lengths = vec![frames; rows as usize];
            let name = format!("greedy, {rows} of {seconds} s, {vocabulary} labels");
            measure(&name, seconds * rows as f64, 5, || {
                black_box(greedy(black_box(&logits), &lengths, 0).expect("lengths of the batch"));
            });
        }
    }
}
