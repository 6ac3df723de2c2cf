//! The page's tables: by speaker, and of speed.

use klang_text::{CharacterCounts, Score};

use super::html::{count, escape, head, interval, rate, row, share};
use crate::run::MetricsLine;

/// All, then each speaker.
pub(super) fn speakers(score: &Score) -> String {
    let cells = |name: String, rates: [Option<f64>; 2], ends, counts: [u64; 5], characters: &CharacterCounts| {
        let wrong = [characters.substitutions, characters.deletions, characters.insertions];
        let characters =
            format!("{} of {}", count(wrong.into_iter().fold(0, u64::saturating_add)), count(characters.characters));
        let counts = counts.map(count);
        row(&[vec![name], counts.to_vec(), vec![rate(rates[0]), interval(ends), rate(rates[1]), characters]].concat())
    };
    let Score { wer, cer, wer_ci95, character_errors, .. } = score;
    let counts = [score.utterances, score.words, score.substitutions, score.deletions, score.insertions];
    let all =
        cells("all".into(), [*wer, *cer], *wer_ci95, counts, character_errors).replacen("<tr>", "<tr class=all>", 1);
    let each: String = (score.speakers.iter())
        .map(|(name, s)| {
            let name = format!("<bdi>{}</bdi>", escape(name));
            let counts = [s.utterances, s.words, s.substitutions, s.deletions, s.insertions];
            cells(name, [s.wer, s.cer], s.wer_ci95, counts, &s.character_errors)
        })
        .collect();
    let names = [
        "speaker",
        "utterances",
        "words",
        "substituted",
        "deleted",
        "inserted",
        "WER",
        "95 %",
        "CER",
        "wrong characters",
    ];
    format!("<div class=wide><table>{}<tbody>{all}{each}</tbody></table></div>\n", head(&names))
}

/// How fast, over the run and lately.
pub(super) fn speed(lines: &[MetricsLine]) -> String {
    /// Name, value, and how it is shown.
    type Row = (&'static str, fn(&MetricsLine) -> Option<f64>, fn(f64) -> String);
    let picks: [Row; 5] = [
        (
            "seconds of audio a second, training",
            |line| match line {
                MetricsLine::Train { audio_seconds_per_second, .. }
                | MetricsLine::Pretrain { audio_seconds_per_second, .. } => Some(*audio_seconds_per_second),
                _ => None,
            },
            |value| format!("{value:.1}"),
        ),
        (
            "seconds of audio a second, scoring dev",
            |line| match line {
                MetricsLine::Dev { behaviour, .. } => Some(behaviour.audio_seconds / behaviour.seconds),
                _ => None,
            },
            |value| format!("{value:.1}"),
        ),
        (
            "seconds to score dev",
            |line| match line {
                MetricsLine::Dev { behaviour, .. } => Some(behaviour.seconds),
                _ => None,
            },
            |value| format!("{value:.1}"),
        ),
        (
            "padding in training batches",
            |line| match line {
                MetricsLine::Train { padding, .. } | MetricsLine::Pretrain { padding, .. } => Some(*padding),
                _ => None,
            },
            share,
        ),
        (
            "time spent waiting for audio",
            |line| match line {
                MetricsLine::Train { waiting, .. } | MetricsLine::Pretrain { waiting, .. } => Some(*waiting),
                _ => None,
            },
            share,
        ),
    ];
    let rows: String = picks
        .iter()
        .filter_map(|(name, pick, show)| {
            let last = lines.iter().rev().find_map(pick).filter(|value| value.is_finite())?;
            Some(row(&[name.to_string(), show(mean(lines, pick)?), show(last)]))
        })
        .collect();
    if rows.is_empty() {
        return rows;
    }
    format!("<h2>Speed</h2>\n<table>{}<tbody>{rows}</tbody></table>\n", head(&["", "mean of the run", "last"]))
}

/// The mean of what can be drawn from the lines; values that are not finite are passed over.
pub(super) fn mean(lines: &[MetricsLine], pick: impl Fn(&MetricsLine) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = lines.iter().filter_map(pick).filter(|value| value.is_finite()).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
