//! A long recording into segments, cut where nobody speaks, while it is read.

use std::ops::Range;

/// Seconds of quiet that are kept on either side of speech, where the pause is long.
const KEPT: f64 = 0.5;
/// Seconds from which a pause is long: what lies between its kept ends becomes a segment of its own.
const LONG: f64 = 1.0;
/// Most seconds of a quiet segment.
const MOST_QUIET: f64 = 20.0;
/// Seconds over which loudness is taken for the floor, and that must be quiet around a cut where there is no pause.
const SMOOTH: f64 = 0.2;
/// Seconds in which the loudest that was heard counts half.
const LOUD_HALVES: f64 = 10.0;
/// Seconds in which the floor doubles, where nothing is as quiet any more.
const FLOOR_DOUBLES: f64 = 5.0;
/// The least floor: a third of a step of 16-bit audio.
const LEAST_FLOOR: f64 = 1e-5;
/// Below this share of the loudest, 30 dB, it is quiet whatever the floor.
const SURELY_QUIET: f64 = 0.03;
/// Above this share of the loudest, 14 dB, it is never quiet.
const NEVER_QUIET: f64 = 0.2;
/// So many times the floor, 6 dB, is quiet.
const ABOVE_FLOOR: f64 = 2.0;

/// How to cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmenterSettings {
    /// Samples per second.
    pub sample_rate: u32,
    /// Cuts fall on multiples of so many samples (a model's samples per frame); loudness is looked at in such steps.
    pub step: usize,
    /// Samples behind its end that a segment is given, where the recording has them.
    pub tail: usize,
    /// Seconds of quiet that are a pause, at least 0.1.
    pub pause: f64,
    /// Most seconds of a segment; speech without a pause is cut where it is quietest, in the second half of that.
    pub longest: f64,
}

/// A part of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeechSegment {
    /// Its samples, counted from the recording's first; segments follow one another without a gap.
    pub range: Range<usize>,
    /// These samples, and a tail of those behind them.
    pub samples: Vec<f32>,
    /// Of these samples, from the first step that is not quiet to the last; empty in a part of a long pause.
    pub speech: Range<usize>,
}

/// Takes a recording's samples as they come and gives its segments. A segment holds speech between two pauses; of a long pause
/// 0.5 s stay with the speech on either side and the rest is a segment of its own, so that nothing is left out. What is
/// quiet follows from the loudest of the last seconds and the quietest.
#[derive(Debug)]
pub struct Segmenter {
    settings: SegmenterSettings,
    /// From the first sample of the segment that is open.
    samples: Vec<f32>,
    /// Mean magnitudes of the open segment's steps.
    levels: Vec<f64>,
    /// Steps before the open segment.
    start: usize,
    loud: f64,
    floor: f64,
    /// Steps of quiet up to now; they may reach back behind the open segment.
    run: usize,
    /// Of the open segment, the first step that was not quiet and the one behind the last.
    speech: Option<(usize, usize)>,
    /// Cuts whose tail has not come yet: the step at which the segment ends, and where speech is in it.
    cuts: Vec<(usize, Option<(usize, usize)>)>,
    /// Steps before the first segment that has not been given.
    given: usize,
}

impl Segmenter {
    /// A segmenter at a recording's start.
    pub fn new(settings: SegmenterSettings) -> Segmenter {
        Segmenter {
            settings,
            samples: Vec::new(),
            levels: Vec::new(),
            start: 0,
            loud: 0.0,
            floor: f64::INFINITY,
            run: 0,
            speech: None,
            cuts: Vec::new(),
            given: 0,
        }
    }

    fn steps(&self, seconds: f64) -> usize {
        ((seconds * f64::from(self.settings.sample_rate) / self.settings.step.max(1) as f64).round() as usize).max(1)
    }

    /// Takes the next samples, and gives the segments that have ended. How samples are parted over calls changes no segment.
    pub fn push(&mut self, samples: &[f32]) -> Vec<SpeechSegment> {
        self.samples.extend(samples);
        let step = self.settings.step.max(1);
        loop {
            let from = (self.start + self.levels.len() - self.given) * step;
            let Some(chunk) = self.samples.get(from..from + step) else { break };
            // Without a constant offset, which some recorders add.
            let mean = chunk.iter().map(|&sample| f64::from(sample)).sum::<f64>() / step as f64;
            let level = chunk.iter().map(|&sample| (f64::from(sample) - mean).abs()).sum::<f64>() / step as f64;
            self.hear(level);
        }
        self.ended(false)
    }

    /// The segments that are left.
    pub fn end(mut self) -> Vec<SpeechSegment> {
        let mut last = self.ended(true);
        let rest = std::mem::take(&mut self.samples);
        if !rest.is_empty() {
            let start = self.given * self.settings.step.max(1);
            let speech = self.within(self.given, self.speech, rest.len());
            last.push(SpeechSegment { range: start..start + rest.len(), samples: rest, speech });
        }
        last
    }

