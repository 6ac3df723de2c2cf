//! The prefixes that a beam search is at work on: a tree of labels, each prefix once.

use super::scorer::Scorer;

/// No node, or no label.
const NONE: u32 = u32::MAX;

/// The prefix that all others continue.
pub(super) const ROOT: u32 = 0;

/// A prefix: the path from the root to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<S> {
    parent: u32,
    first_child: u32,
    next_sibling: u32,
    /// Its last label; none at the root of the empty text.
    label: u32,
    /// Its scorer's state.
    pub(super) state: S,
    /// Its score beside CTC's, in nats.
    pub(super) score: f64,
    /// The frame in which it was last reached, and its place in that frame's beam.
    pub(super) seen: (u64, u32),
}

/// The tree.
#[derive(Clone, Debug)]
pub(super) struct Prefixes<S> {
    nodes: Vec<Node<S>>,
    /// The labels before the root: what every prefix begins with.
    settled: Vec<u32>,
}

impl<S: Copy> Prefixes<S> {
    /// The empty text alone.
    pub(super) fn new(state: S) -> Self {
        let root =
            Node { parent: NONE, first_child: NONE, next_sibling: NONE, label: NONE, state, score: 0.0, seen: (0, 0) };
        Prefixes { nodes: vec![root], settled: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&self, node: u32) -> &Node<S> {
        &self.nodes[node as usize]
    }

    pub(super) fn node_mut(&mut self, node: u32) -> &mut Node<S> {
        &mut self.nodes[node as usize]
    }

    /// A prefix's last label.
    pub(super) fn last(&self, node: u32) -> Option<u32> {
        Some(self.nodes[node as usize].label).filter(|&label| label != NONE)
    }

    /// The prefix with one label more; none where the scorer forbids it.
    pub(super) fn child(&mut self, parent: u32, label: u32, scorer: &impl Scorer<State = S>) -> Option<u32> {
        let mut child = self.nodes[parent as usize].first_child;
        while child != NONE {
            let node = &self.nodes[child as usize];
            if node.label == label {
                return Some(child);
            }
            child = node.next_sibling;
        }
        let Node { state, score, first_child, .. } = self.nodes[parent as usize];
        let (change, state) = scorer.extend(state, label)?;
        let fresh = self.nodes.len() as u32;
        self.nodes.push(Node {
            parent,
            first_child: NONE,
            next_sibling: first_child,
            label,
            state,
            score: score + change,
            seen: (0, 0),
        });
        self.nodes[parent as usize].first_child = fresh;
        Some(fresh)
    }

    /// A prefix's labels.
    pub(super) fn labels(&self, mut node: u32) -> Vec<u32> {
        let mut labels = Vec::new();
        while node != ROOT {
            labels.push(self.nodes[node as usize].label);
            node = self.nodes[node as usize].parent;
        }
        labels.extend(self.settled.iter().rev());
        labels.reverse();
        labels
    }

    /// The labels that every prefix begins with.
    pub(super) fn settled(&self) -> &[u32] {
        &self.settled
    }

    /// Forgets all but what the prefixes `alive` are made of, and moves the root to the last node that all of them pass. Gives
    /// their new nodes, in the same order.
    pub(super) fn keep(&mut self, alive: &[u32]) -> Vec<u32> {
        // How many of the living pass each node; parents stand before their children.
        let mut passing = vec![0usize; self.nodes.len()];
        alive.iter().for_each(|&node| passing[node as usize] += 1);
        let ends: Vec<bool> = passing.iter().map(|&count| count > 0).collect();
        for node in (1..self.nodes.len()).rev() {
            passing[self.nodes[node].parent as usize] += passing[node];
        }
        let mut root = ROOT;
        while !ends[root as usize] {
            let only = |child: &u32| passing[*child as usize] == passing[ROOT as usize];
            let Some(child) = self.children(root).find(only) else { break };
            self.settled.push(self.nodes[child as usize].label);
            root = child;
        }
        let mut moved = vec![NONE; self.nodes.len()];
        let mut kept: Vec<Node<S>> = Vec::new();
        for old in root as usize..self.nodes.len() {
            let Node { parent, .. } = self.nodes[old];
            let is_root = old == root as usize;
            // What is behind the root but not under it has a parent that was not kept.
            if passing[old] == 0 || !(is_root || (parent != NONE && moved[parent as usize] != NONE)) {
                continue;
            }
            let parent = if is_root { NONE } else { moved[parent as usize] };
            let fresh = kept.len() as u32;
            moved[old] = fresh;
            kept.push(Node { parent, first_child: NONE, next_sibling: NONE, ..self.nodes[old] });
            if let Some(above) = kept.get_mut(parent as usize) {
                let before = std::mem::replace(&mut above.first_child, fresh);
                kept[fresh as usize].next_sibling = before;
            }
        }
        self.nodes = kept;
        alive.iter().map(|&node| moved[node as usize]).collect()
    }

    fn children(&self, node: u32) -> impl Iterator<Item = u32> {
        let exists = |&node: &u32| node != NONE;
        let first = Some(self.nodes[node as usize].first_child).filter(exists);
        std::iter::successors(first, move |&child| Some(self.nodes[child as usize].next_sibling).filter(exists))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(prefixes: &mut Prefixes<()>, labels: &[u32]) -> u32 {
        labels.iter().fold(ROOT, |node, &label| prefixes.child(node, label, &()).unwrap())
    }

    #[test]
    fn each_prefix_is_there_once() {
        let mut prefixes = Prefixes::new(());
        let node = add(&mut prefixes, &[1, 2, 2]);
        assert_eq!(add(&mut prefixes, &[1, 2, 2]), node);
        assert_eq!((prefixes.len(), prefixes.labels(node), prefixes.last(node)), (4, vec![1, 2, 2], Some(2)));
        assert_eq!((prefixes.labels(ROOT), prefixes.last(ROOT)), (Vec::new(), None));
    }

    #[test]
    fn what_no_living_prefix_needs_is_forgotten() {
        let mut prefixes = Prefixes::new(());
        let words = [[1, 2, 3, 4].as_slice(), &[1, 2, 3], &[1, 2, 5], &[1, 7], &[6]];
        let nodes: Vec<u32> = words.iter().map(|labels| add(&mut prefixes, labels)).collect();
        let kept = prefixes.keep(&[nodes[2], nodes[0]]);
        assert_eq!(prefixes.settled(), [1, 2]);
        // The root is [1, 2]; under it 3, 3 4 and 5.
        assert_eq!(prefixes.len(), 4);
        assert_eq!(
            kept.iter().map(|&node| prefixes.labels(node)).collect::<Vec<_>>(),
            [vec![1, 2, 5], vec![1, 2, 3, 4]]
        );
        assert_eq!((prefixes.last(ROOT), prefixes.labels(ROOT)), (Some(2), vec![1, 2]));
        // What was forgotten can come back.
        let again = prefixes.child(ROOT, 3, &()).unwrap();
        assert_eq!((prefixes.len(), prefixes.labels(again)), (4, vec![1, 2, 3]));
        let alone = prefixes.keep(&[kept[1]]);
        assert_eq!((prefixes.len(), alone, prefixes.settled()), (1, vec![ROOT], [1, 2, 3, 4].as_slice()));
    }

    #[test]
    fn a_prefix_of_others_that_lives_itself_is_where_settling_ends() {
        let mut prefixes = Prefixes::new(());
        let (short, long) = (add(&mut prefixes, &[1]), add(&mut prefixes, &[1, 2]));
        let kept = prefixes.keep(&[short, long]);
        assert_eq!((prefixes.settled(), kept[0]), ([1].as_slice(), ROOT));
    }
}
