//! One file a command.

pub mod align;
pub mod check;
pub mod compare;
pub mod doctor;
pub mod evaluate;
pub mod export;
pub mod lm;
pub mod logits;
pub mod prepare;
pub mod pretrain;
pub mod score;
pub mod train;
pub mod transcribe;
pub mod tune;
