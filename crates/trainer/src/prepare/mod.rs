//! From a checked recipe to data sets and a model's shape: everything before the first tensor.

mod origin;
mod start;

use std::collections::BTreeSet;
use std::path::Path;

use klang_corpus::check::overlap;
use klang_corpus::{Finding, Report, Role, Severity, Source as Checked, Utterance};
use klang_text::{Normaliser, Vocabulary};

use crate::check::{CheckSettings, check_fine_tuning, overlap_rule, sources};
use crate::data::{
    Dataset, Keep, LeftOut, Lists, OnBadAudio, SkippedAudio, allowed, encode, flat, read_sources, read_sources_each,
    take_dev, take_minutes, unmatched,
};
use crate::decode::{DecodeMethod, Decoder};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::event::Observer;
use crate::files;
use crate::hypotheses::read_hypotheses;
use crate::model::{ModelSpec, Recogniser, Tune, TuneKind, TuneRecipe};
use crate::recipe::{Recipe, Source};
use crate::run::{DataLine, RunFolder};

pub(crate) use origin::Origin;
use start::Start;

/// Everything that a recipe names, read and fitted together.
#[derive(Debug)]
pub struct Preparation {
    /// What is learnt from.
    pub train: Dataset,
    /// What the best checkpoint is chosen on.
    pub dev: Dataset,
    /// What is reported.
    pub tests: Vec<Dataset>,
    /// The model's shape and vocabulary.
    pub spec: ModelSpec,
    /// What reads the tests beside the greedy reading.
    pub decoder: Option<Decoder>,
    /// What a person should know before training.
    pub notes: Vec<String>,
    /// Training utterances that the manifests list and selections keep, before dev and fewer minutes are drawn: what the share
    /// of bad audio is a share of.
    pub listed: usize,
    /// Training utterances that are skipped from the start: neither manifest nor file tells their length.
    pub unreadable: Vec<SkippedAudio>,
    start: Start,
    report: Option<Report>,
}

impl Preparation {
    /// Reads manifests, builds the vocabulary from training text only, and fits the model to it.
    ///
    /// # Errors
    /// Whatever is wrong with the recipe's files, by file and line.
    pub fn new(recipe: &Recipe, observer: &mut dyn Observer) -> Result<Preparation> {
        Preparation::build(recipe, None, observer).map_err(Error::before_work)
    }

    /// As [`Preparation::new`], with the corpus checked as `klang check` does.
    ///
    /// # Errors
    /// As [`Preparation::new`].
    pub fn checked(recipe: &Recipe, settings: &CheckSettings<'_>, observer: &mut dyn Observer) -> Result<Preparation> {
        Preparation::build(recipe, Some(settings), observer).map_err(Error::before_work)
    }

    fn build(recipe: &Recipe, check: Option<&CheckSettings<'_>>, observer: &mut dyn Observer) -> Result<Preparation> {
        recipe.fine_tuning()?;
        let data = &recipe.data;
        if let Some(folder) = &data.feature_cache_dir {
            try_feature_folder(folder)?;
        }
        // What a check is to list must not end it.
        let bad_audio = |rule| if check.is_some() { OnBadAudio::Skip } else { rule };
        let read_one = |source: &Source| -> Result<Lists> {
            let one = std::slice::from_ref(source);
            Ok(read_sources_each(one, &Default::default(), bad_audio(OnBadAudio::Error))?.0)
        };
        let (lists, unreadable) = read_sources_each(&data.train, &data.select, bad_audio(data.on_bad_audio))?;
        let dev_lists = data.dev.as_ref().map(read_one).transpose()?;
        let tests = data.test.iter().map(|(name, source)| Ok((name, read_one(source)?))).collect::<Result<Vec<_>>>()?;
        let unreadable: Vec<SkippedAudio> = unreadable
            .into_iter()
            .map(|LeftOut { id, line, why }| SkippedAudio { id, why: format!("line {line}: {why}") })
            .collect();
        let listed = lists.iter().map(|(_, utterances)| utterances.len()).sum::<usize>() + unreadable.len();
        if check.is_none() {
            bad_at_start(recipe, listed, &unreadable)?;
            refuse_overlap(recipe, &lists, &tests)?;
        }
        let (train, dev) = part(recipe, flat(lists), dev_lists.map(flat));
        let first = data.train[0].path().clone();

        let normaliser = Normaliser::new(&recipe.text)?;
        let (start, mut notes) = Start::new(recipe, &train, &normaliser, observer)?;
        let spec = start.spec(recipe)?;
        if let Some((_, checkpoint)) = &start.origin.checkpoint {
            Recogniser::fit(checkpoint, &spec, start.head)?;
        }
        let rate = spec.audio.sampling_rate;
        let set = |name: &str, utterances, keep| {
            encode(name, utterances, &normaliser, &spec.vocabulary, &spec.config, rate, keep)
        };
        let train = set("train", train, Keep::Learnable(data.duration));
        let dev = set("dev", dev, Keep::All);
        let test = |(name, lists): (&String, Lists)| {
            let condition = data.test.get(name).map(Source::condition).unwrap_or_default();
            Dataset { condition, ..set(name, flat(lists), Keep::All) }
        };
        let tests: Vec<Dataset> = tests.into_iter().map(test).collect();
        if train.items.is_empty() {
            let reason = train
                .left_out
                .first()
                .map_or(String::new(), |left| format!("; the first, `{}`: {}", left.id, left.why));
            return Err(Error::Data { path: first, message: format!("nothing left to learn from{reason}") });
        }
        if dev.items.iter().all(|item| item.text.is_empty()) && !dev.items.is_empty() {
            let message = "no transcript in dev holds a word; the best checkpoint could not be chosen".into();
            return Err(Error::Data { path: first, message });
        }
        if dev.items.is_empty() {
            return Err(Error::Data { path: first, message: "nothing in dev to choose the best checkpoint on".into() });
        }
        for value in unmatched(&data.train, &data.select)? {
            notes.push(format!(
                "warning: data.select names {value}, which no training utterance has; is it spelt right?"
            ));
        }
        let decoder = match recipe.decode.method {
            DecodeMethod::Greedy => None,
            DecodeMethod::Beam => Some(Decoder::new(recipe.decode.clone(), &spec).map_err(Error::in_recipe)?.untimed()),
        };
        if let Some(decoder) = &decoder {
            notes.push(format!("tests are read by {}, beside the greedy reading", decoder.describe()));
            notes.extend(decoder.warnings().iter().map(|text| format!("warning: {text}")));
        }
        describe(&mut notes, &spec.vocabulary, &train, &dev, &tests);
        let report = check.map(|settings| check_fine_tuning(recipe, &spec, settings)).transpose()?;
        Ok(Preparation { train, dev, tests, spec, decoder, notes, listed, unreadable, start, report })
    }

