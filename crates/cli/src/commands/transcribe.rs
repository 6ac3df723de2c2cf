//! `klang transcribe`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use klang_trainer::{DecodeMethod, Decoder, Heard, NewWords, Recogniser};
use klang_transcript::{Format, render};

use crate::Ending;
use crate::args::TranscribeArguments;
use crate::output::{self, AudioFile, Usage};
use crate::stop;

/// An audio file and where its transcript goes.
struct Task {
    audio: PathBuf,
    target: Option<PathBuf>,
}

pub fn run(arguments: &TranscribeArguments) -> Result<Ending> {
    if arguments.audio.iter().any(|path| path == Path::new("-")) {
        return live(arguments);
    }
    let files = output::audio_files(&arguments.audio)?;
    let Some(tasks) = tasks(arguments, &files)? else { return Ok(Ending::Done) };
    let source = output::model(&arguments.model)?;
    let reading = output::decoding(&arguments.decoding, &source)?;
    if arguments.n_best > 0 && reading.method == DecodeMethod::Greedy {
        let message = "--n-best takes a beam search, and this model is read greedily; add --beam 100, or --lm FILE";
        return Err(Usage(message.into()).into());
    }
    if arguments.n_best > 0 && arguments.format != Format::Json {
        let message = format!("--n-best has no place in {}; allowed: --format json", arguments.format);
        return Err(Usage(message).into());
    }
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&source, compute)?;
    let mut decoder = output::decoder(reading, &model.spec)?.giving(arguments.n_best.into());
    match arguments.format {
        Format::Txt => decoder = decoder.untimed(),
        Format::Json | Format::Ctm if decoder.settings().confidence.is_none() => {
            output::note(
                "the confidence of words is how probable their sounds are, and not calibrated; see klang tune",
            );
        }
        _ => {}
    }
    let failed = transcribe(arguments, &model, &decoder, &tasks)?;
    if failed > 0 {
        output::note(&format!("{failed} of {} files failed; each is named above", tasks.len()));
        return Ok(Ending::PartlyFailed);
    }
    Ok(Ending::Done)
}

/// How audio files begin.
const FILES: [&[u8]; 5] = [b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM"];

/// Words from samples on stdin, as they come to stand; a pause ends a line.
fn live(arguments: &TranscribeArguments) -> Result<Ending> {
    if arguments.audio.len() > 1 || arguments.out.is_some() || arguments.format != Format::Txt || arguments.n_best > 0 {
        let message = "`-` is speech that goes on: it stands alone, and gives text (no --out, --format, --n-best)";
        return Err(Usage(message.into()).into());
    }
    let source = output::model(&arguments.model)?;
    let reading = output::decoding(&arguments.decoding, &source)?;
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&source, compute)?;
    let decoder = output::decoder(reading, &model.spec)?;
    let rate = model.spec.audio.sampling_rate;
    output::note(&format!("listening: {rate} Hz, one channel, 16 bits, little endian, without a header"));
    // What was spoken last is still to be said when somebody stops the recording.
    stop::listen("stopping behind the words that were heard");
    let mut live = model.listen(&decoder);
    let (pieces, mut odd) = (pieces()?, None);
    let (mut line, mut begun) = (Line::default(), false);
    while !stop::is_asked() {
        let bytes = match pieces.recv_timeout(LOOK_EVERY) {
            Ok(bytes) => bytes.context("cannot read from stdin")?,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        // A sample may come in halves.
        if !begun && FILES.iter().any(|start| bytes.starts_with(start)) {
            let message = format!(
                "stdin holds an audio file, not samples; give the file itself, or: ffmpeg -i FILE -f s16le -ac 1 -ar {rate} - | klang transcribe MODEL -"
            );
            return Err(Usage(message).into());
        }
        begun = true;
        let whole: Vec<u8> = odd.take().into_iter().chain(bytes).collect();
        let samples = whole.chunks_exact(2);
        odd = samples.remainder().first().copied();
        let samples: Vec<f32> =
            samples.map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0).collect();
        live.hear(&samples)?.iter().try_for_each(|new| line.say(new))?;
    }
    line.say(&live.end()?)?;
    if odd.is_some() {
        output::warning("stdin ended in the middle of a sample: was it 16-bit PCM?");
    }
    Ok(Ending::Done)
}

