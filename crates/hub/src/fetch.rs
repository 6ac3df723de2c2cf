//! Fetches a model: what the cache holds is checked, what it lacks is downloaded, checked and put there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::cache::{Cache, Held, Known, Record, read_bounded};
use crate::choice::{self, Lack};
use crate::name::is_commit;
use crate::remote::{Found, Remote};
use crate::{Error, ModelName, Progress, Settings, digest};

/// The branch that is meant where no revision is given.
const DEFAULT: &str = "main";
/// Nothing but weights is larger, in bytes.
const LARGEST_BESIDE: u64 = 64 << 20;
/// Above this many bytes a file whose length and time have not changed since it was compared with its digest is not
/// read again. Smaller ones are, always.
const LARGE: u64 = 8 << 20;

/// A model on the disk, every file of it checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The folder with the files: the snapshot in the cache.
    pub folder: PathBuf,
    /// The commit, 40 hexadecimal digits.
    pub revision: String,
    /// The names of the files that were asked for. The folder may hold others, which were not looked at.
    pub files: Vec<String>,
    /// What the user should know of: an older copy was used, or a file could not be checked.
    pub warnings: Vec<String>,
}

/// Brings a model into the cache: `config.json`, the weights in one form, the vocabulary and settings that lie beside
/// them, and the adapter of `language` (as the repository names it: `tur`) where one is given.
///
/// The server is asked which commit the revision is at, unless the revision is a full commit that an earlier call has
/// fetched, or [`Settings::offline`] is set. Where it cannot be reached, what the cache holds is used, with a warning.
///
/// # Errors
///
/// See [`Error`]. After any of them the cache holds nothing that is broken, and a later call goes on from there.
pub fn fetch(
    settings: &Settings,
    model: &ModelName,
    language: Option<&str>,
    progress: &mut dyn Progress,
) -> Result<Fetched, Error> {
    let cache = Cache::new(&settings.cache, model);
    let revision = model.revision().unwrap_or(DEFAULT);
    let known = is_commit(revision) && !cache.record(revision).names.is_empty();
    if settings.offline || known {
        match from_cache(&cache, model, revision, language) {
            Err(Error::Offline { .. }) if !settings.offline => {}
            result => return result,
        }
    }
    let remote = Remote::new(settings, model, cache.incoming())?;
    match remote.info(revision) {
        Ok((commit, names)) => {
            let record = Record { names, ..cache.record(&commit) };
            let mut job = Job { record, ..Job::new(&cache, model, commit) };
            let source = Source { remote: &remote, settings, progress };
            job.run(language, Some(source))
        }
        Err(network @ Error::Network { .. }) => match from_cache(&cache, model, revision, language) {
            Ok(mut fetched) => {
                let commit = &fetched.revision;
                fetched.warnings.push(format!("{network}; commit {commit} from the cache is used instead"));
                Ok(fetched)
            }
            Err(Error::Offline { .. }) => Err(network),
            Err(other) => Err(other),
        },
        Err(other) => Err(other),
    }
}

/// The model as the cache has it; [`Error::Offline`] where it lacks something.
fn from_cache(cache: &Cache, model: &ModelName, revision: &str, language: Option<&str>) -> Result<Fetched, Error> {
    match cache.resolve(revision) {
        Some(commit) => Job { record: cache.record(&commit), ..Job::new(cache, model, commit) }.run(language, None),
        None => {
            let what = format!("its revision {revision}");
            Err(Error::Offline { model: model.id().into(), what, folder: cache.root.clone() })
        }
    }
}

/// Where files come from that the cache lacks.
struct Source<'a> {
    remote: &'a Remote,
    settings: &'a Settings,
    progress: &'a mut dyn Progress,
}

/// One commit of one model.
struct Job<'a> {
    cache: &'a Cache,
    model: &'a ModelName,
    commit: String,
    record: Record,
    lock: Option<File>,
    warnings: Vec<String>,
}

/// What the cache has of a file.
enum Local {
    Absent,
    Good,
    /// It is there, and nothing says what it should hold.
    Unknown,
}