    /// What a check found; none unless it was asked for.
    pub fn into_report(self) -> Option<Report> {
        self.report
    }

    /// The model before its first update.
    ///
    /// # Errors
    /// A checkpoint whose weights do not fit.
    pub fn model(&self, compute: Compute, seed: u64) -> Result<FreshModel> {
        let Some((_, checkpoint)) = &self.start.origin.checkpoint else {
            let model = Recogniser::random(self.spec.clone(), compute, seed)?;
            let fresh = model.parameters().into_iter().map(|(name, _)| name).collect();
            return Ok(FreshModel { model, fresh, notes: Vec::new() });
        };
        let (model, fit) = Recogniser::load(checkpoint, self.spec.clone(), self.start.head, compute, seed)?;
        let notes = self.start.origin.notes(&fit);
        Ok(FreshModel { model, fresh: fit.fresh.into_iter().collect(), notes })
    }

    /// Whether the model starts from a checkpoint.
    pub fn is_pretrained(&self) -> bool {
        self.start.origin.checkpoint.is_some()
    }

    /// What the model starts from, as a person would call it.
    pub fn start_name(&self) -> &str {
        &self.start.origin.name
    }

    /// The hub's model that it starts from, with its commit.
    pub fn pinned(&self) -> Option<&str> {
        self.start.origin.pinned()
    }

    /// The data sets in numbers, training's first.
    pub fn data(&self) -> Vec<DataLine> {
        [&self.train, &self.dev].into_iter().chain(&self.tests).map(DataLine::of).collect()
    }

    /// What learns.
    pub fn tune<'a>(&self, recipe: &'a Recipe) -> Tune<'a> {
        // Random filters are never frozen: nothing above them could make up for what they do not hear.
        let frozen = self.is_pretrained() && recipe.model.freeze.feature_encoder.unwrap_or(true);
        Tune { recipe: &recipe.model.tune, frozen_feature_encoder: frozen }
    }

    /// What learns under each choice of `model.tune.kind`, and of how many parameters; or why the model does not admit the
    /// choice.
    pub fn choices(&self, recipe: &Recipe) -> Vec<(TuneKind, Result<[u64; 2]>)> {
        let count = |kind| {
            let tune = TuneRecipe { kind, ..recipe.model.tune.clone() };
            let recipe =
                Recipe { model: crate::recipe::ModelRecipe { tune, ..recipe.model.clone() }, ..recipe.clone() };
            self.tune(&recipe).count(&self.start.spec(&recipe)?)
        };
        let kinds = if self.is_pretrained() { &TuneKind::ALL[..] } else { &[TuneKind::All] };
        kinds.iter().map(|&kind| (kind, count(kind))).collect()
    }
}

