//! What was recognised, utterance by utterance: `NAME.hypotheses.jsonl`, one JSON object a line.

use std::path::Path;

use klang_text::Pair;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files;

/// A file of hypotheses is bounded by what a million long utterances take.
const BYTES: u64 = 4 << 30;

/// A line.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: String,
    speaker: Option<String>,
    /// The normalised reference.
    reference: String,
    /// The hypothesis.
    text: String,
}

/// Writes pairs in their order.
///
/// # Errors
/// A failing file system; the old file then still stands.
pub fn write_hypotheses(path: &Path, pairs: &[Pair]) -> Result<()> {
    let mut text = String::new();
    for pair in pairs {
        let Pair { id, speaker, reference, hypothesis } = pair.clone();
        let line = serde_json::to_string(&Line { id, speaker, reference, text: hypothesis });
        text += &(line.map_err(|error| Error::io(path)(error.into()))? + "\n");
    }
    files::write(path, text.as_bytes())
}

/// Reads them back.
///
/// # Errors
/// A file that cannot be read, or a line that is none of its kind.
pub fn read_hypotheses(path: &Path) -> Result<Vec<Pair>> {
    let text = klang_wav2vec2::checkpoint::read_text(path, BYTES)?;
    let line = |(number, line): (usize, &str)| {
        let Line { id, speaker, reference, text } = serde_json::from_str(line)
            .map_err(|error| Error::Run { path: path.into(), message: format!("line {}: {error}", number + 1) })?;
        Ok(Pair { id, speaker, reference, hypothesis: text })
    };
    text.lines().enumerate().map(line).collect()
}

/// A test's name as a file's: letters, digits, `-` and `_`; others become `-`.
pub fn file_stem(name: &str) -> String {
    let safe = |letter: char| if letter.is_alphanumeric() || letter == '_' { letter } else { '-' };
    name.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.hypotheses.jsonl");
        let pair = |id: &str, speaker: Option<&str>, hypothesis: &str| Pair {
            id: id.into(),
            speaker: speaker.map(Into::into),
            reference: "mwána \"ibaa\"".into(),
            hypothesis: hypothesis.into(),
        };
        let pairs = vec![pair("a\n1", Some("Ümit"), "mwana"), pair("b", None, "")];
        write_hypotheses(&path, &pairs).unwrap();
        assert_eq!(read_hypotheses(&path).unwrap(), pairs);
        std::fs::write(&path, "{\"id\": \"a\"}\n").unwrap();
        assert!(read_hypotheses(&path).unwrap_err().to_string().contains("line 1"));
        assert_eq!(file_stem("held out, 10 dB/é"), "held-out--10-dB-é");
    }
}
