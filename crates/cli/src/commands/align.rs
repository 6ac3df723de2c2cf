//! `klang align`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use klang_corpus::{Manifest, Utterance};
use klang_text::Normaliser;
use klang_trainer::{
    AlignedTranscript, AudioCache, BadAudio, DecodeSettings, Decoder, Keep, LoaderSettings, Recogniser, Source,
    Suspicion, TimedWord, align_transcripts, encode, read_sources, worst_first,
};
use klang_transcript::{Format, Segment, Transcript, Word, render};
use serde_json::json;

use crate::Ending;
use crate::args::decoding::AlignArguments;
use crate::console::Console;
use crate::output::{self, Usage};

/// Characters of a text in the table.
const SHOWN: usize = 40;

pub fn run(arguments: &AlignArguments) -> Result<Ending> {
    if arguments.format == Some(Format::Txt) {
        let allowed = Format::NAMES.iter().filter(|name| **name != "txt").copied().collect::<Vec<_>>().join(", ");
        return Err(Usage(format!("--format txt has no times; allowed: {allowed}")).into());
    }
    let source = output::model(&arguments.model)?;
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&source, compute)?;
    let confidence = output::of_model(&source)?.confidence;
    // The text is given: how one would be searched for does not matter.
    let decoder = Decoder::new(DecodeSettings { confidence, ..DecodeSettings::default() }, &model.spec)?;
    match &arguments.text {
        Some(text) => recording(arguments, &model, &decoder, text),
        None => manifest(arguments, &model, &decoder),
    }
}

/// Every utterance of a manifest: times, and which transcripts look wrong.
fn manifest(arguments: &AlignArguments, model: &Recogniser, decoder: &Decoder) -> Result<Ending> {
    let path = &arguments.input;
    let spec = &model.spec;
    let utterances = match read_sources(&[Source::Whole(path.clone())], &Default::default()) {
        Ok(utterances) => utterances,
        Err(error) if is_audio(path) => {
            let message =
                format!("{error}; to align a recording give its text: --text FILE, a line for each utterance");
            return Err(Usage(message).into());
        }
        Err(error) => return Err(error.into()),
    };
    if let (Some(format), Some(part)) =
        (arguments.format, utterances.iter().find(|one| one.offset.is_some_and(|at| at > 0.0)))
    {
        let message = format!(
            "{} is a part of {}: a transcript in {format} would be of the whole file; leave --format out, the times are in alignments.jsonl",
            part.id,
            part.audio.display()
        );
        return Err(Usage(message).into());
    }
    let named: Vec<(String, Option<PathBuf>)> = named(arguments, &utterances)?;
    let of: HashMap<String, Utterance> = utterances.iter().map(|one| (one.id.clone(), one.clone())).collect();
    let normaliser = Normaliser::new(&spec.text)?;
    let rate = spec.audio.sampling_rate;
    let data = encode("align", utterances, &normaliser, &spec.vocabulary, &spec.config, rate, Keep::All);
    let loading =
        LoaderSettings { audio: spec.audio, workers: 2, cache: AudioCache::new(0), bad_audio: BadAudio::refused() };
    let aligned = align_transcripts(model, &data, &loading, decoder, &mut Console::new())?;
    let lines: String = aligned.iter().map(|one| line(one, of.get(&one.id)) + "\n").collect();
    output::write(&arguments.out.join("alignments.jsonl"), lines.as_bytes())?;
    if let Some(format) = arguments.format {
        let targets: HashMap<&str, &Path> =
            named.iter().filter_map(|(id, target)| Some((id.as_str(), target.as_deref()?))).collect();
        for one in &aligned {
            let (Some(target), Some(utterance)) = (targets.get(one.id.as_str()), of.get(&one.id)) else { continue };
            let segments = segment(&one.text, &one.words).into_iter().collect();
            let audio = utterance.audio.display().to_string();
            let transcript = Transcript::new(audio, utterance.duration.unwrap_or(0.0), segments)?;
            let text = render(&transcript, format, &output::render_options(&utterance.audio, Some(target)))?;
            output::write(target, text.as_bytes())?;
        }
    }
    say(&aligned, arguments.worst)?;
    let suspicious = aligned.iter().filter(|one| one.suspicion != Suspicion::None).count();
    output::line(&format!(
        "{suspicious} of {} transcripts look wrong; all of them are in {}",
        aligned.len(),
        arguments.out.join("alignments.jsonl").display()
    ))?;
    Ok(Ending::Done)
}

/// Where each utterance's transcript goes, by its id; refuses what is there already, and two of one name.
fn named(arguments: &AlignArguments, utterances: &[Utterance]) -> Result<Vec<(String, Option<PathBuf>)>> {
    let mut targets = vec![arguments.out.join("alignments.jsonl")];
    let mut named = Vec::new();
    for utterance in utterances {
        let target = match arguments.format {
            Some(format) => Some(arguments.out.join(format!("{}.{}", file_name(&utterance.id)?, format.extension()))),
            None => None,
        };
        targets.extend(target.clone());
        named.push((utterance.id.clone(), target));
    }
    refuse_existing(arguments, &targets)?;
    targets.sort();
    match targets.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(named),
        Some(pair) => {
            Err(Usage(format!("two utterances would both be written to {}; their ids must differ", pair[0].display()))
                .into())
        }
    }
}

/// The longest id that names a file, in bytes: file systems take 255, and an ending stands behind it.
const LONGEST_ID: usize = 200;

/// An id as a file's name: a manifest comes from anywhere, and none of its ids may lead out of the folder.
fn file_name(id: &str) -> Result<String> {
    if id.len() > LONGEST_ID {
        let start: String = id.chars().take(SHOWN).collect();
        let message = format!(
            "the id `{start}…` has {} bytes; allowed with --format: {LONGEST_ID}, for it names a file",
            id.len()
        );
        return Err(Usage(message).into());
    }
    let safe = |letter: char| if letter.is_control() || "/\\".contains(letter) { '_' } else { letter };
    Ok(id.chars().map(safe).collect())
}

