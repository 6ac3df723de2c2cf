//! Learning from speech that nobody transcribed: frames are masked, and what stood there is to be told from their context.
//!
//! ```text
//! waveform ─► features ─┬► mask ─► encoder ─► hidden ─┐
//!                       └► targets ──────────────────┴► loss over the masked frames
//! ```
//!
//! Two objectives: wav2vec 2.0's own ([`Contrastive`]) and BEST-RQ's ([`BestRq`]), which is the cheaper one and has no
//! codebook that could collapse.

mod best_rq;
mod contrastive;
mod masked_frames;
mod quantiser;

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::frames::Frames;

pub use best_rq::{BestRq, BestRqConfig};
pub use contrastive::{Contrastive, ContrastiveBatch, ContrastiveConfig};
pub use masked_frames::MaskedFrames;
pub use quantiser::{Gumbel, Quantised, Quantiser};

/// What an objective gives for the masked frames of a batch. Losses and counts are sums over these frames, so that those of
/// several batches add up.
#[derive(Debug)]
pub struct Prediction {
    /// −log of the probability that the target had, in nats: a scalar with its gradient.
    pub loss: Tensor,
    /// The share of the codebook that lies idle, 0 to 1, times the masked frames: a scalar with its gradient. None where the
    /// codebook does not learn.
    pub diversity: Option<Tensor>,
    /// Frames whose target was the most probable, with several codebooks that of the first: a scalar, int64.
    pub correct: Tensor,
    /// Perplexity of the codebook over these frames, in codes, that of product groups added up and that of several codebooks
    /// averaged: a scalar of 1 (per group) to all codes (of a codebook).
    pub perplexity: Tensor,
    /// Perplexity of the most probable codes over these frames, where codes are what is predicted: a model that answers the
    /// same to everything has 1.
    pub predicted_perplexity: Option<Tensor>,
}

/// Mean square of the convolutions' features (batch, frame, feature) over real frames: fairseq's `features_pen`, which keeps
/// them from growing. A scalar, fp32, with its gradient.
///
/// # Errors
/// libtorch's own.
pub fn feature_penalty(features: &Tensor, lengths: &[i64]) -> Result<Tensor> {
    let (_, padded, channels) = features.size3()?;
    let frames = Frames::new(lengths.to_vec(), padded, features.device())?;
    let squares = frames.zero_padding(features.f_to_kind(Kind::Float)?)?.f_square()?.f_sum(Kind::Float)?;
    let count = lengths.iter().sum::<i64>().max(1) * channels;
    Ok(squares.f_div_scalar(count)?)
}

/// How far apart the hidden states (batch, frame, channel) of real frames point: 1 less the mean cosine between any two of
/// them. 0 where all are the same but for their length, which is collapse; about 1 where they point everywhere.
///
/// # Errors
/// libtorch's own.
pub fn spread(hidden: &Tensor, lengths: &[i64]) -> Result<f64> {
    let (_, padded, _) = hidden.size3()?;
    let frames = Frames::new(lengths.to_vec(), padded, hidden.device())?;
    let directions = hidden
        .f_to_kind(Kind::Float)?
        .f_divide(&hidden.f_to_kind(Kind::Float)?.f_norm_scalaropt_dim(2.0, [-1i64], true)?.f_clamp_min(1e-12)?)?;
    let count = lengths.iter().sum::<i64>().max(1);
    // The mean of all pairs' products, a frame's with itself among them, is the square of the mean direction.
    let mean = frames
        .zero_padding(directions)?
        .f_sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Float)?
        .f_div_scalar(count)?;
    Ok(1.0 - mean.f_square()?.f_sum(Kind::Float)?.f_double_value(&[])?)
}

/// exp of the entropy of distributions (…, code) over their last axis, as transformers computes it: a number of codes.
fn perplexity(distribution: &Tensor) -> Result<Tensor> {
    let logs = distribution.f_add_scalar(1e-7)?.f_log()?;
    Ok(distribution.f_mul(&logs)?.f_sum_dim_intlist(-1, false, Kind::Float)?.f_neg()?.f_exp()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn the_penalty_is_the_mean_square_of_real_frames() {
        let features = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, f32::INFINITY, f32::NAN]).view([1, 3, 2]);
        let penalty = feature_penalty(&features, &[2]).unwrap().double_value(&[]);
        assert_eq!(penalty, (1.0 + 4.0 + 9.0 + 16.0) / 4.0);
    }

    #[test]
    fn frames_that_are_all_alike_have_no_spread_and_opposite_ones_all() {
        let row = |values: [f32; 4]| Tensor::from_slice(&values).view([1, 2, 2]);
        assert!(spread(&row([3.0, 4.0, 6.0, 8.0]), &[2]).unwrap().abs() < 1e-6);
        assert!((spread(&row([1.0, 0.0, -2.0, 0.0]), &[2]).unwrap() - 1.0).abs() < 1e-6);
        // A right angle: the mean of cosines 1, 0, 0, 1.
        assert!((spread(&row([1.0, 0.0, 0.0, 5.0]), &[2]).unwrap() - 0.5).abs() < 1e-6);
        // What padding holds is not looked at.
        let padded = Tensor::from_slice(&[1f32, 0.0, 0.0, 5.0, 7.0, 7.0]).view([1, 3, 2]);
        assert!((spread(&padded, &[2]).unwrap() - 0.5).abs() < 1e-6);
    }

    #[test]
    fn an_even_distribution_has_the_perplexity_of_its_codes() {
        let even = Tensor::full([4, 8], 0.125, (Kind::Float, Device::Cpu));
        let one = Tensor::from_slice(&[1f32, 0.0, 0.0]);
        // The 1e-7 inside the logarithm shifts it by that much of each term.
        assert!((perplexity(&even).unwrap().double_value(&[2]) - 8.0).abs() < 1e-4);
        assert!((perplexity(&one).unwrap().double_value(&[]) - 1.0).abs() < 1e-5);
    }
}
