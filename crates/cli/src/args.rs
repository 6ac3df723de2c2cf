//! What may be typed.

pub mod decoding;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use klang_trainer::{DeviceChoice, PrecisionChoice};
use klang_transcript::Format;

use self::decoding::{AlignArguments, DecodingArguments, LmArguments, TuneArguments};

/// Fine-tune Wav2Vec2 for speech recognition where transcribed speech is scarce.
#[derive(Debug, Parser)]
#[command(
    name = "klang",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done, 1 the work failed or part of the input did, 2 the command or recipe was wrong."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what this machine has: libtorch, devices, threads, precision; and run one forward pass
    Doctor(DoctorArguments),
    /// Turn a corpus's own layout into manifests, speaker-disjoint splits and statistics
    #[command(
        after_help = "Examples:\n  klang prepare table my-corpus --out data/mine        # utterances.tsv: path, speaker, split, text\n  klang prepare librispeech LibriSpeech --out data/ls\n  klang prepare common-voice cv-corpus/tr --out data/tr\n  klang prepare kaldi data/train --out data/kaldi\n  klang prepare audiofolder recordings --out data/mine  # metadata.csv, or a .txt beside each audio file"
    )]
    Prepare(PrepareArguments),
    /// Find all that can be known to be wrong with data or a recipe before training
    #[command(
        after_help = "Every utterance is decoded, on all cores. Errors, which --fix leaves out: files that are missing, empty, no audio, not to be decoded or truncated by more than 0.1 s; utterances that lie outside their file, are silent, have no text, an empty one, or one that CTC cannot fit into their frames (--model); an id twice in a list; the same audio with two texts; the same audio in two lists. Warnings, which stay: clipped, nearly silent, damaged, recorded below the model's rate, another duration than the file's, an improbable pace, characters that the model lacks (--model), the same audio twice with the same text, speakers and sentences that two lists share.\n\nIn a recipe, a test that shares audio or speakers with train is an error unless data.allow_overlap says that it is meant so; empty texts and texts that do not fit are warnings, since training passes them over.\n\nExit codes: 0 no errors, 1 manifests with errors, 2 a recipe with errors.\n\nExamples:\n  klang check configs/digits.yaml\n  klang check configs/fsdd.yaml --set variables.held_out=george\n  klang check train.jsonl dev.jsonl test.jsonl --html check.html\n  klang check mine.tsv --model runs/mine --fix clean"
    )]
    Check(CheckArguments),
    /// Train from a recipe
    #[command(
        after_help = "Examples:\n  klang train configs/digits.yaml\n  klang train configs/digits.yaml --run runs/long --set train.updates=4000\n  klang train configs/digits.yaml --run runs/long --set train.updates=4000 --resume"
    )]
    Train(TrainArguments),
    /// Learn from speech that nobody transcribed, to train from afterwards
    #[command(
        after_help = "The recipe has a section `pretrain`, and `data.train` names manifests without transcripts or folders with audio; recordings longer than data.duration allows are cut at their pauses. It starts from random weights (model.size) or goes on from any model (model.init).\n\nThree commands, from recordings to text:\n  klang pretrain configs/pretrain.yaml --set 'data.train=[recordings]'    # all recordings, transcribed or not\n  klang train my-recipe.yaml --set model.init=runs/pretrain               # the transcribed ones\n  klang transcribe runs/my-recipe recordings/*.wav                        # the rest"
    )]
    Pretrain(TrainArguments),
    /// Run several trainings against one another, with statistics and a report
    #[command(
        after_help = "EXPERIMENT is a YAML file: a base recipe, its arms (the first is the control), seeds, budgets in minutes, folds, conditions. Every arm sees the same data in the same order, the same initial weights and as many updates. A run that breaks loses nothing but itself, and the same command goes on where it was stopped.\n\nExamples:\n  klang compare configs/experiments/digits.yaml --dry-run\n  klang compare configs/experiments/digits.yaml --jobs 2 --threads 2\n  klang compare my-experiment.yaml --out results/mine"
    )]
    Compare(CompareArguments),
    /// Compute WER and CER of a model on manifests
    #[command(
        after_help = "Examples:\n  klang evaluate runs/digits data/digits/test.jsonl\n  klang evaluate runs/digits test.jsonl test-flite.jsonl --out results --json\n  klang evaluate runs/digits test.jsonl --lm mine.arpa"
    )]
    Evaluate(EvaluateArguments),
    /// Transcribe audio files
    #[command(
        after_help = "Examples:\n  klang transcribe runs/digits recording.wav\n  klang transcribe runs/digits field --format eaf --out transcripts\n  arecord -t raw -f S16_LE -r 16000 | klang transcribe runs/digits -\n  klang transcribe runs/digits recording.wav --lm mine.arpa --format json --n-best 5"
    )]
    Transcribe(TranscribeArguments),
    /// Find when each word of a transcript is said, and which transcripts look wrong
    #[command(
        after_help = "Of a manifest every transcript is aligned with its recording, and those that the model finds least probable are listed, the worst first, with the reason. A long recording is cut into the lines of its text, and gets a manifest to train from.\n\nExamples:\n  klang align runs/mine train.jsonl --out aligned --format textgrid\n  klang align runs/mine story.wav --text story.txt --out cut"
    )]
    Align(AlignArguments),
    /// Make a language model from text
    #[command(
        after_help = "Interpolated modified Kneser-Ney, as KenLM's lmplz makes it. The text is brought under the rule of the model's transcripts (--model), so that both write alike.\n\nExamples:\n  klang lm train.jsonl stories.txt --out mine.arpa\n  klang lm runs/mine --model runs/mine --out mine.arpa\n  klang lm train.jsonl --model runs/mine --order 4 --held-out dev.jsonl --test test.jsonl --out mine.arpa.gz\n  klang lm train.jsonl --units characters --out letters.arpa"
    )]
    Lm(LmArguments),
    /// Find how much a language model should count, on development data, and keep it with the model
    #[command(
        after_help = "The LM's weight and the score of a word are searched for the least errors on DEV, of a run by default its own; the confidence of words is calibrated there. Both are kept in the model's folder with a copy of the language model, and `klang evaluate` and `klang transcribe` go by them from then on.\n\nExamples:\n  klang tune runs/mine --lm mine.arpa\n  klang tune runs/mine dev.jsonl --lm letters.arpa --by cer --dry-run"
    )]
    Tune(TuneArguments),
    /// Compute WER of two text files, matched by id
    #[command(
        after_help = "REFERENCES and HYPOTHESES are manifests (id, text) as JSON lines, CSV or TSV, Kaldi text files, or NIST .trn files.\n\nExamples:\n  klang score references.trn hypotheses.trn\n  klang score test.jsonl hypotheses.jsonl --json"
    )]
    Score(ScoreArguments),
    /// Write a model as a folder that transformers opens
    #[command(
        after_help = "KL-Norm is folded into the LayerNorm that it equals in evaluation, and low-rank factors are merged: the folder holds a stock model. How klang decodes it goes along (decoding.json, and the language model that it names). README.md in it is the model card, with places left for the author. An encoder that was pretrained only is written as one, to train from.\n\nExamples:\n  klang export runs/mine exported\n  python3 -c \"from transformers import pipeline; print(pipeline('automatic-speech-recognition', 'exported')('a.wav'))\""
    )]
    Export(ExportArguments),
    /// Write a model's output frame by frame, for whoever wants to check it
    #[command(
        after_help = "The file holds `logits` (frame, vocabulary) in fp32; its metadata holds the vocabulary, a JSON list in the order of the columns. With --stages it also holds `features` (frame, feature), `projected` and `hidden` (frame, channel).\n\nExamples:\n  klang logits runs/digits recording.wav --out logits.safetensors\n  klang logits runs/digits a.wav b.wav --out logits --stages"
    )]
    Logits(LogitsArguments),
}