/// Somebody may have corrected what an earlier run wrote, or written it by hand.
fn refuse_existing(arguments: &AlignArguments, targets: &[PathBuf]) -> Result<()> {
    let there: Vec<&PathBuf> =
        targets.iter().filter(|_| !arguments.overwrite).filter(|target| target.exists()).collect();
    match there.first() {
        None => Ok(()),
        Some(first) => Err(Usage(format!(
            "{} is there already, one of {}; choose another folder with --out, or give --overwrite",
            first.display(),
            there.len()
        ))
        .into()),
    }
}

fn is_audio(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["wav", "flac", "mp3", "ogg", "oga"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn line(one: &AlignedTranscript, utterance: Option<&Utterance>) -> String {
    let word = |timed: &TimedWord| {
        let Word { text, start, end, confidence, .. } = &timed.word;
        json!({"text": text, "start": start, "end": end, "confidence": confidence})
    };
    let words: Vec<_> = one.words.iter().map(word).collect();
    let why = one.suspicion.describe();
    let (audio, offset) = (utterance.map(|one| one.audio.display().to_string()), utterance.and_then(|one| one.offset));
    // Times count from the utterance's beginning, which is `offset` seconds into the file.
    json!({"id": one.id, "audio": audio, "offset": offset.unwrap_or(0.0), "cost": one.cost, "suspicion": why, "text": one.text, "heard": one.heard, "words": words})
        .to_string()
}

fn say(aligned: &[AlignedTranscript], count: usize) -> Result<()> {
    let shortened = |text: &str| match text.chars().count() > SHOWN {
        true => text.chars().take(SHOWN - 1).chain(['…']).collect(),
        false => text.to_owned(),
    };
    let worst: Vec<&AlignedTranscript> =
        worst_first(aligned).into_iter().filter(|one| one.suspicion != Suspicion::None).take(count).collect();
    if worst.is_empty() {
        return Ok(());
    }
    output::line("nats a label  utterance")?;
    for one in worst {
        let cost = one.cost.map_or("no path".into(), |cost| format!("{cost:.2}"));
        output::line(&format!("{cost:>12}  {}: {}", one.id, one.suspicion.describe()))?;
        output::line(&format!("{:12}    written {}", "", shortened(&one.text)))?;
        output::line(&format!("{:12}    heard   {}", "", shortened(&one.heard)))?;
    }
    output::line("")
}

/// A recording and its text: cut into utterances.
fn recording(arguments: &AlignArguments, model: &Recogniser, decoder: &Decoder, text: &Path) -> Result<Ending> {
    let audio = &arguments.input;
    let content = klang_wav2vec2::checkpoint::read_text(text, output::MOST_BYTES)?;
    let lines: Vec<String> = content.trim_start_matches('\u{feff}').lines().map(str::to_owned).collect();
    let stem = audio.file_stem().with_context(|| format!("{}: not a file name", audio.display()))?;
    let stem = stem.to_string_lossy().into_owned();
    let manifest = arguments.out.join(format!("{stem}.jsonl"));
    let target = arguments.format.map(|format| arguments.out.join(format!("{stem}.{}", format.extension())));
    refuse_existing(arguments, &[Some(manifest.clone()), target.clone()].into_iter().flatten().collect::<Vec<_>>())?;
    let aligned = model.align_recording(audio, &lines, decoder)?;
    aligned.warnings.iter().for_each(|warning| output::warning(&format!("{}: {warning}", audio.display())));
    let utterance = |line: &klang_trainer::AlignedLine| {
        let mut utterance = Utterance::new(format!("{stem}-{:04}", line.number), audio.clone());
        let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
        utterance.text = Some(line.text.clone());
        utterance.offset = Some(round(line.start));
        utterance.duration = Some(round(round(line.end) - round(line.start)));
        utterance.columns.insert("cost".into(), format!("{:.3}", line.cost));
        utterance
    };
    let utterances: Vec<Utterance> = aligned.lines.iter().map(utterance).collect();
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make the folder {}", arguments.out.display()))?;
    Manifest::write(&manifest, &utterances)?;
    if let (Some(format), Some(target)) = (arguments.format, target) {
        let segments = aligned.lines.iter().filter_map(|line| segment(&line.text, &line.words)).collect();
        let transcript = Transcript::new(audio.display().to_string(), aligned.duration, segments)?;
        let text = render(&transcript, format, &output::render_options(audio, Some(&target)))?;
        output::write(&target, text.as_bytes())?;
    }
    let mut worst: Vec<(&klang_trainer::AlignedLine, &Utterance)> = aligned.lines.iter().zip(&utterances).collect();
    worst.sort_by(|one, other| other.0.cost.total_cmp(&one.0.cost));
    output::line("nats a label  utterance")?;
    for (line, utterance) in worst.into_iter().take(arguments.worst) {
        output::line(&format!("{:12.2}  {} at {:.2} s: {}", line.cost, utterance.id, line.start, line.text))?;
    }
    output::line(&format!("\n{} utterances in {}", utterances.len(), manifest.display()))?;
    Ok(Ending::Done)
}

/// Words with their text as one segment; none without words.
fn segment(text: &str, words: &[TimedWord]) -> Option<Segment> {
    let words: Vec<Word> = words.iter().map(|timed| timed.word.clone()).collect();
    let (start, end) = (words.first()?.start, words.last()?.end);
    Some(Segment { start, end, text: text.into(), confidence: None, words, alternatives: Vec::new(), speaker: None })
}
