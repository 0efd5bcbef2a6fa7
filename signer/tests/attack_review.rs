//! Attacks of a captured server, and of publishers through it, that are no single rule of the table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test program

mod common;

use common::checker::expiry_of;
use common::people::{Files, Team, at, key, sign};
use common::{DAY, World};
use trust_keys::SigningKey;
use trust_signer::store::{Admission, Change, Marks, Store, StoreError};
use trust_tuf::draft::{Draft, NewDelegation};
use trust_tuf::model::{TargetInfo, sha256};
use trust_tuf::{CollectionName, Version};
use trust_wire::signer::{FRAME_BYTES, Reply, Request};

const A: &str = "r.example/a";

/// All snapshot keys are replaced at once.
fn replace_snapshot_key(world: &mut World, team: &mut Team) {
    let new = team.new_online_key(world, "snapshot");
    team.online.insert("snapshot".to_owned(), vec![new]);
    let files = team.next_root(world.now, &team.root_key.clone());
    world.publish(team, &files).unwrap();
    team.accepted(&files);
}

/// The delegation of a role with this key, beside a file of that role.
fn delegate_again(team: &Team, now: i64, role: &str, with: &common::people::Key, file: Vec<u8>) -> Files {
    let mut draft = team.targets_draft(now);
    draft.set_delegation(&NewDelegation {
        name: role.to_owned(),
        keys: vec![with.public().clone()],
        threshold: 1,
        terminating: true,
        patterns: vec![format!("{role}/*")],
    });
    Files::default().role("targets", sign(&draft, &[&team.targets_key])).role(role, file)
}

#[test]
fn an_old_file_of_a_role_is_not_signed_again_after_the_snapshot_key_was_replaced() {
    let mut world = World::new();
    let mut team = world.born(A);
    let files = team.delegate(world.now, "alice");
    world.publish(&team, &files).unwrap();
    team.accepted(&files);
    let (old, alice) = (files.roles["alice"].clone(), team.delegated["alice"].clone());
    for n in 0..3 {
        let files = team.next_delegated(world.now, "alice", &format!("v{n}"));
        world.publish(&team, &files).unwrap();
        team.accepted(&files);
    }
    let files = team.undelegate(world.now, "alice");
    world.publish(&team, &files).unwrap();
    team.accepted(&files);
    replace_snapshot_key(&mut world, &mut team);

    // People delegate to alice again, with the same key. The server sends her very first file in place of the new one.
    let replay = delegate_again(&team, world.now, "alice", &alice, old);
    world.refused(&team, &replay, "S15");
    world.restart();
    world.refused(&team, &replay, "S15");
    // Nor is another content signed under a version that was there.
    let other = sign(&Draft::targets(at(world.now + 99 * DAY)), &[&alice]);
    let fork = delegate_again(&team, world.now, "alice", &alice, other);
    world.refused(&team, &fork, "S15");
    // A new name is fine.
    let files = team.delegate(world.now, "alice2");
    world.publish(&team, &files).unwrap();
}

#[test]
fn a_role_that_leaves_in_the_publication_that_replaces_the_snapshot_key_does_not_come_back_lower() {
    let mut world = World::new();
    let mut team = world.born(A);
    let files = team.delegate(world.now, "alice");
    world.publish(&team, &files).unwrap();
    team.accepted(&files);
    let (old, alice) = (files.roles["alice"].clone(), team.delegated["alice"].clone());
    let new = team.new_online_key(&mut world, "snapshot");
    team.online.insert("snapshot".to_owned(), vec![new]);
    let root = team.next_root(world.now, &team.root_key.clone());
    let mut files = team.undelegate(world.now, "alice");
    files.roots = root.roots;
    world.publish(&team, &files).unwrap();
    team.accepted(&files);
    let replay = delegate_again(&team, world.now, "alice", &alice, old);
    world.refused(&team, &replay, "S15");
}

#[test]
fn the_same_publication_asked_again_after_its_timestamp_expired_gets_a_fresh_one() {
    // The server died between the mark and its own transaction, and came back days later.
    let mut world = World::new();
    let team = world.born(A);
    let files = team.next_targets(world.now, "x");
    let first = world.publish(&team, &files).unwrap();
    assert_eq!(world.publish(&team, &files).unwrap(), first, "at once: the stored bytes");
    for (days, new_snapshot) in [(2, false), (9, true)] {
        world.now += days * DAY;
        let again = world.publish(&team, &files).unwrap();
        for (what, file) in [("timestamp", &again.timestamp.0), ("snapshot", &again.snapshot.0)] {
            let left = expiry_of(file) - world.now;
            assert!(left > 0, "after {days} days: the {what} has {left} s to live");
        }
        assert_eq!(again.snapshot_version > first.snapshot_version, new_snapshot);
        assert_eq!(world.publish(&team, &files).unwrap(), again);
    }
    world.check_audit();
}

