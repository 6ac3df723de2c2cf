//! What was typed after `cargo xtask bench`, and what it comes to.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use super::gpu::Device;

/// What was typed after `cargo xtask bench`.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "bench")]
pub struct Options {
    /// What to measure; everything by default
    #[arg(value_name = "PART")]
    parts: Vec<PartName>,
    /// Rounds that count; by default 5 (3 of `long` and `train`), with --quick 2
    #[arg(long, value_name = "N")]
    rounds: Option<NonZeroUsize>,
    /// Few files and 2 rounds: to see that all of it works, not to quote from
    #[arg(long)]
    pub quick: bool,
    /// Where the figures go; docs/results/bench/DATE-MACHINE by default
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The binary to measure; by default target/release/klang, built first
    #[arg(long, value_name = "PATH")]
    pub klang: Option<PathBuf>,
    /// What contenders compute on; those that have no CUDA in them take no part then
    #[arg(long, default_value = "cpu")]
    pub device: Device,
    /// Threads of every contender; all cores by default
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl Options {
    /// The parts to run: each once, in the order of [`PartName`].
    pub fn parts(&self) -> Vec<PartName> {
        let wanted = |part: &PartName| self.parts.is_empty() || self.parts.contains(part);
        PartName::value_variants().iter().copied().filter(wanted).collect()
    }

    /// Rounds of a part that count.
    pub fn rounds(&self, part: PartName) -> usize {
        match (self.rounds, self.quick) {
            (Some(rounds), _) => rounds.get(),
            (None, true) => 2,
            (None, false) if part.is_heavy() => 3,
            (None, false) => 5,
        }
    }

    /// Threads of every contender.
    pub fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().ok();
        self.threads.or(cores).map_or(1, NonZeroUsize::get)
    }
}

/// A part of the benchmarks, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PartName {
    /// The programs alone: `--version`, `doctor`, and Python's imports
    Start,
    /// One file of 5 s, from the start of the process to its text
    Cold,
    /// 200 files of a corpus's lengths in one call
    Folder,
    /// The same with a model in the layout of Large, where CTranslate2 can take part
    Large,
    /// One file of 10 minutes
    Long,
    /// Epochs of training
    Train,
    /// Decoding and resampling audio alone: `cargo bench` of the audio crate
    Load,
    /// Greedy decoding alone: `cargo bench` of the ctc crate
    Decode,
}

impl PartName {
    /// Its name as typed.
    pub fn name(self) -> &'static str {
        match self {
            PartName::Start => "start",
            PartName::Cold => "cold",
            PartName::Folder => "folder",
            PartName::Large => "large",
            PartName::Long => "long",
            PartName::Train => "train",
            PartName::Load => "load",
            PartName::Decode => "decode",
        }
    }

    fn is_heavy(self) -> bool {
        matches!(self, PartName::Long | PartName::Train)
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

    fn typed(words: &[&str]) -> Result<Options, clap::Error> {
        Typed::try_parse_from([&["bench"], words].concat()).map(|typed| typed.options)
    }

    #[test]
    fn parts_run_once_in_their_own_order_and_all_of_them_by_default() {
        let parts = |words: &[&str]| typed(words).unwrap().parts();
        assert_eq!(parts(&["folder", "cold", "folder"]), [PartName::Cold, PartName::Folder]);
        assert_eq!(parts(&["--quick"]).len(), PartName::value_variants().len());
        assert!(typed(&["fold"]).is_err());
    }

    #[test]
    fn a_part_is_typed_as_it_is_named() {
        for part in PartName::value_variants() {
            assert_eq!(typed(&[part.name()]).unwrap().parts(), [*part]);
            assert_eq!(serde_json::to_value(part).unwrap(), part.name());
        }
    }

    #[test]
    fn rounds_are_fewer_where_they_are_long_or_quick_is_asked_for() {
        let rounds = |words: &[&str], part| typed(words).unwrap().rounds(part);
        assert_eq!(rounds(&[], PartName::Folder), 5);
        assert_eq!(rounds(&[], PartName::Train), 3);
        assert_eq!(rounds(&["--quick"], PartName::Folder), 2);
        assert_eq!(rounds(&["--quick", "--rounds", "7"], PartName::Train), 7);
        assert!(typed(&["--rounds", "0"]).is_err());
    }

    #[test]
    fn contenders_compute_on_the_cpu_unless_said() {
        let device = |words: &[&str]| typed(words).map(|options| options.device);
        assert_eq!(device(&[]).unwrap(), Device::Cpu);
        assert_eq!(device(&["--device", "cuda", "train"]).unwrap(), Device::Cuda);
        assert!(device(&["--device", "tpu"]).is_err());
    }

    #[test]
    fn threads_are_the_cores_unless_said() {
        assert_eq!(typed(&["--threads", "3"]).unwrap().threads(), 3);
        assert!(typed(&[]).unwrap().threads() >= 1);
        assert!(typed(&["--threads", "0"]).is_err());
    }
}
