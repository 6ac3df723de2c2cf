//! The labels of a model: one token per id, read from and written as transformers' `vocab.json`.
//!
//! A vocabulary is built once, from training text only, and then frozen with the model: built from evaluation text it would leak,
//! and every later text reports what the vocabulary lacks instead ([`Vocabulary::out_of_vocabulary`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::error::excerpt;
use crate::normalise::Units;
use crate::{Error, SpecialTokens};

/// Tokens in the order of their ids, of which some are special: blank, unknown, word delimiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    /// The ids of single characters that are text.
    characters: HashMap<char, u32>,
    /// The ids of longer tokens that are text: whole words.
    words: HashMap<String, u32>,
    /// Whether all letters are capitals, as in most English checkpoints.
    capitals: bool,
    /// Whether a token is no text, by id. The delimiter is not among these: it decodes to a space.
    special: Vec<bool>,
    blank: u32,
    unknown: Option<u32>,
    delimiter: Option<u32>,
}

/// A text as labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Ids of the vocabulary, in the order of the text.
    pub labels: Vec<u32>,
    /// The characters that the vocabulary lacks, each time one occurs. In `labels` they are the unknown token, or left out if there is none.
    pub unknown: Vec<char>,
}

/// The characters of some texts that a vocabulary lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutOfVocabulary {
    /// How often each occurs, by code point.
    pub characters: BTreeMap<char, u64>,
    /// How many texts hold at least one.
    pub texts: u64,
}