#[test]
fn patterns_and_targets_that_take_hours_to_compare_do_not_stop_the_signer() {
    let mut world = World::new();
    let team = world.born(A);
    let bob = key("bob");
    let mut targets = team.targets_draft(world.now);
    targets.set_delegation(&NewDelegation {
        name: "bob".to_owned(),
        keys: vec![bob.public().clone()],
        threshold: 1,
        terminating: true,
        patterns: (0..2_000).map(|n| format!("{}b{n}", "*a".repeat(100))).chain(["*".to_owned()]).collect(),
    });
    let mut file = Draft::targets(at(world.now + 100 * DAY));
    for n in 0..2_000 {
        file.set_target(&format!("{}{n}", "a".repeat(200)), &TargetInfo::of(b"x"));
    }
    let files =
        Files::default().role("targets", sign(&targets, &[&team.targets_key])).role("bob", sign(&file, &[&bob]));
    world.refused(&team, &files, "S13");
}

#[test]
fn many_tags_under_many_plain_patterns_are_not_too_many() {
    let mut world = World::new();
    let team = world.born(A);
    let bob = key("bob");
    let mut targets = team.targets_draft(world.now);
    targets.set_delegation(&NewDelegation {
        name: "bob".to_owned(),
        keys: vec![bob.public().clone()],
        threshold: 1,
        terminating: true,
        patterns: (0..200).map(|n| format!("team/service-{n}/*")).collect(),
    });
    let mut file = Draft::targets(at(world.now + 100 * DAY));
    for n in 0..20_000 {
        file.set_target(&format!("team/service-{}/v1.2.{n}", n % 200), &TargetInfo::of(b"x"));
    }
    let files =
        Files::default().role("targets", sign(&targets, &[&team.targets_key])).role("bob", sign(&file, &[&bob]));
    world.publish(&team, &files).unwrap();
}

#[test]
fn a_collection_never_grows_beyond_what_the_signer_can_hand_to_a_restored_server() {
    let mut world = World::new();
    let mut team = world.born(A);
    let facts = trust_tuf::json::Value::object([("x", trust_tuf::json::Value::from("y".repeat(15_000)))]);
    let mut refused = None;
    for n in 0..8 {
        let role = format!("r{n}");
        let mut files = team.delegate(world.now, &role);
        let mut file = Draft::targets(at(world.now + 100 * DAY));
        for n in 0..500 {
            let info = TargetInfo { custom: Some(facts.clone()), ..TargetInfo::of(b"x") };
            file.set_target(&format!("{role}/{n}"), &info);
        }
        files.roles.insert(role.clone(), sign(&file, &[&team.delegated[&role].clone()]));
        match world.publish(&team, &files) {
            Ok(_) => team.accepted(&files),
            Err(no) => {
                refused = Some(no);
                break;
            }
        }
        let now = world.time();
        let files = world.core.as_mut().unwrap().handle(now, Request::Files { collection: A.to_owned() });
        let mut frame = Vec::new();
        trust_wire::signer::write_frame(&mut frame, &files).unwrap();
        assert!(matches!(files, Reply::Files { files: Some(_) }) && frame.len() <= FRAME_BYTES);
    }
    assert_eq!(refused.map(|no| no.0).as_deref(), Some("S13"));
}

#[test]
fn an_admission_that_an_operator_replaced_meanwhile_is_not_used() {
    // Between the look at the admission and the commit, `trust-signer admit` names another root.
    let mut world = World::new();
    let name = CollectionName::parse(A).unwrap();
    let mut team = Team::new(A, 7);
    team.fetch_online_keys(&mut world);
    let first = team.first(world.now);
    let now = world.time();
    let mut store = Store::open(world.dir.path()).unwrap();
    let admission = |root: &[u8], by: &str| Admission { root_sha256: sha256(root), by: by.to_owned() };
    let change = |made: Option<Admission>| Change {
        collection: name.clone(),
        expected: None,
        marks: Marks { root: Version::ONE, snapshot: Version::ONE, timestamp: Version::ONE, publication: [7; 32] },
        admission: made,
        roots: vec![(Version::ONE, first.roots[0].as_slice().into())],
        roles: Vec::new(),
        buried: Vec::new(),
        gone: Vec::new(),
        named_keys: Vec::new(),
        dropped_keys: Vec::new(),
        signed: Vec::new(),
    };
    store.admit(&name, &admission(b"another root", "command"), now).unwrap();
    assert!(matches!(store.apply(now, &[change(None)]), Err(StoreError::Conflict(_))));
    let by_grant = change(Some(admission(&first.roots[0], "grant k")));
    assert!(matches!(store.apply(now, &[by_grant]), Err(StoreError::Conflict(_))));
    assert_eq!(store.admitted(&name).unwrap(), Some(sha256(b"another root")));
    store.admit(&name, &admission(&first.roots[0], "command"), now).unwrap();
    store.apply(now, &[change(None)]).unwrap();
}
