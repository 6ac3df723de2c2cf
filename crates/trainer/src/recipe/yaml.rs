//! YAML that nobody vouches for. It is data alone: nothing in it is run, included or taken from the environment.

use serde::de::DeserializeOwned;

use super::RECIPE_BYTES;

/// Reads a text of YAML, with aliases taken in and all, within what a recipe or an experiment could ever need: thousands of
/// values, a few levels. What a few lines of aliases unfold to is counted too.
///
/// # Errors
/// What is wrong, with line and column.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: 32,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
            max_documents: 1,
            max_total_scalar_bytes: RECIPE_BYTES as usize,
            max_recorded_anchor_bytes: RECIPE_BYTES as usize,
        },
    };
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let message = error.to_string();
        let allowed = "allowed: 32 levels, 100,000 values, 1,000 aliases, 1 MiB of text, aliases taken in";
        if message.contains("budget breached") { format!("{message}\n{allowed}") } else { message }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refused(text: &str) -> String {
        parse::<Value>(text).unwrap_err()
    }

    #[test]
    fn aliases_are_taken_in() {
        assert_eq!(parse::<Value>("a: &x [1, 2]\nb: *x\n").unwrap(), json!({"a": [1, 2], "b": [1, 2]}));
    }

    #[test]
    fn aliases_of_aliases_are_refused_before_they_unfold() {
        let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_string();
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 9].join(", ");
            text += &format!("a{level}: &a{level} [{below}]\n");
        }
        assert!(refused(&text).contains("allowed: 32 levels, 100,000 values"), "{}", refused(&text));
        // One long text many times over is as large.
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 16), vec!["*a"; 900].join(", "));
        assert!(refused(&long).contains("ScalarBytes"), "{}", refused(&long));
        assert!(refused("a: &a [*a]\n").contains("recursive"));
    }

    #[test]
    fn depth_is_bounded() {
        for text in ["[".repeat(100_000), "{a: ".repeat(50_000), "- ".repeat(50_000)] {
            let message = refused(&text);
            assert!(message.contains("recursion limit") || message.contains("Depth"), "{message}");
        }
        let deep: String = (0..1000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert!(refused(&deep).contains("Depth"));
        assert!(parse::<Value>(&format!("{}{}", "[".repeat(30), "]".repeat(30))).is_ok());
    }

    #[test]
    fn nothing_is_included_run_or_taken_from_the_environment() {
        let text = "a: !include /etc/hostname\nb: ${HOME}\nc: !!python/object/apply:os.system [ls]\nd: !env HOME\n";
        // Tags mean nothing, and what they stand before is what it says.
        let plain = json!({"a": "/etc/hostname", "b": "${HOME}", "c": ["ls"], "d": "HOME"});
        assert_eq!(parse::<Value>(text).unwrap(), plain);
        assert!(refused("a: 1\n---\nb: 2\n").contains("Documents"));
        assert_eq!(parse::<Value>("---\na: 1\n").unwrap(), json!({"a": 1}));
    }
}