impl<'a> Job<'a> {
    fn new(cache: &'a Cache, model: &'a ModelName, commit: String) -> Self {
        Self { cache, model, commit, record: Record::default(), lock: None, warnings: Vec::new() }
    }

    fn run(&mut self, language: Option<&str>, mut source: Option<Source<'_>>) -> Result<Fetched, Error> {
        // Python keeps no list of a commit's files: what lies in the folder must do.
        let guessed = self.record.names.is_empty();
        let names = if guessed { self.cache.names(&self.commit) } else { self.record.names.clone() };
        let choice = choice::choose(&names, language).map_err(|lack| self.lack(lack, language, guessed))?;
        let mut files = choice.files;
        for file in &files {
            self.obtain(file, &mut source)?;
        }
        if let Some(index) = choice.index {
            let path = self.path(index);
            let content = read_bounded(&path, LARGEST_BESIDE).map_err(Error::io("read", &path))?;
            let shards = choice::shards(index, &content).map_err(|why| self.index(index, why))?;
            for shard in &shards {
                if !guessed && !names.contains(shard) {
                    return Err(self.index(index, format!("names {shard}, which the repository does not have")));
                }
                self.obtain(shard, &mut source)?;
            }
            files.extend(shards);
        }
        self.finish(source.is_some());
        let (folder, warnings) = (self.cache.snapshot(&self.commit), std::mem::take(&mut self.warnings));
        Ok(Fetched { folder, revision: self.commit.clone(), files, warnings })
    }

    /// Everything is here: says so for later runs. The model can be used even where that cannot be written.
    fn finish(&mut self, online: bool) {
        let revision = self.model.revision().unwrap_or(DEFAULT);
        if online && let Err(error) = self.cache.note(revision, &self.commit) {
            self.warnings.push(format!("{error}: without a connection, {revision} will not be found"));
        }
        let _ = self.cache.keep(&self.commit, &self.record); // without it a later run checks more than it must
        if let Some(_held) = self.lock.take() {
            let _ = fs::remove_dir_all(self.cache.incoming()); // empty but for hf-hub's locks
        }
    }

    /// Sees to it that a file is in the snapshot, and that it is what it should be.
    fn obtain(&mut self, file: &str, source: &mut Option<Source<'_>>) -> Result<(), Error> {
        match (self.local(file)?, source) {
            (Local::Good, _) => Ok(()),
            (Local::Absent, None) => Err(self.offline(file)),
            (Local::Unknown, None) => {
                let warning = format!(
                    "{file} of {} is used unchecked: nothing in the cache says what it should hold",
                    self.model
                );
                self.warnings.push(warning);
                Ok(())
            }
            (local, Some(source)) => self.ask(file, matches!(local, Local::Unknown), source),
        }
    }

    fn local(&mut self, file: &str) -> Result<Local, Error> {
        let path = self.path(file);
        match self.cache.held(&self.commit, file) {
            Held::Absent => Ok(Local::Absent),
            Held::Blob(etag) => self.check(file, &path, &etag, None),
            Held::Plain => match self.record.files.get(file).map(|known| known.etag.clone()) {
                Some(etag) => self.check(file, &path, &etag, None),
                None => Ok(Local::Unknown),
            },
        }
    }

    fn ask(&mut self, file: &str, here: bool, source: &mut Source<'_>) -> Result<(), Error> {
        let found = source.remote.find(file, &self.commit)?;
        if !choice::is_weights(file) && found.size > LARGEST_BESIDE {
            let why = format!("it holds {} bytes, at most {LARGEST_BESIDE} are allowed", found.size);
            return Err(source.remote.answer(file, why));
        }
        let linked = self.cache.held(&self.commit, file);
        if here && (linked == Held::Plain || linked == Held::Blob(found.etag.clone())) {
            return self.check(file, &self.path(file), &found.etag, Some(found.size)).map(drop);
        }
        self.keep_others_out(source.settings)?; // and see what they have brought
        let blob = self.cache.blob(&found.etag);
        if blob.is_file() {
            self.check(file, &blob, &found.etag, Some(found.size))?;
            return self.cache.link(&self.commit, file, &found.etag);
        }
        self.download(file, &found, source)
    }

