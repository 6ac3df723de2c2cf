//! Servers that break off, lie and fall silent: nothing of what they send is ever trusted.

use std::time::Instant;

use super::*;
use server::Fault;

const WEIGHTS: &str = "model.safetensors";
/// A commit that nobody asked for.
const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffff";

/// What the cache shares with Python must hold no weights, in whole or in part, and no reference to the commit.
fn assert_untouched(place: &Place) {
    let shared = place.shared();
    assert!(!shared.keys().any(|path| path.contains("/refs/") || path.ends_with(WEIGHTS)), "{:?}", shared.keys());
    let allowed = b"{}".to_vec();
    assert!(shared.values().all(|content| *content == allowed), "{:?}", shared.keys());
}

/// A good server behind the same address brings the whole model into the same cache.
fn assert_recovers(server: &Server, place: &Place) -> usize {
    server.state().faults.clear();
    server.state().log.clear();
    let fetched = place.fetch().unwrap();
    assert_eq!(fs::read(fetched.folder.join(WEIGHTS)).unwrap(), noise(70_000));
    assert!(!place.root().join(".klang/incoming").exists());
    server.bodies()
}

#[test]
fn a_download_that_breaks_off_leaves_nothing_trusted_and_goes_on_later() {
    for fault in [Fault::Closes(30_000), Fault::ClosesUnannounced(30_000)] {
        let server = small();
        server.fault(WEIGHTS, fault);
        let place = Place::new(&server);
        let error = place.fetch().unwrap_err();
        assert!(matches!(error, Error::Interrupted { got: 30_000, expected: 70_000, .. }), "{fault:?}: {error}");
        assert_untouched(&place);
        let offline = fetch(&place.offline(), &name(MODEL), None, &mut ()).unwrap_err();
        assert!(matches!(offline, Error::Offline { .. }), "{offline}");
        assert_eq!(assert_recovers(&server, &place), 1);
        let log = server.state().log.join("\n");
        assert!(log.contains("bytes=30000-") && !log.contains("bytes=0-\n"), "{log}");
    }
}

#[test]
fn several_attempts_put_a_file_together_and_progress_still_adds_up() {
    let server = small();
    server.fault(WEIGHTS, Fault::Closes(30_000));
    let mut place = Place::new(&server);
    place.settings.attempts = 3;
    let mut told = Told::default();
    fetch(&place.settings, &name(MODEL), None, &mut told).unwrap();
    assert_eq!(told.files[1], (WEIGHTS.into(), Some(70_000), 70_000));
}

#[test]
fn progress_counts_what_an_earlier_run_left() {
    let server = small();
    server.fault(WEIGHTS, Fault::Closes(30_000));
    let place = Place::new(&server);
    place.fetch().unwrap_err();
    server.state().faults.clear();
    let mut told = Told::default();
    fetch(&place.settings, &name(MODEL), None, &mut told).unwrap();
    assert_eq!(told.files, [(WEIGHTS.into(), Some(70_000), 70_000)]);
}

#[test]
fn content_that_is_not_its_digest_is_refused_and_removed() {
    for file in [WEIGHTS, "config.json"] {
        let server = small();
        server.fault(file, Fault::Differs);
        let place = Place::new(&server);
        let error = place.fetch().unwrap_err();
        let text = error.to_string();
        assert!(matches!(&error, Error::Corrupt { file: told, .. } if told == file), "{error}");
        assert!(text.contains("run the command again") && text.contains("SHA-"), "{text}");
        assert_untouched(&place);
        assert_recovers(&server, &place);
    }
}

#[test]
fn a_wrong_length_is_refused_whichever_way_it_is_wrong() {
    for fault in [Fault::Longer(1), Fault::Shorter(1), Fault::Shorter(69_999)] {
        let server = small();
        server.fault(WEIGHTS, fault);
        let place = Place::new(&server);
        let error = place.fetch().unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. } | Error::Answer { .. }), "{fault:?}: {error}");
        assert_untouched(&place);
        assert_recovers(&server, &place);
    }
}

#[test]
fn a_body_without_end_is_cut_off() {
    let server = small();
    server.fault(WEIGHTS, Fault::Endless);
    let place = Place::new(&server);
    let error = place.fetch().unwrap_err();
    assert!(matches!(&error, Error::Interrupted { got: 0, why, .. } if why.contains("more than")), "{error}");
    assert_untouched(&place);
    let refused = server.cut_off.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(refused, "the server could send all it had");
    assert_recovers(&server, &place);
}

