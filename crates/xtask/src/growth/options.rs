//! What was typed after `cargo xtask growth`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ValueEnum;

/// What was typed after `cargo xtask growth`.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "growth")]
pub struct Options {
    /// What to measure; everything by default
    #[arg(value_name = "PART")]
    parts: Vec<PartName>,
    /// Few and small sizes: to see that all of it works, not to quote from
    #[arg(long)]
    pub quick: bool,
    /// Where the figures go; docs/results/growth/DATE-MACHINE by default
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The binary to measure; by default target/release/klang, built first
    #[arg(long, value_name = "PATH")]
    pub klang: Option<PathBuf>,
    /// Threads, but in the part that varies them; all cores by default
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl Options {
    /// The parts to run: each once, in the order of [`PartName`].
    pub fn parts(&self) -> Vec<PartName> {
        let wanted = |part: &PartName| self.parts.is_empty() || self.parts.contains(part);
        PartName::value_variants().iter().copied().filter(wanted).collect()
    }

    /// Threads, but in the part that varies them.
    pub fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().ok();
        self.threads.or(cores).map_or(1, NonZeroUsize::get)
    }
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PartName {
    /// The corpus, up to 1,000 hours: checking it, reading it, planning epochs
    Corpus,
    /// The length of one file, up to an hour: transcribing it
    Length,
    /// Threads, up to the cores: transcribing files, training
    Threads,
    /// Seconds of audio in a batch: training, and the padding of whole epochs
    Batch,
    /// The named sizes of models: training, pretraining and transcribing with each
    Sizes,
}

impl PartName {
    /// Its name as typed.
    pub fn name(self) -> &'static str {
        match self {
            PartName::Corpus => "corpus",
            PartName::Length => "length",
            PartName::Threads => "threads",
            PartName::Batch => "batch",
            PartName::Sizes => "sizes",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn parts_run_once_in_their_own_order_and_are_typed_as_they_are_named() {
        let parts = |words: &[&str]| Typed::try_parse_from([&["growth"], words].concat()).map(|t| t.options.parts());
        assert_eq!(parts(&["batch", "corpus", "batch"]).unwrap(), [PartName::Corpus, PartName::Batch]);
        assert_eq!(parts(&["--quick"]).unwrap(), PartName::value_variants());
        for part in PartName::value_variants() {
            assert_eq!(parts(&[part.name()]).unwrap(), [*part]);
        }
        assert!(parts(&["corpora"]).is_err());
    }
}
