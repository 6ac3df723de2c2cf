//! What one vocabulary has and another has not.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::Vocabulary;
use super::assemble::single_character;
use crate::characters::{is_invisible, is_joiner, is_space};

/// How many tokens a message names.
const NAMED: usize = 12;
/// How many characters of a token a message shows.
const SHOWN: usize = 24;

/// What a special token is for. Its spelling does not matter: `[PAD]` and `<pad>` are both the blank.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// The CTC blank, which is the padding token.
    Blank,
    /// A character outside the vocabulary.
    Unknown,
    /// The space between words.
    Delimiter,
    /// The start of a sentence.
    Start,
    /// The end of a sentence.
    End,
    /// Another special token, by its spelling.
    Other(String),
}

/// A token that is in both vocabularies with another id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedToken {
    /// Its spelling in the new vocabulary.
    pub token: String,
    /// Its id in the old one.
    pub from: u32,
    /// Its id in the new one.
    pub to: u32,
}

/// What a new vocabulary has and an old one has not, and the other way round.
///
/// Tokens of text are compared by what they stand for: a small letter is not new where the old vocabulary writes it as its capital.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VocabularyDifference {
    /// Tokens of text that only the new vocabulary has, by id.
    pub new: Vec<String>,
    /// Tokens of text that only the old vocabulary has, by id.
    pub gone: Vec<String>,
    /// Special tokens that only the new vocabulary has.
    pub new_roles: Vec<Role>,
    /// Special tokens that only the old vocabulary has.
    pub gone_roles: Vec<Role>,
    /// Tokens of either kind that both have with different ids, by new id.
    pub moved: Vec<MovedToken>,
}

impl Vocabulary {
    /// What `new` has and this vocabulary has not, and the other way round.
    #[must_use]
    pub fn difference(&self, new: &Vocabulary) -> VocabularyDifference {
        let mut difference = VocabularyDifference::default();
        let mut kept = BTreeSet::new();
        let others = (0..).zip(&self.tokens).filter(|(id, _)| matches!(self.role(*id), Some(Role::Other(_))));
        let others: HashMap<&str, u32> = others.map(|(id, token)| (token.as_str(), id)).collect();
        for (id, token) in (0..).zip(&new.tokens) {
            let role = new.role(id);
            let old = match &role {
                Some(Role::Other(name)) => others.get(name.as_str()).copied(),
                Some(role) => self.id_of_role(role),
                None => self.id_of_text(token),
            };
            match (old, role) {
                // One old label serves one new token: of A and a, the first.
                (Some(from), _) if kept.insert(from) => {
                    if from != id {
                        difference.moved.push(MovedToken { token: token.clone(), from, to: id });
                    }
                }
                (_, Some(role)) => difference.new_roles.push(role),
                (_, None) => difference.new.push(token.clone()),
            }
        }
        for (id, token) in (0..).zip(&self.tokens).filter(|(id, _)| !kept.contains(id)) {
            match self.role(id) {
                Some(role) => difference.gone_roles.push(role),
                None => difference.gone.push(token.clone()),
            }
        }
        difference
    }

    /// What a token is for, `None` if it is text.
    fn role(&self, id: u32) -> Option<Role> {
        let known = [
            (Role::Blank, Some(self.blank)),
            (Role::Unknown, self.unknown),
            (Role::Delimiter, self.delimiter),
            (Role::Start, self.start),
            (Role::End, self.end),
        ];
        let known = known.into_iter().find(|(_, own)| *own == Some(id)).map(|(role, _)| role);
        known.or_else(|| self.is_special(id).then(|| Role::Other(self.token(id).unwrap_or_default().to_owned())))
    }

    /// The token of a role that has only one.
    fn id_of_role(&self, role: &Role) -> Option<u32> {
        match role {
            Role::Blank => Some(self.blank),
            Role::Unknown => self.unknown,
            Role::Delimiter => self.delimiter,
            Role::Start => self.start,
            Role::End => self.end,
            Role::Other(_) => None,
        }
    }

    /// The one label that a token of text has here.
    fn id_of_text(&self, token: &str) -> Option<u32> {
        if let Some(&id) = self.verbatim.get(token) {
            return Some(id);
        }
        if let Some(id) = single_character(token).and_then(|c| self.characters.get(&c)) {
            return Some(*id);
        }
        let encoded = self.encode(token);
        match (encoded.labels.as_slice(), encoded.unknown.is_empty()) {
            (&[label], true) => Some(label),
            _ => None,
        }
    }
}

impl VocabularyDifference {
    /// Whether every label means the same in both: one head serves either.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `7 new tokens: ŋ ɛ … and 3 more`, for messages: the tokens of text that are new, or that there are none.
    #[must_use]
    pub fn describe_new(&self) -> String {
        match self.new.len() {
            0 => "no new tokens".to_owned(),
            1 => format!("1 new token: {}", list(self.new.iter().map(|token| shown(token)))),
            count => format!("{count} new tokens: {}", list(self.new.iter().map(|token| shown(token)))),
        }
    }
}

impl fmt::Display for VocabularyDifference {
    /// `2 new tokens: ŋ ɛ; 1 gone: q; special tokens gone: [unknown]; 2 with another id: a (5 → 4) b (6 → 5)`, each list bounded
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("the same tokens");
        }
        let mut parts = Vec::new();
        if !self.new.is_empty() {
            parts.push(self.describe_new());
        }
        if !self.gone.is_empty() {
            parts.push(format!("{} gone: {}", self.gone.len(), list(self.gone.iter().map(|token| shown(token)))));
        }
        for (roles, what) in [(&self.new_roles, "new"), (&self.gone_roles, "gone")] {
            if !roles.is_empty() {
                parts.push(format!("special tokens {what}: {}", list(roles.iter().map(Role::to_string))));
            }
        }
        if !self.moved.is_empty() {
            let moved =
                self.moved.iter().map(|moved| format!("{} ({} → {})", shown(&moved.token), moved.from, moved.to));
            parts.push(format!("{} with another id: {}", self.moved.len(), list(moved)));
        }
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Blank => f.write_str("[blank]"),
            Role::Unknown => f.write_str("[unknown]"),
            Role::Delimiter => f.write_str("[word delimiter]"),
            Role::Start => f.write_str("[sentence start]"),
            Role::End => f.write_str("[sentence end]"),
            Role::Other(name) => f.write_str(&shown(name)),
        }
    }
}

fn list(tokens: impl ExactSizeIterator<Item = String>) -> String {
    let count = tokens.len();
    let first = tokens.take(NAMED).collect::<Vec<_>>().join(" ");
    if count > NAMED { format!("{first} … and {} more", count - NAMED) } else { first }
}

/// A token as it can be read: what has no shape of its own by its code point, and no more than the first characters.
fn shown(token: &str) -> String {
    // The space that a word's token begins with needs no showing.
    let token = token.strip_prefix(' ').filter(|rest| !rest.trim().is_empty()).unwrap_or(token);
    let mut chars = token.chars();
    let mut text = String::new();
    for (i, c) in chars.by_ref().take(SHOWN).enumerate() {
        let mark = i == 0 && c.general_category_group() == GeneralCategoryGroup::Mark;
        if mark || is_space(c) || is_invisible(c) || is_joiner(c) {
            text.push_str(&format!("U+{:04X}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    if chars.next().is_some() {
        text.push('…');
    }
    if text.is_empty() { "\"\"".to_owned() } else { text }
}
