//! What an utterance's audio shows.

use klang_audio::{Signal, Warning};

use super::finding::{Findings, Kind, Severity};
use super::listen::{Heard, Samples};
use super::{CheckOptions, Role, Source};
use crate::Utterance;

/// How far a manifest's duration may be from the file's own, in seconds; and how much a truncated file may lack.
pub const DURATION_TOLERANCE: f64 = 0.1;
/// Level of the loudest 0.1 s, in dB below full scale, under which nothing is heard: what is left of speech in 16 bits is
/// then the rounding.
pub const SILENT: f64 = -60.0;
/// Level under which speech is so faint that noise may well be louder.
pub const NEAR_SILENT: f64 = -45.0;
/// Share of samples cut off at full scale that is worth a look.
pub const CLIPPED: f64 = 1e-3;
/// Programs that write to a pipe cannot know the length, and leave the largest there is, 2 GiB or 4, in the header: at most
/// 8 bytes a frame, these are so many frames.
const NO_LENGTH: u64 = 0x7fff_0000 / 8;

pub(super) fn check(
    findings: &mut Findings,
    source: &Source<'_>,
    utterance: &Utterance,
    heard: &Heard,
    options: &CheckOptions<'_>,
) {
    if let Heard::Fault(kind, what) = heard {
        // What a recipe's folder holds nobody has asked for by name: pretraining passes it over.
        let is_passed_over = utterance.line == 0 && source.role != Role::Split;
        let severity = if is_passed_over { Severity::Warning } else { Severity::Error };
        findings.add(severity, *kind, source, utterance, what);
        return;
    }
    if let Some(duration) = utterance.duration
        && !(duration > 0.0 && duration.is_finite())
    {
        let what = format!("duration is {duration} s; allowed: above 0");
        findings.error(Kind::Outside, source, utterance, what);
        return;
    }
    let (rate, end, warnings) = match heard {
        Heard::Unheard | Heard::Fault(..) => return,
        Heard::Header(probe) => (probe.rate, Some(probe.duration), &probe.warnings),
        Heard::Samples(samples) => (samples.rate, samples.end, &samples.warnings),
    };
    for warning in warnings {
        // By its header alone a truncated file may hold a segment of it whole; and without a transcript nothing is missed.
        let is_missed = options.labelled && !(utterance.offset.is_some() && matches!(heard, Heard::Header(_)));
        oddity(findings, source, utterance, warning, is_missed.then_some(rate));
    }
    if rate < options.reader.sample_rate() {
        findings.warning(Kind::Upsampled, source, utterance, Warning::Upsampled { from: rate }.to_string());
    }
    if let Some(end) = end {
        times(findings, source, utterance, end);
    }
    if let Heard::Samples(samples) = heard {
        loudness(findings, source, utterance, samples);
    }
}

fn oddity(findings: &mut Findings, source: &Source<'_>, utterance: &Utterance, warning: &Warning, missed: Option<u32>) {
    let what = warning.to_string();
    match warning {
        Warning::Truncated { promised_frames, found_frames } => {
            let lacking = missed.map(|rate| promised_frames.saturating_sub(*found_frames) as f64 / f64::from(rate));
            if let Some(lacking) =
                lacking.filter(|&lacking| *promised_frames < NO_LENGTH && lacking > DURATION_TOLERANCE)
            {
                let what = format!("{what}; {lacking:.2} s of what the transcript says are gone");
                findings.error(Kind::Truncated, source, utterance, what);
            } else {
                findings.warning(Kind::Truncated, source, utterance, what);
            }
            findings.badness(promised_frames.saturating_sub(*found_frames) as f64);
        }
        Warning::Clamped { .. } => findings.warning(Kind::Clipped, source, utterance, what),
        // Said by the times, in the manifest's terms.
        Warning::SegmentCut { .. } => {}
        Warning::Damaged { .. } => findings.warning(Kind::Damaged, source, utterance, what),
        other => findings.warning(Kind::Damaged, source, utterance, other.to_string()),
    }
}

/// What the manifest says beside where the file ends, in seconds.
fn times(findings: &mut Findings, source: &Source<'_>, utterance: &Utterance, end: f64) {
    match (utterance.offset, utterance.duration) {
        (Some(offset), _) if offset >= end => {
            let what = format!("starts at {offset} s, but the file ends at {end:.3} s");
            findings.error(Kind::Outside, source, utterance, what);
        }
        (Some(offset), Some(duration)) if offset + duration > end + DURATION_TOLERANCE => {
            let what = format!("ends at {:.3} s, but the file ends at {end:.3} s", offset + duration);
            findings.warning(Kind::Duration, source, utterance, what);
        }
        (None, Some(duration)) if (duration - end).abs() > DURATION_TOLERANCE => {
            let what = format!("duration is {duration} s, but the file holds {end:.3} s");
            findings.warning(Kind::Duration, source, utterance, what);
            findings.badness((duration - end).abs());
        }
        _ => {}
    }
}

fn loudness(findings: &mut Findings, source: &Source<'_>, utterance: &Utterance, samples: &Samples) {
    let Signal { clipped, loudest } = samples.signal;
    let level = match loudest.is_finite() {
        true => format!("its loudest 0.1 s are at {loudest:.0} dB of full scale"),
        false => "all samples are the same".to_owned(),
    };
    if loudest < SILENT {
        findings.error(Kind::Silent, source, utterance, format!("silent: {level}"));
    } else if loudest < NEAR_SILENT {
        findings.warning(Kind::NearSilent, source, utterance, format!("nearly silent: {level}"));
        findings.badness(-loudest);
    }
    if clipped > CLIPPED {
        let what = format!("clipped: {:.1} % of its samples are cut off at full scale", clipped * 100.0);
        findings.warning(Kind::Clipped, source, utterance, what);
        findings.badness(clipped);
    }
}
