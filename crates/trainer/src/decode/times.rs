//! When each word of a text was said, by forced alignment.

use klang_ctc::{AlignedLabel, align};
use klang_text::Vocabulary;
use klang_transcript::{Character, Word};
use unicode_normalization::char::is_combining_mark;

use super::Output;
use super::confidence::Calibration;

/// A word with its place and how probable its frames are.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedWord {
    /// Text, times in seconds, characters; its confidence is the mean probability (geometric) of its frames.
    pub word: Word,
    /// Mean of ln of the probability of its labels over their frames.
    pub log_probability: f64,
}

/// Where frames stand in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Samples from one frame to the next.
    pub samples_per_frame: i64,
    /// Samples a second.
    pub rate: u32,
}

impl Clock {
    /// Where a frame begins, in seconds.
    pub(super) fn time(self, frame: usize) -> f64 {
        (frame as i64 * self.samples_per_frame) as f64 / f64::from(self.rate)
    }
}

/// Aligns labels with a model's output, and gives their words. `duration` is the recording's, in seconds.
/// None where the labels do not fit; they always do if they were read off the same frames.
pub(super) fn timed_words(
    vocabulary: &Vocabulary,
    output: &Output,
    labels: &[u32],
    clock: Clock,
    duration: f64,
) -> Option<Vec<TimedWord>> {
    let aligned = align(&output.values, output.width, labels, vocabulary.blank())?;
    Some(words(vocabulary, labels, &aligned.labels, clock, duration))
}

/// The words of aligned labels.
pub(super) fn words(
    vocabulary: &Vocabulary,
    labels: &[u32],
    places: &[AlignedLabel],
    clock: Clock,
    duration: f64,
) -> Vec<TimedWord> {
    let spoken: Vec<(u32, &AlignedLabel)> = labels.iter().copied().zip(places).collect();
    let time = |frame: usize| clock.time(frame).min(duration);
    let word = |labels: &[(u32, &AlignedLabel)]| {
        let ids: Vec<u32> = labels.iter().map(|(id, _)| *id).collect();
        let text = vocabulary.decode(&ids);
        let ((_, first), (_, last)) = (labels.first()?, labels.last()?);
        let mut characters: Vec<Character> = Vec::new();
        let (mut sum, mut frames) = (0.0, 0);
        for (id, place) in labels {
            let length = place.end - place.start;
            sum += f64::from(place.log_probability) * length as f64;
            frames += length;
            let text = vocabulary.decode(&[*id]);
            match characters.last_mut() {
                _ if text.is_empty() => {}
                // A mark belongs to its letter.
                Some(letter) if text.chars().all(is_combining_mark) => {
                    letter.text += &text;
                    letter.end = time(place.end);
                }
                _ => characters.push(Character { text, start: time(place.start), end: time(place.end) }),
            }
        }
        let log_probability = sum / f64::from(u32::try_from(frames.max(1)).ok()?);
        let confidence = Some(log_probability.exp().clamp(0.0, 1.0) as f32);
        let word = Word { text, start: time(first.start), end: time(last.end), confidence, characters };
        (!word.text.is_empty()).then_some(TimedWord { word, log_probability })
    };
    vocabulary.words(&spoken, |(id, _)| *id).into_iter().filter_map(word).collect()
}

/// Gives words the confidence that comes true.
pub(super) fn calibrate(words: &mut [TimedWord], calibration: Option<&Calibration>) {
    let Some(calibration) = calibration else { return };
    for TimedWord { word, log_probability } in words {
        word.confidence = Some(calibration.probability(*log_probability) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock { samples_per_frame: 320, rate: 16_000 };

    #[test]
    fn words_have_their_times_characters_and_confidence() {
        let vocabulary = Vocabulary::from_texts(["ab e\u{301}"]).unwrap(); // <pad> <unk> | a b é, or e and its accent
        let label = |text: &str| vocabulary.encode(text).labels;
        let labels = [label("ab"), vec![vocabulary.delimiter().unwrap()], label("a")].concat();
        // a a _ b | _ a, a frame of 20 ms each; every label has a probability of 0.5 where it is, but the last 0.25.
        let path = [Some(0), Some(0), None, Some(1), Some(2), None, Some(3)];
        let mut rows = vec![-30.0f32; path.len() * vocabulary.len()];
        for (frame, place) in path.iter().enumerate() {
            let (id, p) = match place {
                None => (vocabulary.blank(), 0.5f32),
                Some(3) => (labels[3], 0.25),
                Some(place) => (labels[*place], 0.5),
            };
            rows[frame * vocabulary.len() + id as usize] = p.ln();
        }
        let mut words =
            timed_words(&vocabulary, &Output::of_rows(rows.clone(), vocabulary.len()), &labels, CLOCK, 0.13).unwrap();
        let times: Vec<(&str, f64, f64)> =
            words.iter().map(|timed| (timed.word.text.as_str(), timed.word.start, timed.word.end)).collect();
        // The last frame ends beyond the recording.
        assert_eq!(times, [("ab", 0.0, 0.08), ("a", 0.12, 0.13)]);
        let confidences: Vec<f32> = words.iter().filter_map(|timed| timed.word.confidence).collect();
        assert!((confidences[0] - 0.5).abs() < 1e-6 && (confidences[1] - 0.25).abs() < 1e-6, "{confidences:?}");
        let characters: Vec<&str> = words[0].word.characters.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(characters, ["a", "b"]);
        calibrate(&mut words, Some(&Calibration { slope: 0.0, offset: 0.0 }));
        assert_eq!(words[0].word.confidence, Some(0.5));
        assert_eq!(
            timed_words(
                &vocabulary,
                &Output::of_rows(rows[..vocabulary.len()].to_vec(), vocabulary.len()),
                &labels,
                CLOCK,
                0.02
            ),
            None
        );
        assert_eq!(
            timed_words(&vocabulary, &Output::of_rows(rows.clone(), vocabulary.len()), &[], CLOCK, 0.13),
            Some(Vec::new())
        );
    }

    #[test]
    fn a_combining_mark_belongs_to_its_letter() {
        // Yoruba's ẹ̀ has no composed form: two labels.
        let vocabulary = Vocabulary::from_texts(["\u{1eb9}\u{300}"]).unwrap();
        let labels = vocabulary.encode("\u{1eb9}\u{300}").labels;
        assert_eq!(labels.len(), 2);
        let mut rows = vec![-30.0f32; 2 * vocabulary.len()];
        rows[labels[0] as usize] = 0.0;
        rows[vocabulary.len() + labels[1] as usize] = 0.0;
        let words =
            timed_words(&vocabulary, &Output::of_rows(rows.clone(), vocabulary.len()), &labels, CLOCK, 1.0).unwrap();
        let [TimedWord { word, .. }] = words.as_slice() else { panic!("{words:?}") };
        assert_eq!((word.characters.len(), word.characters[0].text.as_str()), (1, "\u{1eb9}\u{300}"));
        assert_eq!((word.characters[0].start, word.characters[0].end), (0.0, 0.04));
    }
}
