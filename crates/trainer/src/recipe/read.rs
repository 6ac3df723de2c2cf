//! Reading a recipe: bases first, then what differs, then `--set`, then variables.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Recipe, yaml};
use crate::error::{Error, Result};

/// A recipe is a page or two; the bound keeps a wrong file from being read whole.
pub(crate) const RECIPE_BYTES: u64 = 1 << 20;
/// Recipes that may extend one another in a row.
const DEPTH: usize = 16;
/// Parts that a dotted key may have: some more than any key of a recipe has.
const KEY_PARTS: usize = 16;

impl Recipe {
    /// Reads a recipe file, applies `KEY=VALUE` settings (dotted keys, YAML values), and checks every value.
    ///
    /// Paths in a recipe start at its own folder, those in a setting at the working folder.
    ///
    /// # Errors
    /// Unknown keys and wrong types with file, line and column; values outside their range by key.
    pub fn read(path: &Path, settings: &[String]) -> Result<Recipe> {
        let mut document = read_document(path, 0)?;
        for setting in settings {
            apply_setting(&mut document, setting)?;
        }
        expand_variables(&mut document, path)?;
        let whole = |error: serde_json::Error| Error::RecipeFile { path: path.into(), message: error.to_string() };
        let recipe: Recipe = serde_json::from_value(document).map_err(whole)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe as YAML, every default shown.
    ///
    /// # Errors
    /// None that a checked recipe can cause.
    pub fn to_yaml(&self) -> Result<String> {
        serde_yaml::to_string(self)
            .map_err(|error| Error::RecipeFile { path: "recipe.yaml".into(), message: error.to_string() })
    }
}

fn read_document(path: &Path, depth: usize) -> Result<Value> {
    let refuse = |message: String| Error::RecipeFile { path: path.into(), message };
    let text = klang_wav2vec2::checkpoint::read_text(path, RECIPE_BYTES).map_err(Error::before_work)?;
    // Read as a recipe first, for the line and column of what is wrong; then as a tree, for what was actually said.
    yaml::parse::<Recipe>(&text).map_err(refuse)?;
    let mut document: Value = yaml::parse(&text).map_err(refuse)?;
    if document.is_null() {
        document = Value::Object(Map::new());
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    resolve_paths(&mut document, folder);
    let Some(base) = document.as_object_mut().and_then(|map| map.remove("extends")) else { return Ok(document) };
    if depth == DEPTH {
        return Err(refuse(format!("more than {DEPTH} recipes extend one another; is there a circle?")));
    }
    let base = base.as_str().ok_or_else(|| refuse("`extends` is not a path".into()))?;
    let mut merged = read_document(&folder.join(base), depth + 1)?;
    merge(&mut merged, document);
    Ok(merged)
}

/// Lays `over` onto `base`: mappings merge key by key, everything else is replaced.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                // A selection, a set of tests or a way of reading is one statement: half of another one's would surprise.
                let whole = matches!(key.as_str(), "select" | "test" | "decode");
                match base.get_mut(&key) {
                    Some(old) if !whole => merge(old, value),
                    _ => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// Makes the paths of a document start at `folder`.
fn resolve_paths(document: &mut Value, folder: &Path) {
    let resolve = |value: &mut Value| {
        if let Value::String(path) = value {
            // A path that starts with a variable is resolved by whoever gives the variable.
            if !path.starts_with("${") {
                *path = folder.join(&*path).to_string_lossy().into_owned();
            }
        }
    };
    let source = |value: &mut Value| match value {
        Value::Object(part) => part.get_mut("manifest").map(resolve).unwrap_or(()),
        other => resolve(other),
    };
    if let Some(Value::Object(data)) = document.get_mut("data") {
        if let Some(Value::Array(train)) = data.get_mut("train") {
            train.iter_mut().for_each(source);
        }
        if let Some(dev) = data.get_mut("dev") {
            source(dev);
        }
        if let Some(Value::Object(tests)) = data.get_mut("test") {
            tests.values_mut().for_each(source);
        }
        if let Some(features) = data.get_mut("feature_cache_dir") {
            resolve(features);
        }
    }
    for key in ["/pretrain/probe/train", "/pretrain/probe/dev"] {
        if let Some(value) = document.pointer_mut(key) {
            source(value);
        }
    }
    if let Some(lm) = document.pointer_mut("/decode/lm") {
        resolve(lm);
    }
    if let Some(Value::String(init)) = document.pointer_mut("/model/init") {
        let beside = folder.join(&*init);
        // A mistyped name in a folder that is here is a path too, and no hub's.
        let in_folder = init.contains('/') && !init.contains('@') && beside.parent().is_some_and(Path::is_dir);
        if init != "random" && (beside.exists() || in_folder) {
            *init = beside.to_string_lossy().into_owned();
        }
    }
    // A variable that names something beside the recipe is a path; any other is a word.
    if let Some(Value::Object(variables)) = document.get_mut("variables") {
        for value in variables.values_mut() {
            if let Value::String(word) = value
                && (word.starts_with("./") || word.starts_with("../"))
            {
                *word = folder.join(&*word).to_string_lossy().into_owned();
            }
        }
    }
}

/// Values by dotted key whose paths start at `folder`, with these paths as they are from the working folder.
///
/// # Errors
/// A key that no recipe has, or a value of another type.
pub fn resolved_settings(set: &Map<String, Value>, folder: &Path) -> Result<Map<String, Value>> {
    let mut resolved = Map::new();
    for (key, value) in set {
        let mut document = Value::Object(Map::new());
        apply_setting(&mut document, &setting(key, value))?;
        resolve_paths(&mut document, folder);
        let leaf = key.split('.').fold(&document, |value, part| &value[part]).clone();
        resolved.insert(key.clone(), leaf);
    }
    Ok(resolved)
}

/// A value by dotted key as `--set` takes it.
pub fn setting(key: &str, value: &Value) -> String {
    match value {
        // A variable is a word as it stands.
        Value::String(word) if key.starts_with("variables.") => format!("{key}={word}"),
        value => format!("{key}={value}"), // JSON, which is YAML
    }
}

fn apply_setting(document: &mut Value, setting: &str) -> Result<()> {
    let refuse = |message: String| Error::Set { given: setting.into(), message };
    let (key, value) =
        setting.split_once('=').ok_or_else(|| refuse("allowed: KEY=VALUE, such as train.updates=500".into()))?;
    let word = value;
    let value: Value = yaml::parse(value).map_err(|error| refuse(format!("not a YAML value: {error}")))?;
    let parts: Vec<&str> = key.split('.').collect();
    if parts.len() > KEY_PARTS {
        return Err(refuse(format!("the key has {} parts; allowed: at most {KEY_PARTS}", parts.len())));
    }
    if parts[0] == "extends" {
        return Err(refuse("a setting cannot extend a recipe; write a recipe that does".into()));
    }
    // A variable is a word, whatever it looks like: speaker 7 is no number.
    let value = if parts[0] == "variables" && !value.is_object() { Value::String(word.into()) } else { value };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(refuse("the key has an empty part".into()));
    }
    // Nest the value under its key, and try it alone: an unknown key is then blamed on this setting.
    let nested =
        parts.iter().rev().fold(value, |value, part| Value::Object(Map::from_iter([(part.to_string(), value)])));
    serde_json::from_value::<Recipe>(nested.clone()).map_err(|error| refuse(error.to_string()))?;
    let mut target = &mut *document;
    for part in &parts[..parts.len() - 1] {
        if !target.is_object() {
            *target = Value::Object(Map::new());
        }
        let Value::Object(map) = target else { return Err(refuse("the key leads nowhere".into())) };
        target = map.entry(part.to_string()).or_insert_with(|| Value::Object(Map::new()));
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let leaf = parts.iter().fold(&nested, |value, part| &value[*part]).clone();
    if let Value::Object(map) = target {
        map.insert(parts[parts.len() - 1].to_string(), leaf);
    }
    Ok(())
}

/// Replaces `${name}` by its variable in every string but the variables' own: variables of the recipe alone, never those of the
/// environment.
fn expand_variables(document: &mut Value, path: &Path) -> Result<()> {
    let variables: Map<String, Value> = match document.get("variables") {
        Some(Value::Object(variables)) => variables.clone(),
        _ => Map::new(),
    };
    fn walk(value: &mut Value, expand: &mut dyn FnMut(&str) -> Result<String>) -> Result<()> {
        match value {
            Value::String(text) => *text = expand(text)?,
            Value::Array(values) => values.iter_mut().try_for_each(|value| walk(value, expand))?,
            Value::Object(map) => {
                for (_, value) in map.iter_mut().filter(|(key, _)| *key != "variables") {
                    walk(value, expand)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
    let refuse = |message| Error::RecipeFile { path: PathBuf::from(path), message };
    // A long word in many places would be more than any file.
    let mut left = RECIPE_BYTES as usize;
    let mut expand = |text: &str| -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or_else(|| refuse(format!("`{text}`: `${{` without `}}`")))?;
            let known = || match variables.is_empty() {
                true => "none; they are given as `variables`".to_string(),
                false => variables.keys().cloned().collect::<Vec<_>>().join(", "),
            };
            let word = variables
                .get(name)
                .and_then(|word| word.as_str())
                .ok_or_else(|| refuse(format!("`{text}`: no variable `{name}`; there are: {}", known())))?;
            left = left.checked_sub(word.len()).ok_or_else(|| {
                refuse(format!("`${{{name}}}`: its variables would make the recipe larger than {RECIPE_BYTES} bytes"))
            })?;
            out.push_str(before);
            out.push_str(word);
            rest = after;
        }
        out.push_str(rest);
        // The resolved recipe would say something else when it is read.
        if out.contains("${") {
            return Err(refuse(format!("`{text}` becomes a variable again; allowed: variables that hold plain words")));
        }
        Ok(out)
    };
    walk(document, &mut expand)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    const DATA: &str = "data: {train: [train.jsonl], dev: dev.jsonl}\n";

    #[test]
    fn an_unknown_key_is_refused_with_line_and_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "a.yaml", "seed: 2\ntrain:\n  updates: 10\n  learning_rat: 0.1\n");
        let message = Recipe::read(&path, &[]).unwrap_err().to_string();
        assert!(message.contains("learning_rat") && message.contains("a.yaml"), "{message}");
        assert!(message.contains("line 4") && message.contains("column 3"), "{message}");
    }

    #[test]
    fn a_recipe_states_only_what_differs_and_paths_start_at_its_own_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        write(folder.path(), "base.yaml", &format!("{DATA}train: {{updates: 10, clip: 0.5}}\n"));
        let path = write(&folder.path().join("sub"), "a.yaml", "extends: ../base.yaml\ntrain: {updates: 20}\n");
        let recipe = Recipe::read(&path, &[]).unwrap();
        assert_eq!((recipe.train.updates, recipe.train.clip), (20, 0.5));
        assert_eq!(recipe.data.train[0].path(), &folder.path().join("sub/../train.jsonl"));
        assert_eq!(recipe.extends, None);
    }

    #[test]
    fn settings_win_and_their_mistakes_name_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "a.yaml", DATA);
        let set = |setting: &str| Recipe::read(&path, &[setting.to_string()]);
        assert_eq!(set("train.updates=7").unwrap().train.updates, 7);
        assert_eq!(set("data.augment.speed=[0.8, 1.2]").unwrap().data.augment.speed, Some([0.8, 1.2]));
        for (setting, part) in [
            ("train.update=7", "unknown field `update`"),
            ("train.updates=many", "many"),
            ("train.updates", "KEY=VALUE"),
            ("train..updates=1", "empty part"),
            ("extends=b.yaml", "cannot extend"),
        ] {
            let message = set(setting).unwrap_err().to_string();
            assert!(message.contains(setting) && message.contains(part), "{message}");
        }
    }

