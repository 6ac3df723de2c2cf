//! A score for people: a headline, and a table by speaker.

use std::fmt;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::bootstrap::Ci95Unit;
use crate::score::{Score, SpeakerScore};

impl Score {
    /// The headline and, with speakers, a table of them; lines end with a newline, columns are separated by two spaces.
    #[must_use]
    pub fn table(&self) -> String {
        let unit = match self.ci95_unit {
            Ci95Unit::Utterances => "utterances",
            Ci95Unit::Speakers => "speakers",
        };
        let interval = match self.wer_ci95 {
            Some(_) => format!(" (95 % over {unit}: {})", range(self.wer_ci95)),
            None => String::new(),
        };
        let spaces = if self.cer_spaces { "with" } else { "without" };
        let mut text = format!(
            "WER {}{interval}, CER {} ({spaces} spaces); {} words: {} substituted, {} deleted, {} inserted; {} utterances\n",
            percent(self.wer),
            percent(self.cer),
            self.words,
            self.substitutions,
            self.deletions,
            self.insertions,
            self.utterances,
        );
        if !self.speakers.is_empty() {
            let header =
                ["speaker", "utterances", "words", "sub", "del", "ins", "WER", "95 %", "CER"].map(str::to_owned);
            let rows: Vec<_> =
                std::iter::once(header).chain(self.speakers.iter().map(|(name, s)| cells(name, s))).collect();
            text.push('\n');
            push_columns(&mut text, &rows);
        }
        text
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table())
    }
}

fn cells(name: &str, s: &SpeakerScore) -> [String; 9] {
    let name = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let count = |n: u64| n.to_string();
    [
        name,
        count(s.utterances),
        count(s.words),
        count(s.substitutions),
        count(s.deletions),
        count(s.insertions),
        percent(s.wer),
        range(s.wer_ci95),
        percent(s.cer),
    ]
}

fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "undefined".to_owned(), |rate| format!("{:.2} %", 100.0 * rate))
}

fn range(interval: Option<[f64; 2]>) -> String {
    interval.map_or_else(|| "–".to_owned(), |[low, high]| format!("{:.2}–{:.2}", 100.0 * low, 100.0 * high))
}

/// The first column flush left, the others flush right.
fn push_columns<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let widths: [usize; N] = std::array::from_fn(|i| rows.iter().map(|row| width(&row[i])).max().unwrap_or(0));
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[i] - width(cell));
            match i {
                0 => text.extend([cell.as_str(), &padding]),
                _ => text.extend(["  ", &padding, cell]),
            }
        }
        text.push('\n');
    }
}

/// Code points that take a column: all but combining marks. Wide characters count as one.
fn width(text: &str) -> usize {
    text.chars().filter(|c| c.general_category_group() != GeneralCategoryGroup::Mark).count()
}

#[cfg(test)]
mod tests {
    use crate::{Pair, ScoreOptions, score};

    #[test]
    fn columns_are_aligned_and_the_headline_states_its_terms() {
        let pair = |speaker: &str, reference: &str| Pair {
            id: speaker.to_owned(),
            speaker: Some(speaker.to_owned()),
            reference: reference.to_owned(),
            hypothesis: "one two".to_owned(),
        };
        // The mark takes no column. Words: " three" missing, " two" inserted, of 3 + 2 + 1.
        // Characters: 6 of 13 missing; 4 inserted to 7 + 3; 10 of 23 together.
        let pairs = [pair("Nja\u{301}", "one two three"), pair("a long name", "one two"), pair("a long name", "one")];
        let table = score(&pairs, &ScoreOptions { resamples: 0, ..ScoreOptions::default() }).table();
        let expected = "\
WER 33.33 %, CER 43.48 % (with spaces); 6 words: 0 substituted, 1 deleted, 1 inserted; 3 utterances

speaker      utterances  words  sub  del  ins      WER  95 %      CER
Nja\u{301}                   1      3    0    1    0  33.33 %     –  46.15 %
a long name           2      3    0    0    1  33.33 %     –  40.00 %
";
        assert_eq!(table, expected);
    }

    #[test]
    fn nothing_measured_is_called_undefined() {
        assert!(score(&[], &ScoreOptions::default()).to_string().starts_with("WER undefined, CER undefined"));
    }
}
