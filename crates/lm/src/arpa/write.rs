//! Writing, so that what is read back is the same model.

use std::io::{BufWriter, Write};
use std::path::Path;

use flate2::{Compression, write::GzEncoder};

use crate::error::{Error, Result};
use crate::model::NgramModel;

impl NgramModel {
    /// Writes the model as an ARPA file, gzip if the name ends in `.gz`: whole or not at all.
    ///
    /// N-grams stand in the order of their words' ids, numbers in the fewest digits that read back as the same f32: equal models
    /// give equal files, and read back they are equal to this one (given the same option for an unknown word that is not the
    /// model's own).
    ///
    /// # Errors
    /// What the system refuses.
    pub fn write_arpa(&self, file: &Path) -> Result<()> {
        let attempt = || {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut fresh =
                tempfile::Builder::new().prefix(".klang-").suffix(".tmp").permissions(shared()).tempfile_in(folder)?;
            let buffered = BufWriter::with_capacity(1 << 18, fresh.as_file_mut());
            if file.extension().is_some_and(|extension| extension == "gz") {
                let mut packed = GzEncoder::new(buffered, Compression::default());
                self.write_text(&mut BufWriter::with_capacity(1 << 16, &mut packed))?;
                packed.finish()?.flush()?;
            } else {
                let mut buffered = buffered;
                self.write_text(&mut buffered)?;
            }
            fresh.as_file().sync_all()?;
            fresh.persist(file).map(drop).map_err(|error| error.error)
        };
        attempt().map_err(|source| Error::Io { file: file.to_owned(), source, hint: "" })
    }

    fn write_text(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "\\data\\")?;
        for (order, count) in (1..).zip(&self.counts) {
            writeln!(out, "ngram {order}={count}")?;
        }
        // By state: the context's last word and the state one word before it. Shorter states come first.
        let mut origins = vec![(0, 0); self.nodes.len()];
        let mut words = Vec::new();
        writeln!(out, "\n\\1-grams:")?;
        for (word, arc) in (0..).zip(&self.unigrams) {
            let backoff = self.backoff(0, word, arc.next, &mut origins);
            if word != 0 || self.unknown_given {
                self.write_gram(out, arc.log10, &[word], backoff)?;
            }
        }
        let grams = self.table.sorted();
        let mut grams = grams.iter().peekable();
        for order in 2..=self.order() {
            writeln!(out, "\n\\{order}-grams:")?;
            // States of one length stand together, and so do the n-grams that extend them.
            while let Some((state, word, arc)) = grams.next_if(|(state, ..)| self.length(*state) == order - 1) {
                let backoff = self.backoff(*state, *word, arc.next, &mut origins);
                words.clear();
                words.push(*word);
                let mut context = *state;
                while context != 0 {
                    words.push(origins[context as usize].1);
                    context = origins[context as usize].0;
                }
                words.reverse();
                self.write_gram(out, arc.log10, &words, backoff)?;
            }
        }
        writeln!(out, "\n\\end\\")?;
        out.flush()
    }

    fn length(&self, state: u32) -> usize {
        usize::from(self.nodes[state as usize].length)
    }

    /// The back-off weight of the n-gram that leads from a state, by a word, to the next. Where that is a state of its own, it
    /// notes the way.
    fn backoff(&self, state: u32, word: u32, next: u32, origins: &mut [(u32, u32)]) -> f32 {
        if self.length(next) != self.length(state) + 1 {
            return 0.0;
        }
        origins[next as usize] = (state, word);
        self.nodes[next as usize].backoff
    }

    fn write_gram(&self, out: &mut impl Write, log10: f32, words: &[u32], backoff: f32) -> std::io::Result<()> {
        write!(out, "{log10}")?;
        for (place, word) in words.iter().enumerate() {
            write!(out, "{}{}", if place == 0 { '\t' } else { ' ' }, self.words.text(*word))?;
        }
        if words.len() < self.order() { writeln!(out, "\t{backoff}") } else { writeln!(out) }
    }
}

/// Temporary files are made for their owner alone; a model is for whoever may read its folder.
fn shared() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
