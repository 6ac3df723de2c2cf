//! Beam search over CTC prefixes (Graves 2012; Hannun et al. 2014): the text whose paths, all together, are the most probable.
//!
//! Greedy reading takes the best path; a text's probability is the sum over all its paths. The search goes frame by frame,
//! holds the best prefixes with the probability of the paths that end in the blank and of those that end in their last label,
//! and adds what a [`Scorer`] says of each text. Without pruning it is exact.

mod hot_words;
mod labels;
mod prefixes;
mod scorer;
#[cfg(test)]
mod tests;
mod trie;
mod words;

use prefixes::{Prefixes, ROOT};

pub use hot_words::HotWords;
pub use labels::LabelScorer;
pub use scorer::Scorer;
pub use words::{Lexicon, LmWeights, WordScorer, WordState, Words};

/// How wide a search is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BeamSettings {
    /// Prefixes that are followed at a time; at least 1.
    pub width: usize,
    /// ln of the probability that a label must have in a frame to extend a prefix; the best label of a frame always does.
    pub label_floor: f32,
    /// Nats by which a prefix may be behind the best one.
    pub margin: f64,
}

impl Default for BeamSettings {
    fn default() -> Self {
        BeamSettings { width: 100, label_floor: -5.0, margin: 10.0 }
    }
}

impl BeamSettings {
    /// Nothing is pruned: the whole distribution over texts, for as many frames as memory allows.
    pub const EXACT: BeamSettings =
        BeamSettings { width: usize::MAX, label_floor: f32::NEG_INFINITY, margin: f64::INFINITY };
}

/// A text that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// Its labels, without blanks.
    pub labels: Vec<u32>,
    /// ln of its probability under CTC, summed over the paths that were followed.
    pub acoustic: f64,
    /// What the scorer says of it, in nats.
    pub scorer: f64,
}

impl Hypothesis {
    /// What it is ranked by, in nats.
    pub fn total(&self) -> f64 {
        self.acoustic + self.scorer
    }
}

/// A prefix in the beam, with ln of the probability of its paths, less the search's scale.
#[derive(Clone, Copy, Debug)]
struct Beam {
    node: u32,
    /// Of those that end in the blank.
    blank: f64,
    /// Of those that end in its last label.
    label: f64,
    /// What it is ranked by, known once a frame is done.
    rank: f64,
}

/// Nodes from which on the tree is looked through for what can be forgotten.
const NODES: usize = 1 << 16;

/// A search under way: frames in, texts out. Its memory does not grow with the recording but by the labels of the text.
#[derive(Debug)]
pub struct BeamSearch<S: Scorer> {
    settings: BeamSettings,
    scorer: S,
    blank: u32,
    prefixes: Prefixes<S::State>,
    beams: Vec<Beam>,
    next: Vec<Beam>,
    candidates: Vec<(u32, f64)>,
    frame: u64,
    /// What is to be added to every beam's probabilities: they are kept near 0, where numbers are dense.
    scale: f64,
    /// Nodes at which the tree is cleared.
    full: usize,
}

impl<S: Scorer> BeamSearch<S> {
    /// A search in which nothing was heard yet.
    pub fn new(settings: BeamSettings, blank: u32, scorer: S) -> Self {
        let prefixes = Prefixes::new(scorer.start());
        BeamSearch {
            settings,
            scorer,
            blank,
            prefixes,
            beams: vec![Beam { node: ROOT, blank: 0.0, label: f64::NEG_INFINITY, rank: 0.0 }],
            next: Vec::new(),
            candidates: Vec::new(),
            frame: 0,
            scale: 0.0,
            full: NODES,
        }
    }

    /// Hears one frame: ln of each label's probability, by label. What is no number counts as impossible.
    pub fn push(&mut self, log_probabilities: &[f32]) {
        let number = |value: f32| if value.is_nan() { f64::NEG_INFINITY } else { f64::from(value) };
        let blank = self.blank as usize;
        let blank_alone = log_probabilities.get(blank).map_or(f64::NEG_INFINITY, |&value| number(value));
        let labels = || log_probabilities.iter().enumerate().filter(|&(label, _)| label != blank);
        let best = labels().map(|(_, &value)| value).fold(f32::NEG_INFINITY, f32::max);
        let floor = self.settings.label_floor.min(best);
        self.candidates.clear();
        let likely = labels().filter(|&(_, &value)| value >= floor && value > f32::NEG_INFINITY);
        self.candidates.extend(likely.map(|(label, &value)| (label as u32, f64::from(value))));

        self.frame += 1;
        for place in 0..self.beams.len() {
            let Beam { node, blank, label, .. } = self.beams[place];
            let both = log_add(blank, label);
            self.reach(node, both + blank_alone, f64::NEG_INFINITY);
            let last = self.prefixes.last(node);
            if let Some(last) = last {
                let again = log_probabilities.get(last as usize).map_or(f64::NEG_INFINITY, |&value| number(value));
                self.reach(node, f64::NEG_INFINITY, label + again);
            }
            for candidate in 0..self.candidates.len() {
                let (label, value) = self.candidates[candidate];
                // The same label again is a new one only behind a blank.
                let before = if last == Some(label) { blank } else { both };
                if before > f64::NEG_INFINITY
                    && let Some(child) = self.prefixes.child(node, label, &self.scorer)
                {
                    self.reach(child, f64::NEG_INFINITY, before + value);
                }
            }
        }
        self.prune();
    }

