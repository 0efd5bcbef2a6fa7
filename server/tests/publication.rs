//! Publications: two at once, twice the same, on old versions, with files that break rules.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice, clippy::print_stderr)]

mod common;

use common::*;
use http::StatusCode;
use trust_wire::api::Blob;

#[tokio::test]
async fn two_racing_publishers_one_wins_and_the_other_is_told_what_is_current() {
    let world = World::new().await;
    let first = world.born().await;
    let (a, b) = (next_targets(&first, "v1", b"a"), next_targets(&first, "v1", b"b"));
    let (a, b) = (request(2, 1, &[("targets", 1, a)]), request(3, 1, &[("targets", 1, b)]));
    let (a, b) = tokio::join!(world.publish(&a), world.publish(&b));
    let mut status = [a.status, b.status];
    status.sort();
    assert_eq!(status, [StatusCode::OK, StatusCode::CONFLICT]);
    let lost = if a.status == StatusCode::OK { b } else { a };
    assert_eq!(lost.code(), "conflict");
    assert_eq!(lost.json()["error"]["current"]["roles"]["targets"], 2);
    assert_eq!(lost.json()["error"]["current"]["root"], 1);
    assert_eq!(world.client().await.targets().len(), 1);
}

#[tokio::test]
async fn the_same_key_publishes_once_and_another_body_under_it_is_refused() {
    let world = World::new().await;
    let first = world.born().await;
    let publication = request(2, 1, &[("targets", 1, next_targets(&first, "v1", b"a"))]);
    let done = world.publish(&publication).await.published();
    assert_eq!((done.sequence, done.snapshot, done.roles["targets"]), (2, 2, 2));
    assert_eq!(world.publish(&publication).await.published(), done);
    let other = request(2, 1, &[("targets", 1, next_targets(&first, "v1", b"b"))]);
    let answer = world.publish(&other).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "refused"));
    assert_eq!(answer.rule(), "idempotency_key");
    let log = world.fetch(&format!("/v1/{NAME}/_log")).await.json();
    let entries = log["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[0]["sequence"].as_u64(), entries[0]["token"].as_str()), (Some(2), Some("admin")));
    assert_eq!(entries[1]["new_root"], true);
    let page = world.fetch(&format!("/v1/{NAME}/_log?before=2&limit=1")).await.json();
    assert_eq!(page["entries"][0]["sequence"], 1);
}

