//! Crashes, an absent, refusing or lying signer, a database from an old copy.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, clippy::print_stderr)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::*;
use http::StatusCode;
use trust_server::signer_link::SignerLink;
use trust_server::store::{NewCandidate, Store, StoredFile};
use trust_tuf::RoleName;
use trust_tuf::model::{Role, sha256};
use trust_tuf::repository::Publication;
use trust_wire::api::PublicationRequest;
use trust_wire::signer::Request;

fn candidate(request: &PublicationRequest) -> NewCandidate {
    let body = serde_json::to_vec(request).unwrap();
    let file = |(role, file): (&String, &trust_wire::Base64)| StoredFile {
        role: role.clone(),
        version: 2,
        body: file.0.as_slice().into(),
    };
    NewCandidate {
        collection: NAME.to_owned(),
        key: request.idempotency_key.clone(),
        body_sha256: sha256(&body),
        token: "admin".to_owned(),
        expected: "{}".to_owned(),
        roots: Vec::new(),
        roles: request.roles.iter().map(file).collect(),
        blobs: Vec::new(),
        grant: None,
        created: *START,
    }
}

fn only_targets(file: &[u8]) -> Publication {
    Publication { roots: Vec::new(), roles: BTreeMap::from([(RoleName::targets(), file.to_vec())]) }
}

#[tokio::test]
async fn an_absent_signer_keeps_the_candidate_reads_go_on_and_the_retry_publishes_once() {
    let world = World::new().await;
    let first = world.born().await;
    let publication = request(2, 1, &[("targets", 1, next_targets(&first, "v1", b"a"))]);
    world.signer.set(Mode::Down);
    let answer = world.publish(&publication).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "signer_unavailable"));
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(world.client().await.targets().len(), 0);
    let other = request(3, 1, &[("targets", 1, next_targets(&first, "v1", b"b"))]);
    assert_eq!(world.publish(&other).await.code(), "signer_unavailable");
    assert!(!world.app.round().await);

    world.signer.set(Mode::Good);
    assert!(world.app.round().await);
    assert_eq!(world.client().await.targets().len(), 1);
    assert_eq!(world.publish(&publication).await.published().sequence, 2);
    assert_eq!(world.publish(&other).await.code(), "conflict");
}

#[tokio::test]
async fn a_retry_of_the_candidate_itself_asks_the_signer_again() {
    let world = World::new().await;
    let first = world.born().await;
    let publication = request(2, 1, &[("targets", 1, next_targets(&first, "v1", b"a"))]);
    // The signer has signed, but its answer got lost.
    world.signer.set(Mode::LosesAnswer);
    assert_eq!(world.publish(&publication).await.code(), "signer_unavailable");
    world.signer.set(Mode::Good);
    let done = world.publish(&publication).await.published();
    assert_eq!((done.sequence, done.snapshot), (2, 2));
}

#[tokio::test]
async fn after_a_restart_a_collection_with_an_open_candidate_shows_nothing_before_the_signer_answered() {
    let mut world = World::new().await;
    let first = world.born().await;
    let file = next_targets(&first, "v1", b"a");
    let publication = request(2, 1, &[("targets", 1, file)]);
    world.signer.set(Mode::LosesAnswer);
    world.publish(&publication).await;
    world.signer.set(Mode::Down);
    world.restart().await;
    assert!(!world.app.round().await);
    for file in ["timestamp.json", "1.root.json"] {
        let answer = world.file(file).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "unavailable"));
    }
    assert_eq!(world.fetch("/readyz").await.status.as_u16(), 503);

    world.signer.set(Mode::Good);
    assert!(world.app.round().await);
    let set = world.client().await;
    assert_eq!((set.targets().len(), set.snapshot().meta()["targets.json"].version.get()), (1, 2));
    assert_eq!(world.publish(&publication).await.published().sequence, 2);
}

