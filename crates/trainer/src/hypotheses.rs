//! Files of hypotheses: what was recognised beside what was said, a JSON line an utterance. `klang score` reads them.

use std::borrow::Cow;
use std::path::Path;

use klang_text::Pair;
use serde::{Deserialize, Serialize};

use crate::error::Result;
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
}

/// Writes pairs in their order, whole or not at all.
///
/// # Errors
/// A failing file system.
pub fn write_hypotheses(path: &Path, pairs: &[Pair]) -> Result<()> {
    files::write_lines(path, pairs.iter().map(Line::of))
}

/// Reads what can be read of such a file; nothing where it is missing or beyond all measure.
pub(crate) fn read_hypotheses(path: &Path) -> Vec<Pair> {
    let lines: Vec<Line> = files::read_lines(path, MOST_BYTES);
    let pair = |Line { id, speaker, reference, text }: Line| Pair {
        id: id.into_owned(),
        speaker: speaker.map(Cow::into_owned),
        reference: reference.into_owned(),
        hypothesis: text.into_owned(),
    };
    lines.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_back_and_a_bad_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dev.hypotheses.jsonl");
        assert!(read_hypotheses(&path).is_empty());
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
        assert_eq!(read_hypotheses(&path), pairs);
    }
}
