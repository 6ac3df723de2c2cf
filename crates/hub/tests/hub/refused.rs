//! Servers that say no, and repositories that are none of klang's or out to do harm.

use super::*;

fn refusal(status: u16, code: &'static str, model: &str) -> Error {
    let server = small();
    server.state().refuses = Some((status, code));
    let place = Place::new(&server);
    let error = fetch(&place.settings, &name(model), None, &mut ()).unwrap_err();
    assert!(place.shared().is_empty());
    error
}

#[test]
fn an_unknown_model_is_told_from_one_that_is_not_for_everybody() {
    for (status, code) in [(404, ""), (404, "RepoNotFound"), (401, "RepoNotFound")] {
        let error = refusal(status, code, MODEL);
        assert!(matches!(error, Error::NoSuchModel { .. }), "{status} {code}: {error}");
        assert!(error.to_string().contains("set HF_TOKEN (now not set)"), "{error}");
    }
    for (status, code) in [(401, ""), (401, "GatedRepo"), (403, "GatedRepo"), (403, "")] {
        let error = refusal(status, code, MODEL);
        assert!(matches!(error, Error::Refused { status: told, .. } if told == status), "{status} {code}: {error}");
    }
}

#[test]
fn an_unknown_revision_is_named() {
    let server = small();
    let place = Place::new(&server);
    let error = fetch(&place.settings, &name("owner/name@v9"), None, &mut ()).unwrap_err();
    assert!(matches!(&error, Error::NoSuchRevision { revision, .. } if revision == "v9"), "{error}");
    let error = refusal(404, "", "owner/name@v9");
    assert!(matches!(error, Error::NoSuchModel { .. }), "{error}");
    let elsewhere = fetch(&place.settings, &name("owner/other"), None, &mut ()).unwrap_err();
    assert!(matches!(&elsewhere, Error::NoSuchModel { model, .. } if model == "owner/other"), "{elsewhere}");
}

#[test]
fn a_repository_without_config_or_weights_is_no_model() {
    for (files, lacks) in [(&[("model.safetensors", &b"s"[..])], "config.json"), (&[("config.json", b"{}")], "weights")]
    {
        let server = Server::new(files);
        let error = Place::new(&server).fetch().unwrap_err();
        assert!(matches!(error, Error::NotAModel { missing, .. } if missing == lacks), "{error}");
        assert_eq!(server.bodies(), 0);
    }
}

#[test]
fn a_hostile_shard_is_not_asked_for() {
    for shard in ["../../../x.safetensors", "a/b.safetensors", "/x.safetensors", "x.safetensors?y"] {
        let index = serde_json::json!({"weight_map": {"w": shard}}).to_string();
        let server = Server::new(&[("config.json", b"{}"), ("model.safetensors.index.json", index.as_bytes())]);
        server.state().listed.push(shard.into());
        let place = Place::new(&server);
        let error = place.fetch().unwrap_err();
        assert!(matches!(&error, Error::Index { why, .. } if why.contains("names the shard")), "{error}");
        assert_eq!(server.bodies(), 2);
        assert!(!place.root().join("refs").exists());
    }
}

#[test]
fn a_shard_that_the_repository_lacks_is_an_error_before_it_is_asked_for() {
    let index = br#"{"weight_map": {"w": "model-2.safetensors"}}"#;
    let server = Server::new(&[("config.json", b"{}"), ("model.safetensors.index.json", index)]);
    let error = Place::new(&server).fetch().unwrap_err();
    assert!(matches!(&error, Error::Index { why, .. } if why.contains("model-2.safetensors")), "{error}");
}

#[test]
fn hostile_names_in_the_list_of_files_lead_nowhere() {
    let server = small();
    let hostile = ["../../x", "/etc/x", "adapter.../../x.bin", "config.json/../../x", "vocab.json\n"];
    server.state().listed.extend(hostile.map(String::from));
    let place = Place::new(&server);
    let fetched = place.fetch().unwrap();
    assert_eq!(fetched.files, ["config.json", "model.safetensors"]);
    assert!(!server.state().log.iter().any(|line| line.contains("/x")));
    assert_eq!(fs::read_dir(&place.settings.cache).unwrap().count(), 1);
    let error = fetch(&place.settings, &name(MODEL), Some("../../x"), &mut ()).unwrap_err();
    assert!(matches!(&error, Error::NoSuchLanguage { available, .. } if available == "none at all"), "{error}");
}

#[test]
fn a_commit_that_is_no_commit_is_refused() {
    let server = small();
    for commit in ["../../x", "main", ""] {
        server.state().revisions.insert("main".into(), commit.into());
        let place = Place::new(&server);
        assert!(matches!(place.fetch().unwrap_err(), Error::Answer { .. }));
        assert!(!place.root().exists());
    }
}

#[test]
fn a_listed_file_that_is_not_there_is_an_answer_without_use() {
    let server = small();
    server.state().listed.push("vocab.json".into());
    let error = Place::new(&server).fetch().unwrap_err();
    assert!(matches!(&error, Error::Answer { what, .. } if what == "vocab.json"), "{error}");
}

#[test]
fn nothing_but_weights_may_be_huge() {
    let server = small();
    server.fault("config.json", server::Fault::Longer(1 << 30));
    let error = Place::new(&server).fetch().unwrap_err();
    assert!(matches!(&error, Error::Answer { why, .. } if why.contains("at most")), "{error}");
    assert_eq!(server.bodies(), 0);
}

#[test]
fn a_model_that_another_process_fetches_is_waited_for_and_then_left_alone() {
    let server = small();
    let mut place = Place::new(&server);
    place.settings.patience = Duration::from_millis(200);
    fs::create_dir_all(place.root().join(".klang")).unwrap();
    let held = fs::File::create(place.root().join(".klang/lock")).unwrap();
    held.lock().unwrap();
    let error = place.fetch().unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert_eq!(server.bodies(), 0);
    drop(held);
    place.fetch().unwrap();
}