    /// Adds paths to a prefix in the frame that is being heard.
    fn reach(&mut self, node: u32, blank: f64, label: f64) {
        if blank == f64::NEG_INFINITY && label == f64::NEG_INFINITY {
            return;
        }
        let entry = self.prefixes.node_mut(node);
        if entry.seen.0 == self.frame {
            let beam = &mut self.next[entry.seen.1 as usize];
            beam.blank = log_add(beam.blank, blank);
            beam.label = log_add(beam.label, label);
        } else {
            entry.seen = (self.frame, self.next.len() as u32);
            self.next.push(Beam { node, blank, label, rank: 0.0 });
        }
    }

    /// Ends a frame: the best prefixes stay.
    fn prune(&mut self) {
        let BeamSettings { width, margin, .. } = self.settings;
        let prefixes = &self.prefixes;
        let rank = |beam: &Beam| log_add(beam.blank, beam.label) + prefixes.node(beam.node).score;
        self.next.iter_mut().for_each(|beam| beam.rank = rank(beam));
        // Where every label is impossible, the search stands where it stood.
        if self.next.is_empty() {
            return;
        }
        // Equal ranks go by age, so that the same frames give the same text.
        let order = |one: &Beam, other: &Beam| other.rank.total_cmp(&one.rank).then(one.node.cmp(&other.node));
        let width = width.max(1);
        if self.next.len() > width {
            self.next.select_nth_unstable_by(width - 1, order);
            self.next.truncate(width);
        }
        let best = self.next.iter().map(|beam| beam.rank).fold(f64::NEG_INFINITY, f64::max);
        self.next.retain(|beam| beam.rank >= best - margin);
        let top = self.next.iter().map(|beam| beam.blank.max(beam.label)).fold(f64::NEG_INFINITY, f64::max);
        for beam in &mut self.next {
            beam.blank -= top;
            beam.label -= top;
        }
        self.scale += top;
        std::mem::swap(&mut self.beams, &mut self.next);
        self.next.clear();
        if self.prefixes.len() >= self.full {
            self.settle();
            self.full = NODES.max(4 * self.prefixes.len());
        }
    }

    /// Forgets what no prefix in the beam needs, and gives the labels that all of them begin with: no later frame can change
    /// them. It takes time by the nodes since it was last asked.
    pub fn settle(&mut self) -> &[u32] {
        let alive: Vec<u32> = self.beams.iter().map(|beam| beam.node).collect();
        let moved = self.prefixes.keep(&alive);
        self.beams.iter_mut().zip(moved).for_each(|(beam, node)| beam.node = node);
        self.prefixes.settled()
    }

    /// The best text so far, as if more were to come.
    pub fn best(&self) -> Vec<u32> {
        self.best_beam().map(|beam| self.prefixes.labels(beam.node)).unwrap_or_default()
    }

    /// Forgets all texts but the best one so far that may end here: what comes continues it. False, and nothing is forgotten,
    /// where none may.
    pub fn commit(&mut self) -> bool {
        let may_end = |beam: &&Beam| self.scorer.end(self.prefixes.node(beam.node).state).is_some();
        let best = self.best_of(self.beams.iter().filter(may_end)).copied();
        if let Some(best) = best {
            self.beams = vec![best];
        }
        best.is_some()
    }

    fn best_beam(&self) -> Option<&Beam> {
        self.best_of(self.beams.iter())
    }

    fn best_of<'a>(&self, beams: impl Iterator<Item = &'a Beam>) -> Option<&'a Beam> {
        let score = |beam: &Beam| log_add(beam.blank, beam.label) + self.prefixes.node(beam.node).score;
        // Of equal ones the oldest, as everywhere.
        beams.max_by(|one, other| score(one).total_cmp(&score(other)).then(other.node.cmp(&one.node)))
    }

    /// The best `count` texts, the best first, each once. Texts that may not end here count only where none may.
    pub fn finish(&self, count: usize) -> Vec<Hypothesis> {
        let mut ends: Vec<(Option<f64>, &Beam)> =
            self.beams.iter().map(|beam| (self.scorer.end(self.prefixes.node(beam.node).state), beam)).collect();
        if ends.iter().any(|(end, _)| end.is_some()) {
            ends.retain(|(end, _)| end.is_some());
        }
        let ended = |(end, beam): (Option<f64>, &Beam)| {
            let acoustic = log_add(beam.blank, beam.label) + self.scale;
            (beam.node, acoustic, self.prefixes.node(beam.node).score + end.unwrap_or(0.0))
        };
        let mut ended: Vec<(u32, f64, f64)> = ends.into_iter().map(ended).collect();
        ended.sort_by(|one, other| (other.1 + other.2).total_cmp(&(one.1 + one.2)).then(one.0.cmp(&other.0)));
        let hypothesis = |(node, acoustic, scorer)| Hypothesis { labels: self.prefixes.labels(node), acoustic, scorer };
        ended.into_iter().take(count).map(hypothesis).collect()
    }
}

/// ln(eᵃ + eᵇ).
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    // Also where both are impossible, whose difference is no number.
    if low == f64::NEG_INFINITY {
        return high;
    }
    high + (low - high).exp().ln_1p()
}
