//! Features kept in memory, between the epochs of one training.

use std::collections::HashMap;

use tch::Tensor;

use super::digest::Heard;

/// Rows by what was heard.
#[derive(Debug, Default)]
pub(super) struct Memory {
    bytes: u64,
    rows: HashMap<Heard, Tensor>, // (frame, feature)
}

impl Memory {
    /// A row, if it was kept.
    pub(super) fn get(&self, heard: &Heard) -> Option<Tensor> {
        self.rows.get(heard).map(Tensor::shallow_clone)
    }

    /// Keeps a row, if no more than `limit` bytes are held then.
    pub(super) fn keep(&mut self, heard: Heard, row: &Tensor, limit: u64) {
        let bytes = (row.numel() * row.kind().elt_size_in_bytes()) as u64;
        if self.bytes + bytes <= limit && self.rows.insert(heard, row.shallow_clone()).is_none() {
            self.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn no_more_is_held_than_allowed_and_nothing_twice() {
        let mut memory = Memory::default();
        let row = Tensor::ones([2, 4], (Kind::Float, Device::Cpu)); // 32 bytes
        let heard = |sample: f32| Heard::new(&[sample]);
        for sample in [1.0, 1.0, 2.0, 3.0] {
            memory.keep(heard(sample), &row, 64);
        }
        assert_eq!(memory.bytes, 64);
        assert_eq!([1.0, 2.0, 3.0].map(|sample| memory.get(&heard(sample)).is_some()), [true, true, false]);
    }
}
