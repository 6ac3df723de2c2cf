use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};

use super::ReadOptions;
use crate::error::{Error, Result};
use crate::model::NgramModel;

/// A model of order 3 with all that a file may have: comments, both separators, exponents, back-off weights given or not.
const TOY: &str = "\
# made by hand

\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.3
-0.75\t</s>
-0.5\ta\t-0.25
-6e-1\tb\t0.125

\\2-grams:
-0.2\t<s> a\t-0.125
-0.4\ta b\t-0.5
-0.7 b </s>
-0.9\ta a

\\3-grams:
-0.1\t<s> a b
-0.3\ta b </s>

\\end\\
";

fn read_bytes(bytes: &[u8]) -> Result<NgramModel> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.arpa");
    std::fs::write(&file, bytes).unwrap();
    NgramModel::read_arpa(&file, &ReadOptions::default())
}

fn toy() -> NgramModel {
    read_bytes(TOY.as_bytes()).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// The toy with one part replaced must be refused, and the message hold all of `parts`.
#[track_caller]
fn refused(old: &str, new: &str, parts: &[&str]) {
    assert!(TOY.contains(old));
    refused_bytes(TOY.replacen(old, new, 1).as_bytes(), parts);
}

#[track_caller]
fn refused_bytes(bytes: &[u8], parts: &[&str]) {
    let message = read_bytes(bytes).unwrap_err().to_string();
    assert!(message.contains("model.arpa: "), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn the_toy_is_read() {
    let model = toy();
    assert_eq!((model.order(), model.counts()), (3, [5, 4, 2].as_slice()));
    assert!(model.unknown_given());
    assert_eq!(model.vocabulary().map(|(_, word)| word).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(model.word("c"), None);
    for special in ["<s>", "</s>", "<unk>", "<UNK>"] {
        assert_eq!(model.word(special), None);
    }
}

#[test]
fn line_ends_of_windows_are_read() {
    assert_eq!(read_bytes(TOY.replace('\n', "\r\n").as_bytes()).unwrap(), toy());
}

#[test]
fn blank_lines_between_sections_may_be_missing_or_many() {
    let (header, rest) = TOY.split_once("\n\n\\1").unwrap();
    let rest = format!("\\1{rest}");
    assert_eq!(read_bytes(format!("{header}\n\n\n{}", rest.replace("\n\n", "\n\n \t\n")).as_bytes()).unwrap(), toy());
    assert_eq!(read_bytes(format!("{header}\n{}", rest.replace("\n\n", "\n")).as_bytes()).unwrap(), toy());
    assert_eq!(read_bytes(format!("{TOY}\n\n").as_bytes()).unwrap(), toy());
    assert_eq!(read_bytes(TOY.trim_end().as_bytes()).unwrap(), toy());
}

#[test]
fn gzip_is_known_by_its_content() {
    assert_eq!(read_bytes(&gzip(TOY.as_bytes())).unwrap(), toy());
}

#[test]
fn gzip_of_several_members_is_one_text() {
    let (first, second) = TOY.split_at(TOY.len() / 2);
    assert_eq!(read_bytes(&[gzip(first.as_bytes()), gzip(second.as_bytes())].concat()).unwrap(), toy());
}

#[test]
fn written_and_read_back_it_is_equal() {
    let folder = tempfile::tempdir().unwrap();
    let model = toy();
    for name in ["model.arpa", "model.arpa.gz", "gz"] {
        let file = folder.path().join(name);
        model.write_arpa(&file).unwrap();
        let packed = std::fs::read(&file).unwrap().starts_with(&[0x1F, 0x8B]);
        assert_eq!(packed, name.ends_with(".gz"), "{name}");
        assert_eq!(NgramModel::read_arpa(&file, &ReadOptions::default()).unwrap(), model, "{name}");
    }
    // Nothing else is left in the folder.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn equal_models_give_equal_files() {
    let folder = tempfile::tempdir().unwrap();
    // Bigrams in another order are the same model.
    let swapped = TOY.replace("-0.2\t<s> a\t-0.125\n-0.4\ta b\t-0.5", "-0.4\ta b\t-0.5\n-0.2\t<s> a\t-0.125");
    let write = |name: &str, model: &NgramModel| {
        let file = folder.path().join(name);
        model.write_arpa(&file).unwrap();
        std::fs::read(file).unwrap()
    };
    let model = read_bytes(swapped.as_bytes()).unwrap();
    assert_ne!(swapped, TOY);
    assert_eq!(model, toy());
    assert_eq!(write("a.gz", &model), write("b.gz", &toy()));
}

#[test]
fn every_f32_survives_writing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.arpa");
    // Random signs and mantissas over all the exponents that log10 has, and the extremes.
    let mut bits = 1_u32;
    let mut numbers = vec![f32::MIN, -f32::MIN_POSITIVE, -1e-45, -0.0, -99.0];
    while numbers.len() < 2000 {
        bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        numbers.extend(Some(-f32::from_bits(bits & 0x7FFF_FFFF)).filter(|number| number.is_finite()));
    }
    let mut text = format!("\\data\\\nngram 1={}\nngram 2=1\n\n\\1-grams:\n0 <s> 1\n-1 </s>\n", numbers.len() + 2);
    numbers.iter().enumerate().for_each(|(i, number)| text += &format!("{number} w{i} {}\n", -number));
    text += "\\2-grams:\n-1 <s> w0\n\\end\\\n";
    let model = read_bytes(text.as_bytes()).unwrap();
    for (i, number) in numbers.iter().enumerate() {
        let (log10, next) = model.score(model.null_state(), model.word(&format!("w{i}")).unwrap());
        assert_eq!(log10, *number);
        // Of w(i) w0 nothing is known but the back-off weight.
        assert_eq!(model.score(next, model.word("w1").unwrap()).0, -number + numbers[1]);
    }
    model.write_arpa(&file).unwrap();
    assert_eq!(NgramModel::read_arpa(&file, &ReadOptions::default()).unwrap(), model);
}

#[test]
fn the_unknown_word_may_be_in_capitals_and_anywhere() {
    let capitals = TOY.replace("-1.5\t<unk>\n", "").replace("-0.75\t</s>\n", "-0.75\t</s>\n-1.5\t<UNK>\n");
    let model = read_bytes(capitals.replace("-0.9\ta a", "-0.9\ta <unk>").as_bytes()).unwrap();
    assert!(model.unknown_given());
    let unknown = crate::WordId::UNKNOWN;
    assert_eq!(model.spelling(unknown), "<UNK>");
    assert_eq!(model.score(model.null_state(), unknown).0, -1.5);
    let a = model.score(model.null_state(), model.word("a").unwrap()).1;
    assert_eq!(model.score(a, unknown).0, -0.9);
}

#[test]
fn a_missing_unknown_word_has_the_probability_of_the_options() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.arpa");
    let text = TOY.replace("-1.5\t<unk>\n", "").replace("ngram 1=5", "ngram 1=4");
    std::fs::write(&file, &text).unwrap();
    for unknown_log10 in [-100.0, -7.5] {
        let options = ReadOptions { unknown_log10 };
        let model = NgramModel::read_arpa(&file, &options).unwrap();
        assert!(!model.unknown_given());
        assert_eq!(model.counts(), [4, 4, 2]);
        assert_eq!(model.score(model.null_state(), crate::WordId::UNKNOWN).0, unknown_log10);
        let again = folder.path().join("again.arpa");
        model.write_arpa(&again).unwrap();
        assert!(!std::fs::read_to_string(&again).unwrap().contains("<unk>"));
        assert_eq!(NgramModel::read_arpa(&again, &options).unwrap(), model);
    }
    for unknown_log10 in [0.5, f32::NAN, f32::NEG_INFINITY] {
        let error = NgramModel::read_arpa(&file, &ReadOptions { unknown_log10 }).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
}

#[test]
fn a_model_of_order_1_is_read() {
    let model = read_bytes(b"\\data\\\nngram 1=3\n\n\\1-grams:\n0 <s>\n-0.5 </s> 0\n-0.25 a\n\n\\end\\\n").unwrap();
    assert_eq!(model.start(), model.null_state());
    assert_eq!(model.score_sentence(["a", "a"]).log10, -1.0);
}

#[test]
fn an_order_without_ngrams_is_read() {
    let empty = TOY.replace("ngram 3=2", "ngram 3=0").replace("-0.1\t<s> a b\n-0.3\ta b </s>\n", "");
    assert_eq!(read_bytes(empty.as_bytes()).unwrap().counts(), [5, 4, 0]);
}

#[test]
fn other_white_space_is_part_of_a_word() {
    let model = read_bytes(TOY.replace('b', "b\u{A0}b\u{3000}").as_bytes()).unwrap();
    assert!(model.word("b\u{A0}b\u{3000}").is_some());
}

#[test]
fn an_empty_file_is_refused() {
    refused_bytes(b"", &["the file is empty", "starts with \\data\\"]);
    refused_bytes(&gzip(b""), &["the file is empty"]);
}

#[test]
fn a_file_of_blank_lines_is_refused() {
    refused_bytes(b"\n \n# nothing\n", &["ends after line 3", "\\data\\"]);
}

#[test]
fn a_missing_file_is_refused() {
    let error = NgramModel::read_arpa(Path::new("/nowhere/model.arpa"), &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/model.arpa: "), "{error}");
}

#[test]
fn kenlms_binary_is_refused() {
    let binary = b"mmap lm http://kheafield.com/code format version 5\n\0\0\0\0\0";
    let parts = ["KenLM's binary format", "needs the ARPA file", "lmplz", "--arpa"];
    refused_bytes(binary, &parts);
    refused_bytes(&gzip(binary), &parts);
}

#[test]
fn other_formats_are_refused() {
    refused_bytes(b"iARPA\n\\data\\\n", &["IRSTLM", "compile-lm"]);
    refused_bytes(b"BZh91AY&SY", &["bzip2", "unpack"]);
    refused_bytes(b"the cat sat\n", &["line 1", "no language model in ARPA format", "the cat sat"]);
}

#[test]
fn a_cut_gzip_file_is_refused() {
    let packed = gzip(TOY.as_bytes());
    refused_bytes(&packed[..packed.len() / 2], &["gzip file is damaged or was cut"]);
    refused_bytes(&packed[..3], &["gzip file is damaged or was cut"]);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for end in 0..TOY.trim_end().len() {
        let error = read_bytes(&TOY.as_bytes()[..end]).unwrap_err().to_string();
        assert!(error.contains("model.arpa: "), "{end}: {error}");
    }
    refused("\\end\\\n", "", &["the file ends after line 24", "where \\end\\ was to come"]);
}

#[test]
fn text_before_the_header_is_refused() {
    refused("# made", "made", &["line 1", "made by hand"]);
}

#[test]
fn a_header_without_counts_is_refused() {
    refused("ngram 1=5\nngram 2=4\nngram 3=2\n", "", &["the header has no counts", "ngram 1=COUNT"]);
}

#[test]
fn a_bad_count_is_refused() {
    refused("ngram 2=4", "ngram 2=four", &["line 5", "ngram 2=four", "\"ngram 2=COUNT\""]);
    refused("ngram 2=4", "ngram 2=-4", &["line 5"]);
    refused("ngram 2=4", "bigrams: 4", &["line 5"]);
}

#[test]
fn orders_out_of_turn_are_refused() {
    refused("ngram 2=4", "ngram 3=4", &["line 5", "another order", "\"ngram 2=COUNT\""]);
}

#[test]
fn an_order_too_high_is_refused() {
    let counts: String = (4..=21).map(|order| format!("ngram {order}=0\n")).collect();
    refused("ngram 3=2\n", &format!("ngram 3=2\n{counts}"), &["line 24", "ngram 21=0", "up to 20"]);
}

#[test]
fn a_count_beyond_32_bits_is_refused_before_memory_is_taken() {
    refused("ngram 2=4", "ngram 2=4294967295", &["line 5", "at most 4294967294"]);
    refused("ngram 2=4", "ngram 2=4294967294", &["the 2-grams are 4, not 4294967294"]);
}

#[test]
fn an_empty_model_is_refused() {
    refused_bytes(b"\\data\\\nngram 1=0\n\n\\1-grams:\n\n\\end\\\n", &["the model is empty", "<s>, </s> and one word"]);
}

#[test]
fn too_few_ngrams_are_refused() {
    refused("-0.9\ta a\n", "", &["line 19", "the 2-grams are 3, not 4", "ngram 2=4"]);
}

#[test]
fn too_many_ngrams_are_refused() {
    refused("-0.9\ta a\n", "-0.9\ta a\n-0.9\tb b\n", &["line 20", "the 2-grams are more than 4"]);
}

#[test]
fn a_section_out_of_turn_is_refused() {
    refused("\\2-grams:", "\\3-grams:", &["line 15", "\\3-grams:", "\\2-grams:"]);
}

#[test]
fn a_section_that_the_header_lacks_is_refused() {
    refused("ngram 3=2\n", "", &["line 15", "back-off weight", "2-grams, the highest order of the header"]);
    let bare = TOY.replace("ngram 3=2\n", "").replace("a\t-0.125", "a").replace("a b\t-0.5", "a b");
    refused_bytes(bare.as_bytes(), &["line 20", "\\3-grams:", "too few orders"]);
}

#[test]
fn a_missing_end_is_refused() {
    refused("\\end\\", "\\ende\\", &["line 25", "\\ende\\", "allowed is \\end\\"]);
}

#[test]
fn text_behind_the_end_is_refused() {
    refused("\\end\\\n", "\\end\\\n\nmore\n", &["line 27", "follows the end", "more"]);
}

#[test]
fn a_positive_probability_is_refused() {
    refused("-0.4\ta b", "0.4\ta b", &["line 17", "\"0.4\"", "at most 0"]);
}

#[test]
fn a_probability_that_is_no_number_is_refused() {
    for text in ["nan", "NaN", "-inf", "inf", "-0,4", "x", "-1e999"] {
        refused("-0.4\ta b", &format!("{text}\ta b"), &["line 17", text, "finite and at most 0"]);
    }
}

#[test]
fn a_backoff_weight_that_is_no_number_is_refused() {
    for text in ["nan", "inf", "-inf", "half"] {
        refused("a b\t-0.5", &format!("a b\t{text}"), &["line 17", text, "back-off weight", "finite"]);
    }
}

#[test]
fn a_backoff_weight_in_the_highest_order_is_refused() {
    refused("<s> a b", "<s> a b\t-0.5", &["line 22", "highest order", "-0.5"]);
    assert_eq!(read_bytes(TOY.replace("<s> a b", "<s> a b\t0.0").as_bytes()).unwrap(), toy());
}

#[test]
fn too_few_fields_are_refused() {
    refused("-0.4\ta b\t-0.5", "-0.4\ta", &["line 17", "incomplete", "2 words"]);
}

#[test]
fn too_many_fields_are_refused() {
    refused("-0.4\ta b\t-0.5", "-0.4\ta b c\t-0.5", &["line 17", "too many fields", "2 words"]);
}

#[test]
fn a_word_that_is_no_unigram_is_refused() {
    refused("-0.9\ta a", "-0.9\ta c", &["line 19", "\"c\"", "\"a c\"", "1-grams"]);
    let unknown = TOY.replace("-1.5\t<unk>\n", "").replace("ngram 1=5", "ngram 1=4");
    // The unknown word has an id without being a unigram; an n-gram may name it, as KenLM allows.
    assert!(read_bytes(unknown.replace("-0.9\ta a", "-0.9\ta <unk>").as_bytes()).is_ok());
}

#[test]
fn an_ngram_without_its_context_is_refused() {
    refused("-0.1\t<s> a b", "-0.1\tb a b", &["line 22", "\"b a b\" extends \"b a\"", "2-grams"]);
}

/// "a a" is no state, so that after it comes the state of "a", which is too short to be the context of a 4-gram's last but one.
#[test]
fn a_context_that_is_dropped_on_the_way_is_missing() {
    let four =
        TOY.replace("ngram 3=2\n", "ngram 3=2\nngram 4=1\n").replace("\\end", "\\4-grams:\n-0.1 a a b </s>\n\n\\end");
    refused_bytes(four.as_bytes(), &["line 27", "\"a a b </s>\" extends \"a a b\""]);
    let good = four.replace("a a b </s>", "<s> a b </s>");
    assert_eq!(read_bytes(good.as_bytes()).unwrap().counts(), [5, 4, 2, 1]);
}

#[test]
fn an_ngram_given_twice_is_refused() {
    refused("-0.9\ta a", "-0.9\ta b", &["line 19 gives the 2-gram of line 17 again"]);
    refused("-6e-1\tb\t0.125", "-6e-1\ta\t0.125", &["line 13 gives the 1-gram of line 12 again"]);
    refused("-6e-1\tb\t0.125", "-6e-1\t<UNK>\t0.125", &["line 13 gives the 1-gram of line 9 again"]);
}

#[test]
fn a_model_without_sentence_marks_is_refused() {
    refused("\t<s>\t", "\t<start>\t", &["<s> is not among the 1-grams"]);
    refused("\t</s>\n", "\t<end>\n", &["</s> is not among the 1-grams"]);
}

#[test]
fn a_line_that_is_not_utf8_is_refused() {
    let mut bytes = TOY.as_bytes().to_vec();
    let at = TOY.find("b\t0.125").unwrap();
    bytes[at] = 0xE9;
    refused_bytes(&bytes, &["line 13", "not UTF-8"]);
}

#[test]
fn a_line_without_end_is_refused() {
    refused("-0.4\ta b", &format!("-0.4\t{} b", "a".repeat(2 << 20)), &["line 17", "too long", "1048576 bytes"]);
}

#[test]
fn writing_where_no_folder_is_is_refused() {
    let error = toy().write_arpa(Path::new("/nowhere/model.arpa")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/model.arpa: "), "{error}");
}

/// Whatever a byte is changed to, the file is refused with its name or gives a model that scores.
#[test]
fn no_changed_byte_brings_it_down() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.arpa");
    let (mut read, mut refused) = (0, 0);
    for at in 0..TOY.len() {
        for byte in [b'\n', b' ', b'\\', b'9', 0xFF] {
            let mut bytes = TOY.as_bytes().to_vec();
            bytes[at] = byte;
            std::fs::write(&file, &bytes).unwrap();
            match NgramModel::read_arpa(&file, &ReadOptions::default()) {
                Ok(model) => {
                    read += 1;
                    assert!(!model.score_sentence(["a", "b", "c", "b", "a", "a"]).log10.is_nan());
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains("model.arpa: "), "{error}");
                }
            }
        }
    }
    assert!(read > 200 && refused > 200, "{read} {refused}");
}
