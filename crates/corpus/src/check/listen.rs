//! Audio as it is found: decoded, or by its header, on all cores.

use std::io::ErrorKind;
use std::path::Path;

use klang_audio::{Decoded, Error, Segment, Signal, Warning, decode_segment};
use sha2::{Digest, Sha256};

use super::{CheckOptions, Kind, Listening, Source};
use crate::durations::{self, Probe};
use crate::{Utterance, parallel};

/// What was found where an utterance's audio should be.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// Nothing was looked into.
    Unheard,
    /// Nothing that can be used.
    Fault(Kind, String),
    /// A file by its header.
    Header(Probe),
    /// The utterance itself.
    Samples(Box<Samples>),
}

/// An utterance decoded, but for the samples themselves.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    /// Seconds decoded.
    pub(super) seconds: f64,
    /// Where the file ends, in seconds, as far as decoding has shown it.
    pub(super) end: Option<f64>,
    /// The file's own rate, Hz.
    pub(super) rate: u32,
    pub(super) signal: Signal,
    /// The first half of SHA-256 over rate and samples.
    pub(super) digest: [u8; 16],
    pub(super) warnings: Vec<Warning>,
}

impl Heard {
    /// Seconds of the utterance, where they were counted.
    pub(super) fn seconds(&self, utterance: &Utterance) -> Option<f64> {
        match self {
            Heard::Samples(samples) => Some(samples.seconds),
            Heard::Header(probe) => {
                utterance.duration.or_else(|| Some(probe.duration - utterance.offset.unwrap_or(0.0)))
            }
            _ => None,
        }
    }

    /// The content, but of silence, which is the same everywhere.
    pub(super) fn digest(&self) -> Option<[u8; 16]> {
        match self {
            Heard::Samples(samples) => samples.signal.loudest.is_finite().then_some(samples.digest),
            _ => None,
        }
    }
}

/// What there is of each source's utterances, in their order.
pub(super) fn all(sources: &[Source<'_>], options: &CheckOptions<'_>) -> Vec<Vec<Heard>> {
    let of_source = |source: &Source<'_>| match options.listening {
        Listening::Presence => source.utterances.iter().map(|one| present(&one.audio)).collect(),
        Listening::Header => {
            let probes = durations::probe_all(source.utterances);
            let look = |one: &Utterance| match probes.get(&one.audio) {
                Some(Ok(probe)) => Heard::Header(probe.clone()),
                Some(Err(fault)) => Heard::Fault(fault.kind, fault.what.clone()),
                None => Heard::Unheard,
            };
            source.utterances.iter().map(look).collect()
        }
        Listening::Decoded => {
            let heard = parallel::map(source.utterances, |one| {
                let heard = listen(one);
                (options.progress)();
                heard
            });
            let gone =
                |audio: &Path| Heard::Fault(Kind::Unreadable, format!("{}: the decoder failed", audio.display()));
            heard.into_iter().zip(source.utterances).map(|(one, of)| one.unwrap_or_else(|| gone(&of.audio))).collect()
        }
    };
    sources.iter().map(of_source).collect()
}

fn present(path: &Path) -> Heard {
    durations::fault(path).map_or(Heard::Unheard, |fault| Heard::Fault(fault.kind, fault.what))
}

/// Decodes an utterance as training does: a segment where the manifest gives an offset, else the whole file.
fn listen(utterance: &Utterance) -> Heard {
    let path = &utterance.audio;
    if let Some(fault) = durations::fault(path) {
        return Heard::Fault(fault.kind, fault.what);
    }
    let duration = utterance.duration.filter(|duration| *duration > 0.0);
    let segment = utterance.offset.map(|offset| Segment { offset, duration });
    match decode_segment(path, segment) {
        Ok(decoded) => Heard::Samples(Box::new(samples(decoded, segment))),
        Err(error) => Heard::Fault(kind(&error), durations::named(path, &error)),
    }
}

/// What kind of fault an error of the audio crate's is.
pub(crate) fn kind(error: &Error) -> Kind {
    match error {
        Error::Open { source, .. } if source.kind() == ErrorKind::NotFound => Kind::Missing,
        Error::Empty { .. } | Error::NoSamples { .. } => Kind::Empty,
        Error::NotAudio { .. } => Kind::NotAudio,
        Error::Segment { .. } | Error::SegmentOutside { .. } => Kind::Outside,
        _ => Kind::Unreadable,
    }
}

fn samples(decoded: Decoded, segment: Option<Segment>) -> Samples {
    let Decoded { waveform, source_rate: rate, warnings, .. } = decoded;
    let seconds = waveform.duration();
    let is_cut = warnings.iter().any(|warning| matches!(warning, Warning::SegmentCut { .. }));
    let end = match segment {
        None => Some(seconds),
        Some(Segment { offset, duration }) => (is_cut || duration.is_none()).then_some(offset + seconds),
    };
    let mut sha256 = Sha256::new();
    sha256.update(rate.to_le_bytes());
    // In blocks: a copy of a whole waveform as bytes would take as much memory again.
    for block in waveform.samples().chunks(4096) {
        let bytes: Vec<u8> = block.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        sha256.update(&bytes);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&sha256.finalize()[..16]);
    Samples { seconds, end, rate, signal: Signal::of(&waveform), digest, warnings }
}
