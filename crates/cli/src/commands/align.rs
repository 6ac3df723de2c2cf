//! `klang align`.

use std::path::Path;

use anyhow::{Context, Result};
use klang_corpus::{Manifest, Utterance};
use klang_text::Normaliser;
use klang_trainer::{
    AlignedTranscript, AudioCache, DecodeSettings, Decoder, Keep, LoaderSettings, Recogniser, Source, Suspicion,
    TimedWord, align_transcripts, encode, read_sources, worst_first,
};
use klang_transcript::{RenderOptions, Segment, Transcript, Word, render};
use serde_json::json;

use crate::Ending;
use crate::args::decoding::AlignArguments;
use crate::console::Console;
use crate::output::{self, Usage};

/// Characters of a text in the table.
const SHOWN: usize = 40;

pub fn run(arguments: &AlignArguments) -> Result<Ending> {
    let source = output::model(&arguments.model)?;
    let compute = output::compute(&arguments.compute)?;
    let model = Recogniser::open(&source, compute)?;
    let confidence = DecodeSettings::of_model(&source.path)?.confidence;
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
    let audio: Vec<(String, String)> =
        utterances.iter().map(|one| (one.id.clone(), one.audio.display().to_string())).collect();
    let durations: std::collections::HashMap<String, f64> =
        utterances.iter().map(|one| (one.id.clone(), one.duration.unwrap_or(0.0))).collect();
    let normaliser = Normaliser::new(&spec.text)?;
    let rate = spec.audio.sampling_rate;
    let data = encode("align", utterances, &normaliser, &spec.vocabulary, &spec.config, rate, Keep::All);
    let loading = LoaderSettings { audio: spec.audio, workers: 2, cache: AudioCache::new(0) };
    let aligned = align_transcripts(model, &data, &loading, decoder, &mut Console::new())?;
    let lines: String = aligned.iter().map(|one| line(one) + "\n").collect();
    output::write(&arguments.out.join("alignments.jsonl"), lines.as_bytes())?;
    if let Some(format) = arguments.format {
        let names: std::collections::HashMap<&str, &str> =
            audio.iter().map(|(id, audio)| (id.as_str(), audio.as_str())).collect();
        let mut taken = std::collections::BTreeSet::new();
        for one in &aligned {
            let name = one.id.replace(['/', '\\'], "_");
            if !taken.insert(name.clone()) {
                output::warning(&format!("{}: another id has the file name {name}; its own was not written", one.id));
                continue;
            }
            let duration = durations.get(&one.id).copied().unwrap_or(0.0);
            let segments = segment(&one.text, &one.words, None).into_iter().collect();
            let audio = names.get(one.id.as_str()).copied().unwrap_or_default();
            let transcript = Transcript::new(audio, duration, segments)?;
            let text = render(&transcript, format, &RenderOptions::default())?;
            output::write(&arguments.out.join(format!("{name}.{}", format.extension())), text.as_bytes())?;
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

fn is_audio(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["wav", "flac", "mp3", "ogg", "oga"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn line(one: &AlignedTranscript) -> String {
    let word = |timed: &TimedWord| {
        let Word { text, start, end, confidence, .. } = &timed.word;
        json!({"text": text, "start": start, "end": end, "confidence": confidence})
    };
    let words: Vec<_> = one.words.iter().map(word).collect();
    let why = one.suspicion.describe();
    json!({"id": one.id, "cost": one.cost, "suspicion": why, "text": one.text, "heard": one.heard, "words": words})
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
    let content = std::fs::read_to_string(text).with_context(|| format!("cannot read {}", text.display()))?;
    let lines: Vec<String> = content.trim_start_matches('\u{feff}').lines().map(str::to_owned).collect();
    let aligned = model.align_recording(audio, &lines, decoder)?;
    aligned.warnings.iter().for_each(|warning| output::warning(&format!("{}: {warning}", audio.display())));
    let stem = audio.file_stem().with_context(|| format!("{}: not a file name", audio.display()))?;
    let stem = stem.to_string_lossy().into_owned();
    let utterance = |(line, number): (&klang_trainer::AlignedLine, usize)| {
        let mut utterance = Utterance::new(format!("{stem}-{number:04}"), audio.clone());
        let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
        utterance.text = Some(line.text.clone());
        utterance.offset = Some(round(line.start));
        utterance.duration = Some(round(round(line.end) - round(line.start)));
        utterance.columns.insert("cost".into(), format!("{:.3}", line.cost));
        utterance
    };
    let utterances: Vec<Utterance> = aligned.lines.iter().zip(1..).map(utterance).collect();
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make the folder {}", arguments.out.display()))?;
    let manifest = arguments.out.join(format!("{stem}.jsonl"));
    Manifest::write(&manifest, &utterances)?;
    if let Some(format) = arguments.format {
        let segments = aligned.lines.iter().filter_map(|line| segment(&line.text, &line.words, None)).collect();
        let transcript = Transcript::new(audio.display().to_string(), aligned.duration, segments)?;
        let target = arguments.out.join(format!("{stem}.{}", format.extension()));
        output::write(&target, render(&transcript, format, &RenderOptions::default())?.as_bytes())?;
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
fn segment(text: &str, words: &[TimedWord], speaker: Option<String>) -> Option<Segment> {
    let words: Vec<Word> = words.iter().map(|timed| timed.word.clone()).collect();
    let (start, end) = (words.first()?.start, words.last()?.end);
    Some(Segment { start, end, text: text.into(), confidence: None, words, alternatives: Vec::new(), speaker })
}