/// The utterances that a run's recipe learns from, and those that it chose its best checkpoint on, by the manifests as they
/// are now; dev has to be what it was.
///
/// # Errors
/// A folder that holds no run of fine-tuning, manifests that cannot be read, or that give another dev than the run had.
pub fn train_and_dev(run: &RunFolder) -> Result<(Vec<Utterance>, Vec<Utterance>)> {
    let recipe = run.resolve()?;
    recipe.fine_tuning()?;
    let data = &recipe.data;
    let (train, _) = read_sources_each(&data.train, &data.select, data.on_bad_audio)?;
    let dev = data.dev.as_ref().map(|dev| read_sources(std::slice::from_ref(dev), &Default::default())).transpose()?;
    let (train, dev) = part(&recipe, flat(train), dev);
    if run.hypotheses().is_file() {
        let was: BTreeSet<String> = read_hypotheses(&run.hypotheses())?.into_iter().map(|pair| pair.id).collect();
        let is: BTreeSet<String> = dev.iter().map(|utterance| utterance.id.clone()).collect();
        if let Some(id) = was.symmetric_difference(&is).next() {
            let message = format!(
                "the manifests that its recipe.yaml names give another dev than the run had: `{id}` is in one of the two alone. Its paths start where the run was begun; were utterances added since?"
            );
            return Err(Error::Run { path: run.path().into(), message });
        }
    }
    Ok((train, dev))
}

/// Takes dev from the training utterances unless it has a manifest of its own, and then no more minutes than are asked for.
fn part(recipe: &Recipe, train: Vec<Utterance>, dev: Option<Vec<Utterance>>) -> (Vec<Utterance>, Vec<Utterance>) {
    let (train, dev) = match dev {
        Some(dev) => (train, dev),
        None => take_dev(train, recipe.data.dev_share, recipe.seed),
    };
    match recipe.data.minutes {
        Some(minutes) => (take_minutes(train, minutes, recipe.seed), dev),
        None => (train, dev),
    }
}

/// A model before its first update.
#[derive(Debug)]
pub struct FreshModel {
    /// It.
    pub model: Recogniser,
    /// Names of the parameters that no checkpoint gave.
    pub fresh: BTreeSet<String>,
    /// What was taken from the checkpoint and what was not, for whoever watches.
    pub notes: Vec<String>,
}

fn try_feature_folder(folder: &Path) -> Result<()> {
    files::try_folder(folder).map_err(|error| Error::RecipeValue {
        key: "data.feature_cache_dir".into(),
        given: format!("{} ({error})", folder.display()),
        allowed: "a folder that can be written to, there already or to be made; absent to keep features in memory"
            .into(),
    })
}

/// A test that shares audio or speakers with train says nothing of what is new; whoever means it so says it.
fn refuse_overlap(recipe: &Recipe, train: &Lists, tests: &[(&String, Lists)]) -> Result<()> {
    if recipe.data.allow_overlap {
        return Ok(());
    }
    let of_tests = tests.iter().flat_map(|(_, lists)| sources(Role::Test, lists));
    let all: Vec<Checked<'_>> = sources(Role::Train, train).chain(of_tests).collect();
    let found = overlap(&all, overlap_rule(recipe));
    let errors: Vec<&Finding> = found.iter().filter(|finding| finding.severity == Severity::Error).collect();
    let Some(first) = errors.first() else { return Ok(()) };
    let more = match errors.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} more; klang check lists them)"),
    };
    let message = format!(
        "line {}, `{}`: {}{more}; a score there would not be of new speech. Leave them out of train, or say `data.allow_overlap: true` if it is meant so",
        first.line, first.id, first.what
    );
    Err(Error::Data { path: first.source.clone(), message })
}

/// Audio that cannot be read before the run begins counts like what goes bad later.
fn bad_at_start(recipe: &Recipe, utterances: usize, unreadable: &[SkippedAudio]) -> Result<()> {
    let (count, limit) = (unreadable.len(), recipe.data.bad_audio_limit);
    let allowed = allowed(limit, utterances);
    match unreadable.last().filter(|_| count > allowed) {
        None => Ok(()),
        Some(SkippedAudio { id, why }) => {
            let why = format!("{id}: {why}");
            Err(Error::TooMuchBadAudio { set: "train".into(), count, utterances, allowed, limit, why })
        }
    }
}

fn describe(notes: &mut Vec<String>, vocabulary: &Vocabulary, train: &Dataset, dev: &Dataset, tests: &[Dataset]) {
    for set in [train, dev].into_iter().chain(tests) {
        notes.push(set.size());
        let unknown = vocabulary.out_of_vocabulary(set.items.iter().map(|item| item.text.as_str()));
        if unknown.total() > 0 {
            let characters: Vec<String> =
                unknown.characters.iter().map(|(character, count)| format!("{character:?} × {count}")).collect();
            notes.push(format!(
                "{}: {} characters never seen in training, in {} utterances; they cannot be recognised: {}",
                set.name,
                unknown.total(),
                unknown.texts,
                characters.join(", ")
            ));
        }
    }
    notes.extend(train.omissions());
}
