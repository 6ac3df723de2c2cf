//! The utterances of dev with most word errors, what was recognised set below what was said.

use klang_text::{AlignedWord, Counts, Operation, Pair, align_words, count_words};

use super::html::{count, escape};

/// Utterances shown.
const SHOWN: usize = 10;
/// Words of an alignment shown.
const WORDS: usize = 200;
/// Stands where the other side has a word.
const NOTHING: &str = "∗∗∗";

/// The utterances with most errors, the most first; empty where there are no pairs or no errors. `update` is the best
/// checkpoint's.
pub(super) fn alignments(pairs: &[Pair], update: u64) -> String {
    let errors = pairs.iter().map(|pair| (count_words(&pair.reference, &pair.hypothesis).errors(), pair));
    let mut wrong: Vec<(u64, &Pair)> = errors.filter(|(errors, _)| *errors > 0).collect();
    wrong.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
    if wrong.is_empty() {
        return String::new();
    }
    let shown: String = wrong.iter().take(SHOWN).map(|(_, pair)| utterance(pair)).collect();
    format!(
        "<h2>Dev’s utterances with most word errors, at update {}</h2>\n<p>{} of {} utterances have errors. Above stands what was said, below what was recognised; <b>S</b> is a substituted word, <b>D</b> a deleted one, <b>I</b> an inserted one.</p>\n{shown}",
        count(update),
        count(wrong.len() as u64),
        count(pairs.len() as u64)
    )
}

fn utterance(pair: &Pair) -> String {
    let words = align_words(&pair.reference, &pair.hypothesis);
    let operations: Vec<Operation> = words.iter().map(|word| word.operation).collect();
    let Counts { reference_length, substitutions, deletions, insertions } = Counts::of(&operations);
    let [length, substitutions, deletions, insertions] =
        [reference_length, substitutions, deletions, insertions].map(count);
    let speaker = pair.speaker.as_deref().map(|speaker| format!(" · <bdi>{}</bdi>", escape(speaker)));
    let columns: String = words.iter().take(WORDS).map(column).collect();
    let rest = match words.len().saturating_sub(WORDS) {
        0 => String::new(),
        rest => format!("… and {} more", count(rest as u64)),
    };
    format!(
        "<div class=utterance><p class=soft><bdi>{}</bdi>{} · {length} words: {substitutions} substituted, {deletions} deleted, {insertions} inserted</p>\n<p class=alignment dir=auto>{columns}{rest}</p></div>\n",
        escape(&pair.id),
        speaker.unwrap_or_default()
    )
}

/// A word of either side and the mark of what became of it. The words come first: by them a browser tells the direction.
fn column(word: &AlignedWord) -> String {
    let (class, mark) = match word.operation {
        Operation::Match => ("m", "\u{a0}"),
        Operation::Substitution => ("s", "S"),
        Operation::Deletion => ("d", "D"),
        Operation::Insertion => ("i", "I"),
    };
    let [said, heard] = [&word.reference, &word.hypothesis].map(|word| word.as_deref().map_or(NOTHING.into(), escape));
    format!("<span class={class}><b>{said}</b><b>{heard}</b><i>{mark}</i></span> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(id: &str, reference: &str, hypothesis: &str) -> Pair {
        Pair { id: id.into(), speaker: Some("anna".into()), reference: reference.into(), hypothesis: hypothesis.into() }
    }

    #[test]
    fn every_step_of_an_alignment_has_its_mark() {
        let page = alignments(&[pair("u", "we saw the old cat", "we have seen the cat")], 40);
        let columns = "<span class=m><b>we</b><b>we</b><i>\u{a0}</i></span> \
             <span class=i><b>∗∗∗</b><b>have</b><i>I</i></span> \
             <span class=s><b>saw</b><b>seen</b><i>S</i></span> \
             <span class=m><b>the</b><b>the</b><i>\u{a0}</i></span> \
             <span class=d><b>old</b><b>∗∗∗</b><i>D</i></span> \
             <span class=m><b>cat</b><b>cat</b><i>\u{a0}</i></span> ";
        assert!(page.contains(&format!("<p class=alignment dir=auto>{columns}</p>")), "{page}");
        assert!(page.contains("anna</bdi> · 5 words: 1 substituted, 1 deleted, 1 inserted"), "{page}");
        assert!(page.contains("at update 40") && page.contains("1 of 1 utterances have errors"), "{page}");
    }

    #[test]
    fn the_most_errors_come_first_and_ids_decide_between_equals() {
        let mut pairs: Vec<Pair> = (0..12).rev().map(|number| pair(&format!("u{number:02}"), "a b", "a")).collect();
        pairs.push(pair("worst", "a b c", ""));
        pairs.push(pair("right", "a", "a"));
        let page = alignments(&pairs, 1);
        let ids: Vec<&str> =
            page.split("<p class=soft><bdi>").skip(1).map(|part| part.split('<').next().unwrap()).collect();
        assert_eq!(ids, ["worst", "u00", "u01", "u02", "u03", "u04", "u05", "u06", "u07", "u08"]);
        assert!(page.contains("13 of 14 utterances"), "{page}");
        assert_eq!(alignments(&pairs[13..], 1), "", "nothing wrong, nothing shown");
    }

    #[test]
    fn what_was_said_is_text_never_markup_and_a_long_one_is_cut_short() {
        let evil = "<script>&\"";
        let hostile = Pair { speaker: Some(evil.into()), ..pair(evil, evil, "<b>") };
        let page = alignments(&[hostile], 1);
        assert_eq!(page.matches("&lt;script&gt;&amp;&quot;").count(), 3, "{page}");
        assert!(!page.contains("<script") && page.contains("&lt;b&gt;"), "{page}");
        let page = alignments(&[pair("long", &"a ".repeat(205), "a")], 1);
        assert_eq!(page.matches("<span class=").count(), 200);
        assert!(page.contains("… and 5 more"), "{page}");
    }
}
