//! Augmentation for training: the same words, said faster or slower, or in noise.

mod noise;
mod speed;

pub use noise::{NoiseColour, add_noise};
pub use speed::change_speed;