#[tokio::test]
async fn old_or_missing_expected_versions_are_a_conflict_and_nothing_is_stored() {
    let world = World::new().await;
    let first = world.born().await;
    let file = next_targets(&first, "v1", b"a");
    for (number, root, version) in [(2, 2, 1), (3, 1, 2), (4, 1, 0)] {
        let answer = world.publish(&request(number, root, &[("targets", version, file.clone())])).await;
        assert_eq!(answer.code(), "conflict", "{number}");
    }
    let mut again = first_request();
    again.idempotency_key = key(5);
    assert_eq!(world.publish(&again).await.code(), "conflict");
    assert_eq!(world.client().await.snapshot().meta()["targets.json"].version.get(), 1);
    assert_eq!(world.publish(&request(6, 1, &[("targets", 1, file)])).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_role_that_a_publication_rests_on_must_be_as_expected_though_it_is_not_sent() {
    let world = World::new().await;
    let first = world.born().await;
    let delegating = delegating_targets(&first);
    let both = [("targets", 1, delegating.clone()), ("alice", 0, first_alice())];
    world.publish(&request(2, 1, &both)).await.published();
    let mut draft = trust_tuf::draft::Draft::next(&first_alice(), expires()).unwrap();
    draft.set_target("api/v1", &info(b"a"));
    let (second, last) = (sign(&draft, &[&alice_key()]), next_targets(&delegating, "v1", b"a"));
    // The file of `targets` was made when alice's had version 1; hers comes first.
    let mut on_alice = request(3, 1, &[("targets", 2, last.clone())]);
    on_alice.expected.roles.insert("alice".to_owned(), 1);
    world.publish(&request(4, 1, &[("alice", 1, second)])).await.published();
    let asked = world.signer.asked.load(std::sync::atomic::Ordering::SeqCst);
    let lost = world.publish(&on_alice).await;
    assert_eq!((lost.status, lost.code().as_str()), (StatusCode::CONFLICT, "conflict"));
    assert_eq!(lost.json()["error"]["current"]["roles"], serde_json::json!({"alice": 2, "targets": 2}));
    // A role that there is not cannot be rested on.
    let mut on_nobody = request(5, 1, &[("targets", 2, last)]);
    on_nobody.expected.roles.insert("nobody".to_owned(), 1);
    assert_eq!(world.publish(&on_nobody).await.code(), "conflict");
    assert_eq!(world.signer.asked.load(std::sync::atomic::Ordering::SeqCst), asked);
    assert_eq!(world.client().await.snapshot().meta()["targets.json"].version.get(), 2);
    // On what is current it goes through.
    on_alice.expected.roles.insert("alice".to_owned(), 2);
    on_alice.idempotency_key = key(6);
    assert_eq!(world.publish(&on_alice).await.published().roles["targets"], 3);
}

#[tokio::test]
async fn files_that_break_a_rule_are_refused_by_its_name_and_the_signer_is_not_asked() {
    let world = World::new().await;
    let first = world.born().await;
    let asked = world.signer.asked.load(std::sync::atomic::Ordering::SeqCst);
    let stranger = sign(&trust_tuf::draft::Draft::next(&first, expires()).unwrap(), &[&alice_key()]);
    let twice = next_targets(&next_targets(&first, "v1", b"a"), "v2", b"a");
    let short = sign(&trust_tuf::draft::Draft::next(&first, time(*START + 60)).unwrap(), &[&targets_key()]);
    for (number, role, version, file, rule) in [
        (2, "targets", 1, stranger, "trust"),
        (3, "targets", 1, twice, "next_version"),
        (4, "targets", 1, short, "life"),
        (5, "alice", 0, first_alice(), "undelegated"),
        (6, "targets", 1, b"{".to_vec(), "trust"),
        (7, "targets", 1, delegating_targets(&first), "missing_role"),
        (8, "Targets", 0, first_alice(), "role_name"),
    ] {
        let answer = world.publish(&request(number, 1, &[(role, version, file)])).await;
        assert_eq!((answer.status.as_u16(), answer.rule().as_str()), (422, rule), "{answer:?}");
    }
    let empty = request(9, 1, &[]);
    assert_eq!(world.publish(&empty).await.rule(), "empty");
    assert_eq!(world.signer.asked.load(std::sync::atomic::Ordering::SeqCst), asked);
}

#[tokio::test]
async fn malformed_requests_are_bad_requests() {
    let world = World::new().await;
    world.born().await;
    let path = format!("/v1/{NAME}/_publications");
    for body in [
        "",
        "[]",
        "{",
        "{}",
        r#"{"idempotency_key":"short","expected":{}}"#,
        r#"{"idempotency_key":"0123456789abcdef","expected":{},"x":1}"#,
        r#"{"idempotency_key":"0123456789abcdef","idempotency_key":"0123456789abcdef","expected":{}}"#,
        r#"{"idempotency_key":"0123456789abcde/","expected":{}}"#,
        r#"{"idempotency_key":"0123456789abcdef","expected":{},"roles":{"targets":"not base64"}}"#,
        r#"{"idempotency_key":"0123456789abcdef","expected":{"root":1.5}}"#,
    ] {
        let answer = world.send("POST", &path, Some(&world.admin), body.as_bytes().to_vec()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "bad_request"), "{body}");
    }
    let deep = "[".repeat(1_000_000).into_bytes();
    assert_eq!(world.send("POST", &path, Some(&world.admin), deep).await.status.as_u16(), 400);
}

#[tokio::test]
async fn contents_that_no_role_names_are_refused_and_named_ones_are_served_by_path_and_hash() {
    let world = World::new().await;
    let first = world.born().await;
    let file = next_targets(&first, "api/v1", b"manifest");
    let blob = |path: &str, bytes: &[u8]| Blob { path: path.to_owned(), bytes: bytes.into() };
    for (number, wrong) in
        [(2, blob("api/v1", b"other")), (3, blob("api/v2", b"manifest")), (4, blob("../x", b"manifest"))]
    {
        let mut publication = request(number, 1, &[("targets", 1, file.clone())]);
        publication.blobs.push(wrong);
        assert_eq!(world.publish(&publication).await.rule(), "content");
    }
    let mut publication = request(5, 1, &[("targets", 1, file.clone())]);
    publication.blobs.push(blob("api/v1", b"manifest"));
    world.publish(&publication).await.published();
    let hash = hex::encode(trust_tuf::model::sha256(b"manifest"));
    for path in [format!("api/{hash}.v1"), format!("{hash}.api/v1")] {
        let answer = world.fetch(&format!("/tuf/{NAME}/_targets/{path}")).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, &b"manifest"[..]), "{path}");
        assert_eq!(answer.header("etag"), format!("\"{hash}\""));
    }
    let other = "0".repeat(64);
    for path in [format!("api/{hash}.v2"), format!("{hash}.v1"), format!("api/{other}.v1"), "api/v1".to_owned()] {
        assert_eq!(world.fetch(&format!("/tuf/{NAME}/_targets/{path}")).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // Unlisted contents are not handed out any more.
    let mut draft = trust_tuf::draft::Draft::next(&file, expires()).unwrap();
    assert!(draft.remove_target("api/v1"));
    world.publish(&request(6, 1, &[("targets", 2, sign(&draft, &[&targets_key()]))])).await.published();
    assert_eq!(world.fetch(&format!("/tuf/{NAME}/_targets/api/{hash}.v1")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn delegations_come_and_go_and_every_version_stays_readable() {
    let mut world = World::new().await;
    let first = world.born().await;
    let second = delegating_targets(&first);
    let both = request(2, 1, &[("targets", 1, second.clone()), ("alice", 0, first_alice())]);
    world.publish(&both).await.published();
    let mut root = request(3, 1, &[]);
    root.roots.push(next_root(&first_root()).into());
    assert_eq!(world.publish(&root).await.published().root, 2);
    let third = undelegating_targets(&second);
    world.publish(&request(4, 2, &[("targets", 2, third.clone())])).await.published();
    // A role that is not delegated any more stays in the snapshot: clients refuse one that drops it.
    for round in 0..2 {
        let set = world.client().await;
        assert_eq!(set.snapshot().meta().len(), 2, "round {round}");
        for file in
            ["1.root.json", "2.root.json", "1.targets.json", "2.targets.json", "1.snapshot.json", "1.alice.json"]
        {
            assert_eq!(world.file(file).await.status, StatusCode::OK, "{file}");
        }
        world.restart().await;
        assert!(world.app.round().await);
    }
    // And comes back with its next version.
    let fourth = delegating_targets(&third);
    let stale = request(5, 2, &[("targets", 3, fourth.clone()), ("alice", 0, first_alice())]);
    assert_eq!(world.publish(&stale).await.code(), "conflict");
    let alice = sign(&trust_tuf::draft::Draft::next(&first_alice(), expires()).unwrap(), &[&alice_key()]);
    world.publish(&request(6, 2, &[("targets", 3, fourth), ("alice", 1, alice)])).await.published();
    assert_eq!(world.client().await.snapshot().entry("alice").unwrap().version.get(), 2);
}
