use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn with(locale: &str, lower_case: bool, punctuation: Punctuation) -> Normaliser {
    Normaliser::new(&TextOptions { units: Units::Characters, lower_case, locale: locale.to_owned(), punctuation })
        .unwrap()
}

fn english(text: &str) -> String {
    with("en", true, Punctuation::Remove).apply(text)
}

#[test]
fn white_space_of_any_kind_separates_once() {
    // NBSP, tab, ideographic space, line separator, zero-width space, a control character, CR LF.
    assert_eq!(english("\u{FEFF} a\u{A0}b\tc\u{3000}d\u{2028}e\u{200B}f\u{1C}g\r\n"), "a b c d e f g");
    assert_eq!(english(" \u{A0}\t"), "");
    assert_eq!(english(""), "");
}

#[test]
fn composed_and_decomposed_text_is_the_same() {
    let composed = "mwána ibaa wó láawoá";
    let decomposed: String = composed.nfd().collect();
    assert_ne!(composed, decomposed);
    assert_eq!(english(&decomposed), composed);
    // Composed across a soft hyphen that is dropped.
    assert_eq!(english("e\u{AD}\u{301}"), "é");
}

#[test]
fn tone_letters_and_marks_of_mboshi_stay() {
    assert_eq!(english("Wa ápɛ́ yá, εkε ωdi!"), "wa ápɛ́ yá εkε ωdi");
    assert_eq!(english("ma˥˩ la˧ kaːt tʼa ʻokina"), "ma˥˩ la˧ kaːt tʼa ʻokina");
}

#[test]
fn vowel_signs_of_hindi_and_tamil_stay() {
    assert_eq!(english("हिन्दी में, नमस्ते।"), "हिन्दी में नमस्ते");
    assert_eq!(english("தமிழ் மொழி."), "தமிழ் மொழி");
}

#[test]
fn turkish_i_follows_the_locale() {
    for tr in ["tr", "tr-TR", "tur", "az"] {
        assert_eq!(with(tr, true, Punctuation::Remove).apply("IŞIK İZMİR"), "ışık izmir", "{tr}");
    }
    assert_eq!(english("IZMIR"), "izmir");
}

#[test]
fn dotted_capital_i_leaves_no_stray_dot() {
    assert_eq!(english("İzmir"), "izmir");
    assert_eq!(english("I\u{307}zmir"), "izmir");
    assert_eq!(english("i\u{307}\u{307}zmir"), "izmir");
    assert_eq!(with("en", false, Punctuation::Remove).apply("İzmir"), "İzmir");
    // Lithuanian keeps the dot under an accent.
    assert_eq!(with("lt", true, Punctuation::Remove).apply("Ì"), "i\u{307}\u{300}");
}

#[test]
fn final_sigma_follows_its_context() {
    assert_eq!(english("ΟΔΟΣ ΣΟΦΟΣ."), "οδος σοφος");
}

#[test]
fn punctuation_becomes_space() {
    assert_eq!(
        english("Hello,world! «Quoi?» (a) well-known — e_f $5 a|b <unk>"),
        "hello world quoi a well known e f 5 a b unk"
    );
    assert_eq!(english("🦀\u{FE0F} ok 👩\u{200D}🚀"), "ok");
    // ¿ and ; of other scripts: Ethiopic word space, danda, ideographic full stop.
    assert_eq!(english("ሰላም፡ዓለም 你好。"), "ሰላም ዓለም 你好");
}

#[test]
fn kept_punctuation_is_untouched() {
    assert_eq!(with("en", true, Punctuation::Keep).apply(" It’s  WELL-known, -ba! "), "it’s well-known, -ba!");
}

#[test]
fn apostrophes_inside_words_are_unified_and_others_go() {
    assert_eq!(english("It’s l´eau d`or rock 'n' roll ‘quoted’ dogs’"), "it's l'eau d'or rock n roll quoted dogs");
    assert_eq!(english("a''b"), "a b");
}