#[tokio::test]
async fn an_answer_of_the_signer_that_a_client_would_refuse_is_never_shown() {
    for mode in [
        Mode::OtherAnswer,
        Mode::WrongKey,
        Mode::WrongTimestampKey,
        Mode::LeavesOut,
        Mode::Older,
        Mode::Expired,
        Mode::OtherSnapshot,
    ] {
        let world = World::new().await;
        let first = world.born().await;
        let second = delegating_targets(&first);
        world.publish(&request(2, 1, &[("targets", 1, second.clone()), ("alice", 0, first_alice())])).await.published();
        let before = world.file("timestamp.json").await.body;
        let publication = request(3, 1, &[("targets", 2, next_targets(&second, "v1", b"a"))]);
        world.signer.set(mode.clone());
        assert_eq!(world.publish(&publication).await.code(), "signer_unavailable", "{mode:?}");
        assert_eq!(world.file("timestamp.json").await.body, before, "{mode:?}");
        assert_eq!(world.file("3.targets.json").await.status, StatusCode::NOT_FOUND, "{mode:?}");
        world.signer.set(Mode::Good);
        world.publish(&publication).await.published();
        assert_eq!(world.client().await.targets().len(), 1, "{mode:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_signer_ends_the_candidate_and_the_same_key_may_be_tried_again() {
    let world = World::new().await;
    let first = world.born().await;
    let publication = request(2, 1, &[("targets", 1, next_targets(&first, "v1", b"a"))]);
    world.signer.set(Mode::Refuses("S8"));
    let answer = world.publish(&publication).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "signer_refused"));
    assert_eq!(answer.rule(), "S8");
    assert!(world.store.candidate(NAME).await.unwrap().is_none());
    world.signer.set(Mode::Refuses("S10"));
    assert_eq!(world.publish(&publication).await.status, StatusCode::TOO_MANY_REQUESTS);
    world.signer.set(Mode::Good);
    assert_eq!(world.publish(&publication).await.published().sequence, 2);
}

#[tokio::test]
async fn a_candidate_that_the_signer_refuses_although_it_holds_it_is_current() {
    let world = World::new().await;
    let first = world.born().await;
    let file = next_targets(&first, "v1", b"a");
    world.signer.publish(NAME, &only_targets(&file)).unwrap();
    world.signer.set(Mode::Refuses("S3"));
    assert_eq!(world.publish(&request(2, 1, &[("targets", 1, file)])).await.published().snapshot, 2);
}

#[tokio::test]
async fn a_database_from_an_old_copy_adopts_what_the_signer_has_and_lowers_nothing() {
    let mut world = World::new().await;
    let first = world.born().await;
    world.backup("old").await;
    let file = next_targets(&first, "v1", b"a");
    world.publish(&request(2, 1, &[("targets", 1, file.clone())])).await.published();
    let newest = world.file("timestamp.json").await.body;

    world.restore("old").await;
    assert!(world.app.round().await);
    assert_eq!(world.file("timestamp.json").await.body, newest);
    assert_eq!(world.client().await.targets().len(), 1);
    let log = world.fetch(&format!("/v1/{NAME}/_log")).await.json();
    assert_eq!(log["entries"][0]["token"], "(adopted from the signer)");

    // Before the comparison with the signer a publication on the old state is a conflict, not a fork.
    world.restore("old").await;
    let other = request(3, 1, &[("targets", 1, next_targets(&first, "v1", b"b"))]);
    let answer = world.publish(&other).await;
    assert_eq!(answer.code(), "conflict", "{answer:?}");
    assert_eq!(answer.json()["error"]["current"]["roles"]["targets"], 2);
    assert_eq!(world.client().await.targets().len(), 1);
    let third = next_targets(&file, "v2", b"c");
    world.publish(&request(4, 1, &[("targets", 2, third)])).await.published();
}

#[tokio::test]
async fn a_signer_that_hands_over_an_older_or_a_forked_set_is_not_followed() {
    let mut world = World::new().await;
    let first = world.born().await;
    let file = next_targets(&first, "v1", b"a");
    world.publish(&request(2, 1, &[("targets", 1, file)])).await.published();
    let newest = world.file("timestamp.json").await.body;
    world.signer.set(Mode::ClaimsMore);
    world.restart().await;
    assert!(!world.app.round().await);
    assert_eq!(world.file("timestamp.json").await.body, newest);

    // A signer from an old copy has signed something else under the same versions, and then newer timestamps.
    world.signer.set(Mode::Good);
    world.signer.rewind(NAME);
    world.signer.publish(NAME, &only_targets(&next_targets(&first, "v1", b"b"))).unwrap();
    world.pass(43_200);
    world.signer.call(Request::Resign { collections: vec![NAME.to_owned()] }).await.unwrap();
    world.restart().await;
    assert!(!world.app.round().await);
    let set = world.client().await;
    assert_eq!(set.targets().target("v1").unwrap().hashes, info(b"a").hashes);
    assert_eq!(world.file("timestamp.json").await.body, newest);
}

#[tokio::test]
async fn a_collection_that_the_database_lost_is_adopted_when_it_is_reserved_again() {
    let mut world = World::new().await;
    world.backup("empty").await;
    world.born().await;
    world.restore("empty").await;
    assert_eq!(world.file("timestamp.json").await.status, StatusCode::NOT_FOUND);
    let body = format!("{{\"name\":\"{NAME}\"}}").into_bytes();
    let answer = world.send("POST", "/v1/_collections", Some(&world.admin), body).await;
    assert_eq!(answer.json()["published"], true);
    world.client().await;
}