    fn keep_others_out(&mut self, settings: &Settings) -> Result<(), Error> {
        if self.lock.is_none() {
            self.lock = self.cache.lock(settings.patience)?;
        }
        let busy = || Error::Busy { model: self.model.to_string(), lock: self.cache.lock_path() };
        self.lock.as_ref().map(drop).ok_or_else(busy)
    }

    fn download(&mut self, file: &str, found: &Found, source: &mut Source<'_>) -> Result<(), Error> {
        let incoming = source.remote.download(file, &self.commit, found, source.progress)?;
        let mismatch = digest::compare(&incoming, &found.etag).map_err(Error::io("read", &incoming))?;
        if let Some(mismatch) = mismatch {
            let removed = match fs::remove_file(&incoming) {
                Ok(()) => "was removed".into(),
                Err(error) => format!("could not be removed ({error}): delete {} yourself", incoming.display()),
            };
            return Err(self.corrupt(file, mismatch, removed));
        }
        self.cache.adopt(&incoming, &found.etag)?;
        let known = Known::of(&self.cache.blob(&found.etag), &found.etag)?;
        self.cache.link(&self.commit, file, &found.etag)?;
        self.record.files.insert(file.into(), known);
        source.progress.finish();
        Ok(())
    }

    /// Compares a file in the cache with what is known of it; removes it where it differs.
    fn check(&mut self, file: &str, path: &Path, etag: &str, size: Option<u64>) -> Result<Local, Error> {
        let now = Known::of(path, etag)?;
        let known = self.record.files.get(file).filter(|known| known.etag == etag);
        let expected = size.or(known.map(|known| known.size));
        let mut mismatch = expected.filter(|expected| *expected != now.size).map(|expected| digest::Mismatch {
            expected: format!("{expected} bytes"),
            got: format!("{} bytes", now.size),
        });
        if mismatch.is_none() && (now.size <= LARGE || known != Some(&now)) {
            mismatch = digest::compare(path, etag).map_err(Error::io("read", path))?;
        }
        if let Some(mismatch) = mismatch {
            let blob = path
                .canonicalize()
                .is_ok_and(|path| self.cache.blob(etag).canonicalize().is_ok_and(|blob| blob == path));
            let removed = self.cache.remove(&self.commit, file, blob.then_some(etag));
            self.record.files.remove(file);
            let _ = self.cache.keep(&self.commit, &self.record); // at worst the next run compares with the old length
            return Err(self.corrupt(file, mismatch, removed));
        }
        if !digest::is_digest(etag) && expected.is_none() {
            return Ok(Local::Unknown);
        }
        self.record.files.insert(file.into(), now);
        Ok(Local::Good)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.cache.snapshot(&self.commit).join(file)
    }

    fn offline(&self, what: &str) -> Error {
        Error::Offline { model: self.model.to_string(), what: what.into(), folder: self.cache.root.clone() }
    }

    fn corrupt(&self, file: &str, digest::Mismatch { expected, got }: digest::Mismatch, removed: String) -> Error {
        Error::Corrupt { model: self.model.to_string(), file: file.into(), expected, got, removed }
    }

    fn index(&self, file: &str, why: String) -> Error {
        Error::Index { model: self.model.to_string(), file: file.into(), why }
    }

    /// What it means that something lacks: a repository without it, or, where the list is only a guess, a cache.
    fn lack(&self, lack: Lack, language: Option<&str>, guessed: bool) -> Error {
        let model = self.model.to_string();
        let language = language.unwrap_or_default();
        match lack {
            Lack::Config if guessed => self.offline(choice::CONFIG),
            Lack::Weights if guessed => self.offline("any file of weights"),
            Lack::Language(_) if guessed => self.offline(&format!("the adapter for the language {language:?}")),
            Lack::Config => Error::NotAModel { model, missing: choice::CONFIG },
            Lack::Weights => Error::NotAModel { model, missing: "weights" },
            Lack::Language(has) => {
                let available = if has.is_empty() { "none at all".into() } else { has.join(", ") };
                Error::NoSuchLanguage { model, language: language.into(), available }
            }
        }
    }
}
