use super::*;

/// `speakers` × 10 utterances of one to two seconds; sentences repeat across speakers.
fn corpus(speakers: usize) -> Vec<Utterance> {
    let mut utterances = Vec::new();
    for speaker in 0..speakers {
        for take in 0..10 {
            let mut utterance = Utterance::new(format!("s{speaker}-{take}"), "a.wav");
            utterance.speaker = Some(format!("s{speaker}"));
            utterance.text = Some(format!("Sentence {take}"));
            utterance.duration = Some(1.0 + speaker as f64 / speakers as f64);
            utterances.push(utterance);
        }
    }
    utterances
}

fn of(part: &[Utterance], column: &str) -> BTreeSet<String> {
    part.iter().filter_map(|utterance| utterance.column(column)).map(|value| value.to_lowercase()).collect()
}

fn ids(part: &[Utterance]) -> BTreeSet<String> {
    of(part, "id")
}

#[test]
fn no_speaker_is_in_two_parts_and_nothing_is_lost() {
    for seed in 0..20 {
        let split = by_speaker(corpus(20), Fractions::default(), seed).unwrap();
        let (train, dev, test) = (of(&split.train, "speaker"), of(&split.dev, "speaker"), of(&split.test, "speaker"));
        assert!(train.is_disjoint(&dev) && train.is_disjoint(&test) && dev.is_disjoint(&test));
        assert_eq!(train.len() + dev.len() + test.len(), 20);
        assert_eq!(split.train.len() + split.dev.len() + split.test.len(), 200);
        // 10 % of 20 speakers of 1 to 2 s is 2 of them, give or take one.
        assert!((1..=3).contains(&dev.len()) && (1..=3).contains(&test.len()), "{} {}", dev.len(), test.len());
    }
}

#[test]
fn the_order_of_the_corpus_changes_nothing_and_the_seed_does() {
    let mut reversed = corpus(20);
    reversed.reverse();
    let forwards = by_speaker(corpus(20), Fractions::default(), 7).unwrap();
    let backwards = by_speaker(reversed.clone(), Fractions::default(), 7).unwrap();
    assert_eq!(ids(&forwards.test), ids(&backwards.test));
    assert_eq!(ids(&forwards.dev), ids(&backwards.dev));
    let tests: BTreeSet<_> =
        (0..10).map(|seed| ids(&by_speaker(corpus(20), Fractions::default(), seed).unwrap().test)).collect();
    assert!(tests.len() > 3);

    let forwards = by_sentence(corpus(3), Fractions::default(), 7).unwrap();
    reversed.retain(|utterance| ["s0", "s1", "s2"].contains(&utterance.speaker.as_deref().unwrap_or("")));
    let mut shuffled = corpus(3);
    shuffled.reverse();
    assert_eq!(ids(&forwards.test), ids(&by_sentence(shuffled, Fractions::default(), 7).unwrap().test));
}

#[test]
fn three_speakers_give_each_part_one() {
    let split = by_speaker(corpus(3), Fractions::default(), 1).unwrap();
    assert_eq!((split.train.len(), split.dev.len(), split.test.len()), (10, 10, 10));
}

#[test]
fn a_part_of_fraction_0_is_empty() {
    let split = by_speaker(corpus(2), Fractions { dev: 0.0, test: 0.3 }, 1).unwrap();
    assert_eq!((split.train.len(), split.dev.len(), split.test.len()), (10, 0, 10));
}

#[test]
fn no_sentence_is_in_two_parts_whatever_its_case() {
    let mut utterances = corpus(2);
    for utterance in utterances.iter_mut().skip(10) {
        utterance.text = utterance.text.as_ref().map(|text| format!(" {}", text.to_uppercase()));
    }
    for seed in 0..20 {
        let split = by_sentence(utterances.clone(), Fractions { dev: 0.2, test: 0.2 }, seed).unwrap();
        let sentences = |part: &[Utterance]| part.iter().filter_map(Utterance::sentence).collect::<BTreeSet<_>>();
        assert!(sentences(&split.train).is_disjoint(&sentences(&split.test)));
        assert!(sentences(&split.train).is_disjoint(&sentences(&split.dev)));
        assert!(sentences(&split.dev).is_disjoint(&sentences(&split.test)));
        assert_eq!(sentences(&split.test).len(), 2);
    }
}

#[test]
fn unlabelled_utterances_are_sentences_of_their_own() {
    let mut utterances = corpus(1);
    utterances.iter_mut().for_each(|utterance| utterance.text = None);
    let split = by_sentence(utterances, Fractions { dev: 0.2, test: 0.2 }, 3).unwrap();
    assert_eq!((split.train.len(), split.dev.len(), split.test.len()), (6, 2, 2));
}

#[test]
fn impossible_fractions_are_refused() {
    for (dev, test) in [(-0.1, 0.1), (0.5, 0.5), (f64::NAN, 0.1), (0.1, f64::INFINITY)] {
        let error = by_speaker(corpus(5), Fractions { dev, test }, 1).unwrap_err();
        assert!(matches!(error, Error::Fractions { .. }), "{error}");
    }
}

#[test]
fn too_few_speakers_are_refused() {
    let error = by_speaker(corpus(2), Fractions::default(), 1).unwrap_err();
    assert!(matches!(error, Error::TooFew { found: 2, needed: 3, .. }), "{error}");
}

#[test]
fn a_missing_speaker_is_named() {
    let mut utterances = corpus(5);
    utterances[3].speaker = None;
    utterances[3].line = 4;
    for error in [
        by_speaker(utterances.clone(), Fractions::default(), 1).unwrap_err(),
        leave_one_speaker_out(&utterances).unwrap_err(),
    ] {
        assert!(error.to_string().contains("`s0-3` (line 4)"), "{error}");
    }
}

#[test]
fn each_speaker_is_held_out_once() {
    let utterances = corpus(4);
    let folds = leave_one_speaker_out(&utterances).unwrap();
    let held_out: Vec<&str> = folds.iter().flat_map(|fold| &fold.held_out).map(String::as_str).collect();
    assert_eq!(held_out, ["s0", "s1", "s2", "s3"]);
    for fold in &folds {
        assert_eq!((fold.train.len(), fold.test.len()), (30, 10));
        assert!(fold.test.iter().all(|index| utterances[*index].speaker.as_ref() == fold.held_out.first()));
    }
    assert!(leave_one_speaker_out(&corpus(1)).is_err());
}

#[test]
fn speaker_folds_cover_everyone_once() {
    let utterances = corpus(7);
    let folds = speaker_folds(&utterances, 3, 5).unwrap();
    let mut tested: Vec<usize> = folds.iter().flat_map(|fold| fold.test.clone()).collect();
    tested.sort();
    assert_eq!(tested, (0..70).collect::<Vec<_>>());
    assert_eq!(folds.iter().map(|fold| fold.held_out.len()).max(), Some(3));
    assert_eq!(folds.iter().map(|fold| fold.held_out.len()).min(), Some(2));
    assert!(speaker_folds(&utterances, 8, 5).is_err());
    assert!(speaker_folds(&utterances, 1, 5).is_err());
}
