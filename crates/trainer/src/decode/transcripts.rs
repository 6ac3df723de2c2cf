//! How well transcripts fit their recordings: the times of their words, and which of them look wrong.

use klang_ctc::required_frames;
use klang_text::Vocabulary;

use super::decoder::Decoder;
use super::in_parallel;
use super::listener::greedy;
use super::times::TimedWord;
use crate::data::{Dataset, Item, LoaderSettings};
use crate::error::Result;
use crate::evaluate::{Emitted, emitted};
use crate::event::Observer;
use crate::model::Recogniser;

/// Below this many nats a label a transcript is as good as what the model would write itself.
const GOOD: f64 = 0.5;
/// From this share of letters on, more or fewer than the model hears, something is missing.
const LENGTHS: f64 = 1.4;

/// What is wrong with a transcript, if anything seems to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Suspicion {
    /// It fits.
    None,
    /// Nothing is written.
    Empty,
    /// It holds characters that the model does not write.
    Unknown(Vec<char>),
    /// The recording is too short for it: frames there are, and frames that its labels need.
    TooShort {
        /// Frames there are.
        frames: usize,
        /// Frames its labels need.
        needed: usize,
    },
    /// The model hears many more letters than are written.
    MoreIsSaid,
    /// The model hears many fewer letters than are written.
    LessIsSaid,
    /// The model hears something else.
    OtherIsSaid,
}

impl Suspicion {
    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Suspicion::None => "fits".into(),
            Suspicion::Empty => "nothing is written".into(),
            Suspicion::Unknown(characters) => {
                let mut distinct = characters.clone();
                distinct.sort_unstable();
                distinct.dedup();
                format!("characters that the model does not write: {}", distinct.iter().collect::<String>())
            }
            Suspicion::TooShort { frames, needed } => {
                format!("too long for the recording: {frames} frames, its labels need {needed}")
            }
            Suspicion::MoreIsSaid => "more is said than written".into(),
            Suspicion::LessIsSaid => "less is said than written".into(),
            Suspicion::OtherIsSaid => "something else is said".into(),
        }
    }
}

/// A transcript beside its recording.
#[derive(Clone, Debug, PartialEq)]
pub struct AlignedTranscript {
    /// The utterance.
    pub id: String,
    /// Its normalised transcript.
    pub text: String,
    /// What the model reads by itself, greedily.
    pub heard: String,
    /// Nats for each label that the transcript's best path is less probable than the best of all paths; none where it has no
    /// path at all. 0 is perfect.
    pub cost: Option<f64>,
    /// Its words; empty where it has no path.
    pub words: Vec<TimedWord>,
    /// What seems to be wrong.
    pub suspicion: Suspicion,
}

/// Aligns every transcript of a data set with its recording, in the data set's order.
///
/// # Errors
/// Audio that cannot be read; libtorch's own.
pub fn align_transcripts(
    model: &Recogniser,
    data: &Dataset,
    loading: &LoaderSettings,
    decoder: &Decoder,
    observer: &mut dyn Observer,
) -> Result<Vec<AlignedTranscript>> {
    let heard = emitted(model, data, loading, observer)?;
    let items: std::collections::HashMap<&str, (usize, &Item)> =
        (data.items.iter().enumerate()).map(|(place, item)| (item.utterance.id.as_str(), (place, &**item))).collect();
    let threads = model.compute.threads.max(1) as usize;
    let vocabulary = &model.spec.vocabulary;
    let one =
        |one: &Emitted| items.get(one.id.as_str()).map(|(place, item)| (*place, align(one, item, vocabulary, decoder)));
    let mut aligned: Vec<(usize, AlignedTranscript)> =
        in_parallel(&heard, threads, one)?.into_iter().flatten().collect();
    aligned.sort_by_key(|(place, _)| *place);
    Ok(aligned.into_iter().map(|(_, one)| one).collect())
}

