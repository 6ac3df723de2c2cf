//! The CTC loss, in fp32 and off cuDNN, whose kernel has been wrong in silence (pytorch issues 21680, 49046, 176910).

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{Error, Result};

/// What the summed loss is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// The labels of the whole update: nats per label.
    #[default]
    Label,
    /// The utterances of the whole update: nats per utterance (fairseq).
    Utterance,
    /// One: the sum (transformers' default).
    Sum,
}

/// Frames that a transcript needs: one a label, and a blank between adjacent equal ones.
pub fn required_frames(labels: &[u32]) -> usize {
    labels.len() + repeats(labels)
}

fn repeats(labels: &[u32]) -> usize {
    labels.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

/// A batch for the loss.
#[derive(Debug)]
pub struct LossBatch<'a> {
    /// (batch, frame, vocabulary).
    pub logits: &'a Tensor,
    /// Real frames of each row.
    pub lengths: &'a [i64],
    /// Labels of each row.
    pub labels: &'a [Vec<u32>],
    /// The blank's label.
    pub blank: u32,
}

/// Negative log-likelihood of each row's labels, in nats: (batch), fp32, with its gradient.
///
/// # Errors
/// A row whose labels do not fit its frames, a label outside the head's outputs, or lengths that do not belong to the
/// batch. Nothing infinite comes back and nothing is zeroed in silence.
pub fn ctc_loss(batch: &LossBatch) -> Result<Tensor> {
    let (rows, _, outputs) = batch.logits.size3()?;
    if batch.lengths.len() as i64 != rows || batch.labels.len() as i64 != rows {
        return Err(Error::Batch { rows, lengths: batch.lengths.len(), labels: batch.labels.len() });
    }
    for (index, (labels, &frames)) in batch.labels.iter().zip(batch.lengths).enumerate() {
        let (frames, needed) = (frames.max(0) as usize, required_frames(labels));
        if needed > frames {
            return Err(Error::Infeasible { index, frames, labels: labels.len(), repeats: repeats(labels), needed });
        }
        let wrong = |&&label: &&u32| i64::from(label) >= outputs || label == batch.blank;
        if let Some(&label) = labels.iter().find(wrong) {
            return Err(Error::Label { index, label, last: outputs - 1, blank: batch.blank });
        }
    }
    let log_probabilities = batch.logits.f_log_softmax(-1, Kind::Float)?.f_transpose(0, 1)?; // (frame, batch, vocabulary)
    let targets: Vec<i64> = batch.labels.iter().flatten().map(|&label| i64::from(label)).collect();
    let label_counts: Vec<i64> = batch.labels.iter().map(|labels| labels.len() as i64).collect();
    // 64-bit targets beside the logits: cuDNN takes 32-bit ones on the CPU only, so it is never chosen.
    let targets = Tensor::f_from_slice(&targets)?.f_to_device(batch.logits.device())?;
    let tensor = |values: &[i64]| -> Result<Tensor> { Ok(Tensor::f_from_slice(values)?.f_to_device(Device::Cpu)?) };
    Ok(Tensor::f_ctc_loss_tensor(
        &log_probabilities,
        &targets,
        &tensor(batch.lengths)?,
        &tensor(&label_counts)?,
        i64::from(batch.blank),
        tch::Reduction::None,
        false,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(logits: &Tensor, lengths: &[i64], labels: &[Vec<u32>]) -> Result<Vec<f64>> {
        let loss = ctc_loss(&LossBatch { logits, lengths, labels, blank: 0 })?;
        Ok(Vec::<f64>::try_from(loss.to_kind(Kind::Double)).unwrap())
    }

    #[test]
    fn uniform_logits_count_the_paths() {
        // 3 outputs, all equal: every path of T frames has probability 3⁻ᵀ. "1 2" in three frames is read from
        // 1 1 2, 1 2 2, _ 1 2, 1 _ 2 and 1 2 _: five paths, so −ln(5/27). "1 1" needs all three: 1 _ 1, −ln(1/27).
        let logits = Tensor::zeros([2, 3, 3], (Kind::Float, Device::Cpu));
        let values = loss(&logits, &[3, 3], &[vec![1, 2], vec![1, 1]]).unwrap();
        // fp32 of numbers below 4: 4 × 2⁻²³.
        assert!((values[0] - (27f64 / 5.0).ln()).abs() < 5e-7, "{values:?}");
        assert!((values[1] - 27f64.ln()).abs() < 5e-7, "{values:?}");
    }

    #[test]
    fn padding_frames_do_not_count() {
        let logits = Tensor::randn([2, 9, 5], (Kind::Float, Device::Cpu));
        let labels = [vec![1, 2, 2], vec![4]];
        let padded = loss(&logits, &[9, 4], &labels).unwrap();
        let _ = logits.get(1).narrow(0, 4, 5).fill_(1e4);
        let spoiled = loss(&logits, &[9, 4], &labels).unwrap();
        let alone = loss(&logits.narrow(0, 1, 1).narrow(1, 0, 4), &[4], &labels[1..]).unwrap();
        assert_eq!(padded, spoiled);
        assert!((padded[1] - alone[0]).abs() < 1e-5);
    }

    #[test]
    fn an_adjacent_repeat_needs_one_frame_more() {
        assert_eq!(required_frames(&[1, 1, 2, 2, 2]), 8);
        let logits = Tensor::zeros([1, 2, 3], (Kind::Float, Device::Cpu));
        let message = loss(&logits, &[2], &[vec![1, 1]]).unwrap_err().to_string();
        assert!(message.contains("2 frames") && message.contains("need 3"), "{message}");
        assert!(loss(&logits, &[2], &[vec![1, 2]]).unwrap()[0].is_finite());
    }

    #[test]
    fn an_empty_transcript_is_all_blank() {
        let logits = Tensor::zeros([1, 4, 3], (Kind::Float, Device::Cpu));
        // Only the path of four blanks: −ln 3⁻⁴.
        assert!((loss(&logits, &[4], &[vec![]]).unwrap()[0] - 4.0 * 3f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn the_blank_or_a_stranger_among_the_labels_is_refused() {
        let logits = Tensor::zeros([1, 4, 3], (Kind::Float, Device::Cpu));
        for label in [0, 3] {
            assert!(matches!(loss(&logits, &[4], &[vec![label]]), Err(Error::Label { .. })));
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let logits = Tensor::randn([1, 5, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let labels = [vec![3, 1, 1]];
        ctc_loss(&LossBatch { logits: &logits, lengths: &[5], labels: &labels, blank: 0 })
            .unwrap()
            .sum(Kind::Float)
            .backward();
        let gradient = logits.grad();
        let step = 1e-2;
        for (frame, output) in [(0, 3), (2, 0), (4, 1), (1, 2)] {
            let moved = |by: f64| {
                let moved = logits.detach().copy();
                let _ = moved.get(0).get(frame).get(output).fill_(logits.double_value(&[0, frame, output]) + by);
                loss(&moved, &[5], &labels).unwrap()[0]
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            // Rounding: 8 nats × 2⁻²³ / 2e-2 = 5e-5; curvature: step² / 6 = 2e-5.
            assert!((slope - gradient.double_value(&[0, frame, output])).abs() < 2e-4);
        }
    }
}
