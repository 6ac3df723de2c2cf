//! Transcripts brought into one form, the same before training and before scoring.
//!
//! In this order:
//! 1. Unicode NFC, so that é typed as one code point or two is the same text.
//! 2. White space of any kind, control characters and the zero-width space become single spaces; both ends are trimmed.
//!    Invisible characters without sound (soft hyphen, byte order mark, direction marks, variation selectors, …) are dropped.
//!    A zero-width (non-)joiner stays between letters, and a joiner after a virama; elsewhere it is dropped.
//! 3. Lower case by the locale's rules, if asked. İ becomes a plain i in every locale, and a dot above directly after an i
//!    (what naive lower-casing makes of İ) is dropped, except in Lithuanian, which writes it.
//! 4. Punctuation and symbols (categories P* and S*), if asked, become a space: a comma without its space glues no words,
//!    and `well-known` is two words. What stays:
//!    - combining marks (M*), always: in the scripts of India they are vowels;
//!    - modifier letters (ʼ ʻ ː ˈ) and tone letters (˥ ꜈ ꞉);
//!    - an apostrophe inside a word, whichever way it was typed, as U+0027; at a word's edge it cannot be told from a quotation mark and goes;
//!    - the Catalan l·l, and the Hebrew geresh after a letter and gershayim inside a word.
//!
//!    An orthography that spells tones or clicks with ASCII punctuation (`-ba!`) needs `punctuation: keep`.
//!
//! Applying it twice gives what applying it once gives.

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_locale_core::LanguageIdentifier;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

use crate::Error;
use crate::characters::{
    is_apostrophe, is_invisible, is_joiner, is_letter_or_mark, is_punctuation, is_punctuation_over_letter, is_space,
    is_word,
};

/// What a vocabulary's labels are.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// One label per Unicode code point after NFC.
    #[default]
    Characters,
    /// One label per word of the training text: for closed vocabularies, such as digits or commands. A word that training
    /// did not hold cannot be recognised. A label holds the space before its word.
    Words,
}

/// What happens to punctuation.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Punctuation {
    /// It stays, and the model learns to write it.
    Keep,
    /// It becomes a space; see the module for what counts as punctuation.
    #[default]
    Remove,
}

/// The recipe's `text` section.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct TextOptions {
    /// What the labels are. Default: characters.
    pub units: Units,
    /// Whether to lower-case. Default: true.
    pub lower_case: bool,
    /// A BCP 47 language tag, whose casing rules apply (`tr` and `az`: I ↔ ı, İ ↔ i). Default: `en`.
    /// It may be the tag of another language with the same casing rules.
    pub locale: String,
    /// What happens to punctuation. Default: remove.
    pub punctuation: Punctuation,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self { units: Units::Characters, lower_case: true, locale: "en".to_owned(), punctuation: Punctuation::Remove }
    }
}

/// Applies [`TextOptions`] to transcripts.
#[derive(Debug, Clone)]
pub struct Normaliser {
    lower_case: bool,
    punctuation: Punctuation,
    language: LanguageIdentifier,
    case_mapper: CaseMapperBorrowed<'static>,
}

impl Normaliser {
    /// A normaliser by these options.
    ///
    /// # Errors
    /// [`Error::Locale`] if the locale is no language tag.
    pub fn new(options: &TextOptions) -> Result<Self, Error> {
        Ok(Self {
            lower_case: options.lower_case,
            punctuation: options.punctuation,
            language: parse_locale(&options.locale)?,
            case_mapper: CaseMapper::new(),
        })
    }

    /// The text in normal form; empty if nothing of it is left.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let remove = self.punctuation == Punctuation::Remove;
        let visible: String = text
            .chars()
            .filter(|&c| !(is_invisible(c) || remove && is_punctuation_over_letter(c)))
            .map(|c| if is_space(c) { ' ' } else { c })
            .nfc()
            .collect();
        let mut text: String = drop_stray_joiners(&visible).nfc().collect();
        if self.lower_case {
            text = self.lower(&text);
        }
        if remove {
            text = replace_punctuation(&text);
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn lower(&self, text: &str) -> String {
        // The full mapping of İ outside Turkish is i + U+0307: a character of its own to a vocabulary, seen by nobody.
        let text = text.replace('İ', "i");
        let lower = self.case_mapper.lowercase_to_string(&text, &self.language);
        if self.language.language.as_str() == "lt" {
            return lower.nfc().collect();
        }
        let mut undotted = String::with_capacity(lower.len());
        for c in lower.chars() {
            if !(c == '\u{307}' && undotted.ends_with('i')) {
                undotted.push(c);
            }
        }
        undotted.nfc().collect()
    }
}

/// The casing rules go by two-letter codes; a language with rules of its own may be given by its three-letter code too.
fn parse_locale(given: &str) -> Result<LanguageIdentifier, Error> {
    let error = |hint| Error::Locale { given: given.to_owned(), hint };
    // tr_TR is how POSIX spells tr-TR.
    let mut locale = LanguageIdentifier::try_from_str(&given.replace('_', "-")).map_err(|_| error(""))?;
    let short = match locale.language.as_str() {
        "tur" => "tr",
        "aze" | "azj" => "az",
        "lit" => "lt",
        // Well-formed, but no such subtag was ever registered: "turkish" would silently get English casing.
        long if long.len() > 3 => return Err(error(" (hint: give the language's code, not its name)")),
        _ => return Ok(locale),
    };
    if let Ok(language) = short.parse() {
        locale.language = language;
    }
    Ok(locale)
}

/// Keeps a joiner between letters, and a zero-width joiner after a virama, where older Malayalam text writes a final consonant with it.
fn drop_stray_joiners(text: &str) -> String {
    const VIRAMA_CLASS: u8 = 9;
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if is_joiner(c) {
            let before = kept.chars().next_back();
            let after_letter = before.is_some_and(is_letter_or_mark);
            let before_letter = chars.peek().copied().is_some_and(is_letter_or_mark);
            let after_virama = c == '\u{200D}' && before.map(canonical_combining_class) == Some(VIRAMA_CLASS);
            if !(after_letter && (before_letter || after_virama)) {
                continue;
            }
        }
        kept.push(c);
    }
    kept
}

/// Every punctuation character becomes a space or, inside a word, what stands for it there.
fn replace_punctuation(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if !is_punctuation(c) {
            out.push(c);
            continue;
        }
        let before = out.chars().next_back().unwrap_or(' ');
        let after = chars.peek().copied().unwrap_or(' ');
        // A mark may end the part before, but none can begin the part after.
        let inside = is_word(before) && is_word(after) && canonical_combining_class(after) == 0;
        out.push(match c {
            _ if is_apostrophe(c) && inside => '\'',
            '·' if matches!((before, after), ('l' | 'L', 'l' | 'L')) => c,
            '\u{05F3}' if is_letter_or_mark(before) => c,
            '\u{05F4}' if inside => c,
            _ => ' ',
        });
    }
    out
}

#[cfg(test)]
#[path = "normalise_tests.rs"]
mod tests;
