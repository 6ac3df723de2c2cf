//! The masked frames of a batch, and for each of them others of its utterance.

use rand::{Rng, RngExt};
use tch::{Device, Tensor};

use crate::error::Result;

/// The masked frames of a padded batch, in the order of rows and frames.
#[derive(Debug)]
pub struct MaskedFrames {
    /// (batch, frame), true where masked.
    pub mask: Tensor,
    /// Of each masked frame its place in the batch laid flat, row · frames + frame: (masked).
    places: Tensor,
    /// Masked frames of each row.
    counts: Vec<i64>,
}

impl MaskedFrames {
    /// The masked frames of rows, each as long as it has real frames, of a batch padded to `padded` frames.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn new(rows: &[Vec<bool>], padded: usize, device: Device) -> Result<MaskedFrames> {
        let mut mask = vec![false; rows.len() * padded];
        let mut places = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            for (frame, _) in row.iter().take(padded).enumerate().filter(|&(_, &masked)| masked) {
                mask[number * padded + frame] = true;
                places.push((number * padded + frame) as i64);
            }
        }
        Ok(MaskedFrames {
            mask: Tensor::f_from_slice(&mask)?.f_view([rows.len() as i64, padded as i64])?.f_to_device(device)?,
            places: Tensor::f_from_slice(&places)?.f_to_device(device)?,
            counts: rows.iter().map(|row| row.iter().take(padded).filter(|&&masked| masked).count() as i64).collect(),
        })
    }

    /// How many there are.
    pub fn count(&self) -> i64 {
        self.counts.iter().sum()
    }

    /// How many there are in each row.
    pub fn counts(&self) -> &[i64] {
        &self.counts
    }

    /// What a padded tensor (batch, frame, channel) holds there: (masked, channel).
    ///
    /// # Errors
    /// libtorch's own.
    pub fn of(&self, tensor: &Tensor) -> Result<Tensor> {
        Ok(tensor.f_flatten(0, 1)?.f_index_select(0, &self.places)?)
    }

    /// Draws for each masked frame `count` others of the same utterance, each as likely as any and the same one perhaps
    /// twice, by their numbers within the utterance's masked frames: (masked, count), int64.
    ///
    /// An utterance with a single masked frame has no others, and gets that frame itself: the objective passes over what
    /// equals its target.
    ///
    /// # Errors
    /// When libtorch cannot allocate them.
    pub fn distractors(&self, count: i64, random: &mut impl Rng) -> Result<Tensor> {
        let mut drawn = Vec::with_capacity((self.count() * count) as usize);
        for &frames in &self.counts {
            for own in 0..frames {
                drawn.extend((0..count).map(|_| match frames {
                    1 => 0,
                    // Among all but its own: what lies behind it moves up by one.
                    _ => {
                        let other = random.random_range(0..frames - 1);
                        if other < own { other } else { other + 1 }
                    }
                }));
            }
        }
        Ok(Tensor::f_from_slice(&drawn)?.f_view([self.count(), count])?.f_to_device(self.places.device())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use tch::Kind;

    fn rows() -> Vec<Vec<bool>> {
        vec![vec![true, false, true, true], vec![false, true], vec![]]
    }

    #[test]
    fn what_is_masked_is_taken_in_order() {
        let masked = MaskedFrames::new(&rows(), 4, Device::Cpu).unwrap();
        assert_eq!((masked.count(), masked.counts()), (4, &[3, 1, 0][..]));
        let tensor = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([3, 4, 2]);
        let taken = Vec::<f32>::try_from(masked.of(&tensor).unwrap().flatten(0, 1)).unwrap();
        assert_eq!(taken, [0.0, 1.0, 4.0, 5.0, 6.0, 7.0, 10.0, 11.0]);
        assert_eq!(masked.mask.sum(Kind::Int64).int64_value(&[]), 4);
    }

    #[test]
    fn distractors_are_the_others_of_the_utterance_each_as_likely() {
        let masked = MaskedFrames::new(&rows(), 4, Device::Cpu).unwrap();
        let drawn = masked.distractors(3000, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        assert_eq!(drawn.size(), [4, 3000]);
        for own in 0..3 {
            for other in 0..3 {
                let times = drawn.get(own).eq(other).sum(Kind::Int64).int64_value(&[]);
                // Binomial(3000, ½): six deviations are 6 × 27.4 = 164.
                let expected = if own == other { 0..1 } else { 1336..1665 };
                assert!(expected.contains(&times), "{own} {other}: {times}");
            }
        }
        assert_eq!(drawn.get(3).max().int64_value(&[]), 0);
    }
}
