//! Transcript files of other tools, and the pairing of references with hypotheses.
//!
//! - Kaldi `text`: a line is an id, white space, and the words, of which there may be none.
//! - NIST `.trn`: a line is the words and then the id in parentheses; lines that start with `;;` are comments.
//!   Alternations (`{ a / b }`) are refused, since only sclite's scoring gives them a meaning.
//!
//! In both, blank lines and a byte order mark are skipped, and each id may occur once.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::excerpt;
use crate::{Error, Pair};

/// A text and the utterance it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The utterance.
    pub id: String,
    /// Who speaks; neither Kaldi's nor NIST's format says it.
    pub speaker: Option<String>,
    /// The words, as written.
    pub text: String,
}

/// References with their hypotheses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paired {
    /// One pair per reference, in the order of the references.
    pub pairs: Vec<Pair>,
    /// The references without a hypothesis. They are among the pairs with an empty one, and so count as deletions.
    pub missing: Vec<String>,
}

/// Reads `.trn` by its extension and everything else as Kaldi `text`. `file` names the content; it is not opened.
///
/// # Errors
/// Those of [`parse_trn`] and [`parse_kaldi`].
pub fn parse_transcripts(content: &str, file: &Path) -> Result<Vec<Transcript>, Error> {
    match file.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("trn") => parse_trn(content, file),
        _ => parse_kaldi(content, file),
    }
}

/// Reads Kaldi `text`.
///
/// # Errors
/// [`Error::DuplicateLine`] for an id that occurs twice.
pub fn parse_kaldi(content: &str, file: &Path) -> Result<Vec<Transcript>, Error> {
    parse_lines(content, file, |line, _| Ok(Some(line.split_once(char::is_whitespace).unwrap_or((line, "")))))
}

/// Reads NIST `.trn`.
///
/// # Errors
/// [`Error::TranscriptLine`] for a line that does not end in an id in parentheses, or has an alternation;
/// [`Error::DuplicateLine`] for an id that occurs twice.
pub fn parse_trn(content: &str, file: &Path) -> Result<Vec<Transcript>, Error> {
    parse_lines(content, file, |line, number| {
        if line.starts_with(";;") {
            return Ok(None);
        }
        let refuse = |what, allowed| Error::TranscriptLine {
            file: file.to_owned(),
            line: number,
            what,
            given: excerpt(line),
            allowed,
        };
        let (text, id) = line
            .strip_suffix(')')
            .and_then(|rest| rest.rsplit_once('('))
            .map(|(text, id)| (text, id.trim()))
            .filter(|(_, id)| !id.is_empty())
            .ok_or_else(|| {
                refuse("no id at its end", "words and then the id in parentheses, as in: hello world (utterance-1)")
            })?;
        let alternation = text.split_once('{').is_some_and(|(_, rest)| rest.contains('/') && rest.contains('}'));
        if alternation {
            return Err(refuse("an alternation, which is not supported", "one spelling of each word"));
        }
        Ok(Some((id, text)))
    })
}

/// Splits into lines and collects what `split` makes of each: (id, text), or nothing of a comment.
fn parse_lines<'a>(
    content: &'a str,
    file: &Path,
    split: impl Fn(&'a str, usize) -> Result<Option<(&'a str, &'a str)>, Error>,
) -> Result<Vec<Transcript>, Error> {
    let content = content.strip_prefix('\u{FEFF}').unwrap_or(content);
    let mut line_of: HashMap<&str, usize> = HashMap::new();
    let mut transcripts = Vec::new();
    for (number, line) in (1..).zip(content.lines()) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let Some((id, text)) = split(line, number)? else { continue };
        if let Some(first) = line_of.insert(id, number) {
            return Err(Error::DuplicateLine { file: file.to_owned(), id: id.to_owned(), first, second: number });
        }
        transcripts.push(Transcript { id: id.to_owned(), speaker: None, text: text.trim().to_owned() });
    }
    Ok(transcripts)
}

