//! What a model asks of a corpus, for the corpus's checks; and what they found, as a page.

mod page;

use klang_corpus::check::{ReadText, Reader};
use klang_corpus::{CheckOptions, Listening, Overlap, Report, Role, Source as Checked, check};
use klang_ctc::required_frames;
use klang_text::{Normaliser, Vocabulary};
use klang_wav2vec2::ModelConfig;

use crate::data::{Lists, Transcripts, select_each};
use crate::error::Result;
use crate::model::{ModelSource, ModelSpec};
use crate::recipe::{Recipe, Source};

pub use page::write_check_page;

/// How a corpus is checked.
#[derive(Clone, Copy)]
pub struct CheckSettings<'a> {
    /// How closely audio is looked at.
    pub listening: Listening,
    /// Is told of every utterance that was listened to, from any thread.
    pub progress: &'a (dyn Fn() + Sync),
}

/// A recogniser's rule for text, its vocabulary and its frames.
#[derive(Debug)]
pub struct SpecReader {
    normaliser: Normaliser,
    vocabulary: Vocabulary,
    config: ModelConfig,
    sampling_rate: u32,
}

impl SpecReader {
    /// Of a model's shape, vocabulary and rule for text.
    ///
    /// # Errors
    /// A rule for text that there may not be.
    pub fn new(spec: &ModelSpec) -> Result<SpecReader> {
        Ok(SpecReader {
            normaliser: Normaliser::new(&spec.text)?,
            vocabulary: spec.vocabulary.clone(),
            config: spec.config.clone(),
            sampling_rate: spec.audio.sampling_rate,
        })
    }

    /// Of a model's folder; its weights are not loaded.
    ///
    /// # Errors
    /// A folder that is no recogniser.
    pub fn open(source: &ModelSource) -> Result<SpecReader> {
        SpecReader::new(&ModelSpec::read(source, &source.checkpoint()?)?)
    }
}

impl Reader for SpecReader {
    fn sample_rate(&self) -> u32 {
        self.sampling_rate
    }

    fn read(&self, text: &str) -> ReadText {
        let encoded = self.vocabulary.encode(&self.normaliser.apply(text));
        ReadText {
            empty: encoded.labels.is_empty() && encoded.unknown.is_empty(),
            unknown: encoded.unknown,
            labels: encoded.labels.len(),
            frames: required_frames(&encoded.labels),
        }
    }

    fn frames(&self, seconds: f64) -> Option<usize> {
        let frames = self.config.frames((seconds * f64::from(self.sampling_rate)).round() as i64);
        Some(frames.max(0) as usize)
    }
}

/// What a recipe says of tests that share audio or speakers with train.
pub(crate) fn overlap_rule(recipe: &Recipe) -> Overlap {
    if recipe.data.allow_overlap { Overlap::Allowed } else { Overlap::Refused }
}

/// The sources that lists are.
pub(crate) fn sources(role: Role, lists: &Lists) -> impl Iterator<Item = Checked<'_>> {
    lists.iter().map(move |(path, utterances)| Checked { role, path, utterances })
}

/// Checks what a recipe for fine-tuning names, as its manifests list it: before some are drawn for dev, or for fewer minutes.
///
/// # Errors
/// A manifest that cannot be read.
pub(crate) fn check_fine_tuning(recipe: &Recipe, spec: &ModelSpec, settings: &CheckSettings<'_>) -> Result<Report> {
    let data = &recipe.data;
    let others = |sources: Vec<&Source>| -> Result<Lists> {
        let one = |source| select_each(std::slice::from_ref(source), &Default::default(), Transcripts::Needed);
        Ok(sources.into_iter().map(one).collect::<Result<Vec<Lists>>>()?.concat())
    };
    let train = select_each(&data.train, &data.select, Transcripts::Needed)?;
    let (dev, tests) = (others(data.dev.iter().collect())?, others(data.test.values().collect())?);
    let lists = [(Role::Train, &train), (Role::Dev, &dev), (Role::Test, &tests)];
    let all: Vec<Checked<'_>> = lists.into_iter().flat_map(|(role, lists)| sources(role, lists)).collect();
    let reader = SpecReader::new(spec)?;
    let CheckSettings { listening, progress } = *settings;
    let overlap = overlap_rule(recipe);
    Ok(check(&all, &CheckOptions { labelled: true, listening, reader: &reader, overlap, progress }))
}

/// Checks what a recipe for pretraining names, before anything is cut.
///
/// # Errors
/// A manifest that cannot be read.
pub fn check_pretraining(recipe: &Recipe, reader: &dyn Reader, settings: &CheckSettings<'_>) -> Result<Report> {
    let train = select_each(&recipe.data.train, &recipe.data.select, Transcripts::Unused)?;
    let dev = match &recipe.data.dev {
        Some(dev) => select_each(std::slice::from_ref(dev), &Default::default(), Transcripts::Unused)?,
        None => Lists::new(),
    };
    let all: Vec<Checked<'_>> = sources(Role::Train, &train).chain(sources(Role::Dev, &dev)).collect();
    let CheckSettings { listening, progress } = *settings;
    Ok(check(&all, &CheckOptions { labelled: false, listening, reader, overlap: overlap_rule(recipe), progress }))
}