#[derive(Args, Debug)]
pub struct CompareArguments {
    /// The experiment, a YAML file
    pub experiment: PathBuf,
    /// Where runs and reports go; runs/NAME by default
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Compare with this arm, and not with the experiment's control; reports then go to OUT/against-ARM, and runs that are done
    /// serve again
    #[arg(long, value_name = "ARM")]
    pub control: Option<String>,
    /// Runs at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Threads of all runs together, shared out among those at a time; by default a run takes what its recipe says, and with
    /// several jobs all cores are shared out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Check everything, list the runs, and start none
    #[arg(long)]
    pub dry_run: bool,
}

/// Which model.
#[derive(Args, Clone, Debug)]
pub struct ModelArguments {
    /// A run folder, a folder in transformers' layout, or a hub's OWNER/NAME or OWNER/NAME@REVISION
    pub model: PathBuf,
    /// The language whose adapter and vocabulary to use, of a model that has several (MMS)
    #[arg(long, value_name = "CODE")]
    pub language: Option<String>,
}

/// Where and in what to compute.
#[derive(Args, Clone, Copy, Debug)]
pub struct ComputeArguments {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// What to compute in
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    pub precision: Precision,
    /// libtorch's threads on the CPU; all cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Precision {
    /// bf16 where the device computes it faster, else fp32
    Auto,
    /// 32-bit floats
    Fp32,
    /// bfloat16
    Bf16,
    /// Products in 8-bit integers, on a CPU: faster, and a little less exact
    Int8,
}

impl From<Precision> for PrecisionChoice {
    fn from(precision: Precision) -> PrecisionChoice {
        match precision {
            Precision::Auto => PrecisionChoice::Auto,
            Precision::Fp32 => PrecisionChoice::Fp32,
            Precision::Bf16 => PrecisionChoice::Bf16,
            Precision::Int8 => PrecisionChoice::Int8,
        }
    }
}

#[derive(Debug, Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    pub compute: ComputeArguments,
}

#[derive(Debug, Args)]
pub struct PrepareArguments {
    /// The corpus's layout: table, librispeech, common-voice, kaldi, audiofolder
    pub format: String,
    /// The corpus's folder, or its table
    pub source: PathBuf,
    /// Where the manifests go; audio is not copied
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of the splits, where the corpus has none of its own
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Share of the corpus for dev, where it has no splits of its own
    #[arg(long, default_value_t = 0.1)]
    pub dev: f64,
    /// Share of the corpus for test, where it has no splits of its own
    #[arg(long, default_value_t = 0.1)]
    pub test: f64,
    /// Replace manifests that differ
    #[arg(long)]
    pub overwrite: bool,
}

