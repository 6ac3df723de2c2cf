//! What may be typed about reading text off a model's output.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use klang_trainer::{LmUnits, WordList};
use klang_transcript::Format;

use super::{ComputeArguments, ModelArguments};

/// How text is read. Without any of these, as the model's folder says (`klang tune`), else greedily.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Decoding")]
pub struct DecodingArguments {
    /// Read greedily, whatever the model's folder says
    #[arg(long, conflicts_with_all = ["beam", "lm", "lm_weight", "word_score", "unknown_score", "words", "hot_words"])]
    pub greedy: bool,
    #[command(flatten)]
    pub search: SearchArguments,
    /// Weight of the language model, 0 to 10 [0.5, or what was tuned]
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true)]
    pub lm_weight: Option<f64>,
    /// Nats that each word adds, -20 to 20; of a model of characters, each character [1.5, or what was tuned]
    #[arg(long, value_name = "NATS", allow_negative_numbers = true)]
    pub word_score: Option<f64>,
    /// log10 that an unknown word is given beyond what the language model gives it, -100 to 0 [-10, or what was tuned]
    #[arg(long, value_name = "LOG10", allow_negative_numbers = true)]
    pub unknown_score: Option<f64>,
}

/// What is searched among.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Decoding")]
pub struct SearchArguments {
    /// Search with this many texts at a time [100 with any other of these options]
    #[arg(long, value_name = "WIDTH", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub beam: Option<u16>,
    /// A language model of words or characters: an ARPA file, also one packed by gzip
    #[arg(long, value_name = "FILE")]
    pub lm: Option<PathBuf>,
    /// Which words there may be
    #[arg(long, value_enum)]
    pub words: Option<AllowedWords>,
    /// A file of words and phrases to expect, one a line, each with the nats that it adds behind a tab, or 5
    #[arg(long, value_name = "FILE")]
    pub hot_words: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AllowedWords {
    /// Any
    Open,
    /// Those of the language model alone
    Listed,
}

impl From<AllowedWords> for WordList {
    fn from(words: AllowedWords) -> WordList {
        match words {
            AllowedWords::Open => WordList::Open,
            AllowedWords::Listed => WordList::Listed,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Units {
    /// What white space parts
    Words,
    /// Characters, with | between words: for languages of long words, and little text
    Characters,
}

impl From<Units> for LmUnits {
    fn from(units: Units) -> LmUnits {
        match units {
            Units::Words => LmUnits::Words,
            Units::Characters => LmUnits::Characters,
        }
    }
}

#[derive(Debug, Args)]
pub struct LmArguments {
    /// Text: a sentence a line; of a manifest (.jsonl, .csv, .tsv) the transcripts; of a run folder those that it learnt from
    #[arg(required = true)]
    pub text: Vec<PathBuf>,
    /// The ARPA file to write; packed by gzip if its name ends in .gz
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Words of the longest n-grams, 1 to 20 [3 for words, 6 for characters]
    #[arg(long, value_name = "N")]
    pub order: Option<usize>,
    /// What the model is of
    #[arg(long, value_enum, default_value_t = Units::Words)]
    pub units: Units,
    /// Leave out n-grams seen so often or less, by order, the last for all higher ones: 0,0,1
    #[arg(long, value_name = "COUNTS", value_delimiter = ',')]
    pub prune: Vec<u64>,
    /// A model whose rule for transcripts the text is brought under; without it, that of recipes' defaults
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Say the perplexity of this text, which is not learnt from
    #[arg(long, value_name = "FILE")]
    pub held_out: Option<PathBuf>,
    /// Test sets whose sentences must not be in the text: say how many are
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub test: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct AlignArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// A manifest with transcripts; or a recording, with --text
    #[arg(value_name = "MANIFEST|RECORDING")]
    pub input: PathBuf,
    /// The recording's text, a line for each utterance that it is to be cut into
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// Where results go: alignments.jsonl of a manifest, a manifest of a recording
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Also write times in a format of transcripts: textgrid, eaf, ctm, srt, vtt, json
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Write files that are there already anew
    #[arg(long)]
    pub overwrite: bool,
    /// How many of the worst to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub worst: usize,
    #[command(flatten)]
    pub compute: ComputeArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TuneBy {
    /// Word error rate
    Wer,
    /// Character error rate
    Cer,
}

#[derive(Debug, Args)]
pub struct TuneArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// Development data with transcripts; never what the model is to be tested on [of a run: its dev]
    #[arg(value_name = "DEV")]
    pub manifest: Option<PathBuf>,
    /// What is to be least
    #[arg(long, value_enum, default_value_t = TuneBy::Wer)]
    pub by: TuneBy,
    /// Say what is best, and leave the model's folder as it is
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub search: SearchArguments,
    #[command(flatten)]
    pub compute: ComputeArguments,
}
