//! A cache that holds something: a second run, no connection, what Python left, what has gone bad.

use super::*;
use server::etag;

/// A cache as Python leaves it: blobs, links and a reference, and nothing of klang's.
fn of_python(place: &Place, files: &[(&str, &[u8])]) {
    let snapshot = place.root().join("snapshots").join(COMMIT);
    for folder in [&snapshot, &place.root().join("blobs"), &place.root().join("refs")] {
        fs::create_dir_all(folder).unwrap();
    }
    for (file, content) in files {
        let etag = etag(file, content);
        fs::write(place.blob(&etag), content).unwrap();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), snapshot.join(file)).unwrap();
    }
    fs::write(place.root().join("refs/main"), COMMIT).unwrap();
}

#[test]
fn a_second_run_asks_for_the_commit_and_nothing_else() {
    let server = small();
    let place = Place::new(&server);
    let first = place.fetch().unwrap();
    let before = server.state().log.len();
    let mut told = Told::default();
    assert_eq!(fetch(&place.settings, &name(MODEL), None, &mut told).unwrap(), first);
    assert_eq!(server.state().log[before..].len(), 1);
    assert!(told.files.is_empty());
}

#[test]
fn a_full_commit_that_is_complete_needs_no_connection() {
    let server = small();
    let place = Place::new(&server);
    let pinned = name(&format!("{MODEL}@{COMMIT}"));
    let first = fetch(&place.settings, &pinned, None, &mut ()).unwrap();
    let before = server.state().log.len();
    assert_eq!(fetch(&place.settings, &pinned, None, &mut ()).unwrap(), first);
    assert_eq!(server.state().log.len(), before);
    fs::remove_file(first.folder.join("config.json")).unwrap();
    assert_eq!(fetch(&place.settings, &pinned, None, &mut ()).unwrap(), first);
    assert!(server.state().log.len() > before && first.folder.join("config.json").is_file());
}

#[test]
fn what_python_has_downloaded_is_used() {
    let weights = noise(LARGE);
    let files: [(&str, &[u8]); 2] = [("config.json", b"{}"), ("model.safetensors", &weights)];
    let server = Server::new(&files);
    let place = Place::new(&server);
    of_python(&place, &files);
    place.fetch().unwrap();
    assert_eq!(server.bodies(), 0);
    let offline = fetch(&place.offline(), &name(MODEL), None, &mut ()).unwrap();
    assert!(offline.warnings.is_empty(), "{:?}", offline.warnings);
}

#[test]
fn a_blob_of_another_commit_is_linked_and_not_downloaded() {
    let server = small();
    let place = Place::new(&server);
    let fetched = place.fetch().unwrap();
    fs::remove_dir_all(&fetched.folder).unwrap();
    let before = server.bodies();
    place.fetch().unwrap();
    assert_eq!(server.bodies(), before);
    assert_eq!(fs::read(fetched.folder.join("model.safetensors")).unwrap(), noise(70_000));
}

#[test]
fn without_a_connection_the_cache_serves_and_says_what_it_lacks() {
    let server = small();
    server.state().files.insert("adapter.tur.bin".into(), b"t".into());
    let place = Place::new(&server);
    let absent = fetch(&place.offline(), &name(MODEL), None, &mut ()).unwrap_err();
    assert!(matches!(&absent, Error::Offline { what, .. } if what == "its revision main"), "{absent}");
    assert!(absent.to_string().contains("HF_HUB_OFFLINE is set"), "{absent}");
    assert!(!place.root().exists(), "a run without a connection leaves no trace");

    let fetched = place.fetch().unwrap();
    let asked = server.state().log.len();
    for text in [MODEL, "owner/name@main", &format!("{MODEL}@{COMMIT}")] {
        assert_eq!(fetch(&place.offline(), &name(text), None, &mut ()).unwrap(), fetched);
    }
    let file = fetch(&place.offline(), &name(MODEL), Some("tur"), &mut ()).unwrap_err();
    assert!(matches!(&file, Error::Offline { what, .. } if what == "adapter.tur.bin"), "{file}");
    assert_eq!(server.state().log.len(), asked);
}

#[test]
fn offline_a_snapshot_of_python_lacks_what_it_does_not_hold() {
    let server = small();
    for (files, lacks) in [(&[][..], "config.json"), (&[("config.json", &b"{}"[..])][..], "any file of weights")] {
        let place = Place::new(&server);
        of_python(&place, files);
        let error = fetch(&place.offline(), &name(MODEL), None, &mut ()).unwrap_err();
        assert!(matches!(&error, Error::Offline { what, .. } if what == lacks), "{error}");
    }
}

