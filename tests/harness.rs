//! A temporary directory with a corpus in it, and the `klang` binary run there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use klang_audio::{Waveform, write_wav};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Hz; the rate that a model with random weights expects.
pub const RATE: u32 = 16_000;
/// Seconds that a letter or a space lasts.
const LETTER: f64 = 0.12;

/// A model of some thousand weights: wav2vec 2.0 with 50 frames a second.
pub const ARCHITECTURE: &str = "hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, \
    intermediate_size: 16, conv_dim: [4, 4, 4, 4, 4], conv_kernel: [200, 3, 3, 3, 3], conv_stride: [20, 2, 2, 2, 2], \
    num_conv_pos_embeddings: 8, num_conv_pos_embedding_groups: 2";

/// What the corpus says: id, speaker, text; of lengths that really differ.
pub const SENTENCES: [(&str, &str, &str); 8] = [
    ("u0", "anna", "ab"),
    ("u1", "anna", "dcba"),
    ("u2", "anna", "a cad"),
    ("u3", "anna", "bad dab"),
    ("u4", "ben", "cab"),
    ("u5", "ben", "ca da"),
    ("u6", "ben", "b"),
    ("u7", "ben", "dad bac"),
];

/// A temporary directory in which commands run.
pub struct Dir {
    folder: TempDir,
}