#[tokio::test]
async fn a_promotion_that_was_lost_with_the_power_is_repeated_from_the_signer() {
    let mut world = World::new().await;
    let first = world.born().await;
    let file = next_targets(&first, "v1", b"a");
    let publication = request(2, 1, &[("targets", 1, file.clone())]);
    // The candidate is on the disk, the promotion is not, and the signer has its mark.
    world.store.open_candidate(candidate(&publication)).await.unwrap();
    world.signer.publish(NAME, &only_targets(&file)).unwrap();
    world.restart().await;
    assert_eq!(world.file("timestamp.json").await.status.as_u16(), 503);
    assert!(world.app.round().await);
    assert_eq!(world.client().await.targets().len(), 1);
    assert_eq!(world.publish(&publication).await.published().sequence, 2);
}

#[tokio::test]
async fn a_candidate_that_waited_past_its_files_least_life_still_rolls_forward() {
    let mut world = World::new().await;
    let first = world.born().await;
    let mut draft = trust_tuf::draft::Draft::next(&first, time(*START + 8 * 86_400)).unwrap();
    draft.set_target("v1", &info(b"a"));
    let publication = request(2, 1, &[("targets", 1, sign(&draft, &[&targets_key()]))]);
    world.signer.set(Mode::LosesAnswer);
    world.publish(&publication).await;
    world.signer.set(Mode::Good);
    world.pass(3_600);
    world.restart().await;
    assert!(world.app.round().await);
    assert_eq!(world.publish(&publication).await.published().sequence, 2);
}

#[tokio::test]
async fn timestamps_are_renewed_at_half_life_and_survive_a_restart() {
    let mut world = World::new().await;
    world.signer.life.store(6, std::sync::atomic::Ordering::SeqCst);
    world.born().await;
    let first = world.file("timestamp.json").await.body;
    world.pass(2);
    assert!(world.app.round().await);
    assert_eq!(world.file("timestamp.json").await.body, first);
    for _ in 0..3 {
        let before = world.client().await.timestamp().version();
        world.pass(3);
        assert!(world.app.round().await);
        assert!(world.client().await.timestamp().version() > before);
    }
    let newest = world.file("timestamp.json").await.body;
    world.restart().await;
    assert_eq!(world.file("timestamp.json").await.body, newest);
    // A dead signer: the last good set is served until it expires, and after.
    world.signer.set(Mode::Down);
    world.pass(60);
    assert!(!world.app.round().await);
    assert_eq!(world.file("timestamp.json").await.body, newest);
}

#[tokio::test]
async fn a_renewed_timestamp_that_a_client_would_refuse_is_never_shown() {
    for mode in
        [Mode::WrongTimestampKey, Mode::Older, Mode::Expired, Mode::OtherSnapshot, Mode::Refuses("S7"), Mode::Down]
    {
        let world = World::new().await;
        world.born().await;
        let before = world.file("timestamp.json").await.body;
        world.pass(50_000);
        world.signer.set(mode.clone());
        assert!(!world.app.round().await, "{mode:?}");
        assert_eq!(world.file("timestamp.json").await.body, before, "{mode:?}");
        world.signer.set(Mode::Good);
        assert!(world.app.round().await, "{mode:?}");
        assert!(world.app.round().await, "{mode:?}");
        assert_eq!(world.client().await.timestamp().version().get(), 2, "{mode:?}");
    }
}

#[tokio::test]
async fn a_process_that_dies_right_after_its_answer_has_the_candidate_and_shows_the_same_again() {
    for signer_is_there in [true, false] {
        let mut world = World::new().await;
        let first = world.born().await;
        world.app.flush().await.unwrap();
        // What nobody waits for is written within 20 ms: the copy is taken before that, or after it.
        let publication = request(2, 1, &[("targets", 1, next_targets(&first, "v1", b"a"))]);
        let done = world.publish(&publication).await.published();
        let newest = world.file("timestamp.json").await.body;
        world.copy_now("died");
        if !signer_is_there {
            world.signer.set(Mode::Down);
        }
        world.restore("died").await;
        let open = world.store.candidate(NAME).await.unwrap().is_some();
        let shown = world.file("timestamp.json").await;
        assert_eq!(shown.status.as_u16(), if open { 503 } else { 200 }, "the old set is never shown again");
        if signer_is_there {
            assert!(world.app.round().await);
            assert_eq!(world.file("timestamp.json").await.body, newest);
            assert_eq!(world.publish(&publication).await.published(), done);
        }
    }
}

