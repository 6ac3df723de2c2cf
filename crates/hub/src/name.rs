//! The name of a model: `owner/name`, optionally `@revision`, and how it is told from a path.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The longest owner, name or revision that is taken, in bytes (the hub's own bound on a name is 96).
const LONGEST: usize = 96;

/// `owner/name` or `owner/name@revision`, checked: no part of it can lead out of the folder it names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelName {
    id: String,
    revision: Option<String>,
}

impl ModelName {
    /// Whether `text` has the form of a model's name. A relative path of two parts has it as well: ask the disk first.
    pub fn looks_like(text: &str) -> bool {
        text.parse::<Self>().is_ok()
    }

    /// `owner/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The branch, tag or commit that was asked for.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The folder of this model inside the cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}", self.id.replace('/', "--"))
    }
}

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why| Error::Name { given: text.chars().take(200).collect(), why };
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        let Some((owner, name)) = id.split_once('/') else {
            return Err(refuse("it lacks the slash between owner and name"));
        };
        if !is_part(owner) || !is_part(name) {
            return Err(refuse(
                "owner and name are 1 to 96 of A-Z a-z 0-9 . _ -, begin and end with a letter, a digit or _, \
                 and hold neither .. nor --",
            ));
        }
        if revision.is_some_and(|revision| !is_revision(revision)) {
            return Err(refuse(
                "a revision is a branch, a tag or a commit: 1 to 96 of A-Z a-z 0-9 . _ - and single slashes, without ..",
            ));
        }
        Ok(Self { id: id.into(), revision: revision.map(Into::into) })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.id)?;
        self.revision.iter().try_for_each(|revision| write!(out, "@{revision}"))
    }
}

/// Whether `text` is a full commit: 40 hexadecimal digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_part(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
        && text.bytes().next().is_some_and(word)
        && text.bytes().last().is_some_and(word)
        && !text.contains("..")
        && !text.contains("--")
}

fn is_revision(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    text.len() <= LONGEST
        && text.bytes().all(allowed)
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_and_put_together() {
        let name: ModelName = "facebook/wav2vec2-base@refs/pr/1".parse().unwrap();
        assert_eq!((name.id(), name.revision()), ("facebook/wav2vec2-base", Some("refs/pr/1")));
        assert_eq!(name.to_string(), "facebook/wav2vec2-base@refs/pr/1");
        assert_eq!(name.folder(), "models--facebook--wav2vec2-base");
        assert_eq!("a/b".parse::<ModelName>().unwrap().revision(), None);
    }

    #[test]
    fn paths_and_hostile_names_are_no_model_names() {
        let wrong = [
            "",
            "wav2vec2",
            "/",
            "a/",
            "/b",
            "./model",
            "../model",
            "a/b/c",
            "/a/b",
            "a\\b",
            "a b/c",
            "a/..",
            "a/b..c",
            "a/b--c",
            "-a/b",
            "a/b-",
            "a/b@",
            "a/b@..",
            "a/b@x/../y",
            "a/b@/x",
            "a/b@x//y",
            "a/b@.x",
            "a/b@c@d",
            "ä/b",
            "a/b\n",
            "a/b@x?y",
        ];
        for text in wrong {
            assert!(!ModelName::looks_like(text), "{text:?}");
        }
        assert!(!ModelName::looks_like(&format!("a/{}", "b".repeat(97))));
        assert!(ModelName::looks_like(&format!("a/{}", "b".repeat(96))));
    }

    #[test]
    fn the_refusal_says_what_was_given_and_why() {
        let message = "wav2vec2".parse::<ModelName>().unwrap_err().to_string();
        assert!(message.contains("`wav2vec2`") && message.contains("slash"), "{message}");
    }

    #[test]
    fn a_commit_is_forty_lower_case_digits() {
        assert!(is_commit(&"0a".repeat(20)));
        assert!(!is_commit(&"0A".repeat(20)) && !is_commit(&"0a".repeat(19)) && !is_commit(&"0g".repeat(20)));
    }
}
