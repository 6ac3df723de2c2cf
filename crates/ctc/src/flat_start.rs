//! A flat start: an even alignment to begin with, as hidden Markov models have always been begun (Rabiner 1989).
//!
//! From random weights CTC first learns that every frame is blank, and needs many updates to leave that plateau. Cross
//! entropy against labels spread evenly over the part of the utterance that is not silent leaves it at once; a crude
//! alignment is enough, for CTC corrects it.

use tch::{Kind, Tensor};

use crate::Result;

/// Frames below this share of the loud ones (95th percentile) at either end count as silence.
const SILENCE: f32 = 0.15;

/// A label for every frame: the blank where the ends are silent, the labels evenly spread between.
///
/// `energies` holds one number a frame, any measure of loudness.
pub fn even_alignment(energies: &[f32], labels: &[u32], blank: u32) -> Vec<u32> {
    let frames = energies.len();
    let mut alignment = vec![blank; frames];
    if labels.is_empty() || frames == 0 {
        return alignment;
    }
    let mut sorted = energies.to_vec();
    sorted.sort_by(f32::total_cmp);
    let threshold = SILENCE * sorted[(frames - 1) * 95 / 100];
    let loud = |energy: &f32| *energy > threshold;
    let start = energies.iter().position(loud).unwrap_or(0);
    let end = energies.iter().rposition(loud).map_or(frames, |last| last + 1);
    // Fewer loud frames than labels: the utterance is not what its ends suggest.
    let (start, end) = if end - start < labels.len() { (0, frames) } else { (start, end) };
    for (place, label) in alignment[start..end].iter_mut().enumerate() {
        *label = labels[((2 * place + 1) * labels.len() / (2 * (end - start))).min(labels.len() - 1)];
    }
    alignment
}

/// Cross entropy, in nats, of logits (batch, frame, vocabulary) against a label for every real frame: one sum an utterance,
/// (batch), on the same scale as CTC's, so that the two can be mixed.
///
/// # Errors
/// libtorch's own.
pub fn alignment_loss(logits: &Tensor, alignments: &[Vec<u32>]) -> Result<Tensor> {
    let (batch, frames, outputs) = logits.size3()?;
    const PADDING: i64 = -100;
    let mut targets = vec![PADDING; (batch * frames) as usize];
    for (row, alignment) in targets.chunks_exact_mut(frames.max(1) as usize).zip(alignments) {
        for (target, &label) in row.iter_mut().zip(alignment) {
            *target = i64::from(label);
        }
    }
    let targets = Tensor::f_from_slice(&targets)?.f_to_device(logits.device())?;
    let log_probabilities = logits.f_log_softmax(-1, Kind::Float)?.f_reshape([batch * frames, outputs])?;
    let losses = log_probabilities.f_nll_loss(&targets, None::<&Tensor>, tch::Reduction::None, PADDING)?;
    Ok(losses.f_view([batch, frames])?.f_sum_dim_intlist(-1, false, Kind::Float)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn labels_spread_over_the_loud_part() {
        let energies = [0.0, 0.01, 1.0, 0.9, 1.0, 0.05, 1.0, 1.0, 0.8, 0.0];
        // Seven loud frames: the middle of the fourth, 3.5 of 7, is where the second label begins.
        assert_eq!(even_alignment(&energies, &[5, 6], 0), [0, 0, 5, 5, 5, 6, 6, 6, 6, 0]);
    }

    #[test]
    fn every_label_gets_a_frame_when_there_are_enough() {
        for frames in 1..40usize {
            for count in 1..=frames {
                let labels: Vec<u32> = (1..=count as u32).collect();
                let mut alignment = even_alignment(&vec![1.0; frames], &labels, 0);
                assert!(alignment.is_sorted(), "{frames} {count}: {alignment:?}");
                alignment.dedup();
                assert_eq!(alignment, labels, "{frames} frames");
            }
        }
    }

    #[test]
    fn silence_and_nothing_do_not_panic() {
        assert_eq!(even_alignment(&[], &[1], 0), Vec::<u32>::new());
        assert_eq!(even_alignment(&[0.0, 0.0], &[], 0), [0, 0]);
        assert_eq!(even_alignment(&[0.0, 0.0], &[1, 2], 0), [1, 2]);
        assert_eq!(even_alignment(&[1.0], &[1, 2, 3], 0).len(), 1);
    }

    #[test]
    fn the_loss_counts_real_frames_only() {
        let logits = Tensor::zeros([2, 3, 4], (Kind::Float, Device::Cpu));
        let _ = logits.get(1).get(2).fill_(f64::NAN);
        // Uniform over four outputs: ln 4 a frame whatever the label.
        let losses = alignment_loss(&logits, &[vec![1, 0, 2], vec![3, 3]]).unwrap();
        assert_eq!(losses.size(), [2]);
        for (row, frames) in [(0, 3.0), (1, 2.0)] {
            // Four f32 roundings of numbers up to 4.2 at half an ulp (2.4e-7) each.
            assert!((losses.double_value(&[row]) - frames * 4f64.ln()).abs() < 1e-6);
        }
    }
}
