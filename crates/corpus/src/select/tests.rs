use super::*;

fn corpus() -> Vec<Utterance> {
    let rows = [("a1", "ana", "train-10min", 0.4), ("a2", "ana", "train-1h", 3.0), ("n1", "nicolas", "dev", 20.0)];
    rows.iter()
        .enumerate()
        .map(|(index, (id, speaker, split, seconds))| {
            let mut utterance = Utterance::new(*id, format!("{id}.wav"));
            utterance.speaker = Some((*speaker).into());
            utterance.duration = Some(*seconds);
            utterance.columns.insert("split".into(), (*split).into());
            utterance.columns.insert("take".into(), (index + 1).to_string());
            utterance.line = index + 1;
            utterance
        })
        .collect()
}

fn selection(yaml: &str) -> Selection {
    serde_yaml::from_str(yaml).unwrap()
}

fn ids(yaml: &str) -> Vec<String> {
    let kept = selection(yaml).apply(corpus(), Path::new("m.jsonl")).unwrap();
    kept.into_iter().map(|utterance| utterance.id).collect()
}

fn refusal(yaml: &str) -> String {
    selection(yaml).apply(corpus(), Path::new("m.jsonl")).unwrap_err().to_string()
}

#[test]
fn every_kind_of_rule_keeps_what_it_says() {
    assert_eq!(ids("{}"), ["a1", "a2", "n1"]);
    assert_eq!(ids("speaker: {not: [nicolas]}"), ["a1", "a2"]);
    assert_eq!(ids("speaker: {not: nicolas}"), ["a1", "a2"]);
    assert_eq!(ids("split: dev"), ["n1"]);
    assert_eq!(ids("split: [train-10min, dev]"), ["a1", "n1"]);
    assert_eq!(ids("split: {in: [train-1h, dev]}"), ["a2", "n1"]);
    assert_eq!(ids("duration: {min: 0.5, max: 15}"), ["a2"]);
    assert_eq!(ids("duration: {min: 3, max: 20}"), ["a2", "n1"]);
    assert_eq!(ids("{speaker: ana, split: {not: train-1h}}"), ["a1"]);
}

#[test]
fn a_number_in_the_recipe_meets_text_in_the_manifest() {
    assert_eq!(ids("take: 2"), ["a2"]);
    assert_eq!(ids("take: 2.0"), ["a2"]);
    assert_eq!(ids("take: [1, \"3\"]"), ["a1", "n1"]);
    assert!(!Scalar::Text("2.0".into()).is("2"));
    assert!(Scalar::Bool(true).is("true"));
    assert!(!Scalar::Integer(9_007_199_254_740_993).is("9007199254740992"));
}

#[test]
fn an_utterance_without_the_column_is_accepted_by_not_alone() {
    let mut utterances = corpus();
    utterances[0].speaker = None;
    let kept = |yaml: &str| selection(yaml).apply(utterances.clone(), Path::new("m")).unwrap().len();
    assert_eq!(kept("speaker: {not: nicolas}"), 2);
    assert_eq!(kept("speaker: {in: [ana, nicolas]}"), 2);
    assert_eq!(kept("speaker: {not: nicolas, in: ana}"), 1);
}

#[test]
fn an_unknown_column_is_told_with_the_columns_there_are() {
    let message = refusal("speeker: ana");
    assert!(
        message.contains("`speeker`") && message.contains("audio, duration, id, speaker, split, take"),
        "{message}"
    );
    // A field of the struct that no utterance fills is no column either.
    assert!(refusal("text: hello").contains("`text`"));
}

#[test]
fn a_selection_that_leaves_nothing_names_the_rule() {
    let message = refusal("{speaker: ana, split: test}");
    assert!(message.contains("none of the 3") && message.contains("`split` alone keeps 0"), "{message}");
    assert!(message.contains("dev, train-10min, train-1h"), "{message}");
    assert!(refusal("{speaker: ana, split: dev}").contains("none of the 3"));
}

#[test]
fn a_bound_on_text_names_the_line() {
    let message = refusal("split: {min: 1}");
    assert!(message.contains("line 1") && message.contains("`train-10min`"), "{message}");
}

#[test]
fn values_that_no_utterance_has_are_told() {
    let rules = selection("speaker: {not: [nicolaz, ana]}\nsplit: [dev, test]");
    assert_eq!(rules.unmatched(&corpus()), ["speaker: nicolaz", "split: test"]);
}

#[test]
fn mistakes_in_the_recipe_say_what_is_allowed() {
    let refused = |yaml: &str| serde_yaml::from_str::<Selection>(yaml).unwrap_err().to_string();
    assert!(refused("speaker: {nott: ana}").contains("nott"), "{}", refused("speaker: {nott: ana}"));
    assert!(refused("speaker: []").contains("selects nothing"));
    assert!(refused("speaker: {not: []}").contains("selects nothing"));
    assert!(refused("speaker: {}").contains("at least one of"));
    assert!(refused("duration: {min: 3, max: 2}").contains("above max"));
    assert!(refused("duration: {min: .nan}").contains("finite"));
    assert!(refused("speaker: [[ana]]").contains("a text, a number"), "{}", refused("speaker: [[ana]]"));
    assert!(refused("speaker:").contains("a list of values"), "{}", refused("speaker:"));
}

#[test]
fn a_selection_survives_being_written_and_read() {
    let yaml = "{speaker: {not: [nicolas, 7]}, split: [a, true], take: 2, duration: {min: 0.5}}";
    let rules = selection(yaml);
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::from_str::<Selection>(&json).unwrap(), rules);
    assert_eq!(serde_yaml::from_str::<Selection>(&serde_yaml::to_string(&rules).unwrap()).unwrap(), rules);
}
