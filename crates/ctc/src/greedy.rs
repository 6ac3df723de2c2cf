//! Greedy decoding: the best label of each frame, repeats merged, blanks dropped.

use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// The greedy reading of one utterance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GreedyPath {
    /// Labels, without blanks.
    pub labels: Vec<u32>,
    /// The frame in which each of them begins.
    pub starts: Vec<usize>,
    /// Frames read.
    pub frames: usize,
    /// Frames whose best label is the blank.
    pub blank_frames: usize,
}

/// Reads each row of logits (batch, frame, vocabulary) up to its length.
///
/// # Errors
/// Lengths that do not belong to the batch, or libtorch's own.
pub fn greedy(logits: &Tensor, lengths: &[i64], blank: u32) -> Result<Vec<GreedyPath>> {
    let (rows, frames, _) = logits.size3()?;
    if lengths.len() as i64 != rows {
        return Err(Error::Batch { rows, lengths: lengths.len(), labels: 0 });
    }
    let best = logits.f_argmax(-1, false)?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Int64)?.f_contiguous()?; // (batch, frame)
    let mut labels = vec![0i64; (rows * frames) as usize];
    best.f_copy_data(&mut labels, (rows * frames) as usize)?;
    let row = |(index, &length): (usize, &i64)| {
        let start = index * frames as usize;
        collapse(&labels[start..start + length.clamp(0, frames) as usize], blank)
    };
    Ok(lengths.iter().enumerate().map(row).collect())
}

fn collapse(frames: &[i64], blank: u32) -> GreedyPath {
    let blank = i64::from(blank);
    let (mut labels, mut starts) = (Vec::new(), Vec::new());
    let mut previous = blank;
    for (frame, &label) in frames.iter().enumerate() {
        if label != blank && label != previous {
            labels.push(label as u32);
            starts.push(frame);
        }
        previous = label;
    }
    let blank_frames = frames.iter().filter(|&&label| label == blank).count();
    GreedyPath { labels, starts, frames: frames.len(), blank_frames }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_merge_unless_a_blank_parts_them() {
        let path = collapse(&[0, 1, 1, 0, 1, 2, 2, 0, 0], 0);
        assert_eq!(path, GreedyPath { labels: vec![1, 1, 2], starts: vec![1, 4, 5], frames: 9, blank_frames: 4 });
    }

    #[test]
    fn a_blank_that_is_not_zero_is_honoured() {
        assert_eq!(collapse(&[3, 0, 0, 3, 0], 3).labels, [0, 0]);
    }

    #[test]
    fn frames_past_the_length_are_not_read() {
        let logits = Tensor::zeros([2, 3, 4], (Kind::Float, Device::Cpu));
        let _ = logits.get(0).get(2).get(1).fill_(5.0);
        let _ = logits.get(1).get(0).get(2).fill_(5.0);
        let paths = greedy(&logits, &[2, 3], 0).unwrap();
        assert!(paths[0].labels.is_empty());
        assert_eq!(paths[1].labels, [2]);
    }
}
