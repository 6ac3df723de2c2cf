//! Files of hypotheses: what was recognised beside what was said, a JSON line an utterance. `klang score` reads them.

use std::borrow::Cow;
use std::path::Path;

use klang_text::Pair;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;

/// Beyond this many bytes a file is not read again.
const MOST_BYTES: u64 = 1 << 26;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    id: Cow<'a, str>,
    speaker: Option<Cow<'a, str>>,
    reference: Cow<'a, str>,
    text: Cow<'a, str>,
}

impl<'a> Line<'a> {
    fn of(pair: &'a Pair) -> Line<'a> {
        Line {
            id: pair.id.as_str().into(),
            speaker: pair.speaker.as_deref().map(Cow::from),
            reference: pair.reference.as_str().into(),
            text: pair.hypothesis.as_str().into(),
        }
    }

    fn pair(self) -> Pair {
        let Line { id, speaker, reference, text } = self;
        Pair {
            id: id.into_owned(),
            speaker: speaker.map(Cow::into_owned),
            reference: reference.into_owned(),
            hypothesis: text.into_owned(),
        }
    }
}

/// Writes pairs in their order, whole or not at all.
///
/// # Errors
/// A failing file system.
pub fn write_hypotheses(path: &Path, pairs: &[Pair]) -> Result<()> {
    files::write_lines(path, pairs.iter().map(Line::of))
}

/// Reads them back, all of them.
///
/// # Errors
/// A file that cannot be read, or a line that is none of its kind.
pub fn read_hypotheses(path: &Path) -> Result<Vec<Pair>> {
    let text = klang_wav2vec2::checkpoint::read_text(path, MOST_BYTES)?;
    let line = |(number, line): (usize, &str)| {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| Error::Run { path: path.into(), message: format!("line {}: {error}", number + 1) })?;
        Ok(line.pair())
    };
    text.lines().enumerate().map(line).collect()
}

/// Reads what can be read of such a file; nothing where it is missing or beyond all measure.
pub(crate) fn readable_hypotheses(path: &Path) -> Vec<Pair> {
    let lines: Vec<Line> = files::read_lines(path, MOST_BYTES);
    lines.into_iter().map(Line::pair).collect()
}

/// The longest file name that is made of names, in bytes: file systems take 255, and endings stand behind it.
pub(crate) const LONGEST_STEM: usize = 200;

/// What a test's greedy reading is called where a search reads it too.
pub(crate) fn beside_search(name: &str) -> String {
    format!("{name}, greedy")
}

/// A test's name as a file's: letters, digits and `_` stay, others become `-`.
pub(crate) fn file_stem(name: &str) -> String {
    let safe = |letter: char| if letter.is_alphanumeric() || letter == '_' { letter } else { '-' };
    name.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_back_and_a_bad_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dev.hypotheses.jsonl");
        assert!(readable_hypotheses(&path).is_empty() && read_hypotheses(&path).is_err());
        let pair = |id: &str, speaker: Option<&str>| Pair {
            id: id.into(),
            speaker: speaker.map(str::to_string),
            reference: "one \"two\"".into(),
            hypothesis: "won\u{2028}".into(),
        };
        let pairs = [pair("b", Some("Ümit")), pair("a", None)];
        write_hypotheses(&path, &pairs).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(r#"{"id":"b","speaker":"Ümit","reference":"one \"two\"","text":"#), "{text}");
        std::fs::write(&path, format!("{{\"id\": 7}}\n{text}{{\"id\": \"c")).unwrap();
        assert_eq!(readable_hypotheses(&path), pairs);
        assert!(read_hypotheses(&path).unwrap_err().to_string().contains("line 1"));
        std::fs::write(&path, text).unwrap();
        assert_eq!(read_hypotheses(&path).unwrap(), pairs);
        assert_eq!(file_stem("held out, 10 dB/é"), "held-out--10-dB-é");
    }
}
