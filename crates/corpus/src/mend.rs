//! Manifests without what is wrong, and beside them what was left out and why.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::manifest::to_json_lines;
use crate::{Error, Finding, Source, Utterance, files};

/// A manifest that was mended.
#[derive(Clone, Debug, PartialEq)]
pub struct Mended {
    /// The mended manifest.
    pub manifest: PathBuf,
    /// Utterances in it.
    pub kept: usize,
    /// What was left out: a manifest of its own, each line with `reasons`.
    pub list: PathBuf,
    /// Utterances in that.
    pub left_out: usize,
}

/// Writes each source without the utterances that a finding leaves out ([`Finding::leaves_out`]), as JSON lines whose paths
/// resolve from there: to `OUT/NAME.jsonl`, or for a single source to `OUT` itself where it ends in `.jsonl`. What was left
/// out is beside it, in `NAME.left-out.jsonl`.
///
/// # Errors
/// Before anything is written: a target that is one of the sources, or is there already without `overwrite`; two sources of
/// one name; a source of which nothing remains. Then what writing fails on; each file is whole or not there.
pub fn mend(sources: &[Source<'_>], findings: &[Finding], out: &Path, overwrite: bool) -> Result<Vec<Mended>, Error> {
    let targets = mend_targets(sources, out, overwrite)?;
    let mut reasons = Reasons::new();
    for finding in findings.iter().filter(|finding| finding.leaves_out()) {
        reasons.entry((&finding.source, finding.line, &finding.id)).or_default().push(finding);
    }
    let mut parts = Vec::new();
    for source in sources {
        let (left_out, kept): (Vec<&Utterance>, Vec<&Utterance>) =
            source.utterances.iter().partition(|one| why(&reasons, source, one).is_some());
        if kept.is_empty() {
            let utterances = source.utterances.len();
            let first = left_out.first().and_then(|one| why(&reasons, source, one)?.first());
            let first = first.map_or(String::new(), |finding| finding.what.clone());
            return Err(Error::NothingUsable { path: source.path.to_path_buf(), utterances, first });
        }
        parts.push((source, kept, left_out));
    }
    for (manifest, _) in &targets {
        let folder = files::folder_of(manifest);
        fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, error))?;
    }
    let mut mended = Vec::new();
    for ((source, kept, left_out), (manifest, list)) in parts.into_iter().zip(targets) {
        let own = |utterances: &[&Utterance]| utterances.iter().map(|&one| one.clone()).collect::<Vec<Utterance>>();
        let mut lines = Vec::new();
        for one in &left_out {
            let found = why(&reasons, source, one).map(Vec::as_slice).unwrap_or_default();
            lines.extend(with_reasons(&list, one, found)?);
        }
        files::write(&list, &lines)?;
        files::write(&manifest, &to_json_lines(&manifest, &own(&kept))?)?;
        mended.push(Mended { manifest, kept: kept.len(), list, left_out: left_out.len() });
    }
    Ok(mended)
}

/// Findings by the utterance that they leave out: manifest, line, id.
type Reasons<'f> = HashMap<(&'f Path, usize, &'f str), Vec<&'f Finding>>;

fn why<'r>(reasons: &'r Reasons<'r>, source: &Source<'r>, one: &'r Utterance) -> Option<&'r Vec<&'r Finding>> {
    reasons.get(&(source.path, one.line, one.id.as_str()))
}

/// A line of what was left out.
fn with_reasons(list: &Path, utterance: &Utterance, findings: &[&Finding]) -> Result<Vec<u8>, Error> {
    // A duration that is no number cannot be written, and may be why it is left out.
    let duration = utterance.duration.filter(|seconds| seconds.is_finite());
    let line = to_json_lines(list, &[Utterance { duration, ..utterance.clone() }])?;
    let unwritable = |error: serde_json::Error| Error::Unwritable { id: utterance.id.clone(), what: error.to_string() };
    let mut value: Value = serde_json::from_slice(&line).map_err(unwritable)?;
    let reasons = findings.iter().map(|finding| json!({"kind": finding.kind, "what": finding.what})).collect();
    value["line"] = utterance.line.into();
    value["reasons"] = Value::Array(reasons);
    Ok((value.to_string() + "\n").into_bytes())
}

