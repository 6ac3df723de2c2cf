//! Talks to the hub through the `hf-hub` crate: the list of files, what a file is, and its bytes into `incoming`.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io, thread};

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use crate::name::is_commit;
use crate::settings::check_endpoint;
use crate::watch::{Lost, Pulse, watch};
use crate::{Error, ModelName, Progress, Settings};

/// The largest answer about a repository that is read, in bytes.
const LARGEST_ANSWER: u64 = 16 << 20;
/// Between two attempts at a file; doubled each time.
const PAUSE: Duration = Duration::from_millis(250);

/// One model at its server.
pub(crate) struct Remote {
    api: Api,
    model: ModelName,
    endpoint: String,
    token: &'static str,
    patience: Duration,
    attempts: u32,
    /// Where `hf-hub` keeps its blobs, within its own part of the cache.
    incoming: PathBuf,
}

/// What the server says of a file.
pub(crate) struct Found {
    /// The name of its blob: safe as a file's name.
    pub etag: String,
    /// As the server sent it, which is how `hf-hub` names the file.
    raw: String,
    /// In bytes.
    pub size: u64,
}

/// What `hf-hub` ran into.
enum Trouble {
    /// An answer with this status.
    Status(u16),
    /// No answer, or one that broke off.
    Broken(String),
    /// An answer that makes no sense.
    Odd(String),
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::RequestError(error) => match *error {
                ureq::Error::StatusCode(status) => Self::Status(status),
                error => Self::Broken(error.to_string()),
            },
            ApiError::IoError(error) => Self::Broken(error.to_string()),
            error => Self::Odd(error.to_string()),
        }
    }
}

/// Reports the position in a file, and ends a download that brings more than was announced.
struct Hook {
    pulse: Pulse<Result<(), Trouble>>,
    position: u64,
    size: u64,
}

impl hf_hub::api::Progress for Hook {
    fn init(&mut self, _: usize, _: &str) {
        self.position = 0;
        self.pulse.beat(0);
    }

    fn update(&mut self, count: usize) {
        self.position = self.position.saturating_add(count as u64);
        self.pulse.beat(self.position);
        if self.position > self.size {
            self.pulse.stop();
        }
    }

    fn finish(&mut self) {}
}

impl Remote {
    /// Makes no connection yet. `incoming` is klang's own.
    pub fn new(settings: &Settings, model: &ModelName, incoming: PathBuf) -> Result<Self, Error> {
        let endpoint = check_endpoint(&settings.endpoint)?;
        let api = ApiBuilder::from_cache(Cache::new(incoming.clone()))
            .with_endpoint(endpoint.clone())
            .with_token(settings.token.clone())
            .with_progress(false)
            .with_retries(0)
            .with_user_agent("klang", env!("CARGO_PKG_VERSION"))
            .build();
        let token = if settings.token.is_some() { "set" } else { "not set" };
        let incoming = incoming.join(model.folder());
        let (model, patience, attempts) = (model.clone(), settings.patience, settings.attempts.max(1));
        match api {
            Ok(api) => Ok(Self { api, model, endpoint, token, patience, attempts, incoming }),
            Err(error) => Err(Error::Network { model: model.to_string(), endpoint, why: error.to_string() }),
        }
    }

    /// The commit that a revision is at, and the names of all its files.
    pub fn info(&self, revision: &str) -> Result<(String, Vec<String>), Error> {
        let request = self.repo(revision).info_request().config().http_status_as_error(false);
        let mut answer =
            request.timeout_global(Some(self.patience)).build().call().map_err(|error| self.network(error))?;
        let status = answer.status().as_u16();
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match status {
            200..=299 => {}
            401 | 403 | 404 => {
                return Err(self.refusal(revision, status, header("x-error-code"), header("x-error-message")));
            }
            408 | 429 | 500.. => return Err(self.network(format!("it answers with status {status}"))),
            _ => return Err(self.answer("the list of files", format!("status {status}"))),
        }
        let content = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec();
        let content = content.map_err(|error| self.network(error))?;
        let info: RepoInfo =
            serde_json::from_slice(&content).map_err(|error| self.answer("the list of files", error.to_string()))?;
        if !is_commit(&info.sha) {
            return Err(self.answer("the list of files", format!("the commit is {:?}", info.sha)));
        }
        Ok((info.sha, info.siblings.into_iter().map(|sibling| sibling.rfilename).collect()))
    }

