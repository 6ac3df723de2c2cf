//! Reading, strictly: what the header promises is there, and nothing else.

use std::path::Path;

use super::lines::Lines;
use crate::MAX_ORDER;
use crate::automaton::{Builder, Gram};
use crate::error::{Error, Result};
use crate::model::NgramModel;
use crate::words::{SENTENCE_END, SENTENCE_START, UNKNOWN, UNKNOWN_CAPITALS, Words};

/// How a model is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadOptions {
    /// log10 of the probability of an unknown word, where the model has no `<unk>`; finite, at most 0. −100, as in KenLM.
    pub unknown_log10: f32,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { unknown_log10: -100.0 }
    }
}

impl NgramModel {
    /// Reads a model from an ARPA file, plain or gzip (by its content), in UTF-8.
    ///
    /// Every word of a longer n-gram must be among the 1-grams, and every n-gram's words but the last among the n-grams one order
    /// lower. An n-gram's last words need not be: where pruning by SRILM has left such holes, scores are by back-off, as in
    /// KenLM. `<unk>` (or `<UNK>`) may be missing, `<s>` and `</s>` may not.
    ///
    /// # Errors
    /// Whatever the file has wrong, with the line; another format, such as KenLM's binary one; an option out of range.
    pub fn read_arpa(file: &Path, options: &ReadOptions) -> Result<Self> {
        if !options.unknown_log10.is_finite() || options.unknown_log10 > 0.0 {
            let allowed = "log10 of a probability: finite, at most 0".to_owned();
            let given = options.unknown_log10.to_string();
            return Err(Error::Setting { setting: "the probability of unknown words", given, allowed });
        }
        let mut lines = Lines::open(file)?;
        let counts = header(&mut lines)?;
        section_start(&mut lines, 1)?;
        let mut builder = unigrams(&mut lines, &counts, options)?;
        for order in 2..=counts.len() {
            section_start(&mut lines, order)?;
            let grams = grams(&mut lines, &counts, order, &builder)?;
            builder.push(grams).map_err(|_| Error::TooLarge)?;
        }
        end(&mut lines, counts.len())?;
        builder.finish().map_err(|_| Error::TooLarge)
    }
}

/// How many n-grams of each order there are. The line behind, which is blank as a rule, is read too.
fn header(lines: &mut Lines) -> Result<Vec<u64>> {
    const START: &str = "\\data\\, the first line of a language model in ARPA format";
    if !lines.skip_blank(true)? {
        return Err(lines.truncated(START));
    }
    if lines.line()?.trim_ascii() != "\\data\\" {
        return Err(lines.wrong("the file is no language model in ARPA format: it starts with", lines.line()?, START));
    }
    let mut counts = Vec::new();
    loop {
        if !lines.advance()? {
            return Err(lines.truncated("a blank line and the 1-grams"));
        }
        let line = lines.line()?.trim_ascii();
        if line.is_empty() || line.starts_with('\\') {
            break;
        }
        let order = counts.len() + 1;
        let expected = format!("\"ngram {order}=COUNT\", or a blank line behind the last order");
        let Some((said, count)) = line.strip_prefix("ngram ").and_then(|rest| rest.split_once('=')) else {
            return Err(lines.wrong("the header's line says no count", line, expected));
        };
        let (Ok(said), Ok(count)) = (said.trim_ascii().parse::<usize>(), count.trim_ascii().parse::<u64>()) else {
            return Err(lines.wrong("the header's line says no count", line, expected));
        };
        if said != order {
            return Err(lines.wrong("the header's line is of another order than is next", line, expected));
        }
        if order > MAX_ORDER {
            return Err(lines.wrong("the order is too high", line, format!("orders up to {MAX_ORDER}")));
        }
        if count >= u64::from(u32::MAX) {
            return Err(lines.wrong("the count is too high", line, format!("at most {}", u32::MAX - 1)));
        }
        counts.push(count);
    }
    match counts.first() {
        None => Err(lines.wrong("the header has no counts", "", "\"ngram 1=COUNT\" behind \\data\\")),
        Some(0) => Err(lines.wrong("the model is empty", "ngram 1=0", "at least the 1-grams <s>, </s> and one word")),
        Some(_) => Ok(counts),
    }
}