impl Dir {
    /// An empty one.
    pub fn new() -> Dir {
        let folder = tempfile::Builder::new().prefix("klang-test-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        Dir { folder: folder.expect("a temporary directory") }
    }

    /// One with `train.jsonl`, `dev.jsonl` and their audio, and a `recipe.yaml` that trains on them for `updates`.
    pub fn with_recipe(updates: u64) -> Dir {
        let dir = Dir::new();
        dir.corpus("train.jsonl", &SENTENCES[..6]);
        dir.corpus("dev.jsonl", &SENTENCES[6..]);
        dir.write("recipe.yaml", recipe(updates, "", "", ""));
        dir
    }

    /// One with a run folder `run`, whose model has learnt nothing but has much to say: different letters for different
    /// audio, so that what depends on the audio is seen.
    pub fn with_model() -> Dir {
        // Trained once, and written out for each test.
        static RUN: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
            let dir = Dir::with_recipe(1);
            let talkative = "--set=model.architecture.initializer_range=0.6";
            let arguments = ["train", "recipe.yaml", "--run", "run", "--set=train.learning_rate=1.0e-9", talkative];
            dir.klang(arguments).succeeds();
            let folders = ["run", "run/best", "run/last", "run/state"];
            let names = folders
                .iter()
                .flat_map(|folder| dir.names(folder).into_iter().map(move |name| format!("{folder}/{name}")));
            names.filter(|name| dir.path(name).is_file()).map(|name| (name.clone(), dir.bytes(&name))).collect()
        });
        let dir = Dir::with_recipe(1);
        RUN.iter().for_each(|(name, bytes)| dir.write(name, bytes));
        dir
    }

    /// A path in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
        fs::write(&path, content).expect(name);
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).expect(name)
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).expect(name)
    }

    /// A file of one JSON object a line.
    pub fn json_lines(&self, name: &str) -> Vec<Value> {
        self.text(name).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// What a folder in it holds, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect(folder).file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A recording of `text` by `speaker`: a tone for each letter, silence for a space.
    pub fn speech(&self, name: &str, speaker: &str, text: &str) {
        // Everybody has a pitch of their own.
        let pitch = 1.0 + f64::from(speaker.bytes().map(u32::from).sum::<u32>() % 7) / 100.0;
        let samples = (text.chars().enumerate())
            .flat_map(|(place, letter)| {
                (0..(LETTER * f64::from(RATE)) as u32).map(move |index| {
                    let time = f64::from(index) / f64::from(RATE);
                    let loudness = if letter == ' ' { 0.0 } else { 0.3 * (std::f64::consts::PI * time / LETTER).sin() };
                    let hertz = 300.0 * pitch * 1.6f64.powi(letter as i32 - 'a' as i32);
                    // A little of something else than the tone, so that silence is not digital zero.
                    let hiss = (index.wrapping_add(place as u32 * 7919).wrapping_mul(2_654_435_761) >> 20) as f64;
                    (loudness * (std::f64::consts::TAU * hertz * time).sin() + 1e-3 * (hiss / 2048.0 - 1.0)) as f32
                })
            })
            .collect();
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a new folder");
        write_wav(path, &Waveform::new(samples, RATE).expect("finite samples")).expect("a WAV");
    }

    /// Recordings of `sentences` as `audio/ID.wav`, and a manifest of them.
    pub fn corpus(&self, manifest: &str, sentences: &[(&str, &str, &str)]) {
        let mut lines = String::new();
        for (id, speaker, text) in sentences {
            let audio = format!("audio/{id}.wav");
            self.speech(&audio, speaker, text);
            let duration = text.chars().count() as f64 * LETTER;
            let line = json!({"id": id, "audio": audio, "text": text, "speaker": speaker, "duration": duration});
            lines += &format!("{line}\n");
        }
        self.write(manifest, lines);
    }

    /// `klang` with these arguments, to be run in this directory.
    pub fn klang<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> TestCommand {
        let mut command = Command::new(env!("CARGO_BIN_EXE_klang"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        // What the user has set for a hub or a proxy is none of a test's.
        let theirs = |name: &String| name.starts_with("HF_") || name.to_lowercase().ends_with("_proxy");
        std::env::vars().map(|(name, _)| name).filter(theirs).for_each(|name| _ = command.env_remove(name));
        command.env("HF_HOME", self.path("hub")).env("NO_PROXY", "127.0.0.1");
        TestCommand { command }
    }

    /// `klang` with these arguments and those that make its numbers the same on every machine.
    pub fn klang_on_cpu<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> TestCommand {
        let mut command = self.klang(arguments);
        command.command.args(["--device", "cpu", "--precision", "fp32", "--threads", "1"]);
        command
    }
}

/// A recipe for [`Dir::with_recipe`]'s corpus, with further lines for three of its parts, each `key: value, …`.
pub fn recipe(updates: u64, model: &str, data: &str, train: &str) -> String {
    format!(
        "seed: 1
device: cpu
precision: fp32
threads: 1
model:
  architecture: {{{ARCHITECTURE}}}
  {model}
data:
  train: [train.jsonl]
  dev: dev.jsonl
  {data}
train:
  updates: {updates}
  batch_seconds: 1.5
  evaluate_every: 2
  log_every: 2
  {train}
"
    )
}

/// A command to be run.
pub struct TestCommand {
    command: Command,
}

impl TestCommand {
    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> TestCommand {
        self.command.env(name, value);
        self
    }

    /// With a file of its directory on stdin.
    pub fn stdin(mut self, name: &str) -> TestCommand {
        let folder = self.command.get_current_dir().expect("a directory").to_owned();
        self.command.stdin(fs::File::open(folder.join(name)).expect(name));
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(mut self) -> Finished {
        let output = self.command.output().expect("klang runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let finished = Finished {
            command: format!("{:?}", self.command),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!finished.stderr.contains("panicked"), "a panic\n{finished}");
        finished
    }

    /// Runs it; it must end with exit code 0.
    #[track_caller]
    pub fn succeeds(self) -> Finished {
        self.ends_with(0)
    }

    /// Runs it; it must end with this exit code, and if that is no success, say why on stderr.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Finished {
        let finished = self.run();
        assert_eq!(finished.code, Some(code), "\n{finished}");
        finished
    }

    /// Runs it; it must end with exit code 2 or 1, with nothing on stdout and an error on stderr.
    #[track_caller]
    pub fn refused_with(self, code: i32) -> Finished {
        let finished = self.ends_with(code);
        assert_eq!(finished.stdout, "", "\n{finished}");
        assert!(finished.stderr.contains("error: "), "\n{finished}");
        finished
    }

    /// Has it lead a process group of its own, as a shell has each command.
    pub fn in_group(mut self) -> TestCommand {
        self.command.process_group(0);
        self
    }

    /// Starts it, with what it says on stderr kept for who waits for its end.
    pub fn start_listened(mut self) -> Child {
        self.command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("klang runs")
    }

    /// Starts it, for a test that does not wait for its end; its output goes nowhere.
    pub fn start(mut self) -> Child {
        self.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("klang runs")
    }
}

/// Sends a signal, such as `-TERM`, to a process.
pub fn signal(process: &Child, name: &str) {
    kill(name, &process.id().to_string());
}

/// Sends a signal to a process that leads a group ([`TestCommand::in_group`]), and to all others of it, as Ctrl-C does.
pub fn signal_group(process: &Child, name: &str) {
    kill(name, &format!("-{}", process.id()));
}

fn kill(name: &str, whom: &str) {
    let status = Command::new("kill").args([name, "--", whom]).status().expect("kill");
    assert!(status.success());
}

/// Waits until something is so.
pub fn wait_until(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(600);
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(1));
    }
}

