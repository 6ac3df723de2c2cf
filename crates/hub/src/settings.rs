//! What the environment says about the hub, read in one place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt, fs};

use crate::Error;

const ENDPOINT: &str = "https://huggingface.co";
/// No token is longer; a file that is, is none.
const LONGEST_TOKEN: u64 = 4096;

/// Where models come from, where they go, and how patiently. The variables are those of Python's `huggingface_hub`.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The cache: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `huggingface/hub` in `XDG_CACHE_HOME` or `~/.cache`.
    pub cache: PathBuf,
    /// The server, `HF_ENDPOINT`, without a slash at its end.
    pub endpoint: String,
    /// `HF_TOKEN`, else what the file `HF_TOKEN_PATH` or `HF_HOME/token` holds. `hf-hub` also shows it to the host that
    /// the server refers it to for a large file: give none to a server that is not trusted with that.
    pub token: Option<String>,
    /// `HF_HUB_OFFLINE`: no connection is made.
    pub offline: bool,
    /// How long the server may stay silent, and how long another klang at the same model is waited for.
    pub patience: Duration,
    /// How often a file's download is tried, going on from where it broke; at least once.
    pub attempts: u32,
}

impl Settings {
    /// The defaults with this folder as the cache: the public server, no token.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            endpoint: ENDPOINT.into(),
            token: None,
            offline: false,
            patience: Duration::from_secs(30),
            attempts: 3,
        }
    }

    /// Reads the environment of this process.
    pub fn from_environment() -> Result<Self, Error> {
        Self::from_variables(|name| env::var_os(name))
    }

    /// As [`Settings::from_environment`], from wherever `variable` looks. An empty variable counts as none.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let user = given("HOME").map(PathBuf::from);
        let folder = |name: &str| given(name).map(|value| expand(Path::new(&value), user.as_deref()));
        let home = folder("HF_HOME")
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| user.as_ref().map(|user| user.join(".cache").join("huggingface")));
        let cache = folder("HF_HUB_CACHE").or_else(|| home.as_ref().map(|home| home.join("hub")));
        let mut settings = Self::new(cache.ok_or(Error::NoFolder)?);

        settings.token = given("HF_TOKEN").map(|token| token.to_string_lossy().trim().to_owned());
        if settings.token.is_none() {
            let file = folder("HF_TOKEN_PATH").or_else(|| home.map(|home| home.join("token")));
            settings.token = file.and_then(|file| token_in(&file));
        }
        settings.token = settings.token.filter(|token| !token.is_empty());
        if settings.token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            let given = "a text with spaces, control characters or letters beyond ASCII (not shown)".into();
            return Err(Error::Setting { variable: "HF_TOKEN", given, allowed: "a token, as the hub has issued it" });
        }
        if let Some(endpoint) = given("HF_ENDPOINT") {
            settings.endpoint = check_endpoint(&endpoint.to_string_lossy())?;
        }
        settings.offline = given("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value.to_string_lossy()));
        Ok(settings)
    }
}

impl fmt::Debug for Settings {
    /// Everything but the token.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .field("patience", &self.patience)
            .field("attempts", &self.attempts)
            .finish()
    }
}

/// An http or https address without a slash at its end.
pub(crate) fn check_endpoint(given: &str) -> Result<String, Error> {
    let endpoint = given.trim().trim_end_matches('/');
    let address = endpoint.parse::<ureq::http::Uri>().ok();
    let fits = address.is_some_and(|address| {
        matches!(address.scheme_str(), Some("http" | "https"))
            && address.host().is_some_and(|host| !host.is_empty())
            && address.query().is_none()
    });
    if !fits || endpoint.contains('#') {
        let allowed = "an address such as https://huggingface.co, beginning with http:// or https://";
        return Err(Error::Setting { variable: "HF_ENDPOINT", given: format!("{given:?}"), allowed });
    }
    Ok(endpoint.into())
}

/// A leading `~/` means the user's folder, as it does in Python.
fn expand(path: &Path, user: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), user) {
        (Ok(rest), Some(user)) => user.join(rest),
        _ => path.into(),
    }
}

/// The words that Python's `huggingface_hub` takes for yes.
fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].iter().any(|word| value.trim().eq_ignore_ascii_case(word))
}

fn token_in(file: &Path) -> Option<String> {
    let fits = fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LONGEST_TOKEN);
    if !fits {
        return None;
    }
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::from_variables(|name| {
            variables.iter().find(|(given, _)| *given == name).map(|(_, value)| OsString::from(value))
        })
    }

    fn cache(variables: &[(&str, &str)]) -> PathBuf {
        settings(variables).unwrap().cache
    }

    #[test]
    fn the_cache_is_found_as_python_finds_it() {
        let mut variables = vec![("HOME", "/u")];
        assert_eq!(cache(&variables), Path::new("/u/.cache/huggingface/hub"));
        variables.push(("XDG_CACHE_HOME", "/x"));
        assert_eq!(cache(&variables), Path::new("/x/huggingface/hub"));
        variables.push(("HF_HOME", "~/hf"));
        assert_eq!(cache(&variables), Path::new("/u/hf/hub"));
        variables.push(("HF_HUB_CACHE", "/c"));
        assert_eq!(cache(&variables), Path::new("/c"));
        assert!(matches!(settings(&[("HF_HOME", "")]), Err(Error::NoFolder)));
    }

    #[test]
    fn the_token_comes_from_the_variable_then_from_the_file_and_is_not_shown() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let path = home.path().to_str().unwrap();
        assert_eq!(settings(&[("HF_HOME", path)]).unwrap().token.as_deref(), Some("hf_file"));
        let both = settings(&[("HF_HOME", path), ("HF_TOKEN", "hf_variable")]).unwrap();
        assert_eq!(both.token.as_deref(), Some("hf_variable"));
        assert!(!format!("{both:?}").contains("hf_variable"));
        let refusal = settings(&[("HF_HOME", path), ("HF_TOKEN", "se\ncret")]).unwrap_err().to_string();
        assert!(refusal.contains("HF_TOKEN") && !refusal.contains("cret"), "{refusal}");
    }

    #[test]
    fn an_endpoint_is_an_address() {
        let endpoint = |text| settings(&[("HOME", "/u"), ("HF_ENDPOINT", text)]).map(|settings| settings.endpoint);
        assert_eq!(endpoint("http://127.0.0.1:80/hub/").unwrap(), "http://127.0.0.1:80/hub");
        for text in ["huggingface.co", "ftp://a", "https://", "http://a b", "http://a?b", "http://a#b", "/x"] {
            assert!(matches!(endpoint(text), Err(Error::Setting { variable: "HF_ENDPOINT", .. })), "{text}");
        }
    }

    #[test]
    fn offline_is_what_python_takes_for_yes() {
        let offline = |text| settings(&[("HOME", "/u"), ("HF_HUB_OFFLINE", text)]).unwrap().offline;
        assert!(["1", "ON", "true", "Yes"].into_iter().all(offline));
        assert!(!["", "0", "off", "false"].into_iter().any(offline));
    }
}