/// A section's first line: the one read last, or the next behind blank lines.
fn section_start(lines: &mut Lines, order: usize) -> Result<()> {
    let expected = format!("\\{order}-grams:");
    if lines.line()?.trim_ascii().is_empty() && !lines.skip_blank(false)? {
        return Err(lines.truncated(expected));
    }
    let line = lines.line()?.trim_ascii();
    if line == expected { Ok(()) } else { Err(lines.wrong("another section was to start here", line, expected)) }
}

/// `\end\`, and nothing behind it.
fn end(lines: &mut Lines, order: usize) -> Result<()> {
    const END: &str = "\\end\\";
    if lines.line()?.trim_ascii().is_empty() && !lines.skip_blank(false)? {
        return Err(lines.truncated(END));
    }
    let line = lines.line()?.trim_ascii();
    if line != END {
        let what = "the model was to end here, or the header has too few orders";
        return Err(lines.wrong(what, line, format!("{END} behind the {order}-grams")));
    }
    if lines.skip_blank(false)? {
        return Err(lines.wrong("something follows the end of the model", lines.line()?, "blank lines"));
    }
    Ok(())
}

/// Reads a section's n-grams, and the line behind: blank, the next section's first, or the last of the file.
fn section(
    lines: &mut Lines,
    counts: &[u64],
    order: usize,
    mut each: impl FnMut(&Lines, &Line) -> Result<()>,
) -> Result<()> {
    let said = counts[order - 1];
    let miscounted = |lines: &Lines, found: String| {
        Err(Error::Count { file: lines.file().to_owned(), line: lines.number(), order, said, found })
    };
    for read in 0.. {
        if !lines.advance()? {
            return Err(lines.truncated(format!("the {}. of {said} {order}-grams, or \\end\\", read + 1)));
        }
        let line = lines.line()?;
        if line.starts_with('\\') || line.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return if read == said { Ok(()) } else { miscounted(lines, format!("are {read}, not")) };
        }
        if read == said {
            return miscounted(lines, "are more than".to_owned());
        }
        let parsed = parse(lines, line, order, order == counts.len())?;
        each(lines, &parsed)?;
    }
    Ok(())
}

/// An n-gram's line.
struct Line<'a> {
    log10: f32,
    words: [&'a str; MAX_ORDER],
    backoff: f32,
}

/// Splits at spaces and tabs alone: other white space may be part of a word, as in KenLM.
fn parse<'a>(lines: &Lines, line: &'a str, order: usize, highest: bool) -> Result<Line<'a>> {
    let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty());
    let form = || format!("log10 of a probability, {order} words and, below the highest order, a back-off weight");
    let mut next = || fields.next().ok_or_else(|| lines.wrong("the n-gram is incomplete", line, form()));
    let log10 = next()?;
    let mut words = [""; MAX_ORDER];
    for word in &mut words[..order] {
        *word = next()?;
    }
    let (backoff, rest) = (fields.next(), fields.next());
    if rest.is_some() {
        return Err(lines.wrong("the n-gram has too many fields", line, form()));
    }
    let number = |text: &str, what, allowed: &str, holds: fn(f32) -> bool| {
        let number = text.parse::<f32>().ok().filter(|number| number.is_finite() && holds(*number));
        // −0 and 0 are one.
        number.map(|number| number + 0.0).ok_or_else(|| lines.wrong(what, text, allowed))
    };
    const LOG10: &str = "a number, finite and at most 0 (-99 stands for never)";
    let log10 = number(log10, "the probability is no log10 of one", LOG10, |number| number <= 0.0)?;
    let backoff = match backoff {
        None => 0.0,
        Some(text) if highest => {
            let what = "a back-off weight in the highest order, which has no use for one";
            number(text, what, &format!("none, or 0, in {order}-grams, the highest order of the header"), |number| {
                number == 0.0
            })?
        }
        Some(text) => number(text, "the back-off weight is no log10", "a number, finite", |_| true)?,
    };
    Ok(Line { log10, words, backoff })
}

