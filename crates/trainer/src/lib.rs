//! From a recipe to a model: recipes, data, training, scoring, transcription.
//!
//! ```text
//! recipe.yaml ─► Recipe ─► Preparation ─► train ─► run folder (recipe, metrics, checkpoints, state, report)
//! run folder ─► Recogniser ─► evaluate, transcribe
//! ```

mod assembly;
mod batched;
mod check;
mod compare;
mod data;
mod decode;
mod device;
mod draw;
mod drawing;
mod emissions;
mod error;
mod evaluate;
mod event;
mod export;
mod files;
mod hypotheses;
mod in_order;
mod live;
mod model;
mod optimiser;
mod prepare;
mod pretrain;
mod recipe;
mod regularise;
mod replicas;
mod run;
mod schedule;
mod side_by_side;
mod sites;
mod step;
mod stretches;
mod train;
mod training;
mod transcribe;
mod windows;

pub use check::{CheckSettings, SpecReader, check_pretraining, write_check_page};
pub use compare::{
    Arm, ArmRates, Budget, CompareEvent, CompareObserver, CompareSettings, Cost, Difference, Experiment, Interval,
    Learning, LearningPoint, Missing, Results, Scored, Search, Try, compare, planned_runs,
};
pub use data::{
    AudioCache, Augmentation, BadAudio, BatchPlan, Dataset, EpochPlan, Item, Keep, LeftOut, LoaderSettings, OnBadAudio,
    RowPlan, SkippedAudio, encode, read_sources,
};
pub use decode::{
    AlignedLine, AlignedRecording, AlignedTranscript, Calibration, DECODING, DecodeMethod, DecodeSettings, Decoded,
    Decoder, LEAST_WORDS, Listener, LmUnits, Output, SPACE, Suspicion, TimedWord, TuneTry, TunedDecoding, WordList,
    align_transcripts, expected_calibration_error, known_sentences, read_sentences, tune_decoding, worst_first,
};
pub use device::{Compute, DeviceChoice, PrecisionChoice, cpu_has_bf16, has_nvidia_driver};
pub use error::{Error, Result};
pub use evaluate::{Behaviour, DecodedScore, EvaluateOptions, Evaluation, evaluate};
pub use event::{Event, Measures, Observer, PretrainingMeasures, Regulariser, UpdateReport};
pub use export::{ExportOptions, export};
pub use hypotheses::{read_hypotheses, write_hypotheses};
pub use live::{Live, NewWords};
pub use model::{
    AudioSpec, ModelSource, ModelSpec, Reading, Recogniser, Recognition, RecognitionStages, Tune, TuneKind, TuneRecipe,
    find_model,
};
pub use prepare::{Preparation, train_and_dev};
pub use pretrain::{HeldOut, PretrainingPreparation, Probed, pretrain};
pub use recipe::{
    AugmentRecipe, BottleneckRecipe, ChooseBy, Condition, ContrastiveRecipe, DataRecipe, FreezeRecipe, MaskRecipe,
    ModelRecipe, NormKind, NormRecipe, ObjectiveKind, PretrainRecipe, ProbeRecipe, Recipe, Source, SourcePart,
    SpanRecipe, Spectrum, TrainRecipe,
};
pub use regularise::L2SpRecipe;
pub use run::{DataLine, MetricsLine, Progress, RunFolder, read_metrics};
pub use schedule::Schedule;
pub use train::train;
pub use training::{Begin, Outcome};
pub use transcribe::{FileStages, Heard};
