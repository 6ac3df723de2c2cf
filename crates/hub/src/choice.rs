//! Which files of a repository are fetched: the configuration, one form of the weights, and what lies beside them.

use std::collections::{BTreeMap, BTreeSet};

/// What every model has.
pub(crate) const CONFIG: &str = "config.json";
/// What is taken along where the repository has it.
const BESIDE: [&str; 5] =
    ["vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "preprocessor_config.json"];
/// The forms weights come in, the best first: safetensors before pickle, whole before sharded.
const WEIGHTS: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
/// The ends of an adapter's name, the better first.
const ADAPTER_ENDS: [&str; 2] = [".safetensors", ".bin"];
/// The largest known models have some 200 shards.
const MOST_SHARDS: usize = 1000;

/// The files to fetch, as far as the list of files tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Everything but shards, the small files first.
    pub files: Vec<String>,
    /// The one of `files` that names the shards.
    pub index: Option<&'static str>,
}

/// What a repository lacks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// `config.json`.
    Config,
    /// Weights in any form.
    Weights,
    /// An adapter for the language; these it has.
    Language(Vec<String>),
}

/// Chooses from the names of the repository's files. Any other name is never asked for, whatever it holds.
pub(crate) fn choose(names: &[String], language: Option<&str>) -> Result<Choice, Lack> {
    let has = |name: &str| names.iter().any(|other| other == name);
    if !has(CONFIG) {
        return Err(Lack::Config);
    }
    let weights = WEIGHTS.into_iter().find(|name| has(name)).ok_or(Lack::Weights)?;
    let beside = BESIDE.into_iter().filter(|name| has(name));
    let mut files: Vec<String> = [CONFIG].into_iter().chain(beside).map(Into::into).collect();
    if let Some(language) = language {
        let adapter = ADAPTER_ENDS.into_iter().map(|end| format!("adapter.{language}{end}")).find(|name| has(name));
        files.push(adapter.filter(|_| is_language(language)).ok_or_else(|| Lack::Language(languages(names)))?);
    }
    files.push(weights.into());
    Ok(Choice { files, index: weights.ends_with(".index.json").then_some(weights) })
}

/// Whether a file holds weights, which may be of any size.
pub(crate) fn is_weights(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}

/// The shards that an index names, or what is wrong with it.
pub(crate) fn shards(index: &str, content: &[u8]) -> Result<Vec<String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let Index { weight_map } = serde_json::from_slice(content).map_err(|error| format!("is no index: {error}"))?;
    let shards: BTreeSet<String> = weight_map.into_values().collect();
    if shards.is_empty() || shards.len() > MOST_SHARDS {
        return Err(format!("names {} shards; allowed are 1 to {MOST_SHARDS}", shards.len()));
    }
    let end = if index.contains("safetensors") { ".safetensors" } else { ".bin" };
    match shards.iter().find(|shard| !is_plain(shard) || !shard.ends_with(end)) {
        Some(shard) => {
            let shard: String = shard.chars().take(200).collect();
            Err(format!("names the shard {shard:?}; allowed is a name of A-Z a-z 0-9 . _ - that ends in {end}"))
        }
        None => Ok(shards.into_iter().collect()),
    }
}

/// A file's name that stays in its folder and in a URL.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.len() <= 128 && !name.starts_with('.') && name.bytes().all(allowed)
}

/// A language as adapters name it, such as `tur` or `azj-script_latin`.
fn is_language(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn languages(names: &[String]) -> Vec<String> {
    let language = |name: &String| {
        let rest = name.strip_prefix("adapter.")?;
        let language = ADAPTER_ENDS.into_iter().find_map(|end| rest.strip_suffix(end))?;
        is_language(language).then(|| language.to_owned())
    };
    names.iter().filter_map(language).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], language: Option<&str>) -> Result<Choice, Lack> {
        choose(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>(), language)
    }

    #[test]
    fn one_form_of_the_weights_is_taken_and_the_better_one() {
        let mut names = vec!["README.md", "config.json", "vocab.json", "flax_model.msgpack", "../../x"];
        assert_eq!(chosen(&names, None), Err(Lack::Weights));
        for (position, weights) in WEIGHTS.into_iter().enumerate().rev() {
            names.push(weights);
            let choice = chosen(&names, None).unwrap();
            assert_eq!(choice.files, ["config.json", "vocab.json", weights]);
            assert_eq!(choice.index.is_some(), position % 2 == 1, "{weights}");
        }
    }

    #[test]
    fn an_adapter_is_taken_by_language_and_the_others_are_listed() {
        let mut names = vec!["config.json", "model.safetensors", "adapter.tur.bin", "adapter.azj-script_latin.bin"];
        assert_eq!(chosen(&names, Some("tur")).unwrap().files[1], "adapter.tur.bin");
        names.push("adapter.tur.safetensors");
        assert_eq!(chosen(&names, Some("tur")).unwrap().files[1], "adapter.tur.safetensors");
        assert!(!chosen(&names, None).unwrap().files.iter().any(|name| name.contains("adapter")));
        let has = vec!["azj-script_latin".to_owned(), "tur".to_owned()];
        assert_eq!(chosen(&names, Some("deu")), Err(Lack::Language(has.clone())));
        names.push("adapter.../x.bin");
        assert_eq!(chosen(&names, Some("../x")), Err(Lack::Language(has)));
    }

    #[test]
    fn shards_are_plain_names_with_the_right_end() {
        let index = |shard: &str| {
            let content = serde_json::json!({"weight_map": {"a": "model-1.safetensors", "b": shard}}).to_string();
            shards("model.safetensors.index.json", content.as_bytes())
        };
        assert_eq!(index("model-2.safetensors").unwrap(), ["model-1.safetensors", "model-2.safetensors"]);
        for shard in
            ["../x.safetensors", "a/b.safetensors", "/x.safetensors", "a\\b.safetensors", "x.bin", "", ".safetensors"]
        {
            assert!(index(shard).unwrap_err().contains("names the shard"), "{shard}");
        }
        assert!(shards("x", b"{}").unwrap_err().contains("no index"));
        assert!(shards("x", br#"{"weight_map": {}}"#).unwrap_err().contains("0 shards"));
    }
}