#[tokio::test]
async fn files_of_a_refused_candidate_leave_and_others_take_their_versions() {
    let world = World::new().await;
    let first = world.born().await;
    let file = next_targets(&first, "v1", b"a");
    let mut publication = request(2, 1, &[("targets", 1, file.clone())]);
    publication.blobs = vec![trust_wire::api::Blob { path: "v1".to_owned(), bytes: b"a".to_vec().into() }];
    world.signer.set(Mode::Refuses("S8"));
    assert_eq!(world.publish(&publication).await.code(), "signer_refused");
    assert_eq!(world.store.file(NAME, "targets", 2).await.unwrap(), None);
    assert_eq!(world.store.blob(NAME, sha256(b"a")).await.unwrap(), None);
    world.signer.set(Mode::Good);
    let other = next_targets(&first, "v1", b"b");
    world.publish(&request(3, 1, &[("targets", 1, other.clone())])).await.published();
    assert_eq!(world.file("2.targets.json").await.body, other);
}

#[tokio::test]
async fn the_files_of_an_open_candidate_are_not_shown_by_their_names() {
    let world = World::new().await;
    let first = world.born().await;
    let publication = request(2, 1, &[("targets", 1, next_targets(&first, "v1", b"a"))]);
    world.signer.set(Mode::Down);
    assert_eq!(world.publish(&publication).await.code(), "signer_unavailable");
    assert!(world.store.candidate(NAME).await.unwrap().is_some());
    assert_eq!(world.file("2.targets.json").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.store.file(NAME, "targets", 2).await.unwrap(), None);
}

#[tokio::test]
async fn a_set_that_is_adopted_over_an_open_candidate_keeps_its_files_whatever_becomes_of_that() {
    // The signer holds another file under the candidate's version, and one that is the same in both.
    let mut world = World::new().await;
    let first = world.born().await;
    world.app.flush().await.unwrap();
    let second = delegating_targets(&first);
    let other = next_targets(&first, "v1", b"b");
    world.store.open_candidate(candidate(&request(2, 1, &[("targets", 1, other)]))).await.unwrap();
    let mut held = only_targets(&second);
    held.roles.insert(RoleName::parse("alice").unwrap(), first_alice());
    world.signer.publish(NAME, &held).unwrap();
    world.restart().await;
    for _ in 0..2 {
        world.app.round().await;
    }
    assert!(world.store.candidate(NAME).await.unwrap().is_none(), "it lost");
    assert_eq!(world.file("2.targets.json").await.body, second);
    world.client().await;
    world.restart().await;
    world.app.round().await;
    assert_eq!(world.file("2.targets.json").await.body, second);
    assert_eq!(world.store.file(NAME, "targets", 2).await.unwrap(), Some(second));
}

#[tokio::test]
async fn a_damaged_row_takes_only_its_own_collection_out_of_service() {
    let mut world = World::new().await;
    world.born().await;
    world.app.flush().await.unwrap();
    let db = rusqlite::Connection::open(world.dir.path().join("data/server.db")).unwrap();
    db.execute_batch("UPDATE collection SET timestamp_sha256 = x'00', timestamp = timestamp + 1").unwrap();
    let body = b"{\"name\":\"r.example/other\"}".to_vec();
    world.send("POST", "/v1/_collections", Some(&world.admin), body).await;
    world.restart().await;
    world.app.round().await;
    assert_eq!(world.file("timestamp.json").await.code(), "unavailable");
    assert_eq!(world.fetch("/tuf/r.example/other/_metadata/timestamp.json").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_database_itself_refuses_to_lower_change_or_delete() {
    let world = World::new().await;
    world.born().await;
    world.app.flush().await.unwrap();
    let db = rusqlite::Connection::open(world.dir.path().join("data/server.db")).unwrap();
    for sql in [
        "UPDATE meta SET body = x'00'",
        "DELETE FROM meta",
        "UPDATE collection SET snapshot = snapshot - 1",
        "UPDATE collection SET timestamp = timestamp - 1",
        "UPDATE collection SET timestamp_sha256 = x'00'",
        "UPDATE collection SET root = NULL",
        "UPDATE collection SET sequence = 0",
        "DELETE FROM collection",
    ] {
        assert!(db.execute(sql, []).is_err(), "{sql}");
    }
    let other = request(9, 1, &[]);
    world.store.open_candidate(candidate(&other)).await.unwrap();
    let mut second = candidate(&other);
    second.key = key(10);
    assert!(world.store.open_candidate(second).await.is_err(), "one candidate at a time");
}

#[tokio::test]
async fn the_folder_and_the_database_are_private_and_an_open_folder_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    let data = world.dir.path().join("data");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for file in ["server.db", "server.db-wal"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o750)).unwrap();
    assert!(trust_server::store::SqliteStore::open(&data).is_err());
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    drop(Arc::clone(&world.store));
}