/// Starts a training and kills it, without warning, once it has saved a state.
pub fn start_and_kill(dir: &Dir, command: &str, run: &str) -> u64 {
    let mut training = dir.klang([command, "recipe.yaml", "--run", run]).start();
    let state = dir.path(run).join("state/progress.json");
    wait_until("a state is saved", || state.exists());
    training.kill().expect("SIGKILL");
    let status = training.wait().expect("an end");
    assert!(!status.success(), "the training ended before it could be stopped: {status}");
    dir.json(&format!("{run}/state/progress.json"))["update"].as_u64().expect("a number")
}

/// What training and scoring said, without what depends on the clock.
pub fn timeless(dir: &Dir, run: &str) -> Vec<Value> {
    let mut lines = dir.json_lines(&format!("{run}/metrics.jsonl"));
    lines.retain(|line| line["kind"] != "run" && line["kind"] != "end");
    for line in &mut lines {
        let map = line.as_object_mut().expect("an object");
        for key in ["seconds", "audio_seconds_per_second", "waiting"] {
            map.remove(key);
        }
        for part in ["behaviour", "held_out"] {
            if let Some(Value::Object(part)) = map.get_mut(part) {
                part.remove("seconds");
            }
        }
    }
    lines
}

/// What a command left behind.
pub struct Finished {
    command: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// stdout as one JSON document, and nothing else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self}"))
    }

    /// Demands each of `parts` on stderr.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) -> &Finished {
        for part in parts {
            assert!(self.stderr.contains(part), "stderr lacks {part:?}\n{self}");
        }
        self
    }

    /// Demands each of `parts` on stdout.
    #[track_caller]
    pub fn prints(&self, parts: &[&str]) -> &Finished {
        for part in parts {
            assert!(self.stdout.contains(part), "stdout lacks {part:?}\n{self}");
        }
        self
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let code = self.code.map_or("a signal".into(), |code| code.to_string());
        write!(f, "{}\nended with {code}\n-- stdout\n{}\n-- stderr\n{}", self.command, self.stdout, self.stderr)
    }
}

/// The text of each utterance in an `--out` folder's NAME.hypotheses.jsonl.
pub fn hypotheses(dir: &Dir, name: &str) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("a text").to_string();
    dir.json_lines(name).iter().map(|line| (text(&line["id"]), text(&line["text"]))).collect()
}

/// Demands texts that show something: some of them not empty, and not all the same.
pub fn assert_telling<'a>(texts: impl IntoIterator<Item = &'a String>) {
    let distinct: std::collections::BTreeSet<&String> = texts.into_iter().collect();
    assert!(distinct.len() > 1, "these hypotheses show nothing: {distinct:?}");
}
