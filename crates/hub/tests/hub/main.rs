//! Fetching from a server in this process: fresh, again, offline, and from servers that fail in every way they can.

mod broken;
mod cached;
mod fresh;
mod refused;
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use klang_hub::{Error, Fetched, ModelName, Progress, Settings, fetch};
use server::{COMMIT, MODEL, Server};
use tempfile::TempDir;

/// More than what is hashed on every run.
const LARGE: usize = 9 << 20;

/// A cache in a temporary folder, and how to ask.
struct Place {
    _folder: TempDir,
    settings: Settings,
}

impl Place {
    fn new(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(folder.path());
        settings.endpoint = server.endpoint.clone();
        settings.patience = Duration::from_secs(5);
        settings.attempts = 1;
        Self { _folder: folder, settings }
    }

    fn offline(&self) -> Settings {
        let mut settings = self.settings.clone();
        settings.offline = true;
        settings.endpoint = "http://127.0.0.1:1".into();
        settings
    }

    fn root(&self) -> PathBuf {
        self.settings.cache.join("models--owner--name")
    }

    fn fetch(&self) -> Result<Fetched, Error> {
        fetch(&self.settings, &name(MODEL), None, &mut ())
    }

    /// All that Python would see: every blob's and link's name with its content, and the references.
    fn shared(&self) -> BTreeMap<String, Vec<u8>> {
        ["blobs", "snapshots", "refs"].iter().flat_map(|part| contents(&self.root().join(part))).collect()
    }

    fn blob(&self, etag: &str) -> PathBuf {
        self.root().join("blobs").join(etag)
    }
}

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(contents(&path)),
            path => found.push((path.display().to_string(), fs::read(&path).unwrap_or_default())),
        }
    }
    found
}

/// Bytes that differ everywhere.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|index| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// What a progress was told.
#[derive(Default)]
struct Told {
    files: Vec<(String, Option<u64>, u64)>,
    finished: usize,
}

impl Progress for Told {
    fn start(&mut self, file: &str, bytes: Option<u64>) {
        self.files.push((file.into(), bytes, 0));
    }

    fn advance(&mut self, bytes: u64) {
        self.files.last_mut().unwrap().2 += bytes;
    }

    fn finish(&mut self) {
        self.finished += 1;
    }
}

/// The least that is a model.
fn small() -> Server {
    Server::new(&[("config.json", b"{}"), ("model.safetensors", &noise(70_000)), ("README.md", b"hello")])
}

fn commit_of(fetched: &Fetched) -> &str {
    assert_eq!(fetched.folder.file_name().unwrap(), fetched.revision.as_str());
    assert_eq!(fetched.revision, COMMIT);
    &fetched.revision
}