/// Where [`mend`] would write: for each source the mended manifest, and the list of what was left out.
///
/// # Errors
/// A target that is one of the sources, or is there already without `overwrite`, or would be written twice.
pub fn mend_targets(sources: &[Source<'_>], out: &Path, overwrite: bool) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
    let refuse = |path: &Path, what: String| Err(Error::Target { path: path.to_path_buf(), what });
    let is_file = files::extension(out) == "jsonl";
    if is_file && sources.len() > 1 {
        return refuse(out, format!("one file for {} manifests; give a folder", sources.len()));
    }
    let mut targets = Vec::new();
    let mut names: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let real = |path: &Path| fs::canonicalize(path).ok();
    for source in sources {
        let manifest = match is_file {
            true => out.to_path_buf(),
            false => out.join(format!("{}.jsonl", files::stem(source.path))),
        };
        let list = manifest.with_file_name(format!("{}.left-out.jsonl", files::stem(&manifest)));
        for target in [&manifest, &list] {
            if let Some(other) = names.insert(target.clone(), source.path) {
                let (one, other) = (source.path.display(), other.display());
                return refuse(target, format!("both {other} and {one} would be written there; mend them one by one"));
            }
            if let Some(input) =
                real(target).and_then(|target| sources.iter().find(|one| real(one.path).as_ref() == Some(&target)))
            {
                return refuse(
                    target,
                    format!("it is the manifest {} itself, which is never replaced", input.path.display()),
                );
            }
            if target.exists() && !overwrite {
                return refuse(target, "it is there already; choose another name, or --overwrite".into());
            }
        }
        targets.push((manifest, list));
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Kind;
    use crate::{Manifest, Severity};

    fn finding(source: &Path, utterance: &Utterance, severity: Severity, kind: Kind) -> Finding {
        Finding {
            severity,
            kind,
            source: source.into(),
            line: utterance.line,
            id: utterance.id.clone(),
            what: "bad".into(),
            audio: utterance.audio.clone(),
            offset: None,
            duration: None,
            text: None,
            badness: 0.0,
        }
    }

    /// `in/m.jsonl` of three utterances.
    fn corpus() -> (tempfile::TempDir, PathBuf, Vec<Utterance>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in/m.jsonl");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            &path,
            "{\"audio\":\"a.wav\",\"text\":\"x\",\"village\":\"here\"}\n{\"audio\":\"b.wav\"}\n{\"audio\":\"c.wav\"}\n",
        )
        .unwrap();
        let utterances = Manifest::read(&path).unwrap().utterances;
        (folder, path, utterances)
    }

    #[test]
    fn errors_are_left_out_with_the_reason_and_paths_resolve_from_the_new_place() {
        let (folder, path, utterances) = corpus();
        let source = Source { role: crate::Role::Split, path: &path, utterances: &utterances };
        let findings = [
            finding(&path, &utterances[1], Severity::Error, Kind::Silent),
            finding(&path, &utterances[0], Severity::Warning, Kind::Clipped),
            finding(&path, &utterances[2], Severity::Error, Kind::SharedSpeaker),
        ];
        let out = folder.path().join("out/deep");
        let mended = mend(&[source], &findings, &out, false).unwrap();
        assert_eq!((mended[0].kept, mended[0].left_out), (2, 1));
        let kept = Manifest::read(&out.join("m.jsonl")).unwrap().utterances;
        assert_eq!(kept.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(kept[0].columns["village"], "here");
        let parent = fs::canonicalize(kept[0].audio.parent().unwrap()).unwrap();
        assert_eq!(parent, fs::canonicalize(folder.path().join("in")).unwrap());
        let list: Value = serde_json::from_slice(&fs::read(&mended[0].list).unwrap()).unwrap();
        assert_eq!((&list["id"], &list["line"]), (&json!("b"), &json!(2)));
        assert_eq!(list["reasons"], json!([{"kind": "silent", "what": "bad"}]));
        assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
    }

    #[test]
    fn no_input_is_ever_replaced_and_nothing_else_unasked() {
        let (folder, path, utterances) = corpus();
        let before = fs::read(&path).unwrap();
        let source = Source { role: crate::Role::Split, path: &path, utterances: &utterances };
        let refused = |out: &Path, overwrite| mend(&[source], &[], out, overwrite).unwrap_err().to_string();
        for out in [folder.path().join("in"), path.clone(), folder.path().join("in/../in/m.jsonl")] {
            assert!(refused(&out, true).contains("never replaced"), "{}", out.display());
        }
        let out = folder.path().join("new.jsonl");
        mend(&[source], &[], &out, false).unwrap();
        assert!(refused(&out, false).contains("--overwrite"));
        mend(&[source], &[], &out, true).unwrap();
        assert!(mend(&[source, source], &[], &out, true).unwrap_err().to_string().contains("give a folder"));
        let two = mend(&[source, source], &[], &folder.path().join("two"), true).unwrap_err().to_string();
        assert!(two.contains("would be written there"), "{two}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_manifest_of_which_nothing_remains_is_not_written() {
        let (folder, path, utterances) = corpus();
        let source = Source { role: crate::Role::Split, path: &path, utterances: &utterances };
        let findings: Vec<Finding> =
            utterances.iter().map(|one| finding(&path, one, Severity::Error, Kind::Missing)).collect();
        let out = folder.path().join("out");
        let message = mend(&[source], &findings, &out, false).unwrap_err().to_string();
        assert!(message.contains("none of the 3 utterances") && !out.exists(), "{message}");
    }
}
