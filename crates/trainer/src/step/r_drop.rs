//! R-Drop (Liang et al. 2021): two passes that differ in dropout and noise are to give the same distributions.

use tch::{Kind, Tensor};

use crate::error::Result;

/// ½ (KL(p ‖ q) + KL(q ‖ p)) of two passes' distributions over the vocabulary, summed over the real frames of each row, in
/// nats: (row). Both logits are (row, frame, vocabulary).
///
/// # Errors
/// When the shapes do not go together.
pub(super) fn disagreement(one: &Tensor, other: &Tensor, lengths: &[i64]) -> Result<Tensor> {
    let [p, q] = [one, other].map(|logits| logits.f_log_softmax(-1, Kind::Float));
    let (p, q) = (p?, q?);
    // Σ (p − q)(log p − log q) / 2: both divergences in one sum.
    let frames = p.f_exp()?.f_sub(&q.f_exp()?)?.f_mul(&p.f_sub(&q)?)?;
    let frames = frames.f_sum_dim_intlist([-1i64].as_slice(), false, Kind::Float)?.f_mul_scalar(0.5)?; // (row, frame)
    let rows = lengths
        .iter()
        .enumerate()
        .map(|(row, &length)| frames.f_get(row as i64)?.f_narrow(0, 0, length)?.f_sum(Kind::Float))
        .collect::<std::result::Result<Vec<_>, tch::TchError>>()?;
    Ok(Tensor::f_stack(&rows, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_mean_of_both_divergences_over_real_frames() {
        // p = (½, ½), q = (¼, ¾): KL(p‖q) = ½ ln 2 + ½ ln ⅔ = ½ ln 4/3; KL(q‖p) = ¼ ln ½ + ¾ ln 3/2.
        let p = Tensor::from_slice(&[0.5f64, 0.5]).log();
        let q = Tensor::from_slice(&[0.25f64, 0.75]).log() + 7.0; // logits, up to a constant
        let stack = |frames: &[&Tensor]| Tensor::stack(frames, 0).unsqueeze(0).to_kind(Kind::Float);
        let nothing = Tensor::from_slice(&[f64::NAN, 0.0]);
        let one = Tensor::cat(&[stack(&[&p, &p]), stack(&[&p, &nothing])], 0);
        let other = Tensor::cat(&[stack(&[&q, &p]), stack(&[&q, &nothing])], 0);
        let expected = 0.5 * (0.5 * (4.0f64 / 3.0).ln() + 0.25 * 0.5f64.ln() + 0.75 * 1.5f64.ln());
        let given = Vec::<f64>::try_from(disagreement(&one, &other, &[2, 1]).unwrap().to_kind(Kind::Double)).unwrap();
        assert!(given.iter().all(|value| (value - expected).abs() < 1e-6), "{given:?} {expected}");
    }
}
