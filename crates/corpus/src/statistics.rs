//! What a list of utterances amounts to.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::Utterance;

/// Counts over a list of utterances.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// How many.
    pub utterances: usize,
    /// How many have a transcript that is not empty.
    pub labelled: usize,
    /// How many durations are known.
    pub timed: usize,
    /// The sum of the known durations, in hours.
    pub hours: f64,
    /// The known durations.
    pub duration: Option<Spread>,
    /// By speaker.
    pub speakers: BTreeMap<String, Speaker>,
    /// How many utterances have no speaker.
    pub without_speaker: usize,
    /// Different sentences, case and spacing aside.
    pub sentences: usize,
    /// Words of all transcripts, split at Unicode white space.
    pub words: usize,
    /// Characters (Unicode scalar values) of all transcripts, one space between words included.
    pub characters: usize,
    /// Characters per second over the utterances that have both text and duration.
    pub characters_per_second: Option<f64>,
}

/// Of a list of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The shortest, in seconds.
    pub min: f64,
    /// The middle one, in seconds; of an even count the mean of the middle two.
    pub median: f64,
    /// The longest, in seconds.
    pub max: f64,
}

/// One speaker's share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Speaker {
    /// Their utterances.
    pub utterances: usize,
    /// The sum of their known durations, in seconds.
    pub seconds: f64,
}

impl Statistics {
    /// Counts `utterances`; durations that are not positive are as good as unknown.
    pub fn of(utterances: &[Utterance]) -> Statistics {
        Statistics::by(utterances, |place| utterances[place].duration)
    }

    /// As [`Statistics::of`], with durations in seconds of whoever knows better, by place.
    pub(crate) fn by(utterances: &[Utterance], duration: impl Fn(usize) -> Option<f64>) -> Statistics {
        let mut statistics = Statistics { utterances: utterances.len(), ..Statistics::default() };
        let mut durations = Vec::new();
        let mut sentences = std::collections::BTreeSet::new();
        let (mut paced_characters, mut paced_seconds) = (0, 0.0);
        for (place, utterance) in utterances.iter().enumerate() {
            let seconds = duration(place).filter(|seconds| seconds.is_finite() && *seconds > 0.0);
            durations.extend(seconds);
            match &utterance.speaker {
                Some(name) => {
                    let speaker = statistics.speakers.entry(name.clone()).or_default();
                    speaker.utterances += 1;
                    speaker.seconds += seconds.unwrap_or(0.0);
                }
                None => statistics.without_speaker += 1,
            }
            let (words, characters) = length(utterance);
            statistics.words += words;
            statistics.characters += characters;
            if let Some(sentence) = utterance.sentence() {
                statistics.labelled += 1;
                sentences.insert(sentence);
                if let Some(seconds) = seconds {
                    paced_characters += characters;
                    paced_seconds += seconds;
                }
            }
        }
        statistics.sentences = sentences.len();
        statistics.timed = durations.len();
        statistics.hours = durations.iter().sum::<f64>() / 3600.0;
        statistics.duration = spread(durations);
        statistics.characters_per_second = (paced_seconds > 0.0).then(|| paced_characters as f64 / paced_seconds);
        statistics
    }
}

/// Words and characters of an utterance's transcript, white space collapsed.
pub(crate) fn length(utterance: &Utterance) -> (usize, usize) {
    let words = utterance.text.as_deref().unwrap_or("").split_whitespace();
    let (count, characters) = words.fold((0, 0), |(words, sum), word| (words + 1, sum + word.chars().count()));
    (count, characters + count.saturating_sub(1))
}

fn spread(mut seconds: Vec<f64>) -> Option<Spread> {
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    let upper = *seconds.get(middle)?;
    let lower = if seconds.len().is_multiple_of(2) { *seconds.get(middle.checked_sub(1)?)? } else { upper };
    Some(Spread { min: *seconds.first()?, median: (lower + upper) / 2.0, max: *seconds.last()? })
}

const HEADER: [&str; 11] = [
    "manifest",
    "utterances",
    "labelled",
    "speakers",
    "minutes",
    "min s",
    "median s",
    "max s",
    "sentences",
    "words",
    "chars/s",
];