impl Vocabulary {
    /// The vocabulary of normalised training texts: 0 `<pad>` (the CTC blank, transformers' convention), 1 `<unk>`, 2 `|`
    /// (between words), then every character that occurs, by code point.
    ///
    /// # Errors
    /// [`Error::SpecialInText`] if a text holds `|`, `<pad>` or `<unk>`, [`Error::NoCharacters`] if there is nothing but white space.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        Self::of_units(Units::Characters, texts)
    }

    /// As [`Vocabulary::from_texts`], with characters or whole words behind the special tokens.
    ///
    /// # Errors
    /// Those of [`Vocabulary::from_texts`].
    pub fn of_units<'a>(units: Units, texts: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        const SPECIAL: [&str; 3] = ["<pad>", "<unk>", "|"];
        let mut tokens = BTreeSet::new();
        let mut count = 0;
        for text in texts {
            count += 1;
            if let Some(token) = SPECIAL.into_iter().find(|token| text.contains(token)) {
                return Err(Error::SpecialInText { number: count, token: token.to_owned(), excerpt: excerpt(text) });
            }
            match units {
                Units::Characters => tokens.extend(text.chars().filter(|c| !c.is_whitespace()).map(String::from)),
                Units::Words => tokens.extend(text.split_whitespace().map(str::to_owned)),
            }
        }
        if tokens.is_empty() {
            return Err(Error::NoCharacters { texts: count });
        }
        let tokens = SPECIAL.into_iter().map(str::to_owned).chain(tokens).collect();
        Self::new(tokens, &SpecialTokens::default(), Path::new("vocabulary"))
    }

    /// A vocabulary from `vocab.json`, an object of token and id. `file` is for messages only.
    ///
    /// The unknown token and the delimiter may be missing; without a delimiter, a token that is one space takes its part.
    ///
    /// # Errors
    /// [`Error::Json`] if it is no such object; [`Error::DuplicateToken`], [`Error::DuplicateTokenId`], [`Error::TokenIdRange`]
    /// if the ids are not 0 to n − 1, each once; [`Error::NoBlank`] without the padding token; [`Error::SpecialsCollide`].
    pub fn from_vocab_json(json: impl AsRef<[u8]>, file: &Path, specials: &SpecialTokens) -> Result<Self, Error> {
        Self::new(in_id_order(read_entries(json.as_ref(), file)?, file)?, specials, file)
    }

    /// This vocabulary with the tokens of an `added_tokens.json` behind its own, all of them special. Models fine-tuned with
    /// transformers often have `<s>` and `</s>` there, and a head that is larger by these.
    ///
    /// # Errors
    /// Those of [`Vocabulary::from_vocab_json`].
    pub fn with_added_tokens(mut self, json: impl AsRef<[u8]>, file: &Path) -> Result<Self, Error> {
        let own = self.tokens.iter().zip(0_u64..).map(|(token, id)| (token.clone(), id));
        // A token that repeats one of ours with its id adds nothing.
        let mut entries: Vec<_> = own.collect();
        for (token, id) in read_entries(json.as_ref(), file)? {
            let known = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
            if known != Some(&token) {
                entries.push((token, id));
            }
        }
        self.tokens = in_id_order(entries, file)?;
        self.special.resize(self.tokens.len(), true);
        Ok(self)
    }

    fn new(tokens: Vec<String>, specials: &SpecialTokens, file: &Path) -> Result<Self, Error> {
        let find = |name: &str| (0..).zip(&tokens).find(|(_, token)| *token == name).map(|(id, _)| id);
        let blank = find(&specials.pad).ok_or_else(|| Error::NoBlank {
            file: file.to_owned(),
            pad: specials.pad.clone(),
            tokens: tokens.len(),
        })?;
        let unknown = specials.unknown.as_deref().and_then(find);
        let delimiter = specials.delimiter.as_deref().and_then(find).or_else(|| find(" "));
        let roles =
            [("the padding token", Some(blank)), ("the unknown token", unknown), ("the word delimiter", delimiter)];
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            if let (first, Some(id)) = roles[a]
                && roles[b].1 == Some(id)
            {
                let token = tokens[id as usize].clone();
                return Err(Error::SpecialsCollide { file: file.to_owned(), token, first, second: roles[b].0 });
            }
        }
        let mut special = vec![false; tokens.len()];
        for id in specials.others.iter().filter_map(|name| find(name)).chain([blank]).chain(unknown) {
            // "</s>" named as delimiter, as some checkpoints do, stays the delimiter.
            special[id as usize] = Some(id) != delimiter;
        }
        let characters: HashMap<char, u32> = (0..)
            .zip(&tokens)
            .filter(|&(id, _)| !special[id as usize] && Some(id) != delimiter)
            .filter_map(|(id, token)| Some((single_character(token)?, id)))
            .collect();
        let words = (0..)
            .zip(&tokens)
            .filter(|&(id, token)| !special[id as usize] && Some(id) != delimiter && single_character(token).is_none())
            .map(|(id, token)| (token.clone(), id))
            .collect();
        let letters = || characters.keys();
        let capitals = letters().any(|c: &char| c.is_uppercase()) && !letters().any(|c| c.is_lowercase());
        Ok(Self { characters, words, capitals, special, blank, unknown, delimiter, tokens })
    }

    /// `vocab.json`: an object of token and id, by id, indented by two spaces.
    #[must_use]
    pub fn to_vocab_json(&self) -> String {
        let entries = self.tokens.iter().zip(0_u64..).map(|(token, id)| (token.clone(), Value::from(id)));
        format!("{:#}\n", Value::Object(entries.collect()))
    }

    /// The labels of a normalised text: one per word that is a token of its own, otherwise one per character; a run of
    /// white space between words is one delimiter.
    ///
    /// Where all letters of the vocabulary are capitals, small letters take theirs.
    ///
    /// A character that is spelled like a special token (a literal `|`) is unknown. So is a space if there is no delimiter.
    #[must_use]
    pub fn encode(&self, text: &str) -> Encoded {
        let mut encoded = Encoded { labels: Vec::with_capacity(text.len()), unknown: Vec::new() };
        for (i, word) in text.split_whitespace().enumerate() {
            if i > 0 {
                self.push(&mut encoded, ' ', self.delimiter);
            }
            if let Some(&label) = self.words.get(word) {
                encoded.labels.push(label);
                continue;
            }
            for c in word.chars() {
                self.push(&mut encoded, c, self.character(c));
            }
        }
        encoded
    }

    /// The id of a character; in a vocabulary of capitals, that of its capital.
    fn character(&self, c: char) -> Option<u32> {
        let capital = || {
            let mut capital = c.to_uppercase();
            let first = capital.next()?;
            (self.capitals && capital.next().is_none()).then(|| self.characters.get(&first)).flatten()
        };
        self.characters.get(&c).or_else(capital).copied()
    }

    fn push(&self, encoded: &mut Encoded, c: char, label: Option<u32>) {
        if label.is_none() {
            encoded.unknown.push(c);
        }
        encoded.labels.extend(label.or(self.unknown));
    }

    /// The text of labels as they are: repeats are not collapsed, which is CTC's affair. The delimiter is a space, special tokens
    /// and ids outside the vocabulary are skipped, white space is collapsed and trimmed.
    #[must_use]
    pub fn decode(&self, labels: &[u32]) -> String {
        let mut text = String::with_capacity(labels.len());
        for &label in labels {
            if Some(label) == self.delimiter {
                text.push(' ');
            } else if self.special.get(label as usize) == Some(&false) {
                text.push_str(&self.tokens[label as usize]);
            }
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The characters of `texts` that this vocabulary lacks. Texts are to be normalised first, as for training.
    #[must_use]
    pub fn out_of_vocabulary<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> OutOfVocabulary {
        let mut found = OutOfVocabulary::default();
        for text in texts {
            let unknown = self.encode(text).unknown;
            found.texts += u64::from(!unknown.is_empty());
            for c in unknown {
                *found.characters.entry(c).or_default() += 1;
            }
        }
        found
    }

    /// How many tokens there are, special ones included: the size of the model's head. At least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // the blank is always there
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The id of the CTC blank, which is the padding token.
    #[must_use]
    pub fn blank(&self) -> u32 {
        self.blank
    }

    /// The id of the unknown token, if there is one.
    #[must_use]
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// The id of the token between words, if there is one.
    #[must_use]
    pub fn delimiter(&self) -> Option<u32> {
        self.delimiter
    }

    /// Whether an id is no text and skipped in decoding. The delimiter is text.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }

    /// The token of an id, `None` outside the vocabulary.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// All tokens in the order of their ids.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

impl OutOfVocabulary {
    /// Whether the vocabulary has everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// How many characters are lacking, counting each occurrence.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.characters.values().sum()
    }
}

impl fmt::Display for OutOfVocabulary {
    /// `'q' (U+0071) 3 times, 'x' (U+0078) once`, the most frequent first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_count: Vec<_> = self.characters.iter().collect();
        by_count.sort_by_key(|&(_, count)| std::cmp::Reverse(*count));
        for (i, (&c, &count)) in by_count.into_iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
            write!(f, "{separator}{c:?} (U+{:04X}) {times}", u32::from(c))?;
        }
        Ok(())
    }
}