/// A recipe and what differs from it.
#[derive(Debug, Args)]
pub struct RecipeArguments {
    /// The recipe
    pub recipe: PathBuf,
    /// Change a value of the recipe: a dotted key and a YAML value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// A recipe (.yaml); or manifests (JSON lines, CSV, TSV) and folders with audio, each a split of its own
    #[arg(required = true, value_name = "RECIPE|MANIFEST")]
    pub inputs: Vec<PathBuf>,
    /// Change a value of the recipe: a dotted key and a YAML value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Of manifests: the model whose vocabulary, frames and sample rate they are held against
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// The language of a model that has several (MMS)
    #[arg(long, value_name = "CODE", requires = "model")]
    pub language: Option<String>,
    /// Look at the files' headers only, and decode nothing: faster, and blind to silence, clipping, damage, and copies of files
    #[arg(long)]
    pub quick: bool,
    /// Print one JSON object with every finding instead of tables
    #[arg(long)]
    pub json: bool,
    /// Also write a page with the worst utterances, to listen to
    #[arg(long, value_name = "PAGE")]
    pub html: Option<PathBuf>,
    /// Of manifests: write them without the utterances that have errors, as OUT/NAME.jsonl (of a single one also OUT.jsonl),
    /// and beside each what was left out and why, as NAME.left-out.jsonl
    #[arg(long, value_name = "OUT")]
    pub fix: Option<PathBuf>,
    /// Replace what --fix wrote before; the manifests that are checked are never replaced
    #[arg(long, requires = "fix")]
    pub overwrite: bool,
}

#[derive(Debug, Args)]
pub struct TrainArguments {
    #[command(flatten)]
    pub recipe: RecipeArguments,
    /// The run folder; runs/NAME-OF-THE-RECIPE by default
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Go on with the run in the run folder, from its last saved state
    #[arg(long)]
    pub resume: bool,
}

#[derive(Debug, Args)]
pub struct EvaluateArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// Manifests with transcripts
    #[arg(required = true)]
    pub manifest: Vec<PathBuf>,
    /// Also write scores and hypotheses there: NAME.json, NAME.hypotheses.jsonl
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// Audio in a batch, padding included, in seconds; the text does not depend on it
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub batch_seconds: f64,
    #[command(flatten)]
    pub decoding: DecodingArguments,
    #[command(flatten)]
    pub compute: ComputeArguments,
}

#[derive(Debug, Args)]
pub struct TranscribeArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// Audio files (WAV, FLAC, MP3, Ogg Vorbis), and folders with all that are in them; - for samples on stdin, as they are
    /// spoken (16-bit PCM at the model's rate, one channel)
    #[arg(required = true)]
    pub audio: Vec<PathBuf>,
    /// txt: the text alone; json: segments, words, times, confidence; srt, vtt: subtitles; ctm: NIST's; textgrid: Praat's;
    /// eaf: ELAN's
    #[arg(long, value_name = "FORMAT", default_value = "txt")]
    pub format: Format,
    /// What else each recording may have been, so many texts, in json: of a beam search
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub n_best: u16,
    /// Write a file for each audio file there, in the same tree, instead of printing; what is there already is left as it is
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write transcripts that are there already anew
    #[arg(long, requires = "out")]
    pub overwrite: bool,
    #[command(flatten)]
    pub decoding: DecodingArguments,
    #[command(flatten)]
    pub compute: ComputeArguments,
}

#[derive(Debug, Args)]
pub struct ScoreArguments {
    /// What was said
    pub references: PathBuf,
    /// What was recognised
    pub hypotheses: PathBuf,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Compare the texts as they are, instead of lower-cased and without punctuation
    #[arg(long)]
    pub as_written: bool,
    /// Language whose rules lower-casing follows
    #[arg(long, default_value = "en")]
    pub locale: String,
}

#[derive(Debug, Args)]
pub struct ExportArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// The folder to write; it must not be there yet, or be empty
    pub folder: PathBuf,
    /// Keep what klang alone understands beside the stock weights, for going on with klang
    #[arg(long)]
    pub as_is: bool,
    /// Round the weights to bfloat16, which halves the file
    #[arg(long)]
    pub bf16: bool,
}

#[derive(Debug, Args)]
pub struct LogitsArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// Audio files; several are computed as one padded batch, which takes memory for all of them at once
    #[arg(required = true)]
    pub audio: Vec<PathBuf>,
    /// The safetensors file to write; of several audio files, the folder for a file each
    #[arg(long, value_name = "FILE|DIR")]
    pub out: PathBuf,
    /// Also write what stands between audio and logits: features, projected, hidden
    #[arg(long)]
    pub stages: bool,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// What to compute in
    #[arg(long, value_enum, default_value_t = Precision::Fp32)]
    pub precision: Precision,
    /// libtorch's threads on the CPU; all cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}
