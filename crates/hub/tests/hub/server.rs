//! A server that speaks as much of the hub as is asked of it, and that fails in chosen ways.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The commit that `main` is at, unless a test says otherwise.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// The one model there is.
pub const MODEL: &str = "owner/name";

/// What goes wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection closes after this many bytes of each answer.
    Closes(usize),
    /// As `Closes`, and no length is announced with the body.
    ClosesUnannounced(usize),
    /// One byte differs from what the etag says.
    Differs,
    /// The file's announced length is greater by this.
    Longer(usize),
    /// The file's announced length is smaller by this, and the whole body comes.
    Shorter(usize),
    /// No length is announced with the body, and it goes on for a quarter of a gibibyte.
    Endless,
    /// Range requests are answered with the whole file.
    WholeAlways,
    /// Nothing comes after the head.
    Hangs,
    /// A redirect that leads nowhere.
    RedirectsNowhere,
    /// A commit that is not the one that was asked for.
    Commit(&'static str),
    /// An etag that is no digest.
    Etag(&'static str),
}

/// What the server holds and what it was asked.
#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Names in the list of files besides those it holds.
    pub listed: Vec<String>,
    pub revisions: HashMap<String, String>,
    pub faults: HashMap<String, Fault>,
    /// The status of every answer about the model, and its error code.
    pub refuses: Option<(u16, &'static str)>,
    /// `METHOD target range` of each request.
    pub log: Vec<String>,
    /// The Authorization headers that came.
    pub tokens: Vec<String>,
}

/// A running server; it ends with the process.
pub struct Server {
    pub endpoint: String,
    /// Whether the client closed an endless body; one message for each.
    pub cut_off: Receiver<bool>,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Serves these files at `main`.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(name, content)| (name.to_string(), content.to_vec())).collect();
        let revisions = HashMap::from([("main".to_owned(), COMMIT.to_owned()), (COMMIT.to_owned(), COMMIT.to_owned())]);
        let state = Arc::new(Mutex::new(State { files, revisions, ..State::default() }));
        let shared = Arc::clone(&state);
        let (cuts, cut_off) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, cuts) = (Arc::clone(&shared), cuts.clone());
                thread::spawn(move || answer(stream, &state, &cuts));
            }
        });
        Self { endpoint, cut_off, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn fault(&self, file: &str, fault: Fault) {
        self.state().faults.insert(file.into(), fault);
    }

    /// How often the content of a file was asked for, its first byte alone not counted.
    pub fn bodies(&self) -> usize {
        self.state().log.iter().filter(|line| line.contains("/resolve/") && !line.ends_with("bytes=0-0")).count()
    }
}

/// The etag that the hub gives a file: large ones and weights are in LFS.
pub fn etag(name: &str, content: &[u8]) -> String {
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if is_lfs(name) {
        hex(&Sha256::digest(content))
    } else {
        hex(&Sha1::new_with_prefix(format!("blob {}\0", content.len())).chain_update(content).finalize())
    }
}

fn is_lfs(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}

fn answer(stream: TcpStream, state: &Mutex<State>, cuts: &Sender<bool>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut range) = (String::new(), String::new());
    reader.read_line(&mut first).unwrap_or_default();
    let mut words = first.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let mut state = state.lock().unwrap();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "range" => range = value.into(),
            "authorization" => state.tokens.push(value.into()),
            _ => {}
        }
    }
    state.log.push(format!("{method} {target} {range}"));
    let mut out = stream;
    // What a test's client does not wait for need not arrive.
    let endless = range != "bytes=0-0" && state.faults.values().any(|fault| *fault == Fault::Endless);
    let sent = respond(&mut out, state, target, &range);
    if endless && target.starts_with("/lfs/") {
        let _ = cuts.send(sent.is_err());
    }
}