    fn hear(&mut self, level: f64) {
        let is_quiet = self.is_quiet(level);
        let here = self.start + self.levels.len();
        let (kept, long) = (self.steps(KEPT), self.steps(LONG));
        self.levels.push(level);
        if is_quiet {
            self.run += 1;
            if self.speech.is_some() && self.run == long {
                self.cut(here + 1 - long + kept, None);
            } else if self.speech.is_none() && self.levels.len() == self.steps(MOST_QUIET) {
                self.cut(here + 1 - kept, None);
            }
        } else {
            if self.speech.is_some() && self.run >= self.steps(self.settings.pause) {
                self.cut(here - self.run / 2, None);
            } else if self.speech.is_none() && self.levels.len() > long + 1 && self.run > long {
                self.cut(here - kept, None);
            }
            self.run = 0;
            self.speech = Some((self.speech.map_or(here, |(first, _)| first), here + 1));
        }
        if self.levels.len() >= self.steps(self.settings.longest) {
            let at = self.start + self.quietest();
            let speech = self.speech;
            self.cut(at, speech.filter(|(_, end)| *end > at).map(|(first, end)| (first.max(at), end)));
            self.run = self.run.min(self.levels.len());
        }
    }

    /// Whether a step is quiet, by what was heard up to it.
    fn is_quiet(&mut self, level: f64) -> bool {
        let step = self.settings.step as f64 / f64::from(self.settings.sample_rate.max(1));
        self.loud = level.max(self.loud * (-step / LOUD_HALVES).exp2());
        let width = self.steps(SMOOTH).min(self.levels.len() + 1);
        let before = &self.levels[self.levels.len() + 1 - width..];
        let smooth = (before.iter().sum::<f64>() + level) / width as f64;
        self.floor = smooth.min(self.floor * (step / FLOOR_DOUBLES).exp2()).max(LEAST_FLOOR);
        let near_floor = (ABOVE_FLOOR * self.floor).min(NEVER_QUIET * self.loud);
        level <= near_floor.max(SURELY_QUIET * self.loud)
    }

    /// The step of the open segment's second half around which it is quietest, the first of equals.
    fn quietest(&self) -> usize {
        let (count, half) = (self.levels.len(), (self.steps(SMOOTH) / 2).max(1));
        let loudness = |&middle: &usize| {
            let around = &self.levels[middle.saturating_sub(half)..(middle + half).min(count)];
            around.iter().sum::<f64>() / around.len() as f64
        };
        let places = (count / 2).max(1)..count.saturating_sub(half).max(count / 2 + 1);
        places.min_by(|one, other| loudness(one).total_cmp(&loudness(other))).unwrap_or(count)
    }

    /// Ends the open segment at a step, behind which there is already this speech.
    fn cut(&mut self, at: usize, behind: Option<(usize, usize)>) {
        let own = self.speech.filter(|(first, _)| *first < at).map(|(first, end)| (first, end.min(at)));
        self.cuts.push((at, own));
        self.levels.drain(..at - self.start);
        self.start = at;
        self.speech = behind;
    }

    /// Where speech is in a segment that begins at a step, in samples of its own.
    fn within(&self, start: usize, speech: Option<(usize, usize)>, length: usize) -> Range<usize> {
        let step = self.settings.step.max(1);
        let sample = |at: usize| (at.saturating_sub(start) * step).min(length);
        // What follows the last whole step was not looked at, and counts as speech.
        let last = |end: usize| if length - sample(end) < step { length } else { sample(end) };
        speech.map_or(0..0, |(first, end)| sample(first)..last(end))
    }

