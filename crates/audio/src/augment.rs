//! Augmentation for training: the same words, said faster or slower, in noise, or through another microphone.

mod colour;
mod noise;
mod speed;

pub use colour::colour;
pub use noise::{NoiseColour, add_noise};
pub use speed::change_speed;
