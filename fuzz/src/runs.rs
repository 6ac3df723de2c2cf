//! Recipes, experiments, and what a run folder holds.

use std::fs;

use klang_trainer::{
    DecodeSettings, Experiment, MetricsLine, Progress, Recipe, RunFolder, read_hypotheses, read_metrics,
    write_hypotheses,
};

use crate::{file, folder, memory::bounded};

/// A recipe; the one that it extends, if any, is behind 0xff.
pub fn recipe(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == 0xff);
    let path = file("fuzz.yaml", parts.next().unwrap_or_default());
    file("base.yaml", parts.next().unwrap_or_default());
    bounded(64 << 20, || {
        let Ok(recipe) = Recipe::read(&path, &[]).map_err(|error| error.to_string()) else { return };
        let yaml = recipe.to_yaml().expect("a checked recipe is YAML");
        let resolved = file("recipe.yaml", yaml.as_bytes());
        Recipe::read(&resolved, &[]).expect("a resolved recipe can be read");
        // As a run reads its own: paths in it start where the run was begun, not at the file.
        assert_eq!(RunFolder::at(folder()).resolve().expect("a resolved recipe is a run's"), recipe);
    });
}

/// An experiment.
pub fn experiment(bytes: &[u8]) {
    let path = file("fuzz.yaml", bytes);
    bounded(64 << 20, || {
        let Ok(experiment) = Experiment::read(&path).map_err(|error| error.to_string()) else { return };
        assert!(experiment.control() < experiment.arms.len());
        let yaml = serde_yaml::to_string(&experiment).expect("a checked experiment is YAML");
        let again = Experiment::read(&file("again.yaml", yaml.as_bytes())).expect("what was written can be read");
        assert_eq!(again, experiment);
    });
}

/// metrics.jsonl.
pub fn metrics(bytes: &[u8]) {
    let path = file("metrics.jsonl", bytes);
    bounded(64 << 20, || {
        let Ok(lines) = read_metrics(&path).map_err(|error| error.to_string()) else { return };
        let again = file("again.jsonl", b"");
        lines.iter().for_each(|line| line.append(&again).expect("what was read can be written"));
        let text = |lines: &[MetricsLine]| -> Vec<String> {
            lines.iter().map(|line| serde_json::to_string(line).expect("a line is JSON")).collect()
        };
        let read = read_metrics(&again).expect("what was written can be read");
        // As text: NaN, which is written as null, is not itself.
        assert_eq!(text(&read), text(&lines));
    });
}

/// The state's progress.json.
pub fn progress(bytes: &[u8]) {
    let path = file("progress.json", bytes);
    bounded(64 << 20, || {
        let Ok(progress) = Progress::read(&path).map_err(|error| error.to_string()) else { return };
        let text = serde_json::to_string(&progress).expect("progress is JSON");
        let again = Progress::read(&file("again.json", text.as_bytes())).expect("what was written can be read");
        assert_eq!(again, progress);
    });
}

/// decoding.json.
pub fn decoding(bytes: &[u8]) {
    file("decoding.json", bytes);
    bounded(64 << 20, || {
        let Ok(settings) = DecodeSettings::of_model(folder()).map_err(|error| error.to_string()) else { return };
        let settings = DecodeSettings { lm: None, ..settings };
        settings.write(folder()).expect("what was read can be written");
        let again = DecodeSettings::of_model(folder()).expect("what was written can be read");
        assert_eq!(again, settings);
    });
}

/// NAME.hypotheses.jsonl.
pub fn hypotheses(bytes: &[u8]) {
    let path = file("fuzz.jsonl", bytes);
    bounded(64 << 20, || {
        let Ok(pairs) = read_hypotheses(&path).map_err(|error| error.to_string()) else { return };
        let again = folder().join("again.jsonl");
        write_hypotheses(&again, &pairs).expect("what was read can be written");
        assert_eq!(read_hypotheses(&again).expect("what was written can be read"), pairs);
        assert_eq!(fs::read_to_string(&again).expect("UTF-8").lines().count(), pairs.len());
    });
}
