//! Speech as it is spoken: samples in, words out as soon as they stand.
//!
//! Each second of new audio is computed in a window with what was heard before it. Frames near the window's end lack what is
//! still to be said, and wait for the next one. What the search has settled on cannot change any more and is given out.

use klang_audio::Moments;
use klang_wav2vec2::{Pass, WaveformBatch};

use crate::decode::{Decoder, Listener, Output};
use crate::error::Result;
use crate::model::Recogniser;

/// Seconds of new audio that are waited for.
const STEP: f64 = 1.0;
/// Seconds before a frame that are computed with it.
const BEFORE: f64 = 4.0;
/// Seconds behind a frame that are waited for. The positional convolution looks 1.28 s away.
const BEHIND: f64 = 1.5;
/// Seconds without a label after which the word that was begun is taken for ended.
const PAUSE: f64 = 1.0;

/// What stands since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewWords {
    /// Words, in their order.
    pub words: Vec<String>,
    /// Whether a pause has followed them.
    pub paused: bool,
}

/// A recogniser at work on speech that goes on.
pub struct Live<'a> {
    model: &'a Recogniser,
    listener: Box<dyn Listener + 'a>,
    /// What windows are cut from; it begins at `first`.
    samples: Vec<f32>,
    /// The frame that begins with the first of the samples.
    first: i64,
    /// Frames that were read.
    read: i64,
    /// Samples behind the last window.
    fresh: usize,
    /// Of all samples so far. A model that was trained on normalised audio is given it by these.
    moments: Moments,
    /// Labels that were given out.
    given: usize,
    /// The frame in which the best text's number of labels last changed, and that number.
    grown: (i64, usize),
}

impl Recogniser {
    /// Listens to speech that goes on, one speaker or several, without an end.
    pub fn listen<'a>(&'a self, decoder: &'a Decoder) -> Live<'a> {
        Live {
            model: self,
            listener: decoder.listener(),
            samples: Vec::new(),
            first: 0,
            read: 0,
            fresh: 0,
            moments: Moments::default(),
            given: 0,
            grown: (0, 0),
        }
    }
}