fn single_character(token: &str) -> Option<char> {
    let mut chars = token.chars();
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

fn read_entries(json: &[u8], file: &Path) -> Result<Vec<(String, u64)>, Error> {
    let mut parser = serde_json::Deserializer::from_slice(json);
    parser.deserialize_map(EntryVisitor).and_then(|entries| parser.end().map(|()| entries)).map_err(|source| Error::Json {
        file: file.to_owned(),
        expected: "a JSON object of tokens and their ids (one flat object: of a vocabulary by language, give one language's)",
        source,
    })
}

/// Keeps every entry in its order; a map would silently keep the last of two equal tokens.
struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Vec<(String, u64)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tokens and ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

fn in_id_order(entries: Vec<(String, u64)>, file: &Path) -> Result<Vec<String>, Error> {
    let file = || file.to_owned();
    let count = entries.len();
    let mut ids: HashMap<&str, u64> = HashMap::with_capacity(count);
    let mut tokens: Vec<Option<&str>> = vec![None; count];
    for (token, id) in &entries {
        if let Some(first) = ids.insert(token, *id) {
            return Err(Error::DuplicateToken { file: file(), token: token.clone(), first, second: *id });
        }
        let Some(place) =
            usize::try_from(*id).ok().and_then(|id| tokens.get_mut(id)).filter(|_| u32::try_from(*id).is_ok())
        else {
            return Err(Error::TokenIdRange { file: file(), token: token.clone(), id: *id, tokens: count });
        };
        if let Some(first) = place.replace(token) {
            let (first, second) = (first.to_owned(), token.clone());
            return Err(Error::DuplicateTokenId { file: file(), id: *id, first, second, last: count - 1 });
        }
    }
    // As many places as tokens, and none taken twice: all are filled.
    Ok(tokens.into_iter().flatten().map(str::to_owned).collect())
}

#[cfg(test)]
#[path = "vocabulary_tests.rs"]
mod tests;