    /// What a file of a commit is.
    pub fn find(&self, file: &str, commit: &str) -> Result<Found, Error> {
        let (api, url) = (self.api.clone(), self.repo(commit).url(file));
        let found = watch(self.patience, move |_| api.metadata(&url).map_err(Trouble::from), |_| ());
        let found = match found {
            Ok(Ok(found)) => found,
            Ok(Err(trouble)) => return Err(self.trouble(file, trouble)),
            Err(Lost::Silent) => return Err(self.network(self.silence())),
            Err(Lost::Ended) => return Err(self.answer(file, "it cannot be understood")),
        };
        let etag = found.etag().strip_prefix("W/").unwrap_or(found.etag());
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=128).contains(&etag.len()) || !etag.bytes().all(safe) {
            return Err(self.answer(file, format!("its etag is {etag:?}")));
        }
        if found.commit_hash() != commit {
            return Err(self.answer(file, format!("it comes from commit {:?}, not {commit}", found.commit_hash())));
        }
        Ok(Found { etag: etag.into(), raw: found.etag().into(), size: found.size() as u64 })
    }

    /// Downloads a file, going on from where an earlier run was broken off. The result has the announced length, and
    /// is not yet compared with its etag.
    pub fn download(
        &self,
        file: &str,
        commit: &str,
        found: &Found,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, Error> {
        let whole = self.incoming.join("blobs").join(&found.raw);
        let part = whole.with_extension("part");
        if length(&whole).is_some() {
            // An earlier run ended before it could look at it.
            fs::rename(&whole, &part).map_err(Error::io("rename", &whole))?;
        }
        progress.start(file, Some(found.size));
        let (mut reported, mut why) = (0, String::new());
        for attempt in 0..self.attempts {
            if attempt > 0 {
                thread::sleep(PAUSE.saturating_mul(1 << attempt.min(6)));
            }
            match length(&part) {
                Some(held) if held > found.size => remove(&part)?,
                Some(held) if held == found.size => {
                    // Nothing is left to ask for: a request for no bytes is answered with an error.
                    fs::rename(&part, &whole).map_err(Error::io("rename", &part))?;
                    progress.advance(found.size.saturating_sub(reported));
                    return Ok(whole);
                }
                _ => {}
            }
            let mut position = 0;
            let result = self.attempt(file, commit, found.size, |now| {
                position = now;
                let now = now.min(found.size);
                progress.advance(now.saturating_sub(reported));
                reported = reported.max(now);
            });
            why = match result {
                Ok(Ok(())) => match length(&whole) {
                    Some(got) if got == found.size => return Ok(whole),
                    Some(got) if got < found.size => {
                        fs::rename(&whole, &part).map_err(Error::io("rename", &whole))?;
                        "the server ended before it".into()
                    }
                    Some(_) => self.excess(&whole)?,
                    None => return Err(self.answer(file, "it has changed meanwhile")),
                },
                Ok(Err(Trouble::Broken(why))) => why,
                Ok(Err(trouble)) => return Err(self.trouble(file, trouble)),
                Err(Lost::Ended) if position > found.size => self.excess(&part)?,
                Err(Lost::Ended) => return Err(self.answer(file, "it cannot be understood")),
                Err(Lost::Silent) => {
                    // The thread that waits still holds the file: another attempt would wait for it in vain.
                    why = self.silence();
                    break;
                }
            };
        }
        let got = length(&part).unwrap_or_default();
        Err(Error::Interrupted { model: self.model.to_string(), file: file.into(), got, expected: found.size, why })
    }

    fn attempt(&self, file: &str, commit: &str, size: u64, hear: impl FnMut(u64)) -> Result<Result<(), Trouble>, Lost> {
        // hf-hub's own links are of no use here, and one that leads nowhere would stop it.
        let _ = fs::remove_dir_all(self.incoming.join("snapshots"));
        let (repo, file) = (self.repo(commit), file.to_owned());
        let work = move |pulse| {
            let hook = Hook { pulse, position: 0, size };
            repo.download_with_progress(&file, hook).map(drop).map_err(Trouble::from)
        };
        watch(self.patience, work, hear)
    }

    /// Removes what is longer than announced; nothing of it can be used.
    fn excess(&self, path: &Path) -> Result<String, Error> {
        remove(path)?;
        Ok("the server sent more than it had announced, so it begins anew".into())
    }

    fn repo(&self, revision: &str) -> ApiRepo {
        self.api.repo(Repo::with_revision(self.model.id().into(), RepoType::Model, revision.into()))
    }

    fn refusal(&self, revision: &str, status: u16, code: &str, why: &str) -> Error {
        let (model, endpoint, token) = (self.model.id().to_owned(), self.endpoint.clone(), self.token);
        let no_revision = match code {
            "RevisionNotFound" => true,
            "RepoNotFound" | "GatedRepo" => false,
            // A server that does not say which: ask for the model as such.
            _ => status == 404 && revision != "main" && self.info("main").is_ok(),
        };
        match code {
            _ if no_revision => Error::NoSuchRevision { model, revision: revision.into(), endpoint },
            "RepoNotFound" => Error::NoSuchModel { model, endpoint, token },
            _ if status == 404 => Error::NoSuchModel { model, endpoint, token },
            _ => Error::Refused { model, endpoint, status, why: reason(why), token },
        }
    }

    fn trouble(&self, file: &str, trouble: Trouble) -> Error {
        match trouble {
            Trouble::Status(status @ (401 | 403)) => {
                let (model, endpoint, token) = (self.model.id().to_owned(), self.endpoint.clone(), self.token);
                Error::Refused { model, endpoint, status, why: format!("no access to {file}"), token }
            }
            Trouble::Status(status @ (408 | 429 | 500..)) => self.network(format!("{file}: status {status}")),
            Trouble::Status(status) => self.answer(file, format!("status {status}")),
            Trouble::Broken(why) => self.network(format!("{file}: {why}")),
            Trouble::Odd(why) => self.answer(file, why),
        }
    }

    fn silence(&self) -> String {
        format!("the server was silent for {} s", self.patience.as_secs_f32())
    }

    fn network(&self, why: impl ToString) -> Error {
        Error::Network { model: self.model.to_string(), endpoint: self.endpoint.clone(), why: why.to_string() }
    }

    /// The error for an answer that cannot be used.
    pub fn answer(&self, what: &str, why: impl Into<String>) -> Error {
        let (model, endpoint) = (self.model.to_string(), self.endpoint.clone());
        Error::Answer { model, endpoint, what: what.into(), why: why.into() }
    }
}

fn length(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len())
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// What a server says, fit for one line.
fn reason(why: &str) -> String {
    let why: String = why.chars().filter(|letter| !letter.is_control()).take(300).collect();
    if why.is_empty() { "it gives no reason".into() } else { why }
}
