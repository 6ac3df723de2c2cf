//! A long recording with its text, line by line: where each line was said.

use std::path::Path;

use klang_ctc::{AlignedLabel, align, required_frames};
use klang_text::Normaliser;

use super::Output;
use super::decoder::Decoder;
use super::times::TimedWord;
use crate::error::{Error, Result};
use crate::model::Recogniser;
use crate::stretches::{FileEnd, Stretches};

/// Seconds that are kept on either side of a line, where nobody else speaks.
const PAD: f64 = 0.3;
/// Lines that are named in a message.
const NAMED: usize = 5;

/// A line and where it was said.
#[derive(Clone, Debug, PartialEq)]
pub struct AlignedLine {
    /// Its number in the text, from 1.
    pub number: usize,
    /// The line, as it was given.
    pub text: String,
    /// Where to cut before it, in seconds.
    pub start: f64,
    /// Where to cut behind it.
    pub end: f64,
    /// Nats for each label that its path is less probable than the best of all paths; 0 is perfect.
    pub cost: f64,
    /// Its words.
    pub words: Vec<TimedWord>,
}

/// A recording, cut by its text.
#[derive(Clone, Debug, PartialEq)]
pub struct AlignedRecording {
    /// The lines that hold anything, in their order.
    pub lines: Vec<AlignedLine>,
    /// Seconds of audio.
    pub duration: f64,
    /// What is odd about the file or the text.
    pub warnings: Vec<String>,
}

impl Recogniser {
    /// Finds where each line of a text is said in a recording that says all of it, in that order. What is said beyond the text
    /// is passed over as if it were silence: within a line it makes the line's cost high, between lines it is not seen.
    ///
    /// # Errors
    /// Audio that cannot be read; a text without letters that the model writes, or with more than the recording has room for.
    pub fn align_recording(&self, path: &Path, lines: &[String], decoder: &Decoder) -> Result<AlignedRecording> {
        let refuse = |message: String| Error::Data { path: path.into(), message };
        let (vocabulary, normaliser) = (&self.spec.vocabulary, Normaliser::new(&self.spec.text)?);
        let (output, FileEnd { duration, mut warnings }) = self.output_of(path)?;
        // Each line's labels, between delimiters where there are any.
        let (mut labels, mut places) = (Vec::new(), Vec::new());
        let (mut odd, mut left_out) = (std::collections::BTreeSet::new(), Vec::new());
        for (line, number) in lines.iter().zip(1usize..) {
            let encoded = vocabulary.encode(&normaliser.apply(line));
            odd.extend(encoded.unknown);
            let own: Vec<u32> = encoded.labels.into_iter().filter(|&label| !vocabulary.is_special(label)).collect();
            if own.is_empty() {
                left_out.extend((!line.trim().is_empty()).then_some(number));
                continue;
            }
            if !labels.is_empty() {
                labels.extend(vocabulary.delimiter());
            }
            places.push((number, line, labels.len()..labels.len() + own.len()));
            labels.extend(own);
        }
        if !odd.is_empty() {
            let characters: String = odd.iter().collect();
            warnings.push(format!(
                "its text holds characters that the model does not write, and that are passed over: {characters}"
            ));
        }
        if !left_out.is_empty() {
            let named = left_out.iter().take(NAMED).map(usize::to_string).collect::<Vec<_>>().join(", ");
            let more = if left_out.len() > NAMED { ", …" } else { "" };
            warnings.push(format!("lines of its text that hold nothing the model writes are left out: {named}{more}"));
        }
        if labels.is_empty() {
            return Err(refuse("its text holds nothing that the model writes".into()));
        }
        let frames = output.frames();
        let aligned = align(&output.values, output.width, &labels, vocabulary.blank()).ok_or_else(|| {
            refuse(format!(
                "{frames} frames, the labels of its text need {}: is it the text of this recording?",
                required_frames(&labels)
            ))
        })?;
        let time = |frame: usize| decoder.time(frame).min(duration);
        let spoken: Vec<(f64, f64)> = places
            .iter()
            .map(|(_, _, range)| {
                let own = &aligned.labels[range.clone()];
                (own.first().map_or(0.0, |label| time(label.start)), own.last().map_or(0.0, |label| time(label.end)))
            })
            .collect();
        let cut = |(number, (line_number, line, range)): (usize, &(usize, &String, std::ops::Range<usize>))| {
            let (start, end) = spoken[number];
            let before = number.checked_sub(1).map_or(0.0, |before| spoken[before].1);
            let behind = spoken.get(number + 1).map_or(duration, |behind| behind.0);
            // Half a pause each, between two lines; all of it at the ends.
            let share = |pause: f64, is_end: bool| if is_end { pause } else { pause / 2.0 };
            AlignedLine {
                number: *line_number,
                text: line.trim().to_owned(),
                start: start - share(start - before, number == 0).clamp(0.0, PAD),
                end: end + share(behind - end, number + 1 == spoken.len()).clamp(0.0, PAD),
                cost: cost(
                    &output.values,
                    output.width,
                    &labels[range.clone()],
                    &aligned.labels[range.clone()],
                    vocabulary.blank(),
                ),
                words: decoder.words(&labels[range.clone()], &aligned.labels[range.clone()], duration),
            }
        };
        let lines = places.iter().enumerate().map(cut).collect();
        Ok(AlignedRecording { lines, duration, warnings })
    }
}

impl Recogniser {
    /// The model's output on all frames of a file, stretch after stretch.
    fn output_of(&self, path: &Path) -> Result<(Output, FileEnd)> {
        let mut file = Stretches::open(&self.spec, path)?;
        let mut all = Output::default();
        while let Some(stretch) = file.next()? {
            all.append(self.stretch_output(&stretch)?, stretch.first_frame, self.spec.vocabulary.blank());
        }
        Ok((all, file.end()))
    }
}

/// Nats for each label, over the frames from the first to the last.
fn cost(rows: &[f32], width: usize, labels: &[u32], places: &[AlignedLabel], blank: u32) -> f64 {
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return 0.0 };
    let mut taken = vec![blank; last.end - first.start];
    for (label, place) in labels.iter().zip(places) {
        taken[place.start - first.start..place.end - first.start].fill(*label);
    }
    let lost = |(frame, label): (usize, &u32)| {
        let row = &rows[(first.start + frame) * width..][..width];
        f64::from(row.iter().copied().fold(f32::MIN, f32::max) - row[*label as usize])
    };
    taken.iter().enumerate().map(lost).sum::<f64>() / labels.len() as f64
}
