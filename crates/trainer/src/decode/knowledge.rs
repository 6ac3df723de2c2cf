//! What is known of texts beside the acoustics: how a language model's words meet a recogniser's labels.

use klang_ctc::beam::Lexicon;
use klang_lm::{NgramModel, WordId};
use klang_text::Vocabulary;

/// What stands for the space between words in a language model of characters, as in Wav2Vec2's own vocabularies.
pub const SPACE: &str = "|";
/// The share of a language model's words that a model is expected to be able to write.
const WRITABLE: f64 = 0.9;
/// Words that are named in a message.
const NAMED: usize = 5;

/// What is known of texts.
#[derive(Debug)]
pub(super) enum Knowledge {
    Nothing,
    /// A language model of words, which the labels spell; a vocabulary that parts words.
    Words {
        lm: Box<NgramModel>,
        lexicon: Lexicon,
        delimiter: u32,
    },
    /// A language model of the labels.
    Labels {
        lm: Box<NgramModel>,
        words: Vec<Option<WordId>>,
    },
}

impl Knowledge {
    /// Whether it is a language model of words, which a label may each be.
    pub(super) fn is_of_words(&self, vocabulary: &Vocabulary) -> bool {
        match self {
            Knowledge::Nothing => false,
            Knowledge::Words { .. } => true,
            Knowledge::Labels { .. } => vocabulary.labels_are_words(),
        }
    }
}

/// How a language model's words meet a model's labels; with what a user should know of it.
pub(super) fn know(lm: NgramModel, vocabulary: &Vocabulary) -> std::result::Result<(Knowledge, Vec<String>), String> {
    if lm.vocabulary().next().is_none() {
        return Err("the language model has no words; make one from text: klang lm TEXT --out FILE.arpa".into());
    }
    let of_characters = lm.vocabulary().all(|(_, word)| word.chars().count() == 1);
    let text = || (0..vocabulary.len() as u32).filter(|&label| !vocabulary.is_special(label));
    let long = text().find(|&label| vocabulary.decode(&[label]).chars().count() > 1);
    if let (true, Some(long)) = (of_characters, long) {
        return Err(format!(
            "a language model of characters, for a recogniser whose labels are longer (`{}`): make one of words, klang lm TEXT --out FILE.arpa",
            vocabulary.decode(&[long])
        ));
    }
    let all = lm.vocabulary().count();
    let warnings = |known: usize, unspelt: &[&str]| {
        let few = (known as f64) < WRITABLE * all as f64;
        let warning = || {
            format!(
                "only {known} of the language model's {all} words can be written with the model's labels; not: {} …",
                unspelt.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ")
            )
        };
        few.then(warning).into_iter().collect()
    };
    if let (false, Some(delimiter)) = (of_characters, vocabulary.delimiter()) {
        let (mut spelt, mut unspelt) = (Vec::new(), Vec::new());
        for (id, word) in lm.vocabulary() {
            let encoded = vocabulary.encode(word);
            match encoded.unknown.is_empty() {
                true => spelt.push((encoded.labels, id)),
                false => unspelt.push(word),
            }
        }
        if spelt.is_empty() {
            return Err(foreign("words", &unspelt, vocabulary));
        }
        let warnings = warnings(spelt.len(), &unspelt);
        let lexicon = Lexicon::new(&lm, spelt);
        return Ok((Knowledge::Words { lm: Box::new(lm), lexicon, delimiter }, warnings));
    }
    // By how its words are encoded: a vocabulary of capitals has labels for small letters, too.
    let mut words: Vec<Option<WordId>> = vec![None; vocabulary.len()];
    let (mut known, mut unspelt) = (0, Vec::new());
    for (id, word) in lm.vocabulary() {
        let encoded = vocabulary.encode(word);
        let label = match (word, vocabulary.delimiter(), encoded.labels.as_slice()) {
            (SPACE, Some(delimiter), _) => Some(delimiter),
            (_, _, [label]) if encoded.unknown.is_empty() => Some(*label),
            _ => None,
        };
        match label {
            Some(label) => {
                words[label as usize].get_or_insert(id);
                known += 1;
            }
            None => unspelt.push(word),
        }
    }
    if text().filter(|&label| Some(label) != vocabulary.delimiter()).all(|label| words[label as usize].is_none()) {
        let what = if vocabulary.labels_are_words() { "words" } else { "tokens" };
        return Err(foreign(what, &unspelt, vocabulary));
    }
    if vocabulary.delimiter().is_some_and(|delimiter| words[delimiter as usize].is_none()) {
        return Err(format!(
            "a language model of characters that does not know `{SPACE}`, which stands between words: klang lm TEXT --units characters writes it so"
        ));
    }
    let warnings = warnings(known, &unspelt);
    Ok((Knowledge::Labels { lm: Box::new(lm), words }, warnings))
}

fn foreign(what: &str, words: &[&str], vocabulary: &Vocabulary) -> String {
    let text = (0..vocabulary.len() as u32).filter(|&label| !vocabulary.is_special(label));
    let letters: Vec<String> = text.map(|label| vocabulary.decode(&[label])).filter(|text| !text.is_empty()).collect();
    format!(
        "none of its {} {what} ({} …) can be written with the model's labels ({} …): was it made from text of another script or casing? Make it from the training transcripts: klang lm TEXT --model MODEL --out FILE.arpa",
        words.len(),
        words.iter().take(NAMED).copied().collect::<Vec<_>>().join(", "),
        letters.iter().take(4 * NAMED).cloned().collect::<Vec<_>>().join(" ")
    )
}