#[test]
fn punctuation_that_is_spelling_stays() {
    assert_eq!(english("Col·lega · altre"), "col·lega altre");
    assert_eq!(english("צה״ל ג׳ירפה ״ציטוט״"), "צה״ל ג׳ירפה ציטוט");
    // Armenian: the question mark stands over the vowel; the word stays whole.
    assert_eq!(english("ինչո՞ւ"), "ինչու");
}

#[test]
fn joiners_stay_only_where_they_spell() {
    assert_eq!(english("می\u{200C}خواهم"), "می\u{200C}خواهم");
    assert_eq!(english("می\u{200C} a\u{200C}\u{200C}b"), "می a\u{200C}b");
    // Malayalam chillu in its older spelling: consonant, virama, joiner, at the end of a word.
    assert_eq!(english("അവന\u{D4D}\u{200D} വന്നു"), "അവന\u{D4D}\u{200D} വന്നു");
}

#[test]
fn locales_that_are_no_tags_are_refused() {
    for bad in ["", "e", "english", "turkish", "tr-", "12", "en US", "日本"] {
        let options = TextOptions { locale: bad.to_owned(), ..TextOptions::default() };
        let message = Normaliser::new(&options).unwrap_err().to_string();
        assert!(message.contains(&format!("{bad:?}")), "{message}");
    }
    for good in ["en", "und", "mdw", "pt-BR", "sr-Latn-RS", "tr_TR"] {
        with(good, true, Punctuation::Remove);
    }
}

#[test]
fn options_refuse_unknown_fields_and_default_the_rest() {
    let options: TextOptions = serde_json::from_str(r#"{"punctuation": "keep"}"#).unwrap();
    assert_eq!(options, TextOptions { punctuation: Punctuation::Keep, ..TextOptions::default() });
    assert!(serde_json::from_str::<TextOptions>(r#"{"lowercase": true}"#).is_err());
}

fn every_normaliser() -> Vec<Normaliser> {
    let mut all = Vec::new();
    for locale in ["en", "tr", "lt", "el"] {
        for lower_case in [true, false] {
            all.extend(
                [Punctuation::Keep, Punctuation::Remove].map(|punctuation| with(locale, lower_case, punctuation)),
            );
        }
    }
    all
}

#[test]
fn every_code_point_between_letters_is_stable() {
    let normalisers = every_normaliser();
    // Above U+2FFFF there are but rare ideographs, tags and selectors, and private use.
    for c in ('\0'..='\u{2FFFF}').chain('\u{E0000}'..='\u{E0FFF}') {
        let text = format!("I{c}\u{307}l{c}");
        for normaliser in &normalisers[..if u32::from(c) < 0x2100 { normalisers.len() } else { 2 }] {
            let once = normaliser.apply(&text);
            assert_eq!(normaliser.apply(&once), once, "U+{:04X} {normaliser:?}", u32::from(c));
        }
    }
}

#[test]
fn applying_twice_changes_nothing() {
    // Characters chosen to interact: marks that compose or reorder, I in all its forms, joiners, viramas, invisibles, apostrophes.
    let nasty: Vec<char> = "aIiİıÍJlL·Σσ'’`´<=-.|1 क\u{94D}\u{93C}\u{307}\u{301}\u{327}\u{323}\u{338}\u{200C}\u{200D}\u{200B}\u{AD}\u{A0}\u{55E}\u{FE0F}\u{5D2}\u{5F3}\u{5F4}\u{1100}\u{1161}🦀"
        .chars()
        .collect();
    let normalisers = every_normaliser();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..3000 {
        let text: String = (0..rng.random_range(1..9)).map(|_| nasty[rng.random_range(0..nasty.len())]).collect();
        for normaliser in &normalisers {
            let once = normaliser.apply(&text);
            assert_eq!(normaliser.apply(&once), once, "{:?} {normaliser:?}", text.escape_unicode().to_string());
            assert_eq!(
                normaliser.apply(&text.nfd().collect::<String>()),
                once,
                "{:?}",
                text.escape_unicode().to_string()
            );
        }
    }
}