/// How often a stop is looked for while nothing is spoken.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What comes on stdin, read by a thread of its own: a read that waits hears of no stop.
fn pieces() -> Result<Receiver<std::io::Result<Vec<u8>>>> {
    let (sender, receiver) = sync_channel(4);
    let read = move || {
        let (mut input, mut bytes) = (std::io::stdin().lock(), vec![0; 1 << 14]);
        loop {
            let piece = match input.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => Ok(bytes[..count].to_vec()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if sender.send(piece).is_err() || failed {
                return;
            }
        }
    };
    std::thread::Builder::new().name("stdin".into()).spawn(read).context("the system gives no further thread")?;
    Ok(receiver)
}

/// A line of words that grows.
#[derive(Default)]
struct Line {
    begun: bool,
}

impl Line {
    fn say(&mut self, new: &NewWords) -> Result<()> {
        for word in &new.words {
            output::text(&format!("{}{word}", if self.begun { " " } else { "" }))?;
            self.begun = true;
        }
        if new.paused && self.begun {
            output::text("\n")?;
            self.begun = false;
        }
        Ok(())
    }
}

/// Transcribes, and counts the files that failed. A transcript that cannot be written ends all: no other could be, either.
fn transcribe(arguments: &TranscribeArguments, model: &Recogniser, decoder: &Decoder, tasks: &[Task]) -> Result<usize> {
    let mut failed = 0;
    let paths: Vec<PathBuf> = tasks.iter().map(|task| task.audio.clone()).collect();
    model.transcribe_all(&paths, decoder, |place, result| -> Result<()> {
        let task = &tasks[place];
        match result.map_err(anyhow::Error::from).and_then(|heard| rendered(arguments, task, &heard)) {
            Ok(text) => say(arguments, task, &text, tasks.len()),
            Err(error) => {
                output::error(&error);
                failed += 1;
                Ok(())
            }
        }
    })?;
    Ok(failed)
}

fn rendered(arguments: &TranscribeArguments, task: &Task, heard: &Heard) -> Result<String> {
    for warning in &heard.warnings {
        output::warning(&format!("{}: {warning}", task.audio.display()));
    }
    Ok(render(&heard.transcript, arguments.format, &output::render_options(&task.audio, task.target.as_deref()))?)
}

/// Writes a transcript to its file, or prints it.
fn say(arguments: &TranscribeArguments, task: &Task, text: &str, files: usize) -> Result<()> {
    match &task.target {
        Some(target) => output::write(target, text.as_bytes()),
        // Several texts on one stream need their names.
        None if files > 1 && arguments.format == Format::Txt => {
            output::line(&format!("{}\t{}", task.audio.display(), text.trim_end_matches('\n')))
        }
        None => output::line(text.trim_end_matches('\n')),
    }
}

/// What is to be done; none where all of it was done before.
fn tasks(arguments: &TranscribeArguments, files: &[AudioFile]) -> Result<Option<Vec<Task>>> {
    let Some(folder) = &arguments.out else {
        // A text is a line and an object is one; anything else is a file.
        if files.len() > 1 && ![Format::Txt, Format::Json, Format::Ctm].contains(&arguments.format) {
            let format = arguments.format;
            let message = format!("{} transcripts in {format} are as many files; add --out DIR", files.len());
            return Err(Usage(message).into());
        }
        return Ok(Some(files.iter().map(|file| Task { audio: file.path.clone(), target: None }).collect()));
    };
    let targets = output::targets(files, folder, arguments.format.extension())?;
    let all = files.iter().zip(targets).map(|(file, target)| Task { audio: file.path.clone(), target: Some(target) });
    let (done, tasks): (Vec<Task>, Vec<Task>) =
        all.partition(|task| !arguments.overwrite && task.target.as_deref().is_some_and(Path::exists));
    if let Some(first) = done.first().and_then(|task| task.target.as_deref()) {
        output::note(&format!(
            "{} of {} files have their transcript ({}, …) and are left as they are; --overwrite writes them anew",
            done.len(),
            files.len(),
            first.display()
        ));
    }
    Ok((!tasks.is_empty()).then_some(tasks))
}