fn align(one: &Emitted, item: &Item, vocabulary: &Vocabulary, decoder: &Decoder) -> AlignedTranscript {
    let output = &one.output;
    let frames = output.frames();
    let free = greedy(output, vocabulary);
    let heard = vocabulary.decode(&free);
    let aligned = |cost, words, suspicion| AlignedTranscript {
        id: one.id.clone(),
        text: item.text.clone(),
        heard: heard.clone(),
        cost,
        words,
        suspicion,
    };
    let unknown = vocabulary.encode(&item.text).unknown;
    let labels: Vec<u32> = item.labels.iter().copied().filter(|&label| !vocabulary.is_special(label)).collect();
    if labels.is_empty() {
        let suspicion = if unknown.is_empty() { Suspicion::Empty } else { Suspicion::Unknown(unknown) };
        return aligned(None, Vec::new(), suspicion);
    }
    let needed = required_frames(&labels);
    let Some(path) = klang_ctc::align(&output.values, output.width, &labels, vocabulary.blank()) else {
        return aligned(None, Vec::new(), Suspicion::TooShort { frames, needed });
    };
    let best: f64 = output.rows().map(|row| f64::from(row.iter().copied().fold(f32::MIN, f32::max))).sum();
    let cost = ((best - path.log_probability) / labels.len() as f64).max(0.0);
    let (said, written) = (free.len() as f64, labels.len() as f64);
    let suspicion = match () {
        () if !unknown.is_empty() => Suspicion::Unknown(unknown),
        () if cost < GOOD => Suspicion::None,
        () if said > LENGTHS * written => Suspicion::MoreIsSaid,
        () if written > LENGTHS * said => Suspicion::LessIsSaid,
        () => Suspicion::OtherIsSaid,
    };
    aligned(Some(cost), decoder.timed(output, &labels, item.duration), suspicion)
}

/// The worst first: those without a path, then by what they cost; of equal ones by id.
pub fn worst_first(aligned: &[AlignedTranscript]) -> Vec<&AlignedTranscript> {
    let mut worst: Vec<&AlignedTranscript> = aligned.iter().collect();
    let cost = |one: &AlignedTranscript| one.cost.unwrap_or(f64::INFINITY);
    worst.sort_by(|one, other| cost(other).total_cmp(&cost(one)).then_with(|| one.id.cmp(&other.id)));
    worst
}

#[cfg(test)]
mod tests {
    use super::super::Output;
    use super::super::settings::DecodeSettings;
    use super::*;
    use crate::model::ModelSpec;
    use klang_corpus::Utterance;

    /// What a model that hears "abc", a frame for each letter, makes of a transcript.
    fn judged(text: &str) -> AlignedTranscript {
        let spec = ModelSpec::example();
        let vocabulary = &spec.vocabulary;
        let mut rows = vec![-4.0f32; 6 * vocabulary.len()];
        let labels = vocabulary.encode("abc").labels;
        let path = [labels[0], vocabulary.blank(), labels[1], vocabulary.blank(), labels[2], vocabulary.blank()];
        path.iter().enumerate().for_each(|(frame, &label)| rows[frame * vocabulary.len() + label as usize] = -0.25);
        let heard = Emitted { id: "u".into(), reference: text.into(), output: Output::of_rows(rows, vocabulary.len()) };
        let labels = vocabulary.encode(text).labels;
        let item = Item { utterance: Utterance::new("u", "u.wav"), duration: 0.12, text: text.into(), labels };
        let decoder = Decoder::new(DecodeSettings::default(), &spec).unwrap();
        align(&heard, &item, vocabulary, &decoder)
    }

    #[test]
    fn what_is_wrong_with_a_transcript_is_said() {
        let right = judged("abc");
        assert_eq!((right.heard.as_str(), right.cost, &right.suspicion), ("abc", Some(0.0), &Suspicion::None));
        assert_eq!((right.words[0].word.start, right.words[0].word.end), (0.0, 0.1));
        let cases = [
            ("", Suspicion::Empty),
            ("xyz", Suspicion::Unknown(vec!['x', 'y', 'z'])),
            ("abx", Suspicion::Unknown(vec!['x'])),
            ("aaaa", Suspicion::TooShort { frames: 6, needed: 7 }),
            ("a", Suspicion::MoreIsSaid),
            ("abcda", Suspicion::LessIsSaid),
            ("dbd", Suspicion::OtherIsSaid),
        ];
        for (text, suspicion) in cases {
            let found = judged(text);
            assert_eq!(found.suspicion, suspicion, "{text}: {found:?}");
        }
        // Two of three labels are at places where another one is 3.75 nats more probable.
        assert!((judged("dbd").cost.unwrap() - 2.0 * 3.75 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn the_worst_come_first() {
        let all = [judged("abc"), judged("dbd"), judged("aaaa"), judged("abd")];
        let texts: Vec<&str> = worst_first(&all).iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["aaaa", "dbd", "abd", "abc"]);
    }
}
