//! What a single character is to the normaliser: space, invisible, part of a word, or punctuation.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Separates words: Unicode White_Space (NBSP, tab, ideographic space, line separators, …), control characters,
/// and U+200B, which writes the word boundary in Khmer, Thai and Burmese.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || c.is_control() || c == '\u{200B}'
}

/// Has neither sound nor width: soft hyphen, grapheme joiner, direction marks, word joiner and invisible operators,
/// variation selectors, byte order mark, interlinear anchors, tags. Left in place, one of these alone would count as a word.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Zero-width joiner or non-joiner: spelling within a word in Persian and the scripts of India, noise elsewhere.
pub(crate) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

/// Armenian emphasis, exclamation, question and abbreviation marks stand *inside* the word, over its stressed vowel:
/// a space in their place would cut the word in two.
pub(crate) fn is_punctuation_over_letter(c: char) -> bool {
    matches!(c, '\u{055B}' | '\u{055C}' | '\u{055E}' | '\u{055F}')
}

/// Letter or combining mark.
pub(crate) fn is_letter_or_mark(c: char) -> bool {
    matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark)
}

/// Letter, combining mark or number.
pub(crate) fn is_word(c: char) -> bool {
    is_letter_or_mark(c) || c.general_category_group() == GeneralCategoryGroup::Number
}

/// Written for an apostrophe: typewriter, curly either way, full width, Armenian, and the accents typed in its stead.
/// U+02BB and U+02BC are letters (ʻokina, ejectives), not listed here, and stay as they are.
pub(crate) fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201B}' | '\u{FF07}' | '\u{055A}' | '`' | '\u{00B4}')
}

/// Punctuation (categories P*) or symbol (S*); but tone letters and the like, which Unicode files under modifier symbols, are not.
pub(crate) fn is_punctuation(c: char) -> bool {
    match c.general_category_group() {
        GeneralCategoryGroup::Punctuation => true,
        GeneralCategoryGroup::Symbol => !is_tone_symbol(c),
        _ => false,
    }
}

/// Modifier symbols that orthographies and phonetic transcription write as letters: ˥ ˩, ꜈, the letter colon ꞉ and ꞊, …
/// The rest of category Sk is spacing accents and emoji skin tones.
fn is_tone_symbol(c: char) -> bool {
    c.general_category() == GeneralCategory::ModifierSymbol
        && matches!(c, '\u{02C2}'..='\u{02FF}' | '\u{A700}'..='\u{A721}' | '\u{A789}' | '\u{A78A}' | '\u{AB5B}' | '\u{AB6A}' | '\u{AB6B}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mark_but_selectors_and_the_grapheme_joiner_is_dropped() {
        for c in '\0'..=char::MAX {
            if c.general_category_group() == GeneralCategoryGroup::Mark {
                let selector = matches!(c, '\u{034F}' | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}');
                assert_eq!(is_invisible(c), selector, "U+{:04X}", u32::from(c));
                assert!(!is_punctuation(c) && !is_space(c), "U+{:04X}", u32::from(c));
            }
        }
    }

    #[test]
    fn tone_letters_are_kept_and_skin_tones_are_not() {
        for c in "˥˦˧˨˩꜈꞉꞊".chars() {
            assert!(!is_punctuation(c), "{c}");
        }
        for c in "^`¨´\u{1F3FB}|<>+=€°🦀".chars() {
            assert!(is_punctuation(c), "{c}");
        }
    }
}
