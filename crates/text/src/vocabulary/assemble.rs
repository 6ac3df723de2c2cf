//! From tokens in the order of their ids to a vocabulary that can look them up.

use std::collections::HashMap;
use std::path::Path;

use super::Vocabulary;
use crate::{Error, SpecialTokens};

/// What a vocabulary is made of.
pub(super) struct Parts {
    /// All tokens in the order of their ids.
    pub tokens: Vec<String>,
    /// How many of them are `vocab.json`'s.
    pub own: usize,
    /// Whether a file says of a token that it is special, by id; shorter than `tokens` where none does.
    pub flagged: Vec<bool>,
    /// `do_lower_case`.
    pub lower_case: bool,
    /// `replace_word_delimiter_char`.
    pub space: String,
}

impl Parts {
    /// The tokens of `vocab.json` alone.
    pub(super) fn own(tokens: Vec<String>) -> Self {
        Self { own: tokens.len(), tokens, flagged: Vec::new(), lower_case: false, space: " ".to_owned() }
    }
}

pub(super) fn assemble(parts: Parts, specials: &SpecialTokens, file: &Path) -> Result<Vocabulary, Error> {
    let Parts { tokens, own, flagged, lower_case, space } = parts;
    let ids: HashMap<&str, u32> = tokens.iter().map(String::as_str).zip(0..).collect();
    let find = |name: &str| ids.get(name).copied();
    let role = |name: &Option<String>| name.as_deref().and_then(find);
    let blank = find(&specials.pad).ok_or_else(|| Error::NoBlank {
        file: file.to_owned(),
        pad: specials.pad.clone(),
        tokens: tokens.len(),
    })?;
    let unknown = role(&specials.unknown);
    // "" says that there is none, even where a token is empty.
    let named = specials.delimiter.as_deref().filter(|name| !name.is_empty());
    let delimiter = named.and_then(find).or_else(|| find(" "));
    let (start, end) = (role(&specials.start), role(&specials.end));
    let roles = [("the padding token", Some(blank)), ("the unknown token", unknown), ("the word delimiter", delimiter)];
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        if let (first, Some(id)) = roles[a]
            && roles[b].1 == Some(id)
        {
            let token = tokens[id as usize].clone();
            return Err(Error::SpecialsCollide { file: file.to_owned(), token, first, second: roles[b].0 });
        }
    }
    let mut special = flagged;
    special.resize(tokens.len(), false);
    let others = specials.others.iter().filter_map(|name| find(name));
    for id in [Some(blank), unknown, start, end].into_iter().flatten().chain(others) {
        special[id as usize] = true;
    }
    // "</s>" named as delimiter, as some checkpoints do, stays the delimiter.
    if let Some(delimiter) = delimiter {
        special[delimiter as usize] = false;
    }
    let text = || (0..).zip(&tokens).filter(|&(id, _)| !special[id as usize] && Some(id) != delimiter);
    let characters: HashMap<char, u32> =
        text().filter_map(|(id, token)| Some((single_character(token)?, id))).collect();
    let verbatim: HashMap<String, u32> = text()
        .filter(|&(id, token)| id as usize >= own || single_character(token).is_none())
        .map(|(id, token)| (token.clone(), id))
        .collect();
    let longest = verbatim.keys().map(|token| token.chars().count()).max().unwrap_or(0);
    let mut begins_word = vec![false; tokens.len()];
    for (id, token) in text() {
        begins_word[id as usize] = token.starts_with(' ') && !token.trim().is_empty();
    }
    let letters = || characters.keys();
    let capitals = letters().any(|c: &char| c.is_uppercase()) && !letters().any(|c| c.is_lowercase());
    Ok(Vocabulary {
        characters,
        verbatim,
        longest,
        begins_word,
        capitals,
        lower_case,
        special,
        space,
        blank,
        unknown,
        delimiter,
        start,
        end,
        own,
        tokens,
    })
}

/// The character that is all of a token.
pub(super) fn single_character(token: &str) -> Option<char> {
    let mut chars = token.chars();
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

/// The tokens of `entries` (token, id), by id.
pub(super) fn in_id_order(entries: Vec<(String, u64)>, file: &Path) -> Result<Vec<String>, Error> {
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