impl Live<'_> {
    fn frames(&self, seconds: f64) -> i64 {
        let spec = &self.model.spec;
        (seconds * f64::from(spec.audio.sampling_rate) / spec.config.samples_per_frame() as f64).round() as i64
    }

    /// Hears samples at the model's rate, in [−1, 1], and gives the words that stand since, second by second. How samples are
    /// parted over calls does not change the words.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn hear(&mut self, samples: &[f32]) -> Result<Vec<NewWords>> {
        let step = (STEP * f64::from(self.model.spec.audio.sampling_rate)) as usize;
        let mut new = Vec::new();
        let mut rest = samples;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(step - self.fresh));
            rest = later;
            self.take(now);
            if self.fresh == step {
                self.fresh = 0;
                self.read(BEHIND)?;
                new.push(self.words(false));
            }
        }
        Ok(new)
    }

    /// Ends, and gives the words that are left.
    ///
    /// # Errors
    /// libtorch's own.
    pub fn end(self) -> Result<NewWords> {
        Ok(self.finish()?.0)
    }

    /// The words that are left, and how many frames were read in all.
    fn finish(mut self) -> Result<(NewWords, i64)> {
        self.read(0.0)?;
        Ok((self.words(true), self.read))
    }

    fn take(&mut self, samples: &[f32]) {
        self.moments.push(samples);
        self.samples.extend(samples);
        self.fresh += samples.len();
    }

    /// Reads the frames that have so many seconds behind them.
    fn read(&mut self, behind: f64) -> Result<()> {
        let config = &self.model.spec.config;
        let there = config.frames(self.samples.len() as i64);
        let until = self.first + there - self.frames(behind);
        if until <= self.read || there <= 0 {
            return Ok(());
        }
        let window = self.normalised();
        let batch = WaveformBatch::pad(&[&window])?;
        let logits = tch::no_grad(|| self.model.forward(&batch, Pass::Evaluation))?.logits;
        let kept = logits.f_select(0, 0)?.f_narrow(0, self.read - self.first, until - self.read)?;
        self.listener.push(&Output::of(&kept)?);
        self.read = until;
        // What no later frame looks back on is forgotten.
        let keep_from = (self.read - self.frames(BEFORE)).max(self.first);
        let dropped = ((keep_from - self.first) * config.samples_per_frame()) as usize;
        self.samples.drain(..dropped.min(self.samples.len()));
        self.first = keep_from;
        Ok(())
    }

    /// The window as the model expects it.
    fn normalised(&self) -> Vec<f32> {
        if !self.model.spec.audio.do_normalize {
            return self.samples.clone();
        }
        let mut window = self.samples.clone();
        self.moments.normalise(&mut window);
        window
    }

    /// The words of settled labels that were not given out yet.
    fn words(&mut self, is_end: bool) -> NewWords {
        let vocabulary = &self.model.spec.vocabulary;
        if self.read == 0 {
            return NewWords { words: Vec::new(), paused: is_end };
        }
        let length = self.listener.length();
        if length != self.grown.1 {
            self.grown = (self.read, length);
        }
        // The next words do not change those before a pause.
        let paused = is_end || (self.read - self.grown.0 >= self.frames(PAUSE) && self.listener.commit());
        let settled = if is_end { self.listener.end() } else { self.listener.settled() };
        let fresh = settled.get(self.given..).unwrap_or_default();
        // The last word may go on, unless nothing has come for a while.
        let whole = if paused { fresh.len() } else { vocabulary.settled_words(fresh) };
        let words = vocabulary.words(&fresh[..whole], |&label| label).into_iter();
        let words: Vec<String> = words.map(|word| vocabulary.decode(word)).filter(|word| !word.is_empty()).collect();
        self.given += whole;
        NewWords { words, paused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeMethod, DecodeSettings};
    use crate::device::Compute;
    use crate::model::ModelSpec;
    use tch::{Device, Kind};

    fn model() -> Recogniser {
        let spec = ModelSpec::example();
        Recogniser::random(spec, Compute { device: Device::Cpu, kind: Kind::Float, int8: false, threads: 1 }, 1)
            .unwrap()
    }

    /// A sound whose pitch changes every tenth of a second.
    fn sound(seconds: usize) -> Vec<f32> {
        (0..seconds * 16_000)
            .map(|index| (index as f32 * (0.02 + 0.05 * ((index / 1600 * 3) % 13) as f32)).sin() * 0.3)
            .collect()
    }

    fn heard(model: &Recogniser, settings: DecodeSettings, sound: &[f32], piece: usize) -> Vec<String> {
        let decoder = Decoder::new(settings, &model.spec).unwrap();
        let mut live = model.listen(&decoder);
        let mut words = Vec::new();
        for piece in sound.chunks(piece) {
            words.extend(live.hear(piece).unwrap().into_iter().flat_map(|new| new.words));
            assert!(live.samples.len() <= 8 * 16_000, "{}", live.samples.len());
        }
        let frames = model.spec.config.frames(sound.len() as i64);
        let (last, read) = live.finish().unwrap();
        assert_eq!(read, frames.max(0), "every frame is read");
        assert!(last.paused);
        words.extend(last.words);
        words
    }

    #[test]
    fn words_do_not_depend_on_the_pieces_and_none_is_lost() {
        let model = model();
        let sound = sound(20);
        let beam = DecodeSettings { method: DecodeMethod::Beam, width: 10, ..DecodeSettings::default() };
        for settings in [DecodeSettings::default(), beam] {
            let words = heard(&model, settings.clone(), &sound, 16_000);
            assert!(!words.is_empty());
            for piece in [401, 5_000, 320_000] {
                assert_eq!(heard(&model, settings.clone(), &sound, piece), words, "pieces of {piece}");
            }
        }
    }

    /// Says what it is told to: a text for each time that it is given frames, the last one ever after.
    struct Script {
        texts: Vec<Vec<u32>>,
        pushes: usize,
        may_end: bool,
    }

    impl Listener for Script {
        fn push(&mut self, _: &Output) {
            self.pushes += 1;
        }

        fn settled(&mut self) -> Vec<u32> {
            self.texts[self.pushes.min(self.texts.len()) - 1].clone()
        }

        fn length(&self) -> usize {
            self.texts[self.pushes.min(self.texts.len()) - 1].len()
        }

        fn commit(&mut self) -> bool {
            self.may_end
        }

        fn end(&mut self) -> Vec<u32> {
            self.settled()
        }
    }

    #[test]
    fn a_word_is_given_out_once_another_has_begun_or_after_a_pause() {
        let model = model();
        let decoder = Decoder::new(DecodeSettings::default(), &model.spec).unwrap();
        let texts = ["a", "ab c", "ab c", "ab c d"];
        for may_end in [true, false] {
            let mut live = model.listen(&decoder);
            let texts = texts.iter().map(|text| model.spec.vocabulary.encode(text).labels).collect();
            live.listener = Box::new(Script { texts, pushes: 0, may_end });
            // 1.5 s wait: frames are given in the second step, and in each behind it.
            let steps = live.hear(&sound(5)).unwrap();
            let words: Vec<(Vec<&str>, bool)> =
                steps.iter().map(|new| (new.words.iter().map(String::as_str).collect(), new.paused)).collect();
            let (pause, rest): (&[&str], &[&str]) = if may_end { (&["c"], &[]) } else { (&[], &["c"]) };
            let expected = [
                (vec![], false),
                (vec![], false),
                (vec!["ab"], false),
                (pause.to_vec(), may_end),
                (rest.to_vec(), false),
            ];
            assert_eq!(words, expected, "{may_end}");
            assert_eq!(live.end().unwrap(), NewWords { words: vec!["d".into()], paused: true });
        }
    }

    #[test]
    fn a_short_sound_is_read_at_its_end() {
        let model = model();
        // Computed in one window, as a file is, but for the sum of squares by which it is normalised.
        let mut samples = sound(1)[..12_000].to_vec();
        let words = heard(&model, DecodeSettings::default(), &samples, 1_000);
        klang_audio::normalise(&mut samples);
        let whole =
            tch::no_grad(|| model.forward(&WaveformBatch::pad(&[&samples]).unwrap(), Pass::Evaluation)).unwrap();
        let text = model.read(&whole).unwrap().remove(0).text;
        assert_eq!(words.join(" "), text);
        assert_eq!(heard(&model, DecodeSettings::default(), &[], 1), Vec::<String>::new());
        assert_eq!(heard(&model, DecodeSettings::default(), &[0.0; 300], 7), Vec::<String>::new());
    }
}