fn respond(out: &mut TcpStream, state: MutexGuard<'_, State>, target: &str, range: &str) -> std::io::Result<()> {
    if let Some((status, code)) = state.refuses {
        return write!(
            out,
            "HTTP/1.1 {status} X\r\nX-Error-Code: {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let not_found = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if let Some(revision) = target.strip_prefix(&format!("/api/models/{MODEL}/revision/")) {
        let Some(commit) = state.revisions.get(&revision.replace("%2F", "/")) else {
            return write!(
                out,
                "HTTP/1.1 404 X\r\nX-Error-Code: RevisionNotFound\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        };
        let names = state.files.keys().chain(&state.listed);
        let siblings: Vec<_> = names.map(|name| serde_json::json!({"rfilename": name})).collect();
        let body = serde_json::json!({"id": MODEL, "sha": commit, "siblings": siblings}).to_string();
        return write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    }
    let lfs = target.strip_prefix("/lfs/");
    let Some(name) = lfs.or_else(|| target.strip_prefix(&format!("/{MODEL}/resolve/{COMMIT}/"))) else {
        return out.write_all(not_found.as_bytes());
    };
    let Some(content) = state.files.get(name) else { return out.write_all(not_found.as_bytes()) };
    let fault = state.faults.get(name).copied();
    let mut etag = etag(name, content);
    let commit = if let Some(Fault::Commit(other)) = fault { other } else { COMMIT };
    if let Some(Fault::Etag(other)) = fault {
        etag = other.into();
    }
    if fault == Some(Fault::RedirectsNowhere) {
        return write!(
            out,
            "HTTP/1.1 302 X\r\nETag: \"{etag}\"\r\nX-Repo-Commit: {commit}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    if lfs.is_none() && is_lfs(name) {
        // As the hub does: what the file is stands here, its bytes elsewhere, under another etag.
        let (size, host) = (content.len(), out.local_addr()?);
        return write!(
            out,
            "HTTP/1.1 302 Found\r\nLocation: http://{host}/lfs/{name}\r\nX-Repo-Commit: {commit}\r\n\
             X-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {size}\r\nETag: \"of-the-redirect\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let mut content = content.clone();
    drop(state); // the others need not wait for one that hangs
    send(out, &mut content, (&etag, commit), fault, range)
}

fn send(
    out: &mut TcpStream,
    content: &mut [u8],
    (etag, commit): (&str, &str),
    fault: Option<Fault>,
    range: &str,
) -> std::io::Result<()> {
    let whole = content.len();
    if fault == Some(Fault::Differs) {
        content[whole / 2] ^= 1;
    }
    let announced = match fault {
        Some(Fault::Longer(more)) => whole + more,
        Some(Fault::Shorter(less)) => whole - less,
        _ => whole,
    };
    let mut bounds = range.trim_start_matches("bytes=").split('-').map(|bound| bound.parse::<usize>().ok());
    let first = bounds.next().flatten().unwrap_or(0);
    let first = if fault == Some(Fault::WholeAlways) && range != "bytes=0-0" { 0 } else { first };
    let last = bounds.next().flatten().map_or(whole, |last| (last + 1).min(whole));
    if first >= last {
        return write!(
            out,
            "HTTP/1.1 416 X\r\nContent-Range: bytes */{announced}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let body = &content[first..last];
    let length = match fault {
        Some(Fault::ClosesUnannounced(_) | Fault::Endless) => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    write!(
        out,
        "HTTP/1.1 206 Partial Content\r\nETag: \"{etag}\"\r\nX-Repo-Commit: {commit}\r\n{length}\
         Content-Range: bytes {first}-{}/{announced}\r\nConnection: close\r\n\r\n",
        last - 1
    )?;
    match fault {
        Some(Fault::Closes(count) | Fault::ClosesUnannounced(count)) => out.write_all(&body[..count.min(body.len())]),
        Some(Fault::Endless) if range != "bytes=0-0" => (0..256).try_for_each(|_| out.write_all(&vec![0; 1 << 20])),
        Some(Fault::Hangs) if range != "bytes=0-0" => {
            out.write_all(&body[..1])?;
            thread::sleep(Duration::from_secs(5));
            Ok(())
        }
        _ => out.write_all(body),
    }
}