    #[test]
    fn variables_stand_in_strings_and_can_be_set() {
        let folder = tempfile::tempdir().unwrap();
        let text = "variables: {held_out: anna, corpus: ../corpus}\ndata:\n  train: [\"${corpus}/all.jsonl\"]\n  select: {speaker: {not: [\"${held_out}\"]}}\n";
        let path = write(folder.path(), "a.yaml", text);
        let recipe = Recipe::read(&path, &["variables.held_out=ben".into()]).unwrap();
        assert_eq!(recipe.data.train[0].path(), &folder.path().join("../corpus/all.jsonl"));
        assert_eq!(Recipe::read(&path, &["variables.held_out=7".into()]).unwrap().variables["held_out"], "7");
        let yaml = recipe.to_yaml().unwrap();
        assert!(yaml.contains("ben") && !yaml.contains("anna"), "{yaml}");
        let unknown = write(folder.path(), "b.yaml", &text.replace("${held_out}", "${speaker}"));
        let message = Recipe::read(&unknown, &[]).unwrap_err().to_string();
        assert!(message.contains("no variable `speaker`") && message.contains("held_out"), "{message}");
    }

    #[test]
    fn variables_never_unfold_beyond_a_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let places = vec!["\"${a}${a}${a}\""; 200].join(", ");
        let text = format!("variables: {{a: {}}}\ndata: {{train: [{places}], dev: dev.jsonl}}\n", "x".repeat(5000));
        let message = Recipe::read(&write(folder.path(), "a.yaml", &text), &[]).unwrap_err().to_string();
        assert!(message.contains("`${a}`") && message.contains("larger than 1048576 bytes"), "{message}");
        // A variable holds a word, and the environment has none.
        for (variables, init, said) in [
            ("variables: {a: \"${b}\", b: word}\n", "${a}", "`${a}` becomes a variable again"),
            ("variables: {a: $, b: word}\n", "${a}{b}", "`${a}{b}` becomes a variable again"),
            ("variables: {b: word}\n", "${HOME}", "no variable `HOME`; there are: b"),
            ("", "${HOME}", "no variable `HOME`; there are: none"),
        ] {
            let text = format!("{variables}{DATA}model: {{init: \"{init}\"}}\n");
            let message = Recipe::read(&write(folder.path(), "b.yaml", &text), &[]).unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn a_circle_or_a_long_chain_of_recipes_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "a.yaml", "extends: a.yaml\n");
        assert!(Recipe::read(&path, &[]).unwrap_err().to_string().contains("circle"));
        write(folder.path(), "0.yaml", DATA);
        for number in 1..=DEPTH + 1 {
            write(folder.path(), &format!("{number}.yaml"), &format!("extends: {}.yaml\n", number - 1));
        }
        Recipe::read(&folder.path().join(format!("{DEPTH}.yaml")), &[]).unwrap();
        let message = Recipe::read(&folder.path().join(format!("{}.yaml", DEPTH + 1)), &[]).unwrap_err().to_string();
        assert!(message.contains("more than 16 recipes extend one another"), "{message}");
    }

    #[test]
    fn a_file_that_is_no_recipe_is_refused_before_it_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "a.yaml", &format!("{DATA}# {}\n", "x".repeat(RECIPE_BYTES as usize)));
        let message = Recipe::read(&path, &[]).unwrap_err().to_string();
        assert!(message.contains("a.yaml") && message.contains("1048576"), "{message}");
        let key = format!("{}=1", vec!["a"; 30_000].join("."));
        let small = write(folder.path(), "b.yaml", DATA);
        let message = Recipe::read(&small, &[key]).unwrap_err().to_string();
        assert!(message.contains("30000 parts; allowed: at most 16"), "{}", &message[message.len() - 200..]);
    }

    #[test]
    fn a_resolved_recipe_reads_back_as_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(
            folder.path(),
            "a.yaml",
            &format!(
                "{DATA}model: {{norm: {{kind: kl_norm, layers: [0, 2], log_sigma: channel}}, architecture: {{hidden_size: 64}}}}\n"
            ),
        );
        let recipe = Recipe::read(&path, &[]).unwrap();
        let again = write(folder.path(), "b.yaml", &recipe.to_yaml().unwrap());
        assert_eq!(Recipe::read(&again, &[]).unwrap().model, recipe.model);
    }
}
