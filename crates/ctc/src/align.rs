//! Forced alignment: the most probable path of a given text (Viterbi), and with it the frames of each label.

/// Cells of the lattice, frames by states, whose ways back are held at a time: 64 MB.
const CELLS: usize = 1 << 28;

/// A label's place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlignedLabel {
    /// The first of its frames.
    pub start: usize,
    /// The frame behind its last.
    pub end: usize,
    /// Mean of ln of its probability over its frames.
    pub log_probability: f32,
}

/// The most probable path of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment {
    /// By label of the text.
    pub labels: Vec<AlignedLabel>,
    /// ln of the path's probability.
    pub log_probability: f64,
}

/// Aligns labels with frames: `log_probabilities` (frame, vocabulary), row by row, natural logarithms. None where the labels do
/// not fit (see [`required_frames`](crate::required_frames)), and where every path is impossible; a label that the vocabulary
/// lacks and what is no number count as impossible.
///
/// It takes time by frames × labels. A recording whose lattice is too large to be held is computed twice, block by block, and
/// then takes memory by the root of its frames × labels.
pub fn align(log_probabilities: &[f32], vocabulary: usize, labels: &[u32], blank: u32) -> Option<Alignment> {
    let rows: Vec<&[f32]> = log_probabilities.chunks_exact(vocabulary.max(1)).collect();
    let lattice = Lattice { rows: &rows, labels, blank };
    let root = (rows.len() as f64).sqrt() as usize;
    lattice.align((CELLS / lattice.states()).max(root).max(1))
}

/// Frames by states: blank, label, blank, label, …, blank.
struct Lattice<'a> {
    rows: &'a [&'a [f32]],
    labels: &'a [u32],
    blank: u32,
}

impl Lattice<'_> {
    fn states(&self) -> usize {
        2 * self.labels.len() + 1
    }

    fn emission(&self, frame: usize, state: usize) -> f32 {
        let label = if state.is_multiple_of(2) { self.blank } else { self.labels[state / 2] };
        let value = self.rows[frame].get(label as usize).copied().unwrap_or(f32::NEG_INFINITY);
        if value.is_nan() { f32::NEG_INFINITY } else { value }
    }

    /// The path, with the ways back of at most `block` frames held at a time.
    fn align(&self, block: usize) -> Option<Alignment> {
        let (frames, states) = (self.rows.len(), self.states());
        if frames == 0 {
            return self.labels.is_empty().then(|| Alignment { labels: Vec::new(), log_probability: 0.0 });
        }
        let mut scores = vec![f32::NEG_INFINITY; states];
        (0..states.min(2)).for_each(|state| scores[state] = self.emission(0, state));
        // Scores are kept near 0, where numbers are dense.
        let mut total = normalise(&mut scores)?;
        let mut starts = Vec::new();
        for frame in 1..frames {
            if (frame - 1).is_multiple_of(block) {
                starts.push(scores.clone());
            }
            self.step(&mut scores, frame, |_, _| ());
            total += normalise(&mut scores)?;
        }
        let last = states - 1;
        let mut state = if last > 0 && scores[last - 1] > scores[last] { last - 1 } else { last };
        if scores[state] == f32::NEG_INFINITY {
            return None;
        }
        total += f64::from(scores[state]);

        let mut path = vec![0; frames];
        for (number, mut scores) in starts.into_iter().enumerate().rev() {
            let first = number * block + 1;
            let count = block.min(frames - first);
            let mut steps = Steps::new(count * states);
            for row in 0..count {
                self.step(&mut scores, first + row, |state, step| steps.set(row * states + state, step));
                normalise(&mut scores)?;
            }
            for row in (0..count).rev() {
                path[first + row] = state;
                state -= steps.get(row * states + state);
            }
        }
        path[0] = state;
        Some(Alignment { labels: self.read(&path), log_probability: total })
    }

    /// One frame on: the best score by state, and from how many states before it came.
    fn step(&self, scores: &mut [f32], frame: usize, mut took: impl FnMut(usize, usize)) {
        let (states, frames) = (scores.len(), self.rows.len());
        // States that the frames so far can reach, and from which those to come can reach the end.
        let lowest = states.saturating_sub(2 * (frames - frame));
        let highest = states.min(2 * frame + 2);
        // From above, so that the states below are still those of the frame before.
        for state in (lowest..highest).rev() {
            let (mut best, mut from) = (scores[state], 0);
            if state > 0 && scores[state - 1] > best {
                (best, from) = (scores[state - 1], 1);
            }
            // Past a blank, between labels that differ.
            let skips = state % 2 == 1 && state > 1 && self.labels[state / 2] != self.labels[state / 2 - 1];
            if skips && scores[state - 2] > best {
                (best, from) = (scores[state - 2], 2);
            }
            scores[state] = best + self.emission(frame, state);
            took(state, from);
        }
        scores[..lowest].fill(f32::NEG_INFINITY);
    }

    /// A path's labels.
    fn read(&self, path: &[usize]) -> Vec<AlignedLabel> {
        let mut labels = Vec::with_capacity(self.labels.len());
        let mut frame = 0;
        for run in path.chunk_by(|one, next| one == next) {
            if run[0] % 2 == 1 {
                let end = frame + run.len();
                let sum: f32 = (frame..end).map(|frame| self.emission(frame, run[0])).sum();
                labels.push(AlignedLabel { start: frame, end, log_probability: sum / run.len() as f32 });
            }
            frame += run.len();
        }
        labels
    }
}