#[test]
fn a_link_to_nothing_among_the_unchecked_does_no_harm() {
    let server = small();
    server.fault("config.json", Fault::Etag("abc-1"));
    server.fault(WEIGHTS, Fault::Closes(30_000));
    let place = Place::new(&server);
    place.fetch().unwrap_err();
    assert!(place.blob("abc-1").is_file(), "it has moved there from where hf-hub links to it");
    assert_recovers(&server, &place);
}

#[test]
fn a_server_that_ignores_where_to_go_on_from_is_asked_for_the_whole_file_again() {
    let server = small();
    server.fault(WEIGHTS, Fault::Closes(30_000));
    let mut place = Place::new(&server);
    place.fetch().unwrap_err();
    server.fault(WEIGHTS, Fault::WholeAlways);
    place.settings.attempts = 2;
    let fetched = place.fetch().unwrap();
    assert_eq!(fs::read(fetched.folder.join(WEIGHTS)).unwrap(), noise(70_000));
}

#[test]
fn a_part_that_is_garbage_is_found_out() {
    let server = small();
    server.fault(WEIGHTS, Fault::Closes(30_000));
    let place = Place::new(&server);
    place.fetch().unwrap_err();
    let incoming = contents(&place.root().join(".klang/incoming"));
    let (part, _) = incoming.iter().find(|(path, _)| path.ends_with(".part")).unwrap();
    for length in [70_000, 70_001, 30_000] {
        fs::write(part, vec![0; length]).unwrap();
        server.state().faults.clear();
        let result = place.fetch();
        match length {
            70_001 => drop(result.unwrap()), // longer than the whole: thrown away at once
            _ => assert!(matches!(result.unwrap_err(), Error::Corrupt { .. }), "{length}"),
        }
        fs::remove_dir_all(place.root().join("blobs")).unwrap_or_default();
        fs::remove_dir_all(place.root().join("refs")).unwrap_or_default();
        fs::create_dir_all(Path::new(part).parent().unwrap()).unwrap();
    }
}

#[test]
fn a_part_that_is_whole_already_is_not_asked_for() {
    let server = small();
    server.fault(WEIGHTS, Fault::Closes(30_000));
    let place = Place::new(&server);
    place.fetch().unwrap_err();
    let incoming = contents(&place.root().join(".klang/incoming"));
    let (part, _) = incoming.iter().find(|(path, _)| path.ends_with(".part")).unwrap();
    fs::write(part, noise(70_000)).unwrap();
    assert_eq!(assert_recovers(&server, &place), 0);
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let server = small();
    server.fault(WEIGHTS, Fault::Hangs);
    let mut place = Place::new(&server);
    place.settings.patience = Duration::from_millis(300);
    let begun = Instant::now();
    let error = place.fetch().unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(4));
    assert!(matches!(&error, Error::Interrupted { why, .. } if why.contains("silent")), "{error}");
    assert_untouched(&place);
}

#[test]
fn an_answer_that_makes_no_sense_is_an_error_and_no_panic() {
    let etags = [Fault::Etag("../../x"), Fault::Etag("/tmp/x"), Fault::Etag("")];
    for fault in [Fault::RedirectsNowhere, Fault::Commit(OTHER)].into_iter().chain(etags) {
        let server = small();
        server.fault("config.json", fault);
        let place = Place::new(&server);
        let error = place.fetch().unwrap_err();
        assert!(matches!(&error, Error::Answer { what, .. } if what == "config.json"), "{fault:?}: {error}");
        assert_eq!(place.shared(), BTreeMap::new());
        assert_recovers(&server, &place);
    }
}

#[test]
fn an_etag_that_is_no_digest_is_held_to_its_length() {
    let server = small();
    server.fault("config.json", Fault::Etag("W/abc-1"));
    let place = Place::new(&server);
    let fetched = place.fetch().unwrap();
    assert_eq!(fs::read(place.blob("abc-1")).unwrap(), b"{}");
    assert_eq!(place.fetch().unwrap(), fetched);
    fs::write(place.blob("abc-1"), "{").unwrap();
    assert!(matches!(place.fetch().unwrap_err(), Error::Corrupt { .. }));
}
