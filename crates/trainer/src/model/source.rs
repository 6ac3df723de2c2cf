//! What a command's MODEL or a recipe's `init` means: a place on the disk.

use std::path::{Path, PathBuf};

use klang_hub::{ModelName, Progress, Settings};
use klang_wav2vec2::checkpoint::Checkpoint;

use crate::error::{Error, Result};
use crate::event::{Event, Observer};

/// A model on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSource {
    /// A folder in transformers' layout, or a checkpoint of fairseq's.
    pub path: PathBuf,
    /// The language whose adapter and vocabulary are wanted, where a model has several.
    pub language: Option<String>,
    /// What to call it: its path, or a hub's name with the commit.
    pub name: String,
    /// Whether it came from a hub.
    pub from_hub: bool,
}

/// Finds the model that `given` names: a run folder's best checkpoint, else its last; a folder in transformers' layout; a
/// checkpoint of fairseq's; or, where no such path is, a hub's model, which is then fetched.
///
/// # Errors
/// A path that holds no model, with what was looked for; a model that the hub has not, or does not give.
pub fn find_model(given: &Path, language: Option<&str>, observer: &mut dyn Observer) -> Result<ModelSource> {
    let found = |path: PathBuf| {
        let name = path.display().to_string();
        ModelSource { path, language: language.map(str::to_string), name, from_hub: false }
    };
    if given.is_file() {
        return Ok(found(given.into()));
    }
    // `runs/digtis` beside a folder `runs` is a mistyped path, and no stranger's business; `runs/digtis@main` is none.
    let beside = given.parent().is_some_and(Path::is_dir) && !given.to_string_lossy().contains('@');
    let name = given.to_str().filter(|name| !given.exists() && ModelName::looks_like(name));
    if let Some(name) = name.filter(|_| !beside) {
        return fetch(name, language, observer).map_err(|error| match error {
            Error::Hub(source) => Error::HubName { given: name.into(), source: Box::new(source) },
            other => other,
        });
    }
    let folder = [given.join("best"), given.join("last"), given.to_path_buf()];
    let folder = folder.into_iter().find(|path| path.join("config.json").is_file());
    folder.map(found).ok_or_else(|| Error::Model {
        path: given.into(),
        message: if beside && name.is_some() {
            "no such folder, in a folder that is here; for a hub's model of this name write @main behind it".into()
        } else if given.exists() {
            "no model: neither best/config.json, last/config.json nor config.json is in it".into()
        } else {
            "no such folder; allowed: a run folder, a folder in transformers' layout, a fairseq checkpoint, or a hub's OWNER/NAME".into()
        },
    })
}

fn fetch(name: &str, language: Option<&str>, observer: &mut dyn Observer) -> Result<ModelSource> {
    let settings = Settings::from_environment()?;
    let name: ModelName = name.parse()?;
    let fetched = klang_hub::fetch(
        &settings,
        &name,
        language,
        &mut Fetching { observer, file: String::new(), done: 0, total: None },
    )?;
    fetched.warnings.iter().for_each(|warning| observer.event(Event::Warning(warning)));
    let language = language.map(str::to_string);
    let name = format!("{}@{}", name.id(), fetched.revision);
    Ok(ModelSource { path: fetched.folder, language, name, from_hub: true })
}

/// Tells an observer how a download goes.
struct Fetching<'a> {
    observer: &'a mut dyn Observer,
    file: String,
    done: u64,
    total: Option<u64>,
}

impl Progress for Fetching<'_> {
    fn start(&mut self, file: &str, bytes: Option<u64>) {
        (self.file, self.done, self.total) = (file.into(), 0, bytes);
        self.advance(0);
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        let Fetching { file, done, total, .. } = self;
        self.observer.event(Event::Fetching { file, done: *done, total: *total });
    }

    fn finish(&mut self) {
        self.observer.event(Event::Fetched { file: &self.file, bytes: self.done });
    }
}

/// How the file of a language's adapter is named: before and behind the language.
const ADAPTER: [(&str, &str); 2] = [("adapter.", ".safetensors"), ("adapter.", ".bin")];

impl ModelSource {
    /// The named tensors, with those of the language's adapter laid over them.
    ///
    /// # Errors
    /// Weights that are missing or damaged, or a language that there is no adapter of.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::open(&self.path)?;
        if let Some(language) = &self.language {
            checkpoint.lay_over(&self.adapter(language)?)?;
        }
        Ok(checkpoint)
    }

    fn adapter(&self, language: &str) -> Result<PathBuf> {
        let files = ADAPTER.map(|(before, behind)| self.path.join(format!("{before}{language}{behind}")));
        let plain = !language.is_empty() && !language.contains(['/', '\\']);
        if let Some(file) = files.into_iter().find(|file| plain && file.is_file()) {
            return Ok(file);
        }
        let languages = self.languages();
        let message = match languages.len() {
            0 => format!("language `{language}`: this model has no adapters of languages; leave the language out"),
            count => {
                let some = languages.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
                let more = if count > 20 { format!(" and {} more", count - 20) } else { String::new() };
                format!("language `{language}`: no adapter of it here; there are {some}{more}")
            }
        };
        Err(Error::before_work(Error::Model { path: self.path.clone(), message }))
    }

    /// The languages that there are adapters of, sorted.
    fn languages(&self) -> std::collections::BTreeSet<String> {
        let names = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let language = |name: String| {
            let between = |(before, behind)| name.strip_prefix(before)?.strip_suffix(behind).map(str::to_string);
            ADAPTER.into_iter().find_map(between)
        };
        names.filter_map(language).collect()
    }
}