impl Statistics {
    fn cells(&self, name: &str) -> [String; 11] {
        let known = |value: Option<f64>, digits: usize| match value {
            Some(value) => format!("{value:.digits$}"),
            None => "–".to_owned(),
        };
        let minutes = if self.timed == 0 && self.utterances > 0 { None } else { Some(self.hours * 60.0) };
        [
            name.to_owned(),
            self.utterances.to_string(),
            self.labelled.to_string(),
            self.speakers.len().to_string(),
            known(minutes, 1),
            known(self.duration.map(|spread| spread.min), 2),
            known(self.duration.map(|spread| spread.median), 2),
            known(self.duration.map(|spread| spread.max), 2),
            self.sentences.to_string(),
            self.words.to_string(),
            known(self.characters_per_second, 1),
        ]
    }
}

/// A table with a line per manifest: names flush left, figures flush right, `–` for what is not known.
pub fn table<'a>(rows: impl IntoIterator<Item = (&'a str, &'a Statistics)>) -> String {
    let mut lines = vec![HEADER.map(str::to_owned)];
    lines.extend(rows.into_iter().map(|(name, statistics)| statistics.cells(name)));
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; 11] = std::array::from_fn(width);
    let mut table = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        table.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        table.push('\n');
    }
    table
}

/// One column: a name and a figure per line.
impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.cells("");
        for (name, cell) in HEADER.iter().zip(&cells).skip(1) {
            writeln!(f, "{name:<10}  {cell:>10}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utterance(id: &str, speaker: Option<&str>, seconds: Option<f64>, text: Option<&str>) -> Utterance {
        Utterance {
            speaker: speaker.map(str::to_owned),
            duration: seconds,
            text: text.map(str::to_owned),
            ..Utterance::new(id, format!("{id}.wav"))
        }
    }

    fn corpus() -> Vec<Utterance> {
        vec![
            utterance("1", Some("ana"), Some(1.0), Some("mwána  ibaa")),
            utterance("2", Some("ana"), Some(4.0), Some("Mwána ibaa")),
            utterance("3", Some("bo"), Some(2.0), None),
            utterance("4", None, None, Some("wa")),
            utterance("5", None, Some(3.0), Some(" ")),
        ]
    }

    #[test]
    fn counts_are_those_of_the_list() {
        let statistics = Statistics::of(&corpus());
        assert_eq!((statistics.utterances, statistics.labelled, statistics.timed), (5, 3, 4));
        assert_eq!(statistics.hours, 10.0 / 3600.0);
        assert_eq!(statistics.duration, Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
        assert_eq!(statistics.speakers["ana"], Speaker { utterances: 2, seconds: 5.0 });
        assert_eq!(statistics.without_speaker, 2);
        // "mwána ibaa" is 10 characters, twice, and "wa" is 2; only the first two are timed: 20 / 5 s.
        assert_eq!((statistics.sentences, statistics.words, statistics.characters), (2, 5, 22));
        assert_eq!(statistics.characters_per_second, Some(4.0));
    }

    #[test]
    fn nothing_known_is_nothing_claimed() {
        let statistics = Statistics::of(&[]);
        assert_eq!((statistics.duration, statistics.characters_per_second), (None, None));
        let odd = Statistics::of(&[utterance("1", None, Some(-3.0), None), utterance("2", None, Some(f64::NAN), None)]);
        assert_eq!((odd.timed, odd.duration, odd.hours), (0, None, 0.0));
    }

    #[test]
    fn the_table_has_a_line_per_manifest() {
        let statistics = Statistics::of(&corpus());
        let table = table([("train", &statistics), ("dev", &Statistics::of(&corpus()[3..4]))]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["train", "5", "3", "2", "0.2", "1.00", "2.50", "4.00", "2", "5", "4.0"]);
        assert_eq!(lines[2], ["dev", "1", "1", "0", "–", "–", "–", "–", "1", "1", "–"]);
        assert!(statistics.to_string().lines().any(|line| line.starts_with("utterances") && line.ends_with('5')));
    }
}
