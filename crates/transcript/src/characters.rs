//! What a single character is to the writers: a break, forbidden, wide, or part of the one before it.

use std::borrow::Cow;

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Parts words and lines: Unicode White_Space and control characters.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// What XML 1.0 cannot hold in any form (its production `Char`, section 2.2).
pub(crate) fn is_forbidden_in_xml(c: char) -> bool {
    !matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

/// The text with U+FFFD for what XML cannot hold.
pub(crate) fn for_xml(text: &str) -> Cow<'_, str> {
    replaced(text, is_forbidden_in_xml, '\u{FFFD}')
}

/// The text with a blank for each character that would end the line, or control something.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'), ' ')
}

fn replaced(text: &str, unwanted: impl Fn(char) -> bool, by: char) -> Cow<'_, str> {
    match text.contains(&unwanted) {
        true => Cow::Owned(text.chars().map(|c| if unwanted(c) { by } else { c }).collect()),
        false => Cow::Borrowed(text),
    }
}

/// Columns a text takes in a fixed pitch: none for combining marks and invisible characters, two for East Asian wide
/// ones and emoji.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

pub(crate) fn columns(c: char) -> usize {
    match c.general_category() {
        GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark | GeneralCategory::Format => 0,
        _ if is_wide(c) => 2,
        _ => 1,
    }
}

/// The blocks that Unicode's EastAsianWidth.txt has as W or F, without its finer exceptions.
fn is_wide(c: char) -> bool {
    matches!(c,
        '\u{1100}'..='\u{115F}' | '\u{2E80}'..='\u{303E}' | '\u{3041}'..='\u{A4CF}' | '\u{A960}'..='\u{A97F}'
        | '\u{AC00}'..='\u{D7A3}' | '\u{F900}'..='\u{FAFF}' | '\u{FE30}'..='\u{FE6F}' | '\u{FF00}'..='\u{FF60}'
        | '\u{FFE0}'..='\u{FFE6}' | '\u{1F300}'..='\u{1F64F}' | '\u{1F680}'..='\u{1F6FF}' | '\u{1F900}'..='\u{1F9FF}'
        | '\u{20000}'..='\u{3FFFD}')
}

/// Whether a line may be broken between two characters of a word without tearing one apart: not before a mark or a
/// joiner, after a joiner, or before a skin tone.
pub(crate) fn may_part(before: char, after: char) -> bool {
    let continues = after.general_category_group() == GeneralCategoryGroup::Mark
        || after.general_category() == GeneralCategory::Format
        || matches!(after, '\u{1F3FB}'..='\u{1F3FF}');
    !continues && before != '\u{200D}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_counts_what_is_seen() {
        for (text, columns) in
            [("mwána", 5), ("mwa\u{301}na", 5), ("東京", 4), ("", 0), ("\u{202E}a\u{200B}", 1), ("👍🏽", 4), ("ក្រ", 2)]
        {
            assert_eq!(width(text), columns, "{text:?}");
        }
    }

    #[test]
    fn lines_and_xml_lose_no_letter() {
        assert_eq!(one_line("a\r\nb\tc\u{85}d\u{2028}e\0"), "a  b c d e ");
        assert!(matches!(one_line("mwa\u{301}na \u{202E}"), Cow::Borrowed(_)));
        assert_eq!(for_xml("a\u{1}b\u{FFFF}c\n\u{7F}"), "a\u{FFFD}b\u{FFFD}c\n\u{7F}");
        assert!(matches!(for_xml("<&>\t\u{10FFFF}"), Cow::Borrowed(_)));
    }

    #[test]
    fn clusters_are_not_torn() {
        assert!(may_part('a', 'b') && may_part('\u{301}', 'b'));
        assert!(!may_part('a', '\u{301}') && !may_part('👍', '🏽') && !may_part('\u{200D}', '👩'));
    }
}
