//! The parts that compare contenders: what they are given, and which clock counts.

use serde::Serialize;

use super::contender::{self, Contender};
use super::machine::Machine;
use super::options::{Options, PartName};

/// Which of the two clocks counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// From the start of the process to its end, for all.
    Whole,
    /// klang's whole process against the peers' work alone: imports, opening the model and a warm-up are given to them.
    KlangWhole,
    /// The work alone, for all.
    Work,
}

/// What contenders are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Nothing: they start and end.
    Start,
    /// A model and a set of audio. Settings are tried on another set.
    Transcribe {
        /// Its folder in the materials.
        model: &'static str,
        /// The set.
        set: &'static str,
        /// The set that settings are tried on; the first few files of it are what peers warm up with.
        trial: &'static str,
    },
    /// The Base model and a set of audio with texts.
    Train {
        /// The set.
        set: &'static str,
        /// As above.
        trial: &'static str,
    },
}

/// A part.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which.
    pub name: PartName,
    /// What it measures, in a sentence.
    pub about: &'static str,
    /// What contenders are given.
    pub job: Job,
    /// Which clock counts.
    pub clock: Clock,
    /// Who takes part; the first is what the others are compared with.
    pub contenders: Vec<Contender>,
    /// Whether peers do some work before the clock starts.
    pub peers_warm_up: bool,
    /// Whether a round goes before those that count.
    pub warm_up_round: bool,
}

impl Part {
    /// A part by its name; none for those that are cargo's benches.
    pub fn of(name: PartName, options: &Options, machine: &Machine) -> Option<Part> {
        let size = |full, quick| if options.quick { quick } else { full };
        let (about, job, clock, contenders) = match name {
            PartName::Start => (
                "The programs alone, from the start of the process to its end.",
                Job::Start,
                Clock::Whole,
                contender::start(),
            ),
            PartName::Cold => (
                "One file of 5 s, from the start of the process to its text.",
                Job::Transcribe { model: "base", set: "five-seconds", trial: "trial" },
                Clock::Whole,
                contender::cold(machine),
            ),
            PartName::Folder => (
                "Files of a corpus's lengths in one call, Base size.",
                Job::Transcribe { model: "base", set: size("folder", "folder-quick"), trial: "trial" },
                Clock::KlangWhole,
                contender::folder(machine),
            ),
            PartName::Large => (
                "Files of a corpus's lengths in one call, the layout of Large with 6 blocks.",
                Job::Transcribe { model: "large", set: size("large", "large-quick"), trial: "trial" },
                Clock::KlangWhole,
                contender::large(machine),
            ),
            PartName::Long => (
                "One long file, Base size. Peers get it in chunks of 30 s without overlap, which spares them attention over its whole length.",
                Job::Transcribe { model: "base", set: size("long", "long-quick"), trial: "long-trial" },
                Clock::KlangWhole,
                contender::long(machine),
            ),
            PartName::Train => (
                "Two epochs from the same random Base model, convolutions frozen, AdamW, nothing masked or augmented.",
                Job::Train { set: size("train", "train-quick"), trial: "train-trial" },
                Clock::Work,
                contender::train(machine),
            ),
            PartName::Load | PartName::Decode => return None,
        };
        let peers_warm_up = clock == Clock::KlangWhole;
        // An epoch is minutes long and shown by itself: the second one is the warm one.
        let warm_up_round = name != PartName::Train;
        Some(Part { name, about, job, clock, contenders, peers_warm_up, warm_up_round })
    }
}
