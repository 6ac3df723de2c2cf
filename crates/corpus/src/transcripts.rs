//! Texts to score, from whatever list they are in: a manifest (`id`, `text`), Kaldi's `text`, NIST's `.trn`.

use std::path::Path;

use klang_text::{Transcript, parse_transcripts};

use crate::manifest::At;
use crate::{Error, files, rows};

/// Extensions that mean rows with named fields.
const ROWS: [&str; 5] = ["jsonl", "ndjson", "json", "csv", "tsv"];

/// Reads texts with their ids; with rows, `speaker` too, and `audio` need not be there.
///
/// # Errors
/// When the file cannot be read or is malformed, a row has no id, two have the same, or there is none.
pub fn read_transcripts(path: &Path) -> Result<Vec<Transcript>, Error> {
    let transcripts = if ROWS.contains(&files::extension(path).as_str()) {
        read_rows(path)?
    } else {
        let content = files::text(path)?;
        if content.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
            read_rows(path)?
        } else {
            parse_transcripts(&content, path)?
        }
    };
    if transcripts.is_empty() {
        return Err(Error::Empty { path: path.to_path_buf() });
    }
    Ok(transcripts)
}

fn read_rows(path: &Path) -> Result<Vec<Transcript>, Error> {
    let mut transcripts = Vec::new();
    let mut seen = std::collections::HashMap::new();
    rows::read(path, &mut |mut row| {
        let at = At { path, line: row.line, form: row.form };
        let found = row.names();
        let id = match row.take(&["id"]) {
            Some(id) => at.name(id)?,
            None => return Err(Error::MissingField { path: path.to_path_buf(), line: at.line, field: "id", found }),
        };
        if let Some(first) = seen.insert(id.clone(), at.line) {
            return Err(Error::syntax(
                path,
                at.line,
                format!("the id `{id}` stands in line {first} too; ids must be unique"),
            ));
        }
        let text = row.take_text(&["text"]).map(|field| at.text(field)).transpose()?;
        let Some(text) = text else {
            return Err(Error::MissingField { path: path.to_path_buf(), line: at.line, field: "text", found });
        };
        let speaker = row.take(&["speaker"]).map(|field| at.name(field)).transpose()?;
        transcripts.push(Transcript { id, speaker, text });
        Ok(())
    })?;
    Ok(transcripts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str) -> Result<Vec<Transcript>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read_transcripts(&path)
    }

    fn transcript(id: &str, speaker: Option<&str>, text: &str) -> Transcript {
        Transcript { id: id.into(), speaker: speaker.map(str::to_owned), text: text.into() }
    }

    #[test]
    fn every_form_gives_the_same_texts() {
        let expected = [transcript("a", None, "one two"), transcript("b", None, "")];
        for (name, content) in [
            ("x.jsonl", "{\"id\": \"a\", \"text\": \"one two\"}\n{\"id\": \"b\", \"text\": \"\"}\n"),
            ("x.tsv", "id\ttext\na\tone two\nb\t\n"),
            ("x.csv", "id,text\na,one two\nb,\n"),
            ("x.trn", "one two (a)\n(b)\n"),
            ("text", "a one two\nb\n"),
        ] {
            assert_eq!(read(name, content).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        std::fs::write(&path, "a one\n").unwrap();
        // Sparse: it takes no room on the disk.
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(files::FILE_LIMIT + 1).unwrap();
        assert!(matches!(read_transcripts(&path), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn rows_may_say_who_speaks_and_must_say_which_and_what() {
        let line = "{\"id\": \"a\", \"text\": \"one\", \"speaker\": \"anna\"}\n";
        assert_eq!(read("x.jsonl", line).unwrap(), [transcript("a", Some("anna"), "one")]);
        for (content, part) in [
            ("{\"text\": \"one\"}\n".to_string(), "id"),
            ("{\"id\": \"a\"}\n".to_string(), "text"),
            (format!("{line}{line}"), "line 1 too"),
            (String::new(), "x.jsonl"),
        ] {
            let message = read("x.jsonl", &content).unwrap_err().to_string();
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