/// Capacity is taken in advance for what a header says, up to this.
const TRUSTED: u64 = 1 << 20;

fn unigrams(lines: &mut Lines, counts: &[u64], options: &ReadOptions) -> Result<Builder> {
    let mut words = Words::new();
    // The unknown word is first, wherever the file has it.
    let mut grams = Vec::with_capacity(counts[0].min(TRUSTED) as usize + 1);
    grams.push(Gram { context: 0, word: 0, log10: options.unknown_log10, backoff: 0.0 });
    let mut rows = vec![None::<u64>];
    section(lines, counts, 1, |lines, line| {
        let word = line.words[0];
        let unknown = [UNKNOWN, UNKNOWN_CAPITALS].contains(&word);
        let id = if unknown { 0 } else { words.push(word) };
        if unknown {
            words.spell_unknown(word);
        }
        let gram = Gram { context: 0, word: id, log10: line.log10, backoff: line.backoff };
        if id as usize == grams.len() {
            grams.push(gram);
            rows.push(Some(lines.number()));
        } else if let Some(first) = rows[id as usize] {
            let (file, second) = (lines.file().to_owned(), lines.number());
            return Err(Error::Duplicate { file, order: 1, first, second });
        } else {
            (grams[0], rows[0]) = (gram, Some(lines.number()));
        }
        Ok(())
    })?;
    for token in [SENTENCE_START, SENTENCE_END] {
        if words.get(token).is_none() {
            return Err(Error::MissingSpecial { file: lines.file().to_owned(), token });
        }
    }
    let unknown_given = rows[0].is_some();
    Ok(Builder::new(words, grams, unknown_given))
}

/// The n-grams of an order from 2 on, sorted as the builder takes them.
fn grams(lines: &mut Lines, counts: &[u64], order: usize, builder: &Builder) -> Result<Vec<Gram>> {
    let first = lines.number() + 1;
    // With the row in the section, to say which are given twice.
    let mut grams: Vec<(Gram, u32)> = Vec::with_capacity(counts[order - 1].min(TRUSTED) as usize);
    let mut last: Option<([u32; MAX_ORDER], u32)> = None;
    section(lines, counts, order, |lines, line| {
        let mut ids = [0; MAX_ORDER];
        let ids = &mut ids[..order];
        let texts = &line.words[..order];
        for (id, text) in ids.iter_mut().zip(texts) {
            let unknown = [UNKNOWN, UNKNOWN_CAPITALS].contains(text);
            *id = builder.words().get(if unknown { builder.words().text(0) } else { text }).ok_or_else(|| {
                let (file, line) = (lines.file().to_owned(), lines.number());
                Error::MissingWord { file, line, word: (*text).to_owned(), order, gram: texts.join(" ") }
            })?;
        }
        let (context, word) = (&ids[..order - 1], ids[order - 1]);
        // Most files have n-grams of one context together.
        let place = match last {
            Some((known, place)) if known[..order - 1] == *context => place,
            _ => builder.find(context).ok_or_else(|| {
                let (file, line) = (lines.file().to_owned(), lines.number());
                let context = texts[..order - 1].join(" ");
                Error::MissingContext { file, line, order, gram: texts.join(" "), context }
            })?,
        };
        let mut known = [0; MAX_ORDER];
        known[..order - 1].copy_from_slice(context);
        last = Some((known, place));
        let row = grams.len() as u32;
        grams.push((Gram { context: place, word, log10: line.log10, backoff: line.backoff }, row));
        Ok(())
    })?;
    grams.sort_unstable_by_key(|(gram, row)| (gram.context, gram.word, *row));
    let key = |(gram, _): &(Gram, u32)| (gram.context, gram.word);
    if let Some(pair) = grams.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
        let (first, second) = (first + u64::from(pair[0].1), first + u64::from(pair[1].1));
        return Err(Error::Duplicate { file: lines.file().to_owned(), order, first, second });
    }
    Ok(grams.into_iter().map(|(gram, _)| gram).collect())
}