    /// The segments whose tail has come, or that will get none.
    fn ended(&mut self, all: bool) -> Vec<SpeechSegment> {
        let SegmenterSettings { step, tail, .. } = self.settings;
        let step = step.max(1);
        let mut ended = Vec::new();
        while let Some(&(at, speech)) = self.cuts.first() {
            let length = (at - self.given) * step;
            if self.samples.len() < length + tail && !all {
                break;
            }
            let samples = self.samples[..(length + tail).min(self.samples.len())].to_vec();
            self.samples.drain(..length);
            let speech = self.within(self.given, speech, length);
            ended.push(SpeechSegment { range: self.given * step..at * step, samples, speech });
            self.given = at;
            self.cuts.remove(0);
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: SegmenterSettings =
        SegmenterSettings { sample_rate: 16_000, step: 320, tail: 80, pause: 0.3, longest: 30.0 };

    /// Speech as a tone that swells and fades five times a second, over noise, with pauses at the given seconds.
    fn recording(length: f64, noise: f32, pauses: &[[f64; 2]]) -> Vec<f32> {
        let mut state = 1u32;
        let sample = |place: usize| {
            let time = place as f64 / 16_000.0;
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = noise * ((state >> 8) as f32 / (1 << 23) as f32 - 1.0);
            let silent = pauses.iter().any(|&[start, end]| (start..end).contains(&time));
            let swell = 0.6 + 0.4 * (time * 5.0 * std::f64::consts::TAU).sin();
            if silent { hiss } else { hiss + ((time * 900.0).sin() * 0.3 * swell) as f32 }
        };
        (0..(length * 16_000.0) as usize).map(sample).collect()
    }

    fn segments(recording: &[f32], settings: SegmenterSettings, piece: usize) -> Vec<SpeechSegment> {
        let mut segmenter = Segmenter::new(settings);
        let mut segments: Vec<SpeechSegment> =
            recording.chunks(piece).flat_map(|piece| segmenter.push(piece)).collect();
        segments.extend(segmenter.end());
        segments
    }

    fn seconds(segments: &[SpeechSegment]) -> Vec<(f64, f64, bool)> {
        let seconds = |sample: usize| sample as f64 / 16_000.0;
        segments.iter().map(|one| (seconds(one.range.start), seconds(one.range.end), one.speech.is_empty())).collect()
    }

    #[test]
    fn cuts_fall_into_pauses_and_the_middle_of_a_long_one_stands_alone() {
        let pauses = [[1.0, 1.5], [3.0, 3.1], [5.0, 8.0], [9.0, 9.4]];
        for noise in [0.0, 0.003, 0.02] {
            let found = seconds(&segments(&recording(12.0, noise, &pauses), SETTINGS, 4_000));
            let expected = [(0.0, 1.25), (1.25, 5.5), (5.5, 7.5), (7.5, 9.2), (9.2, 12.0)];
            assert_eq!(found.len(), expected.len(), "{noise}: {found:?}");
            for ((start, end, is_quiet), (from, to)) in found.iter().zip(expected) {
                // The tone swells from and fades to a fifth in a tenth of a second.
                assert!((start - from).abs() < 0.1 && (end - to).abs() < 0.1, "{noise}: {found:?}");
                assert_eq!(*is_quiet, from == 5.5, "{noise}: {found:?}");
            }
            let first = &segments(&recording(12.0, noise, &pauses), SETTINGS, 4_000)[0];
            assert!(first.speech.start < 1_600 && (14_400..=16_320).contains(&first.speech.end), "{:?}", first.speech);
        }
    }

    #[test]
    fn segments_tile_the_recording_whatever_it_is_and_however_it_comes() {
        let none: &[[f64; 2]] = &[];
        let settings = SegmenterSettings { longest: 4.0, ..SETTINGS };
        for (length, noise, pauses) in [
            (0.0, 0.0, none),
            (0.013, 0.0, none),
            (65.01, 0.0, none),
            (65.01, 0.01, &[[0.0, 70.0]]),
            (65.01, 0.0, &[[0.0, 70.0]]),
            (65.01, 0.001, &[[0.0, 3.0], [10.0, 40.0], [50.0, 50.4], [51.0, 52.0], [60.0, 70.0]]),
        ] {
            let recording = recording(length, noise, pauses);
            let whole = segments(&recording, settings, usize::MAX);
            let mut next = 0;
            for (number, segment) in whole.iter().enumerate() {
                let Range { start, end } = segment.range;
                assert_eq!(start, next);
                assert!(end > start && start % 320 == 0, "{:?}", segment.range);
                let most = if segment.speech.is_empty() { MOST_QUIET } else { 4.0 };
                assert!((end - start) as f64 / 16_000.0 <= most + 1e-9, "{:?}", segment.range);
                let tail = if number + 1 == whole.len() { 0 } else { 80.min(recording.len() - end) };
                assert_eq!(segment.samples, recording[start..end + tail]);
                next = end;
            }
            assert_eq!(next, recording.len());
            for piece in [1, 319, 7_001] {
                assert_eq!(segments(&recording, settings, piece), whole, "pieces of {piece}");
            }
        }
    }

    #[test]
    fn pauses_at_random_break_nothing() {
        let settings = SegmenterSettings { longest: 2.0, pause: 0.1, ..SETTINGS };
        let mut state = 7u64;
        for round in 0..300 {
            let (mut samples, mut speaks) = (Vec::new(), false);
            while samples.len() < 20 * 320 * 50 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let level = if speaks { 0.1 + (state >> 60) as f32 / 20.0 } else { 0.0 };
                samples.resize(samples.len() + 320 * (1 + (state >> 33) as usize % 60), level);
                speaks = !speaks;
            }
            let found = segments(&samples, settings, 5_000);
            assert!(found.windows(2).all(|pair| pair[0].range.end == pair[1].range.start), "{round}: {found:?}");
            assert_eq!(found.last().map(|last| last.range.end), Some(samples.len()));
            assert!(found.iter().all(|one| one.speech.is_empty() || one.range.len() <= 2 * 16_000), "{round}");
        }
    }

    #[test]
    fn what_follows_a_loud_noise_is_heard() {
        // A blow, and speech a tenth as loud from a second later on.
        let mut recording: Vec<f32> = recording(20.0, 0.0005, &[[0.0, 1.0], [5.0, 6.5]]);
        recording.iter_mut().for_each(|sample| *sample *= 0.3);
        recording[800..2_400].fill(0.9);
        let found = seconds(&segments(&recording, SETTINGS, 4_000));
        let speech: f64 = found.iter().filter(|(.., is_quiet)| !is_quiet).map(|(start, end, _)| end - start).sum();
        assert!(speech > 18.0, "{found:?}");
    }
}