/// Matches hypotheses with references by id. The speaker is the reference's or, if it has none, the hypothesis's.
///
/// # Errors
/// [`Error::NoReferences`]; [`Error::DuplicateId`] on either side; [`Error::UnknownHypotheses`] if a hypothesis has no reference.
pub fn pair_up(references: Vec<Transcript>, hypotheses: Vec<Transcript>) -> Result<Paired, Error> {
    const NAMED: usize = 5;
    if references.is_empty() {
        return Err(Error::NoReferences { hypotheses: hypotheses.len() });
    }
    refuse_duplicates(&references, "references")?;
    refuse_duplicates(&hypotheses, "hypotheses")?;
    let known: HashSet<&str> = references.iter().map(|reference| reference.id.as_str()).collect();
    let strangers: Vec<&Transcript> =
        hypotheses.iter().filter(|hypothesis| !known.contains(hypothesis.id.as_str())).collect();
    if !strangers.is_empty() {
        return Err(Error::UnknownHypotheses {
            count: strangers.len(),
            first: strangers.iter().take(NAMED).map(|stranger| stranger.id.clone()).collect(),
            example: references[0].id.clone(),
        });
    }
    let mut by_id: HashMap<String, Transcript> =
        hypotheses.into_iter().map(|hypothesis| (hypothesis.id.clone(), hypothesis)).collect();
    let mut paired = Paired::default();
    for Transcript { id, speaker, text: reference } in references {
        let (hypothesis, other_speaker) = match by_id.remove(&id) {
            Some(hypothesis) => (hypothesis.text, hypothesis.speaker),
            None => {
                paired.missing.push(id.clone());
                (String::new(), None)
            }
        };
        paired.pairs.push(Pair { id, speaker: speaker.or(other_speaker), reference, hypothesis });
    }
    Ok(paired)
}

fn refuse_duplicates(transcripts: &[Transcript], side: &'static str) -> Result<(), Error> {
    let mut seen = HashSet::with_capacity(transcripts.len());
    match transcripts.iter().find(|transcript| !seen.insert(transcript.id.as_str())) {
        Some(twice) => Err(Error::DuplicateId { side, id: twice.id.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(id: &str, text: &str) -> Transcript {
        Transcript { id: id.to_owned(), speaker: None, text: text.to_owned() }
    }

    #[test]
    fn kaldi_lines_are_id_and_words() {
        let read = parse_transcripts("\u{FEFF}u1 mwána ibaa\r\n\nu2\tone  two \nu3\n", Path::new("text")).unwrap();
        assert_eq!(read, [transcript("u1", "mwána ibaa"), transcript("u2", "one  two"), transcript("u3", "")]);
        assert_eq!(parse_kaldi("", Path::new("text")).unwrap(), []);
    }

    #[test]
    fn trn_lines_end_in_the_id() {
        let read =
            parse_transcripts(";; comment\nhello (uh) world (spk-1)\n(spk-2)\na b(spk-3)  \r\n", Path::new("ref.TRN"))
                .unwrap();
        assert_eq!(
            read,
            [transcript("spk-1", "hello (uh) world"), transcript("spk-2", ""), transcript("spk-3", "a b")]
        );
    }

    #[test]
    fn trn_mistakes_name_file_and_line() {
        for (content, part) in [
            ("a (1)\nb", "no id"),
            ("a (1)\nb ()", "no id"),
            ("a (1)\n)", "no id"),
            ("a (1)\nsaw { a / the } cat (2)", "alternation"),
        ] {
            let message = parse_trn(content, Path::new("ref.trn")).unwrap_err().to_string();
            assert!(message.starts_with("ref.trn: line 2: ") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn duplicates_name_both_lines() {
        let message = parse_kaldi("a x\n\nb y\na z", Path::new("text")).unwrap_err().to_string();
        assert_eq!(message, "text: id \"a\" is on line 1 and again on line 4; each id may occur once");
        let twice = vec![transcript("a", "x"), transcript("a", "y")];
        let once = vec![transcript("a", "x")];
        assert!(matches!(pair_up(twice.clone(), once.clone()), Err(Error::DuplicateId { side: "references", .. })));
        assert!(matches!(pair_up(once, twice), Err(Error::DuplicateId { side: "hypotheses", .. })));
    }

    #[test]
    fn pairs_follow_the_references_and_missing_ones_are_empty() {
        let references = vec![transcript("1", "one"), transcript("2", "two"), transcript("3", "three")];
        let hypotheses =
            vec![transcript("3", "tree"), Transcript { speaker: Some("anna".to_owned()), ..transcript("1", "one") }];
        let paired = pair_up(references, hypotheses).unwrap();
        assert_eq!(paired.missing, ["2"]);
        let read: Vec<_> =
            paired.pairs.iter().map(|p| (p.id.as_str(), p.reference.as_str(), p.hypothesis.as_str())).collect();
        assert_eq!(read, [("1", "one", "one"), ("2", "two", ""), ("3", "three", "tree")]);
        assert_eq!(paired.pairs[0].speaker.as_deref(), Some("anna"));
    }

    #[test]
    fn strangers_are_named() {
        let hypotheses = (0..7).map(|i| transcript(&format!("x{i}"), "")).collect();
        let message = pair_up(vec![transcript("ref-1", "one")], hypotheses).unwrap_err().to_string();
        assert!(message.starts_with("7 hypotheses have no reference: x0, x1, x2, x3, x4, …;"), "{message}");
        assert!(message.contains("ref-1"), "{message}");
        assert!(matches!(pair_up(vec![], vec![transcript("1", "")]), Err(Error::NoReferences { hypotheses: 1 })));
    }
}
