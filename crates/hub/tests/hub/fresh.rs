//! An empty cache and a server that works.

use super::*;

fn index(shards: &[&str]) -> Vec<u8> {
    let map: BTreeMap<_, _> = shards.iter().enumerate().map(|(number, shard)| (format!("w{number}"), shard)).collect();
    serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string().into_bytes()
}

#[test]
fn each_form_of_weights_is_fetched_and_only_the_best_that_is_there() {
    let safe = index(&["model-1.safetensors", "model-2.safetensors", "model-1.safetensors"]);
    let pickle = index(&["pytorch_model-1.bin"]);
    let all: [(&str, &[u8]); 9] = [
        ("config.json", b"{}"),
        ("vocab.json", b"{\"a\": 0}"),
        ("pytorch_model.bin.index.json", &pickle),
        ("pytorch_model-1.bin", b"p1"),
        ("pytorch_model.bin", b"p"),
        ("model.safetensors.index.json", &safe),
        ("model-1.safetensors", b"s1"),
        ("model-2.safetensors", b"s2"),
        ("model.safetensors", b"s"),
    ];
    let cases: [(usize, &[&str]); 4] = [
        (4, &["pytorch_model.bin.index.json", "pytorch_model-1.bin"]),
        (5, &["pytorch_model.bin"]),
        (8, &["model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"]),
        (9, &["model.safetensors"]),
    ];
    for (count, weights) in cases {
        let server = Server::new(&all[..count]);
        let place = Place::new(&server);
        let fetched = place.fetch().unwrap();
        assert_eq!(fetched.files[..2], ["config.json", "vocab.json"]);
        assert_eq!(fetched.files[2..], *weights);
        for file in &fetched.files {
            let served = all.iter().find(|(name, _)| name == file).unwrap().1;
            assert_eq!(fs::read(fetched.folder.join(file)).unwrap(), served, "{file}");
        }
        assert_eq!(fs::read_dir(&fetched.folder).unwrap().count(), fetched.files.len());
        assert_eq!(server.bodies(), fetched.files.len());
        assert!(fetched.warnings.is_empty());
    }
}

#[test]
fn the_cache_is_laid_out_as_python_lays_it_out() {
    let server = small();
    let place = Place::new(&server);
    let fetched = place.fetch().unwrap();
    let commit = commit_of(&fetched);
    assert_eq!(fs::read_to_string(place.root().join("refs/main")).unwrap(), commit);
    for (file, content) in [("config.json", b"{}".to_vec()), ("model.safetensors", noise(70_000))] {
        let etag = server::etag(file, &content);
        assert_eq!(fs::read_link(fetched.folder.join(file)).unwrap(), Path::new("../../blobs").join(&etag));
        assert_eq!(fs::read(place.blob(&etag)).unwrap(), content);
    }
    assert!(!place.root().join(".klang/incoming").exists());
    assert!(!fetched.folder.join("README.md").exists());
}

#[test]
fn a_revision_is_resolved_and_kept_under_its_name() {
    let server = small();
    server.state().revisions.insert("refs/pr/1".into(), COMMIT.into());
    let place = Place::new(&server);
    let fetched = fetch(&place.settings, &name("owner/name@refs/pr/1"), None, &mut ()).unwrap();
    commit_of(&fetched);
    assert_eq!(fs::read_to_string(place.root().join("refs/refs/pr/1")).unwrap(), COMMIT);
    assert!(!place.root().join("refs/main").exists());
    assert!(server.state().log[0].starts_with("GET /api/models/owner/name/revision/refs%2Fpr%2F1"));
}

#[test]
fn progress_adds_up_to_each_file() {
    let server = small();
    let mut told = Told::default();
    fetch(&Place::new(&server).settings, &name(MODEL), None, &mut told).unwrap();
    let expected = [("config.json".into(), Some(2), 2), ("model.safetensors".into(), Some(70_000), 70_000)];
    assert_eq!(told.files, expected);
    assert_eq!(told.finished, 2);
}

#[test]
fn the_adapter_of_the_language_is_taken_along() {
    let server = small();
    for (file, content) in [("adapter.tur.bin", "t"), ("adapter.deu.safetensors", "d"), ("adapter.deu.bin", "x")] {
        server.state().files.insert(file.into(), content.into());
    }
    let place = Place::new(&server);
    for (language, file) in [("tur", "adapter.tur.bin"), ("deu", "adapter.deu.safetensors")] {
        let fetched = fetch(&place.settings, &name(MODEL), Some(language), &mut ()).unwrap();
        assert!(fetched.files.iter().any(|name| name == file), "{:?}", fetched.files);
    }
    assert!(!contents(&place.root()).iter().any(|(path, _)| path.ends_with("adapter.deu.bin")));
    let before = server.state().log.len();
    let error = fetch(&place.settings, &name(MODEL), Some("fra"), &mut ()).unwrap_err();
    assert!(matches!(&error, Error::NoSuchLanguage { available, .. } if available == "deu, tur"), "{error}");
    assert_eq!(server.state().log.len(), before + 1, "nothing is fetched once the language is known to be missing");
}

#[test]
fn the_token_is_sent_and_shown_to_nobody_else() {
    let server = small();
    let mut place = Place::new(&server);
    place.fetch().unwrap();
    assert!(server.state().tokens.is_empty());
    place.settings.token = Some("hf_secret".into());
    server.state().refuses = Some((403, "GatedRepo"));
    let error = place.fetch().unwrap_err().to_string();
    assert_eq!(server.state().tokens, ["Bearer hf_secret"]);
    assert!(!error.contains("hf_secret") && error.contains("now set"), "{error}");
}
