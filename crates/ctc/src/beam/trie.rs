//! Sequences of labels, letter by letter.

/// The node of the empty sequence.
pub(super) const ROOT: u32 = 0;

/// A set of sequences, each with a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    /// Where each node's children begin; one more at the end.
    firsts: Vec<u32>,
    /// The label that leads to each node but the root, which is node 0; siblings stand together, in order.
    labels: Vec<u32>,
    /// The number of the sequence that ends at a node.
    values: Vec<Option<u32>>,
}

impl Trie {
    /// The trie of some sequences; of equal ones the first counts.
    pub(super) fn new(mut sequences: Vec<(Vec<u32>, u32)>) -> Trie {
        sequences.sort_by(|one, other| one.0.cmp(&other.0));
        sequences.dedup_by(|later, earlier| later.0 == earlier.0);
        let mut trie = Trie { firsts: Vec::new(), labels: vec![0], values: vec![None] };
        // Nodes in the order of their depth, each with the sequences that pass it.
        let mut passing: Vec<std::ops::Range<usize>> = std::iter::once(0..sequences.len()).collect();
        let (mut node, mut depth, mut deeper) = (0, 0, 1);
        while node < passing.len() {
            if node == deeper {
                (depth, deeper) = (depth + 1, passing.len());
            }
            let mut range = passing[node].clone();
            if sequences.get(range.start).is_some_and(|(labels, _)| !range.is_empty() && labels.len() == depth) {
                trie.values[node] = Some(sequences[range.start].1);
                range.start += 1;
            }
            trie.firsts.push(passing.len() as u32);
            while let Some(label) = sequences[range.clone()].first().map(|(labels, _)| labels[depth]) {
                let count = sequences[range.clone()].partition_point(|(labels, _)| labels[depth] <= label);
                passing.push(range.start..range.start + count);
                trie.labels.push(label);
                trie.values.push(None);
                range.start += count;
            }
            node += 1;
        }
        trie.firsts.push(passing.len() as u32);
        trie
    }

    /// The node behind a label.
    pub(super) fn child(&self, node: u32, label: u32) -> Option<u32> {
        let range = self.range(node);
        let place = self.labels[range.clone()].binary_search(&label).ok()?;
        Some((range.start + place) as u32)
    }

    /// The nodes behind a node, each with the label that leads there. They have greater numbers than all nodes of less depth.
    pub(super) fn children(&self, node: u32) -> impl Iterator<Item = (u32, u32)> + use<> {
        let labels = self.labels[self.range(node)].to_vec();
        labels.into_iter().zip(self.firsts[node as usize]..)
    }

    /// The label that leads to a node other than the root.
    pub(super) fn label(&self, node: u32) -> u32 {
        self.labels[node as usize]
    }

    fn range(&self, node: u32) -> std::ops::Range<usize> {
        self.firsts[node as usize] as usize..self.firsts[node as usize + 1] as usize
    }

    /// The number of the sequence that ends at a node.
    pub(super) fn value(&self, node: u32) -> Option<u32> {
        self.values[node as usize]
    }

    /// Nodes, the root among them.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sequence_is_found_and_no_other() {
        let sequences = [vec![3, 1], vec![3], vec![1, 2, 3], vec![3, 2, 2], vec![3, 1]];
        let trie = Trie::new(sequences.iter().cloned().zip(10..).collect());
        let find = |labels: &[u32]| {
            let node = labels.iter().try_fold(ROOT, |node, &label| trie.child(node, label))?;
            trie.value(node)
        };
        let found =
            [&[3, 1][..], &[3], &[1, 2, 3], &[3, 2, 2], &[], &[1], &[1, 2], &[3, 2], &[2], &[3, 1, 1]].map(find);
        assert_eq!(found, [Some(10), Some(11), Some(12), Some(13), None, None, None, None, None, None]);
        // The root, 1, 3, 1 2, 3 1, 3 2, 1 2 3, 3 2 2.
        assert_eq!(trie.len(), 8);
    }

    #[test]
    fn an_empty_one_has_its_root() {
        let trie = Trie::new(Vec::new());
        assert_eq!((trie.len(), trie.child(ROOT, 1), trie.value(ROOT)), (1, None, None));
        assert_eq!(Trie::new(vec![(Vec::new(), 5)]).value(ROOT), Some(5));
    }
}
