//! Text for language models: sentences from plain text and from manifests, in the normal form of a model's transcripts.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use klang_corpus::{Manifest, read_transcripts};
use klang_text::Normaliser;

use super::knowledge::SPACE;
use crate::error::{Error, Result};
use crate::prepare::train_and_dev;
use crate::run::RunFolder;

/// How a file packed by gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes of a line; more is no text.
const LONGEST_LINE: u64 = 1 << 20;

/// What the words of a language model are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LmUnits {
    /// What white space parts.
    #[default]
    Words,
    /// Characters, with [`SPACE`] between words.
    Characters,
}

impl LmUnits {
    /// A normalised sentence as the language model's words.
    pub fn split(self, sentence: &str) -> Vec<String> {
        match self {
            LmUnits::Words => sentence.split_whitespace().map(str::to_owned).collect(),
            LmUnits::Characters => {
                let words = sentence.split_whitespace().map(|word| word.chars().map(String::from).collect::<Vec<_>>());
                let parted = words.enumerate().map(|(place, word)| match place {
                    0 => word,
                    _ => [vec![SPACE.to_owned()], word].concat(),
                });
                parted.collect::<Vec<_>>().concat()
            }
        }
    }
}

/// The sentences of a file, normalised; those of which nothing is left are left out. A manifest (by its extension, or JSON lines
/// by how it begins) gives the text of its utterances, NIST's `.trn` its texts without the ids, any other file a sentence a line:
/// of a Kaldi `text` the ids would count as words. A run folder gives the transcripts of its training manifests.
///
/// # Errors
/// A file that cannot be read; a line that is no UTF-8; a manifest without any text; a folder that holds no run.
pub fn read_sentences(path: &Path, normaliser: &Normaliser) -> Result<Vec<String>> {
    let mut sentences = Vec::new();
    let mut take = |text: &str| {
        let sentence = normaliser.apply(text);
        if !sentence.is_empty() {
            sentences.push(sentence);
        }
    };
    if path.is_dir() {
        let Some(run) = RunFolder::around(path) else {
            let message = "a folder that holds no run; give a run folder, a manifest or text";
            return Err(Error::Data { path: path.into(), message: message.into() });
        };
        train_and_dev(&run)?.0.iter().filter_map(|utterance| utterance.text.as_deref()).for_each(take);
        return Ok(sentences);
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let start = file.fill_buf().map_err(Error::io(path))?;
    if start.starts_with(&GZIP) {
        let message = "packed by gzip; unpack it first: gunzip FILE".into();
        return Err(Error::Data { path: path.into(), message });
    }
    let is_manifest =
        ["jsonl", "ndjson", "json", "csv", "tsv"].contains(&extension.as_str()) || start.first() == Some(&b'{');
    if is_manifest {
        let utterances = Manifest::read(path)?.utterances;
        utterances.iter().filter_map(|utterance| utterance.text.as_deref()).for_each(&mut take);
    } else if extension == "trn" {
        read_transcripts(path)?.iter().for_each(|transcript| take(&transcript.text));
    } else {
        for number in 1u64.. {
            let mut line = Vec::new();
            let read = (&mut file).take(LONGEST_LINE + 1).read_until(b'\n', &mut line).map_err(Error::io(path))?;
            if read == 0 {
                break;
            }
            if read as u64 > LONGEST_LINE {
                let message = format!("line {number}: more than {LONGEST_LINE} bytes; a sentence a line is expected");
                return Err(Error::Data { path: path.into(), message });
            }
            let text = std::str::from_utf8(&line).map_err(|error| Error::Data {
                path: path.into(),
                message: format!(
                    "line {number}: no UTF-8 from byte {} on; save the text as UTF-8",
                    error.valid_up_to() + 1
                ),
            })?;
            take(text.trim_start_matches('\u{feff}'));
        }
    }
    if sentences.is_empty() {
        let message = "no text in it; a language model is made from sentences, one a line, or from a manifest's `text`";
        return Err(Error::Data { path: path.into(), message: message.into() });
    }
    Ok(sentences)
}

/// How many of `tests` stand among `sentences` too, as a whole: what a model of `sentences` knows beforehand.
pub fn known_sentences(sentences: &[String], tests: &[String]) -> usize {
    let known: BTreeSet<&String> = sentences.iter().collect();
    tests.iter().filter(|test| known.contains(test)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use klang_text::TextOptions;

    fn normaliser() -> Normaliser {
        Normaliser::new(&TextOptions::default()).unwrap()
    }

    #[test]
    fn words_and_characters_part_a_sentence() {
        assert_eq!(LmUnits::Words.split("we saw"), ["we", "saw"]);
        assert_eq!(LmUnits::Characters.split("we é"), ["w", "e", "|", "é"]);
        assert!(LmUnits::Characters.split("").is_empty());
    }

    #[test]
    fn lines_and_manifests_give_their_sentences_in_normal_form() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let text = write("text.txt", "\u{feff}We saw, it.\n\n  !\r\nÉcole\n".as_bytes());
        assert_eq!(read_sentences(&text, &normaliser()).unwrap(), ["we saw it", "école"]);
        let manifest =
            write("all.jsonl", b"{\"id\": \"1\", \"audio\": \"a.wav\", \"text\": \"Yes!\", \"duration\": 1.0}\n");
        assert_eq!(read_sentences(&manifest, &normaliser()).unwrap(), ["yes"]);
        let trn = write("all.trn", b"we saw (u1)\nit (u2)\n");
        assert_eq!(read_sentences(&trn, &normaliser()).unwrap(), ["we saw", "it"]);
        let unnamed = write("all", b"{\"id\": \"1\", \"audio\": \"a.wav\", \"text\": \"No\"}\n");
        assert_eq!(read_sentences(&unnamed, &normaliser()).unwrap(), ["no"]);
        let message = read_sentences(&write("t.txt.gz", &[0x1f, 0x8b, 8]), &normaliser()).unwrap_err().to_string();
        assert!(message.contains("gunzip"), "{message}");
        let cases: [(&str, &[u8], &str); 3] = [
            ("latin.txt", b"good\nna\xefve\n", "line 2"),
            ("empty.txt", b"\n ?\n", "no text"),
            ("no.jsonl", b"", "no.jsonl"),
        ];
        for (name, bytes, said) in cases {
            let message = read_sentences(&write(name, bytes), &normaliser()).unwrap_err().to_string();
            assert!(message.contains(said) && message.contains(name), "{message}");
        }
    }

    #[test]
    fn sentences_that_a_test_shares_are_counted() {
        let text = |sentences: &[&str]| sentences.iter().map(|one| one.to_string()).collect::<Vec<_>>();
        assert_eq!(known_sentences(&text(&["a b", "c"]), &text(&["c", "a", "c", "a b"])), 3);
    }
}