/// Takes the largest from all, and gives it; none where all are impossible.
fn normalise(scores: &mut [f32]) -> Option<f64> {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if top == f32::NEG_INFINITY {
        return None;
    }
    scores.iter_mut().for_each(|score| *score -= top);
    Some(f64::from(top))
}

/// Numbers from 0 to 3.
struct Steps(Vec<u8>);

impl Steps {
    fn new(count: usize) -> Steps {
        Steps(vec![0; count.div_ceil(4)])
    }

    fn set(&mut self, place: usize, step: usize) {
        self.0[place / 4] |= (step as u8) << (2 * (place % 4));
    }

    fn get(&self, place: usize) -> usize {
        usize::from(self.0[place / 4] >> (2 * (place % 4)) & 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ln of probabilities, from numbers that follow `seed` alone.
    fn frames(seed: u64, count: usize, labels: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let row = |_| {
            let weights: Vec<f32> = (0..labels).map(|_| (3.0 * next()).exp()).collect();
            let sum: f32 = weights.iter().sum();
            weights.into_iter().map(move |weight| (weight / sum).ln())
        };
        (0..count).flat_map(row).collect()
    }

    /// The best path of all that read as `labels`, and ln of its probability.
    fn exhaustive(rows: &[f32], vocabulary: usize, labels: &[u32], blank: u32) -> Option<(Vec<usize>, f64)> {
        let frames = rows.len() / vocabulary;
        let mut best: Option<(Vec<usize>, f64)> = None;
        for number in 0..vocabulary.pow(frames as u32) {
            let path: Vec<usize> =
                (0..frames).map(|frame| number / vocabulary.pow(frame as u32) % vocabulary).collect();
            let mut text: Vec<usize> = path.clone();
            text.dedup();
            text.retain(|&label| label != blank as usize);
            if text.iter().map(|&label| label as u32).eq(labels.iter().copied()) {
                let score =
                    path.iter().enumerate().map(|(frame, &label)| f64::from(rows[frame * vocabulary + label])).sum();
                if best.as_ref().is_none_or(|(_, other)| score > *other) {
                    best = Some((path, score));
                }
            }
        }
        best
    }

    #[test]
    fn it_is_the_best_of_all_paths_whatever_the_blocks() {
        for (seed, labels, blank) in
            [(1, vec![1, 2], 0), (2, vec![1, 1], 0), (3, vec![2, 0, 0], 1), (4, vec![], 0), (5, vec![1, 2, 1, 2], 0)]
        {
            let rows = frames(seed, 6, 3);
            let (path, score) = exhaustive(&rows, 3, &labels, blank).unwrap();
            let views: Vec<&[f32]> = rows.chunks_exact(3).collect();
            let lattice = Lattice { rows: &views, labels: &labels, blank };
            for block in [1, 2, 3, 5, 6, 100] {
                let found = lattice.align(block).unwrap();
                // Six sums of f32 below 8: a rounding of 2⁻²² each.
                assert!((found.log_probability - score).abs() < 6.0 * 2f64.powi(-22), "{labels:?}: {score} {found:?}");
                let mut written = vec![blank as usize; 6];
                for (label, place) in labels.iter().zip(&found.labels) {
                    written[place.start..place.end].fill(*label as usize);
                }
                assert_eq!(written, path, "{labels:?}, blocks of {block}");
            }
        }
    }

    #[test]
    fn times_are_monotone_and_inside_and_scores_those_of_the_frames() {
        let rows = frames(9, 500, 30);
        let labels: Vec<u32> = (0..120).map(|place| 1 + place * 7 % 29).collect();
        let found = align(&rows, 30, &labels, 0).unwrap();
        assert_eq!(found.labels.len(), labels.len());
        assert!(found.labels.is_sorted_by(|one, next| one.end <= next.start));
        assert!(found.labels.iter().all(|place| place.start < place.end && place.end <= 500));
        for (label, place) in labels.iter().zip(&found.labels) {
            let sum: f32 = (place.start..place.end).map(|frame| rows[frame * 30 + *label as usize]).sum();
            assert_eq!(place.log_probability, sum / (place.end - place.start) as f32);
        }
    }

    #[test]
    fn what_does_not_fit_has_no_alignment() {
        let rows = frames(11, 3, 4);
        assert!(align(&rows, 4, &[1, 2, 3], 0).is_some());
        assert!(align(&rows, 4, &[1, 1], 0).is_some(), "a label, a blank, the label again");
        assert!(align(&rows, 4, &[1, 1, 2], 0).is_none());
        assert!(align(&rows, 4, &[1, 2, 3, 1], 0).is_none());
        assert!(align(&rows, 4, &[9], 0).is_none(), "a label that the vocabulary lacks");
        assert!(align(&[f32::NAN; 8], 4, &[1], 0).is_none());
        assert!(align(&[], 4, &[1], 0).is_none());
        assert_eq!(align(&[], 4, &[], 0).unwrap().labels, []);
    }
}