#[test]
fn a_server_that_is_gone_is_replaced_by_the_cache_with_a_warning() {
    let server = small();
    let mut place = Place::new(&server);
    place.settings.endpoint = "http://127.0.0.1:1".into();
    let error = place.fetch().unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    place.settings.endpoint = server.endpoint.clone();
    let fetched = place.fetch().unwrap();
    place.settings.endpoint = "http://127.0.0.1:1".into();
    let again = place.fetch().unwrap();
    assert_eq!(again.folder, fetched.folder);
    assert!(again.warnings.len() == 1 && again.warnings[0].contains(COMMIT), "{:?}", again.warnings);
    server.state().refuses = Some((503, ""));
    place.settings.endpoint = server.endpoint.clone();
    assert_eq!(place.fetch().unwrap().warnings.len(), 1);
}

#[test]
fn a_small_file_that_went_bad_is_found_removed_and_fetched_anew() {
    let server = small();
    let place = Place::new(&server);
    let fetched = place.fetch().unwrap();
    let config = place.blob(&etag("config.json", b"{}"));
    fs::write(&config, "[]").unwrap();
    let error = place.fetch().unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { file, removed, .. } if file == "config.json" && removed == "was removed")
    );
    assert!(!config.exists() && fs::symlink_metadata(fetched.folder.join("config.json")).is_err());
    assert_eq!(place.fetch().unwrap(), fetched);
    assert_eq!(fs::read(config).unwrap(), b"{}");
}

#[test]
fn a_small_file_is_compared_even_where_its_length_and_time_are_the_old_ones() {
    let server = small();
    let place = Place::new(&server);
    place.fetch().unwrap();
    let config = fs::File::options().write(true).open(place.blob(&etag("config.json", b"{}"))).unwrap();
    let time = config.metadata().unwrap().modified().unwrap();
    fs::write(place.blob(&etag("config.json", b"{}")), "[]").unwrap();
    config.set_modified(time).unwrap();
    assert!(matches!(place.fetch().unwrap_err(), Error::Corrupt { .. }));
}

#[test]
fn large_weights_that_went_bad_are_found_with_and_without_a_record() {
    let weights = noise(LARGE);
    let files: [(&str, &[u8]); 2] = [("config.json", b"{}"), ("model.safetensors", &weights)];
    let server = Server::new(&files);
    let mut other = weights.clone();
    other[LARGE - 1] ^= 1;
    for bad in [&weights[..LARGE - 1], &other] {
        for recorded in [true, false] {
            let place = Place::new(&server);
            of_python(&place, &files);
            if recorded {
                place.fetch().unwrap();
            }
            let blob = place.blob(&etag("model.safetensors", &weights));
            fs::write(&blob, bad).unwrap();
            let error = fetch(&place.offline(), &name(MODEL), None, &mut ()).unwrap_err();
            assert!(
                matches!(&error, Error::Corrupt { file, .. } if file == "model.safetensors"),
                "{recorded}: {error}"
            );
            assert!(!blob.exists());
            assert_eq!(fs::read(place.fetch().unwrap().folder.join("model.safetensors")).unwrap(), weights);
        }
    }
}

#[test]
fn files_that_are_no_links_are_compared_with_the_server_and_warned_of_without_it() {
    let server = small();
    let place = Place::new(&server);
    of_python(&place, &[("config.json", b"{}")]);
    let plain = place.root().join("snapshots").join(COMMIT).join("model.safetensors");
    fs::write(&plain, noise(70_000)).unwrap();
    let offline = fetch(&place.offline(), &name(MODEL), None, &mut ()).unwrap();
    assert!(offline.warnings.len() == 1 && offline.warnings[0].contains("model.safetensors"), "{:?}", offline.warnings);
    assert!(place.fetch().unwrap().warnings.is_empty());
    assert_eq!(server.bodies(), 0);
    assert!(fetch(&place.offline(), &name(MODEL), None, &mut ()).unwrap().warnings.is_empty());
    fs::write(&plain, noise(69_999)).unwrap();
    assert!(matches!(place.fetch().unwrap_err(), Error::Corrupt { .. }));
    assert!(!plain.exists());
}

#[test]
fn a_cache_that_cannot_be_written_is_read() {
    let server = small();
    let place = Place::new(&server);
    let fetched = place.fetch().unwrap();
    let klang = place.root().join(".klang");
    fs::remove_dir_all(&klang).unwrap();
    fs::write(&klang, "in the way, even of root").unwrap();
    assert_eq!(place.fetch().unwrap(), fetched);
    assert_eq!(fetch(&place.offline(), &name(MODEL), None, &mut ()).unwrap(), fetched);
}
